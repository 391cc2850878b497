"""A narrow pair joins a bundle: variants for tiles and for photos at their own scale of a smaller
network, which the model has taught. Each decides what is beyond doubt, and its margins are chosen
and gated on photos, and on foreign pictures, that the network has not learned from."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import onnx

from export.dense_gate import compare_tiles, open_variant
from export.gates import choose_first_margins, engine_version, trouble_with
from export.photos import deal_third, find_photos, refs_to, spread_evenly
from export.run import publish
from export.screening import Screening
from inspector.engines import open_engine
from inspector.engines.combined import DEFERRED, UncertaintyBand, chain
from inspector.engines.contract import joined
from inspector.engines.parity import settled, verdicts
from inspector.errors import ExportError
from inspector.model.bundle import NARROW, ModelBundle, Variant
from inspector.model.golden import read_golden
from inspector.model.stamp import model_metadata
from inspector.predict import predict_each
from inspector.synthesis import outlier_images
from inspector.types import Scores, Verdict, View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from inspector.engines import Backend
    from inspector.types import JsonObject

_ENGINE = "onnxruntime"
TILES = Variant(file="model.narrow.onnx", backend=_ENGINE, precision=NARROW, crack_margin=0.0)
PHOTOS = Variant(file="dense.narrow.onnx", backend=_ENGINE, precision=NARROW, view=View.DENSE)
FOREIGN = "foreign"
"""The source that drawn foreign pictures count as."""
_MOST = 6000
"""Tiles that are judged at most."""
_SEEDS = 31, 32
"""Of the foreign pictures that choose, and of those that are gated."""
_FOREIGN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class _Judged:
    """N images as each stage judges them."""

    source_N: list[str]
    narrow: Scores
    rest: Scores
    """What the stages after the narrow one make of all of them."""
    exact: Scores
    """What fp32 does."""


def attach_narrow(
    target: Path,
    pair: Path,
    *,
    images: Path,
    photos: Path,
    at_least: int = 2000,
    say: Callable[[str], object] = lambda _: None,
) -> ModelBundle:
    """The bundle at `target` with the narrow pair in the directory `pair`, written to it; the file
    for photos may be missing.

    `images` are tiles below folders of their sources, `photos` photos at their own scale; a third
    of each chooses margins, the rest is gated. Raises ExportError where the gate would see fewer
    than `at_least` tiles, or where the variant for tiles fails; nothing is written then. Where
    only that for photos fails it is left out, and `say` tells why.
    """
    source = ModelBundle.load(target)
    with TemporaryDirectory(prefix="inspector-narrow-") as scratch:
        draft = replace(source, path=Path(scratch), variants={})
        there = [variant for variant in (TILES, PHOTOS) if (pair / variant.file).exists()]
        for variant in there:
            stamp(pair / variant.file, draft.file(variant.file), source)
        made = {"onnx-narrow": _tiles(source, draft, images, at_least)}
        if source.dense is not None and PHOTOS in there:
            dense = _photos(source, draft, made["onnx-narrow"], photos, say)
            made |= {} if dense is None else {"dense-narrow": dense}
        return publish(without_narrow(source), replace(draft, variants=made), target)


def without_narrow(bundle: ModelBundle) -> ModelBundle:
    """The bundle without an earlier pair."""
    kept = {name: v for name, v in bundle.variants.items() if v.precision != NARROW}
    gone = bundle.exported - {variant.file for variant in kept.values()}
    files = {name: sha256 for name, sha256 in bundle.files.items() if name not in gone}
    return replace(bundle, variants=kept, files=files)


def stamp(file: Path, out: Path, bundle: ModelBundle) -> None:
    model = onnx.load(file)
    onnx.helper.set_model_props(model, model_metadata(bundle))
    out.write_bytes(model.SerializeToString(deterministic=True))


def _tiles(source: ModelBundle, draft: ModelBundle, images: Path, at_least: int) -> Variant:
    found = spread_evenly(find_photos(images), _MOST)
    choosing, gating = deal_third(found, images, "narrow")
    if len(gating) < at_least:
        raise ExportError(
            f"the gate would compare only {len(gating)} held-back tiles, and {at_least} are needed"
        )
    with ExitStack() as stack:

        def opened(bundle: ModelBundle, precision: str) -> Backend:
            engine = open_engine(bundle, _ENGINE, device="cpu", precision=precision)
            return stack.enter_context(closing(engine))

        engines = {each: opened(source, each) for each in _after(source)}
        engines[NARROW] = opened(replace(draft, variants={"onnx-narrow": TILES}), NARROW)
        chosen, gated = (
            _judged(source, engines, images, some, seed)
            for some, seed in zip((choosing, gating), _SEEDS, strict=True)
        )
        golden = read_golden(source)
        moved = engines[NARROW].run(golden.pixels_NHWC).p_crack_N - golden.scores.p_crack_N
    low, high, familiar = choose_first_margins(chosen.exact, chosen.narrow, source.thresholds)
    variant = replace(TILES, margin=low, crack_margin=high, ood_margin=familiar)
    seen = _evidence(source, variant, gated) | {
        "margin_chosen_on": len(chosen.source_N),
        "golden_images": len(golden.names),
        "golden_max_difference": float(np.abs(moved).max()),
        "reference": f"{engine_version(_ENGINE)}, fp32",
        "engine": engine_version(_ENGINE),
    }
    if trouble := trouble_with(seen):
        raise ExportError(
            f"onnx-narrow is of no use for this model: {trouble}; teach it longer; nothing was "
            "written"
        )
    return replace(variant, parity=seen)


def _after(bundle: ModelBundle) -> dict[str, UncertaintyBand]:
    """The stages after a narrow one."""
    return chain(bundle, bundle.after(NARROW) or "fp32", bundle.thresholds)


def _judged(
    bundle: ModelBundle,
    engines: dict[str, Backend],
    folder: Path,
    photos: Sequence[Path],
    seed: int,
) -> _Judged:
    """Photos, and foreign pictures beside them, through all engines."""
    found = predict_each(refs_to(photos), bundle, engines)
    names = [Path(photo.ref.path).relative_to(folder).parts[0] for photo in found["fp32"].photos]
    count, size = max(int(_FOREIGN_SHARE * len(names)), 1), bundle.preprocess.size
    foreign_NHWC = np.stack(list(outlier_images(count, size, seed)))
    scores = {
        name: joined([of.scores, engines[name].run(foreign_NHWC)]) for name, of in found.items()
    }
    rest = exact = scores["fp32"]
    for precision, band in reversed(_after(bundle).items()):
        rest = settled(scores[precision], rest, band.contains(scores[precision]))
    return _Judged(names + [FOREIGN] * count, scores[NARROW], rest, exact)


def _evidence(bundle: ModelBundle, variant: Variant, gated: _Judged) -> JsonObject:
    deferred_N = UncertaintyBand.of(variant, bundle.thresholds).contains(gated.narrow)
    final = settled(gated.narrow, gated.rest, deferred_N)
    said_N, true_N = (verdicts(scores, bundle.thresholds) for scores in (final, gated.exact))
    other_N = said_N != true_N
    missed_N = (said_N == Verdict.CLEAR) & (true_N == Verdict.CRACK)
    pairs_N2 = np.stack([gated.exact.p_crack_N, final.p_crack_N], axis=1)
    counts: dict[str, Counter[str]] = {}
    for k, source in enumerate(gated.source_N):
        each = {"images": 1, DEFERRED: deferred_N[k], "other": other_N[k], "missed": missed_N[k]}
        counts.setdefault(source, Counter()).update({n: int(v) for n, v in each.items()})
    own_N = np.array([source != FOREIGN for source in gated.source_N])
    moved_N = np.abs(gated.narrow.p_crack_N - gated.exact.p_crack_N)
    return {
        "images": len(said_N),
        "max_difference": float(moved_N.max()),
        "mean_difference": float(moved_N.mean()),
        "verdict_flips": pairs_N2[other_N].tolist(),
        DEFERRED: float(deferred_N[own_N].mean()),
        "sources": {name: dict(each) for name, each in sorted(counts.items())},
    }


def _photos(
    source: ModelBundle,
    draft: ModelBundle,
    tiles: Variant,
    photos: Path,
    say: Callable[[str], object],
) -> Variant | None:
    """The variant for photos at their own scale; None where it changes verdicts."""
    candidate = replace(draft, variants={"onnx-narrow": tiles, "dense-narrow": PHOTOS})
    choosing, gating = deal_third(find_photos(photos), photos, "narrow")
    with closing(open_variant(source, candidate, PHOTOS)) as engine:
        seen: JsonObject = {"tiles": compare_tiles(source, candidate, PHOTOS, engine)}
    with Screening.opened(source, candidate, photos) as screening:
        margin, familiar = screening.choose(choosing)
        seen |= screening.gate(gating, margin, familiar)
    if trouble := trouble_with(seen):
        say(f"dense-narrow is left out: {trouble}; photos are judged by the model alone")
        return None
    return replace(PHOTOS, margin=margin, ood_margin=familiar, parity=seen)
