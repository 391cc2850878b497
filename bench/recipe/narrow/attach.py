"""The narrow pair joins a bundle: `python -m bench.recipe.narrow.attach PAIR DATA IMAGES`.

The pair are variants for tiles and for photos at their own scale of a smaller network, which the
model has taught. Each decides what is beyond doubt, and its margins are chosen and gated on photos,
and on foreign pictures, that the network has not learned from.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from PIL import Image

from bench.recipe.card import with_first_stage
from bench.recipe.narrow.export import PHOTOS, TILES
from bench.recipe.narrow.familiar import STRANGE
from bench.recipe.narrow.screening import (
    CRACKED,
    FOREIGN,
    SOUND,
    Screening,
    by_source,
    may_be_lost,
)
from bench.recipe.share import share_bytes
from bench.studies.photos.scenes import CURVE, CURVE_CASES, Scenes
from bench.studies.photos.sources import PARTS
from export.dense_gate import compare_tiles, open_variant
from export.gates import (
    FLIPS_PER,
    MOST_LEFT,
    CpuEngines,
    choose_first_margins,
    engine_version,
)
from export.graph import restamp_onnx
from export.photos import deal_third, find_photos, refs_to, spread_evenly
from export.run import publish
from inspector.engines.combined import DEFERRED, UncertaintyBand, chain
from inspector.engines.contract import VARIANTS, joined
from inspector.engines.parity import settled, verdicts
from inspector.errors import ExportError
from inspector.model.bundle import CARD, DEFAULT_PATH, NARROW, ModelBundle, Variant
from inspector.model.golden import read_golden
from inspector.model.stamp import model_metadata
from inspector.predict import predict_each
from inspector.synthesis import outlier_images
from inspector.types import Scores, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.engines import Backend
    from inspector.types import JsonObject

COUNTS = {
    "boards": 40, "tiles": 24, "walls": 40, "stones": 20, "patches": 12, "slabs": 12, "large": 4,
    "sheets": 6, CURVE: 4 * len(CURVE_CASES),
}  # fmt: skip
"""Composed photos of each family in each part, half of them cracked."""
_MOST = 6000
"""Tiles that are judged at most."""
_SEEDS = 31, 32
"""Of the foreign pictures that choose, and of those that are gated."""
_FOREIGN_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Judged:
    """N images as each stage judges them."""

    source_N: list[str]
    narrow: Scores
    rest: Scores
    """What the stages after the narrow one make of all of them."""
    exact: Scores
    """What fp32 does."""


def attach(pair: Path, data: Path, images: Path, work: Path, out: Path) -> ModelBundle:
    """The bundle at `out` with the narrow pair in the folder `pair`, gated on what was held back.
    `data` and `images` as for the recipe; `work` keeps photos. Raises ExportError."""
    photos = write_scenes(data, images, work / "scenes")
    bundle = attach_narrow(out, pair, images=images / "held_back", photos=photos, say=print)
    if "dense-narrow" in bundle.variants:
        share_bytes(bundle.file(PHOTOS.file), bundle.file(TILES.file))
        bundle = bundle.with_files(PHOTOS.file)
    card = bundle.file(CARD).read_text(encoding="utf-8")
    bundle.file(CARD).write_text(with_first_stage(card, bundle), encoding="utf-8")
    bundle.with_files(CARD).save()
    return ModelBundle.load(out)


def write_scenes(data: Path, images: Path, out: Path, counts: Mapping[str, int] = COUNTS) -> Path:
    """Photos with and without cracks that the network has not learned from, FAMILY/CLASS/name.png
    below `out`; written once."""
    for name, make in Scenes(data, images).all(counts, PARTS):
        if any(out.glob(f"*/*/{name}.png")) or (made := make()) is None:
            continue
        file = out / made.family / (CRACKED if made.is_crack else SOUND) / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made.pixels).save(file, compress_level=1)
    return out


def attach_narrow(
    target: Path,
    pair: Path,
    *,
    images: Path,
    photos: Path,
    at_least: int = 2000,
    say: Callable[[str], object] = lambda _: None,
) -> ModelBundle:
    """The bundle at `target` with the narrow pair in the directory `pair`, written to it, in place
    of an earlier one; the file for photos may be missing.

    `images` are tiles below folders of their sources, `photos` photos at their own scale as
    `write_scenes` lays them out; a third of each chooses margins, the rest is gated. Raises
    ExportError where the gate would see fewer than `at_least` tiles, or where the variant for tiles
    fails; nothing is written then. Where only that for photos fails it is left out, and `say` tells
    why.
    """
    source = ModelBundle.load(target)
    with TemporaryDirectory(prefix="inspector-narrow-") as scratch:
        draft = replace(source, path=Path(scratch), variants={})
        there = [variant for variant in (TILES, PHOTOS) if (pair / variant.file).exists()]
        for variant in there:
            out = draft.file(variant.file)
            restamp_onnx(pair / variant.file, out, model_metadata(source))
        made = {"onnx-narrow": _tiles(source, draft, images, at_least)}
        if source.dense is not None and PHOTOS in there:
            dense = _photos(source, draft, made["onnx-narrow"], photos, say)
            made |= {} if dense is None else {"dense-narrow": dense}
        without = source.without({TILES.file, PHOTOS.file})
        return publish(without, replace(draft, variants=made), target)


def _tiles(source: ModelBundle, draft: ModelBundle, images: Path, at_least: int) -> Variant:
    found = spread_evenly(find_photos(images), _MOST)
    choosing, gating = deal_third(found, images, "narrow")
    if len(gating) < at_least:
        raise ExportError(
            f"the gate would compare only {len(gating)} held-back tiles, and {at_least} are needed"
        )
    with CpuEngines() as opened:
        engines = {each: opened(source, each) for each in stages_after(source)}
        engines[NARROW] = opened(replace(draft, variants={"onnx-narrow": TILES}), NARROW)
        chosen, gated = (
            judged_by(source, engines, images, some, seed)
            for some, seed in zip((choosing, gating), _SEEDS, strict=True)
        )
        golden = read_golden(source)
        moved = engines[NARROW].run(golden.pixels_NHWC).p_crack_N - golden.scores.p_crack_N
    low, high, familiar = choose_first_margins(chosen.exact, chosen.narrow, source.thresholds)
    variant = replace(TILES, margin=low, crack_margin=high, ood_margin=familiar)
    seen = evidence_for(source, variant, gated) | {
        "margin_chosen_on": len(chosen.source_N),
        "golden_images": len(golden.names),
        "golden_max_difference": float(np.abs(moved).max()),
        "reference": f"{engine_version(VARIANTS)}, fp32",
        "engine": engine_version(VARIANTS),
    }
    if trouble := trouble_with(seen):
        raise ExportError(
            f"onnx-narrow is of no use for this model: {trouble}; teach it longer; nothing was "
            "written"
        )
    return replace(variant, parity=seen)


def stages_after(bundle: ModelBundle) -> dict[str, UncertaintyBand]:
    """The stages after a narrow one."""
    return chain(bundle, bundle.after(NARROW) or "fp32", bundle.thresholds)


def judged_by(
    bundle: ModelBundle,
    engines: dict[str, Backend],
    folder: Path,
    photos: Sequence[Path],
    seed: int,
) -> Judged:
    """Photos, and foreign pictures beside them, through all engines."""
    found = predict_each(refs_to(photos), bundle, engines)
    names = [Path(photo.ref.path).relative_to(folder).parts[0] for photo in found["fp32"].photos]
    count, size = max(int(_FOREIGN_SHARE * len(names)), 1), bundle.preprocess.size
    foreign_NHWC = np.stack(list(outlier_images(count, size, seed)))
    scores = {
        name: joined([of.scores, engines[name].run(foreign_NHWC)]) for name, of in found.items()
    }
    rest = exact = scores["fp32"]
    for precision, band in reversed(stages_after(bundle).items()):
        rest = settled(scores[precision], rest, band.contains(scores[precision]))
    return Judged(names + [FOREIGN] * count, scores[NARROW], rest, exact)


def evidence_for(bundle: ModelBundle, variant: Variant, gated: Judged) -> JsonObject:
    deferred_N = UncertaintyBand.of(variant, bundle.thresholds).contains(gated.narrow)
    final = settled(gated.narrow, gated.rest, deferred_N)
    said_N, true_N = (verdicts(scores, bundle.thresholds) for scores in (final, gated.exact))
    other_N = said_N != true_N
    missed_N = (said_N == Verdict.CLEAR) & (true_N == Verdict.CRACK)
    pairs_N2 = np.stack([gated.exact.p_crack_N, final.p_crack_N], axis=1)
    flags = {DEFERRED: deferred_N, "other": other_N, "missed": missed_N}
    own_N = np.array([source != FOREIGN for source in gated.source_N])
    moved_N = np.abs(gated.narrow.p_crack_N - gated.exact.p_crack_N)
    return {
        **by_source(gated.source_N, **flags),
        "max_difference": float(moved_N.max()),
        "mean_difference": float(moved_N.mean()),
        "verdict_flips": pairs_N2[other_N].tolist(),
        DEFERRED: float(deferred_N[own_N].mean()),
    }


def _photos(
    source: ModelBundle,
    draft: ModelBundle,
    tiles: Variant,
    photos: Path,
    say: Callable[[str], object],
) -> Variant | None:
    """The variant for photos at their own scale; None where it loses cracks."""
    candidate = replace(draft, variants={"onnx-narrow": tiles, "dense-narrow": PHOTOS})
    choosing, gating = deal_third(find_photos(photos), photos, "narrow")
    with closing(open_variant(source, candidate, PHOTOS)) as engine:
        seen: JsonObject = {
            "tiles": compare_tiles(source, candidate, PHOTOS, engine, raised_to=STRANGE)
        }
    with Screening.opened(source, candidate, photos) as screening:
        margin, familiar = screening.choose(choosing)
        seen |= screening.gate(gating, margin, familiar)
    if trouble := trouble_with_photos(seen):
        say(f"dense-narrow is left out: {trouble}; photos are judged by the model alone")
        return None
    return replace(PHOTOS, margin=margin, ood_margin=familiar, parity=seen)


def trouble_with(seen: JsonObject) -> str:
    """What speaks against a narrow variant, by the evidence `seen`: cracks that came out clear,
    other verdicts, or too much left to others for it to gain anything; empty where nothing does."""
    missed = {source: each["missed"] for source, each in seen["sources"].items() if each["missed"]}
    other, allowed = len(seen["verdict_flips"]), max(1, seen["images"] // FLIPS_PER)
    if missed:
        return f"it calls cracks clear ({', '.join(f'{n} of {s}' for s, n in missed.items())})"
    if other > allowed:
        return f"{other} of {seen['images']} verdicts differ from the model's, and {allowed} may"
    if seen[DEFERRED] > MOST_LEFT:
        return f"it leaves {seen[DEFERRED]:.0%} to the model"
    return ""


def trouble_with_photos(seen: JsonObject) -> str:
    """What speaks against a narrow variant for photos, by the evidence `seen`: photos it loses, or
    too much left to the model; empty where nothing does."""
    sources = seen["sources"]
    lost, missed, cracked = (
        sum(each[name] for source, each in sources.items() if source != FOREIGN)
        for name in ("lost", "missed", "cracked")
    )
    if missed:
        return f"it calls {missed} photos clear in which the model finds the crack"
    if lost > may_be_lost(cracked):
        return f"it calls {lost} of {cracked} photos with a crack clear that the model does not"
    if foreign := sources.get(FOREIGN, {}).get("lost", 0):
        return f"it calls {foreign} foreign pictures clear that the model does not"
    if seen[DEFERRED] > MOST_LEFT:
        return f"it leaves {seen[DEFERRED]:.0%} to the model"
    return ""


def main(
    pair: Annotated[Path, typer.Argument(help="Folder with the narrow network's ONNX files.")],
    data: Annotated[Path, typer.Argument(help="Folder with photos/.")],
    images: Annotated[Path, typer.Argument(help="Tiles, as the recipe lays them out.")],
    work: Annotated[Path, typer.Option(help="Where photos are kept.")] = Path("runs/narrow"),
    out: Annotated[Path, typer.Option(help="Bundle that the pair joins.")] = DEFAULT_PATH,
) -> None:
    """Gate the narrow pair on what was held back, and attach it."""
    bundle = attach(pair, data, images, work, out)
    for name, variant in bundle.variants.items():
        if variant.precision == NARROW:
            print(name, variant.margin, variant.crack_margin, variant.ood_margin, variant.parity)


if __name__ == "__main__":
    typer.run(main)
