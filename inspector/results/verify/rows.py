"""Rules that every row must keep by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.model.verdict import decide_each
from inspector.photos.address import LOCAL, text_of
from inspector.results.schema import are_previews, held
from inspector.results.verify.findings import Flaw
from inspector.types import VISIBLE_PX, FailureCode, Reason, ScaleSource, Status, Verdict, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from inspector.model.bundle import Thresholds
    from inspector.model.scale import Scale
    from inspector.photos.selection import Shard

    Mask = NDArray[np.bool_]

_URI = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+")
_WINDOWS = re.compile(r"file:(///[A-Za-z]:/|//[^/])")
"""Begins an address with a drive or a server."""
_WORDS = {
    "status": Status,
    "verdict": Verdict,
    "reason": Reason,
    "failure_code": FailureCode,
    "view": View,
    "mm_per_px_source": ScaleSource,
}
_OWN_SCALE = ("crack_windows", "crack_fraction", "regions")
"""Of photos that were judged at their own scale only."""
_JUDGED = ("verdict", "p_crack", "ood_score", "reason", "stage", "view", "windows", "width",
           "height", "format")  # fmt: skip
_UNJUDGED = ("verdict", "p_crack", "ood_score", "reason", "stage", "peak_x", "peak_y", "view",
             "windows", *_OWN_SCALE)  # fmt: skip
_SIDES = ("width", "height")
_ROUNDING = 1e-6
_EXPLAINED = ("failure_code", "detail")


def flaws_in(
    batch: pa.RecordBatch,
    thresholds: Thresholds | None,
    dense: Thresholds | None,
    scale: Scale | None,
    *,
    peaks: bool,
    shard: Shard | None = None,
) -> Iterator[tuple[Flaw, str, Mask]]:
    """Yield each flaw of rows in the table's schema: its kind, in words, and a mask (N,). Verdicts
    are not checked without thresholds and scale, those at a photo's own scale not without `dense`;
    with `peaks`, every photo that is not clear has a place of the evidence."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    checks = (
        *_wrong_uris(columns),
        *_wrong_shards(columns, shard),
        *_wrong_values(columns),
        *_wrong_nulls(columns, peaks=peaks),
        *_wrong_scales(columns),
        *_wrong_windows(columns),
        *_wrong_regions(columns),
        *_wrong_verdicts(columns, thresholds, dense, scale),
    )
    return ((flaw, what, mask) for flaw, what, mask in checks if mask.any())


