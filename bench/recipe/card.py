"""Model card, written from a bundle and its evaluations: no number in it is typed by hand."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.core.untrusted import parse_json
from inspector.errors import DataError
from inspector.evaluation.figures import Evaluation, Figures, Measured, WidthFigures
from inspector.model.bundle import NARROW
from inspector.types import View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from inspector.model.bundle import ModelBundle, Variant
    from inspector.types import JsonObject

_GATES = "## Export gates\n"
_FIRST = "- First stage, "
_HEAD = """# Model card: {name}

ResNet18 (torchvision's layers, last one `Linear(512, 2)`) that tells concrete with a crack from
concrete without one. It judges a whole image of {size} x {size} pixels; a 227 px tile is cropped to
that, anything else is resized. Input uint8 RGB `[N, H, W, 3]`; normalisation, temperature and
softmax are inside the exported graph.

| | |
| --- | --- |
| bundle digest | `{digest}` |
| started from | `{started}` |
| data digest | `{data}` |
{trainings}
| temperature, shift of the crack logit | {temperature:.3f}, {shift:+.3f} (in the last bias) |
| `clear` below, `crack` from | {clear_below}, {crack_from} |
| out of distribution from | {out_of_distribution} (1 is usual among the training images) |

Thresholds were chosen {chosen}.
"""

_TRAINED_ON = """
## What it learned from
- METU *Concrete Crack Images for Classification* (Özgenel 2019, doi:10.17632/5y9wdsg2zt.2,
  CC BY 4.0): {metu:,} tiles of a quarter of the set. Cracks are split by source photo; the
  crack-free tiles carry no photo, so those in training and test may show the same wall.
- Poly Haven textures without cracks (CC0): {polyhaven:,} crops, split by texture.
{context}- This project's own synthetic cracks, distractors and surfaces (`inspector.synthesis`).
- {backbone}

Labels are balanced while it learns, so a probability speaks for a wall where every second image has
a crack.
"""

_CONTEXT = """\
- `uavcrack` (*UAV-Based Crack Detection Dataset*, CC0): drone crops with crack masks, divided by
  blocks of frames; and whole Poly Haven textures (CC0), seamless, at many scales.
"""

_BACKBONES = {
    "imagenet": "The backbone started from torchvision's IMAGENET1K_V1 weights.",
    "resnet18_imagenet_reconstructed.pth": (
        "The backbone started from a *reconstruction* of torchvision's ImageNet weights: conv1 to\n"
        "  layer3 and layer4.0.downsample hold the official IMAGENET1K_V1 values, the layer4.0\n"
        "  convolutions are near them, layer4.1 was an identity that had not been pretrained.\n"
        "  It is not the official file."
    ),
}

_MEASURED = """
## Measured on images it has not learned from
By the exported ONNX model, on the test half of each source. Sources marked * gave no training
image; their other half chose the epoch, temperature and thresholds (but for crack500, asphalt,
which had no part in that). Intervals are 95 %, by
bootstrap over groups (source photos). Accuracies are at probability one half; *missed* are cracks
called clear and *alarms* clear images called crack, by the thresholds above.

"""

_LIMITS = """
## What it is bad at
{worst}
- Hairlines: walls whose cracks are a pixel or two wide at tile scale are where it misses most.
- It notices about five in six photos that show no concrete, and takes some odd walls for such
  (`docs/explanation/out-of-distribution.md`).
- Asphalt, paving, brickwork: near enough to concrete not to be noticed, far enough to be judged
  badly.
- It has seen no night shots and no thermal images; writing, rulers, spalls and plants mostly as
  this project draws them.
- Of 48 composed photos with a crack of 10 to 64 px none was called clear at their own scale; wider
  cracks were not tried.
- It says where the evidence peaks, not how wide or long a crack is.
- It assists a person; it does not replace an inspection.

Licence of the weights: Apache-2.0; the METU data ask for the citation above.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """How a bundle was made."""

    first: ModelBundle
    """What the training on tiles made."""
    steps: int | None
    """Steps an epoch of the full-length training; None where there was none."""
    counts: Mapping[str, int]
    """Training images per source."""


def render_card(
    bundle: ModelBundle, tested: Evaluation, made: Made, *, name: str, before: Evaluation
) -> str:
    """Markdown. `before` is the evaluation of the model that was shipped, on the same images."""
    training, first = bundle.training, made.first.training
    head = _HEAD.format(
        name=name,
        size=bundle.preprocess.size,
        digest=bundle.digest,
        started=first["init"],
        data=training["data_digest"],
        trainings="\n".join(_trainings(bundle, made)),
        temperature=bundle.temperature,
        shift=training["calibration_shift"],
        clear_below=bundle.thresholds.clear_below,
        crack_from=bundle.thresholds.crack_from,
        out_of_distribution=bundle.thresholds.out_of_distribution,
        chosen=bundle.thresholds.chosen,
    )
    parts = [
        head,
        _TRAINED_ON.format(
            metu=made.counts.get("metu", 0),
            polyhaven=made.counts.get("polyhaven", 0),
            context=_CONTEXT if made.steps else "",
            backbone=_BACKBONES.get(first["init"], f"It started from {first['init']}."),
        ),
        _MEASURED + figures_table(tested, made.counts),
        "\nConfusion at probability one half (rows: truth):\n\n" + _confusions(tested),
        _parity(bundle),
        "" if before.digest == tested.digest else _comparison(tested, before),
        _LIMITS.format(worst=_worst(tested), size=bundle.preprocess.size),
    ]
    return "".join(parts)


def figures_table(tested: Evaluation, counts: Mapping[str, int]) -> str:
    """One line per source; those that gave no training image are marked."""
    lines = [
        "| source | cracks | clear | groups | ROC AUC | balanced accuracy | ECE | missed | alarms "
        "| review |",
        "| --- | ---: | ---: | ---: | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for f in tested.sources:
        mark = "" if f.source in counts or f.source == "all" else "*"
        lines.append(
            f"| {f.source}{mark} | {f.cracks} | {f.clears} | {f.groups} "
            f"| {_with_interval(f.measures['roc_auc'], 4, '')} "
            f"| {_with_interval(f.measures['balanced_accuracy'], 2, ' %')} "
            f"| {_cell(f.value('ece'), '.3f')} "
            f"| {_cell(f.value('missed'), '.1%')} "
            f"| {_cell(f.value('false_alarms'), '.1%')} "
            f"| {_cell(f.value('review'), '.1%')} |"
        )
    return "\n".join(lines) + "\n"


def _with_interval(measured: Measured, digits: int, unit: str) -> str:
    if not math.isfinite(measured.value):
        return "-"
    scale = 100 if unit else 1
    value, low, high = (
        f"{scale * number:.{digits}f}" for number in (measured.value, measured.low, measured.high)
    )
    return f"{value}{unit} ({low} to {high})" if math.isfinite(measured.low) else f"{value}{unit}"


def _confusions(tested: Evaluation) -> str:
    lines = ["| source | truth | said crack | said clear |", "| --- | --- | ---: | ---: |"]
    for f in tested.sources:
        lines.append(f"| {f.source} | crack | {f.confusion['tp']} | {f.confusion['fn']} |")
        lines.append(f"| | clear | {f.confusion['fp']} | {f.confusion['tn']} |")
    return "\n".join(lines) + "\n"


def _parity(bundle: ModelBundle) -> str:
    """Figures of each export gate. A lower precision defers what is near a threshold to fp32;
    differing verdicts are counted after that."""
    lines = [f"\n{_GATES}"]
    for name, variant in sorted(bundle.whole.items()):
        seen = variant.parity
        lines.append(
            f"- `{name}`: {seen['images']:,} images, largest probability difference to "
            f"{seen['reference']} {seen['max_difference']:.1e}, verdicts that differ: "
            f"{len(seen['verdict_flips'])}" + _judged_again(variant)
        )
    for name, variant in sorted(bundle.variants.items()):
        if variant.view == View.DENSE:
            lines.append(f"- `{name}`, for photos at their own scale: {_dense(variant.parity)}")
    return "\n".join(lines) + "\n"


def with_first_stage(card: str, bundle: ModelBundle) -> str:
    """The card with the gates of the bundle's narrow variants, in place of what it said of them."""
    before, heading, after = card.partition(_GATES)
    lines = [line for line in after.splitlines() if not line.startswith(_FIRST)]
    end = next((k for k, line in enumerate(lines) if line.startswith("## ")), len(lines))
    last = max(k for k, line in enumerate(lines[:end]) if line.startswith("- "))
    told = [
        f"{_FIRST}`{name}`: {_photos_kept(seen) if variant.view == View.DENSE else _decided(seen)}"
        for name, variant in sorted(bundle.variants.items(), reverse=True)
        if variant.precision == NARROW and (seen := variant.parity)
    ]
    return before + heading + "\n".join([*lines[: last + 1], *told, *lines[last + 1 :]]) + "\n"


def _decided(seen: JsonObject) -> str:
    missed = sum(each["missed"] for each in seen["sources"].values())
    return (
        f"{seen['images']:,} images, foreign ones among them; of the others {seen['deferred']:.0%} "
        f"left to the model; verdicts that differ: {len(seen['verdict_flips'])}, cracks called "
        f"clear: {missed}"
    )


def _photos_kept(seen: JsonObject) -> str:
    counts = Counter[str]()
    for each in seen["sources"].values():
        counts.update(each)
    return (
        f"{seen['images']:,} photos at their own scale, the model looks at {seen['deferred']:.0%} "
        f"of what it does alone; of {counts['cracked']} with a crack {counts['lost']} called clear "
        f"that the model does not; for review {counts['review']} before, {counts['review_then']} "
        f"then; verdicts that differ: {counts['other']}"
    )


def _dense(seen: JsonObject) -> str:
    alike = f"tiles as by the variant for tiles up to {seen['tiles']['max_difference']:.1e}"
    if "windows" not in seen:
        return (
            f"{alike}; log odds of scenes as {seen['reference']} up to {seen['max_difference']:.1e}"
        )
    return (
        f"{alike}; in {seen['windows']:,} windows of {seen['photos']} photos, log odds "
        f"{seen['mean_difference']:.2f} from {seen['reference']} in the mean and "
        f"{seen['moved']:.2f} in 99 of 100, {seen['other_side']:.1%} on the other side of even odds"
    )


def _judged_again(variant: Variant) -> str:
    if not variant.margin:
        return ""
    seen = variant.parity
    alone = len(seen["verdict_flips_without_margin"])
    quality = "".join(
        f"; {title} {seen[measure]['fp32']:.4f} in fp32, {seen[measure]['alone']:.4f} alone"
        for title, measure in (("ROC AUC", "roc_auc"), ("ECE", "ece"))
        if measure in seen
    )
    return (
        f" ({alone} without the margin of {variant.margin:.2f} logits, within which fp32 judges "
        f"again: {seen['deferred']:.1%} of the images{quality})"
    )


def _trainings(bundle: ModelBundle, made: Made) -> Iterator[str]:
    first, training = made.first.training, bundle.training
    yield (
        f"| trained on tiles | {first['epochs']} epochs at {first['train_size']} px, the last one "
        f"at {bundle.preprocess.size} px; batches of {first['batch_size']}, peak rate "
        f"{first['learning_rate']:g}, seed {first['seed']}; {first['synthetic']:.0%} of the "
        "crack-free images made harder (synthetic crack, distractor, or both) |"
    )
    if made.steps:
        on = {"default": "; on from the weights shipped before"}.get(training["init"], "")
        yield (
            f"| then with context | {training['epochs']} epochs of {made.steps} steps, the best "
            f"one {training['best_epoch']}; {training['batch_size']} tiles and as many pixels of "
            f"crops of 320 to 448 px a step, peak rate {training['learning_rate']:g}, seed "
            f"{training['seed']}{on} |"
        )


def _comparison(tested: Evaluation, before: Evaluation) -> str:
    lines = [
        "\n## Before and after",
        "The model that was shipped before, on the same test images, each by its own thresholds:\n",
        "| source | ROC AUC, before | now | balanced accuracy, before | now | missed, before | now "
        "| alarms, before | now | review, before | now |",
        "| --- |" + " ---: |" * 10,
    ]
    theirs = {f.source: f for f in before.sources}
    measures = {
        "roc_auc": ".4f", "balanced_accuracy": ".2%", "missed": ".1%", "false_alarms": ".1%",
        "review": ".1%",
    }  # fmt: skip
    for f in tested.sources:
        cells = [
            _cell(figures.value(measure), form)
            for measure, form in measures.items()
            for figures in (theirs[f.source], f)
        ]
        lines.append(f"| {' | '.join([f.source, *cells])} |")
    return "\n".join(lines) + "\n"


def _cell(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _worst(tested: Evaluation) -> str:
    judged = [f for f in tested.sources if f.cracks]
    worst: Figures = max(judged, key=lambda f: f.value("missed"))
    missed = _cell(worst.value("missed"), ".1%")
    return f"- Walls like `{worst.source}`: {missed} of their cracks are called clear."


def read_metrics(file: Path) -> Evaluation:
    """The figures in a `metrics.json`, None being NaN or infinity. Raises DataError when it is not
    one."""
    try:
        values = dict(parse_json(file.read_text(encoding="utf-8")))
        if (number := values.pop("format")) != 1:
            raise ValueError(f"format {number} of metrics.json is not known")
        for name in ("sources", "without_leaks"):
            values[name] = tuple(_figures(row) for row in values[name])
        values["widths"] = tuple(
            WidthFigures(**row | {"below_px": _number(row["below_px"], math.inf)})
            for row in values["widths"]
        )
        return Evaluation(**values | {"failed": tuple(values["failed"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} does not hold the figures of a report ({error!r}); make them with: "
            "inspector evaluate DATA --out DIR"
        ) from error


def _figures(row: JsonObject) -> Figures:
    measures = {
        name: Measured(*(_number(one[key]) for key in ("value", "low", "high")))
        for name, one in row["measures"].items()
    }
    temperature = _number(row["best_temperature"])
    return Figures(**row | {"measures": measures, "best_temperature": temperature})


def _number(value: float | None, missing: float = math.nan) -> float:
    return missing if value is None else value
