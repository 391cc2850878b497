"""Copy a bundle with other thresholds: new metadata in its files, and margins that still hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from export.gates import MOST_DEFERRED, MOST_LEFT, choose_first_margins, choose_margins
from export.graph import restamp_onnx
from inspector.core.durable import check_writable, make_directory, publish, replacing
from inspector.engines.combined import DEFERRED, UncertaintyBand
from inspector.engines.contract import VARIANTS
from inspector.engines.parity import differing
from inspector.errors import OutputError
from inspector.labelled.fingerprints import FINGERPRINTS
from inspector.model.bundle import CARD, NARROW, ModelBundle, Thresholds, Variant
from inspector.model.stamp import model_metadata
from inspector.types import Scores, View


def with_thresholds(
    bundle: ModelBundle, thresholds: Thresholds, scores: Mapping[str, Scores]
) -> tuple[ModelBundle, tuple[str, ...]]:
    """The bundle with other thresholds, nothing written yet, and the precisions that are of no use
    with them.

    `scores` are those of N >= 1 photos by precision, `fp32` and every reduced one. A margin is
    widened to what these photos need. Where nearly everything is then left to the next precision, a
    scan by itself takes another, but a table that was begun with this one goes on.
    """
    remade, useless = dict(bundle.variants), []
    for name, variant in bundle.whole.items():
        if bundle.after(variant.precision) is None:
            continue
        found = _remargined(variant, scores["fp32"], scores[variant.precision], thresholds)
        most = MOST_DEFERRED if variant.crack_margin is None else MOST_LEFT
        if found.parity[DEFERRED] > most:
            useless.append(variant.precision)
        remade[name] = found
    return replace(bundle, thresholds=thresholds, variants=remade), tuple(useless)


def with_dense_thresholds(
    bundle: ModelBundle, thresholds: Thresholds
) -> tuple[ModelBundle, tuple[str, ...]]:
    """The bundle with other thresholds for photos at their own scale, nothing written yet, and the
    names of the variants left out of it. Where the thresholds ask for more certainty of a clear
    photo, no narrow network looks at photos first: its margins were chosen for less."""
    assert bundle.dense is not None
    changed = replace(bundle, dense=replace(bundle.dense, thresholds=thresholds))
    first = bundle.find(VARIANTS, NARROW, View.DENSE)
    if first is None or thresholds.clear_below >= bundle.dense.thresholds.clear_below:
        return changed, ()
    kept = {name: variant for name, variant in bundle.variants.items() if variant != first}
    return replace(changed, variants=kept), tuple(bundle.variants.keys() - kept.keys())


def _remargined(
    variant: Variant, reference: Scores, candidate: Scores, thresholds: Thresholds
) -> Variant:
    margin, crack_margin = variant.margin, variant.crack_margin
    if crack_margin is None:
        margin = max(margin, choose_margins(reference, candidate, thresholds)[0])
    else:
        low, high, _ = choose_first_margins(reference, candidate, thresholds)
        margin, crack_margin = max(margin, low), max(crack_margin, high)
    remade = replace(variant, margin=margin, crack_margin=crack_margin)
    deferred = float(UncertaintyBand.of(remade, thresholds).contains(candidate).mean())
    flips = int(differing(reference, candidate, thresholds).sum())
    seen = {
        "images": len(candidate.p_crack_N),
        "flips_without_margin": flips,
        "was": variant.margin,
    }
    parity = {**variant.parity, "margin": margin, DEFERRED: deferred, "other_thresholds": seen}
    return replace(remade, parity=parity)


def write_copy(source: ModelBundle, changed: ModelBundle, target: Path) -> ModelBundle:
    """Write `changed`, made by `with_thresholds` from `source`, to `target`; `bundle.json`, which
    makes the files count, comes last. Raises OutputError when `target` holds something or cannot
    be written."""
    check_free(target)
    files = changed.exported
    names = [name for name in source.files if name in files or name not in source.exported]
    copy = replace(changed, path=target, files={})
    stamp = model_metadata(replace(copy, files=source.files))
    try:
        make_directory(target)
        if source.file(FINGERPRINTS).is_file():
            make_directory((target / FINGERPRINTS).parent)
            put(source.file(FINGERPRINTS), target / FINGERPRINTS)
        for name in names:
            put(source.file(name), target / name, stamp if name in files else None)
        if CARD in names:
            _amend_card(target / CARD, source, changed)
        copy.with_files(*names).save()
    except OSError as error:
        raise OutputError(f"cannot write the model to {target}: {error}") from error
    return ModelBundle.load(target)


def check_free(target: Path) -> None:
    """Raises OutputError unless a bundle can be written to `target` without touching another."""
    check_writable(target)
    if os.path.exists(target) and os.listdir(target):
        raise OutputError(f"{target} is not empty; choose another --out or remove it")


def put(file: Path, place: Path, stamp: Mapping[str, str] | None = None) -> None:
    """Copy a file in one step, an exported one with other metadata: a reader sees the old file or
    the new one."""
    with ExitStack() as stack:
        if stamp is not None:
            scratch = TemporaryDirectory(prefix="inspector-export-")
            plain, file = file, Path(stack.enter_context(scratch), file.name)
            if file.suffix == ".onnx":
                restamp_onnx(plain, file, stamp)
            else:
                from export.torchscript import restamp_torchscript

                restamp_torchscript(plain, file, stamp)
        with replacing(place) as draft, file.open("rb") as old, draft.open("xb") as new:
            shutil.copyfileobj(old, new)


def _amend_card(card: Path, source: ModelBundle, changed: ModelBundle) -> None:
    """Say whose thresholds are others than the card's: of the model's input, of photos at their own
    scale."""
    lines = []
    if changed.thresholds != source.thresholds:
        lines.append(_told(changed.thresholds, ""))
    if changed.dense is not None and source.dense is not None and changed.dense != source.dense:
        lines.append(_told(changed.dense.thresholds, "photos at their own scale: "))
    note = (
        "> **Other thresholds than below.** This copy was given thresholds of its own by\n"
        f"> `inspector calibrate`: {'; '.join(lines)}.\n"
        "> The rule and what it guarantees stand in `bundle.json`. Everything below was measured\n"
        f"> with the model's first thresholds (digest `{source.digest}`).\n\n"
    )
    text = card.read_text(encoding="utf-8")
    publish((note + text if lines else text).encode(), card)


def _told(thresholds: Thresholds, what: str) -> str:
    low, high = thresholds.clear_below, thresholds.crack_from
    return f"{what}`clear` below {low:g}, `crack` from {high:g}"