def _wrong_uris(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    uris, paths = columns["uri"].to_pylist(), columns["path"].to_pylist()
    odd = _mask(_URI.fullmatch(uri) is None for uri in uris)
    yield Flaw.ROW_URI, "the uri is no plain ASCII address", odd
    differ = _mask(not fits(uri, path) for uri, path in zip(uris, paths, strict=True))
    yield Flaw.ROW_URI, "uri and path name different files", differ & ~odd


def _wrong_shards(columns: dict[str, Any], shard: Shard | None) -> Iterator[tuple[Flaw, str, Mask]]:
    if shard is not None:
        others = _mask(not shard.has(uri) for uri in columns["uri"].to_pylist())
        yield Flaw.ROW_SHARD, f"the photo does not belong to shard {shard}", others


def fits(uri: str, path: str) -> bool:
    """Tell whether `path`, as shown, is the file of `uri`, on whatever system that was made."""
    if not uri.startswith(LOCAL):
        return True
    text = text_of(uri, windows=False)
    if _WINDOWS.match(uri):
        text, path = text.replace("\\", "/"), path.replace("\\", "/")
    return text.lstrip("/") == path.lstrip("/")


def _wrong_values(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    for name, words in _WORDS.items():
        allowed = pc.is_in(columns[name], pa.array([*map(str, words)]))
        yield Flaw.ROW_VALUE, f"an unknown {name}", _valid(columns[name]) & ~held(allowed)
    for name in ("p_crack", "peak_x", "peak_y", "crack_fraction"):
        within = pc.and_(pc.greater_equal(columns[name], 0), pc.less_equal(columns[name], 1))
        yield Flaw.ROW_VALUE, f"{name} is not in 0..1", _valid(columns[name]) & ~held(within)
    for name, least in (("width", 1), ("height", 1), ("size_bytes", 0)):
        yield Flaw.ROW_VALUE, f"{name} is below {least}", held(pc.less(columns[name], least))
    hashes = columns["content_hash"]
    fine = held(pc.match_substring_regex(hashes, r"\A[0-9a-f]{64}\z"))
    yield Flaw.ROW_VALUE, "content_hash is no SHA-256", _valid(hashes) & ~fine


def _wrong_nulls(columns: dict[str, Any], *, peaks: bool) -> Iterator[tuple[Flaw, str, Mask]]:
    ok, failed = (held(pc.equal(columns["status"], status)) for status in Status)
    for name in _JUDGED:
        yield Flaw.ROW_NULLS, f"ok without {name}", ok & ~_valid(columns[name])
    for name in _EXPLAINED:
        yield Flaw.ROW_NULLS, f"ok with {name}", ok & _valid(columns[name])
        yield Flaw.ROW_NULLS, f"failed without {name}", failed & ~_valid(columns[name])
    for name in _UNJUDGED:
        yield Flaw.ROW_NULLS, f"failed with {name}", failed & _valid(columns[name])
    clear = held(pc.equal(columns["verdict"], Verdict.CLEAR))
    for name in ("peak_x", "peak_y"):
        peak = _valid(columns[name])
        yield Flaw.ROW_NULLS, f"clear with {name}", ok & clear & peak
        if peaks:
            yield Flaw.ROW_NULLS, f"not clear, without {name}", ok & ~clear & ~peak


def _wrong_scales(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    scale, source, visible = (
        columns[name] for name in ("mm_per_px", "mm_per_px_source", "smallest_visible_mm")
    )
    yield Flaw.ROW_VALUE, "mm_per_px is not above 0", _valid(scale) & ~held(pc.greater(scale, 0))
    known, ok = _valid(scale), held(pc.equal(columns["status"], Status.OK))
    yield Flaw.ROW_NULLS, "a scale without its source, or the reverse", known ^ _valid(source)
    yield Flaw.ROW_NULLS, "smallest_visible_mm without a scale", _valid(visible) & ~(known & ok)
    unsaid = ok & known & ~_valid(visible)
    yield Flaw.ROW_NULLS, "ok with a scale, without smallest_visible_mm", unsaid
    least = pc.multiply(pc.cast(scale, pa.float64()), VISIBLE_PX * (1 - 1e-6))
    finer = held(pc.less(pc.cast(visible, pa.float64()), least))
    yield Flaw.ROW_VALUE, "smallest_visible_mm is less than two pixels", finer


def _wrong_windows(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    view, windows, cracked = (columns[name] for name in ("view", "windows", "crack_windows"))
    whole = held(pc.equal(view, View.WHOLE))
    own_scale = _valid(view) & ~whole
    for name in _OWN_SCALE:
        yield Flaw.ROW_NULLS, f"judged whole, with {name}", whole & _valid(columns[name])
        what = f"judged at its own scale, without {name}"
        yield Flaw.ROW_NULLS, what, own_scale & ~_valid(columns[name])
    one = held(pc.equal(windows, 1))
    yield Flaw.ROW_VALUE, "judged whole, in other than one window", whole & ~one
    yield Flaw.ROW_VALUE, "windows is below 1", held(pc.less(windows, 1))
    within = pc.and_(pc.greater_equal(cracked, 0), pc.less_equal(cracked, windows))
    wrong = _valid(cracked) & ~held(within)
    yield Flaw.ROW_VALUE, "crack_windows is not in 0..windows", wrong
    share = pc.divide(pc.cast(cracked, pa.float64()), pc.cast(windows, pa.float64()))
    off = pc.greater(pc.abs(pc.subtract(share, columns["crack_fraction"])), _ROUNDING)
    yield Flaw.ROW_VALUE, "crack_fraction is not crack_windows / windows", held(off) & ~wrong


def _wrong_regions(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    """Look at each region of each row."""
    column = columns["regions"]
    regions = pc.list_flatten(column)
    row_K = pc.list_parent_indices(column).to_numpy()
    x_K, y_K, width_K, height_K, p_K, least_K, most_K = (
        pc.struct_field(regions, name).to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("x", "y", "width", "height", "p_crack", "length_at_least", "length_at_most")
    )
    sides = [columns[n].to_numpy(zero_copy_only=False).astype(np.float64) for n in _SIDES]
    inside_K = (np.minimum(x_K, y_K) >= 0) & (np.minimum(width_K, height_K) >= 1)
    inside_K &= (x_K + width_K <= sides[0][row_K]) & (y_K + height_K <= sides[1][row_K])
    lengths_K = (least_K >= 0) & (least_K <= most_K)
    for what, right_K in (
        ("a region is not inside the photo", inside_K),
        ("p_crack of a region is not in 0..1", (p_K >= 0) & (p_K <= 1)),
        ("length of a region is at least more than at most", lengths_K),
    ):
        mask = np.zeros(len(column), np.bool_)
        mask[row_K[~right_K]] = True
        yield Flaw.ROW_VALUE, what, mask


def _wrong_verdicts(
    columns: dict[str, Any],
    thresholds: Thresholds | None,
    dense: Thresholds | None,
    scale: Scale | None,
) -> Iterator[tuple[Flaw, str, Mask]]:
    """Compare with the scan's own rule; how far a photo was shrunk is not in the table, so either
    answer is right. At its own scale it was not."""
    if thresholds is None or scale is None:
        return
    p_N, ood_N, verdict_N, reason_N = (
        columns[name].to_numpy(zero_copy_only=False)
        for name in ("p_crack", "ood_score", "verdict", "reason")
    )
    own_N = _valid(columns["view"]) & ~held(pc.equal(columns["view"], View.WHOLE))
    hidden_N = scale.hides_N(columns["smallest_visible_mm"].to_numpy(zero_copy_only=False))
    rest: dict[str, Any] = {"hidden_N": hidden_N, "preview_N": are_previews(columns["format"])}
    right = np.zeros(len(p_N), np.bool_)
    for shrink in (0.0, np.inf):
        expected = decide_each(p_N, own_N, thresholds, dense, ood_N=ood_N, shrink_N=shrink, **rest)
        right |= (verdict_N == expected[0]) & (reason_N == expected[1])
    if dense is None:
        right |= own_N
    judged = _valid(columns["p_crack"]) & _valid(columns["verdict"]) & _valid(columns["reason"])
    yield Flaw.ROW_VERDICT, "the verdict contradicts the scores and thresholds", judged & ~right


def _mask(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, np.bool_)


def _valid(column: Any) -> Mask:
    mask: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return mask
