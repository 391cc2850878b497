"""Rules that every row must keep by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.model.verdict import decide
from inspector.photos.address import LOCAL, text_of
from inspector.results.verify.findings import Flaw
from inspector.types import VISIBLE_PX, FailureCode, Reason, ScaleSource, Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from inspector.model.bundle import Thresholds
    from inspector.model.scale import Scale

    Mask = NDArray[np.bool_]

_URI = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+")
_WINDOWS = re.compile(r"file:(///[A-Za-z]:/|//[^/])")
"""Begins an address with a drive or a server."""
_WORDS = {
    "status": Status,
    "verdict": Verdict,
    "reason": Reason,
    "failure_code": FailureCode,
    "mm_per_px_source": ScaleSource,
}
_JUDGED = ("verdict", "p_crack", "ood_score", "reason", "stage", "width", "height", "format")
_UNJUDGED = ("verdict", "p_crack", "ood_score", "reason", "stage", "peak_x", "peak_y")
_EXPLAINED = ("failure_code", "detail")


def flaws_in(
    batch: pa.RecordBatch, thresholds: Thresholds | None, scale: Scale | None, *, peaks: bool
) -> Iterator[tuple[Flaw, str, Mask]]:
    """Yield each flaw of rows in the table's schema: its kind, in words, and a mask (N,). Verdicts
    are not checked without thresholds and scale; with `peaks`, every photo that is not clear has a
    place of the evidence."""
    columns = {name: batch.column(name) for name in batch.schema.names}
    checks = (
        *_wrong_uris(columns),
        *_wrong_values(columns),
        *_wrong_nulls(columns, peaks=peaks),
        *_wrong_scales(columns),
        *_wrong_verdicts(columns, thresholds, scale),
    )
    return ((flaw, what, mask) for flaw, what, mask in checks if mask.any())


def _wrong_uris(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    uris, paths = columns["uri"].to_pylist(), columns["path"].to_pylist()
    odd = _mask(_URI.fullmatch(uri) is None for uri in uris)
    yield Flaw.ROW_URI, "the uri is no plain ASCII address", odd
    differ = _mask(not fits(uri, path) for uri, path in zip(uris, paths, strict=True))
    yield Flaw.ROW_URI, "uri and path name different files", differ & ~odd


def fits(uri: str, path: str) -> bool:
    """Tell whether `path` as shown (see `text.display_path`) is the file of `uri`, on whatever
    system the table was made."""
    if not uri.startswith(LOCAL):
        return True
    if _WINDOWS.match(uri):
        path = path.replace("\\", "/")
    return text_of(uri).lstrip("/") == path.lstrip("/")


def _wrong_values(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    for name, words in _WORDS.items():
        allowed = pc.is_in(columns[name], pa.array([*map(str, words)]))
        yield Flaw.ROW_VALUE, f"an unknown {name}", _valid(columns[name]) & ~_true(allowed)
    for name in ("p_crack", "peak_x", "peak_y"):
        within = pc.and_(pc.greater_equal(columns[name], 0), pc.less_equal(columns[name], 1))
        yield Flaw.ROW_VALUE, f"{name} is not in 0..1", _valid(columns[name]) & ~_true(within)
    for name, least in (("width", 1), ("height", 1), ("size_bytes", 0)):
        yield Flaw.ROW_VALUE, f"{name} is below {least}", _true(pc.less(columns[name], least))
    hashes = columns["content_hash"]
    fine = _true(pc.match_substring_regex(hashes, r"\A[0-9a-f]{64}\z"))
    yield Flaw.ROW_VALUE, "content_hash is no SHA-256", _valid(hashes) & ~fine


def _wrong_nulls(columns: dict[str, Any], *, peaks: bool) -> Iterator[tuple[Flaw, str, Mask]]:
    ok, failed = (_true(pc.equal(columns["status"], status)) for status in Status)
    for name in _JUDGED:
        yield Flaw.ROW_NULLS, f"ok without {name}", ok & ~_valid(columns[name])
    for name in _EXPLAINED:
        yield Flaw.ROW_NULLS, f"ok with {name}", ok & _valid(columns[name])
        yield Flaw.ROW_NULLS, f"failed without {name}", failed & ~_valid(columns[name])
    for name in _UNJUDGED:
        yield Flaw.ROW_NULLS, f"failed with {name}", failed & _valid(columns[name])
    clear = _true(pc.equal(columns["verdict"], Verdict.CLEAR))
    for name in ("peak_x", "peak_y"):
        peak = _valid(columns[name])
        yield Flaw.ROW_NULLS, f"clear with {name}", ok & clear & peak
        if peaks:
            yield Flaw.ROW_NULLS, f"not clear, without {name}", ok & ~clear & ~peak


def _wrong_scales(columns: dict[str, Any]) -> Iterator[tuple[Flaw, str, Mask]]:
    scale, source, visible = (
        columns[name] for name in ("mm_per_px", "mm_per_px_source", "smallest_visible_mm")
    )
    yield Flaw.ROW_VALUE, "mm_per_px is not above 0", _valid(scale) & ~_true(pc.greater(scale, 0))
    known, ok = _valid(scale), _true(pc.equal(columns["status"], Status.OK))
    yield Flaw.ROW_NULLS, "a scale without its source, or the reverse", known ^ _valid(source)
    yield Flaw.ROW_NULLS, "smallest_visible_mm without a scale", _valid(visible) & ~(known & ok)
    unsaid = ok & known & ~_valid(visible)
    yield Flaw.ROW_NULLS, "ok with a scale, without smallest_visible_mm", unsaid
    least = pc.multiply(pc.cast(scale, pa.float64()), VISIBLE_PX * (1 - 1e-6))
    finer = _true(pc.less(pc.cast(visible, pa.float64()), least))
    yield Flaw.ROW_VALUE, "smallest_visible_mm is less than two pixels", finer


def _wrong_verdicts(
    columns: dict[str, Any], thresholds: Thresholds | None, scale: Scale | None
) -> Iterator[tuple[Flaw, str, Mask]]:
    """Compare with the scan's own rule; how far a photo was shrunk is not in the table, so either
    answer is right."""
    if thresholds is None or scale is None:
        return
    p_N, ood_N, verdict_N, reason_N = (
        columns[name].to_numpy(zero_copy_only=False)
        for name in ("p_crack", "ood_score", "verdict", "reason")
    )
    hidden_N = scale.hides_N(columns["smallest_visible_mm"].to_numpy(zero_copy_only=False))
    right = np.zeros(len(p_N), np.bool_)
    for shrink in (0.0, np.inf):
        expected = decide(p_N, thresholds, ood_N=ood_N, shrink_N=shrink, hidden_N=hidden_N)
        right |= (verdict_N == expected[0]) & (reason_N == expected[1])
    judged = _valid(columns["p_crack"]) & _valid(columns["verdict"]) & _valid(columns["reason"])
    yield Flaw.ROW_VERDICT, "the verdict contradicts the scores and thresholds", judged & ~right


def _mask(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, np.bool_)


def _valid(column: Any) -> Mask:
    mask: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    return mask


def _true(values: Any) -> Mask:
    """Convert a boolean column to a mask, null to false."""
    mask: Mask = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return mask
