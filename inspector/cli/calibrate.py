"""The `calibrate` command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.cli.model import Groups, Positive
from inspector.cli.options import Device, Model, Verbose
from inspector.cli.rules import (
    Confidence,
    Pooled,
    TargetRecall,
    TargetSpecificity,
    rule_of,
)
from inspector.core.text import Whole, plain_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.calibration.run import Calibrated
    from inspector.types import JsonObject

commands = typer.Typer()


@commands.command(
    epilog="Examples:\n\ninspector calibrate /labelled\n\n"
    "inspector calibrate /labelled --target-recall 0.99 --out my-walls"
)
def calibrate(
    data: Annotated[
        Path, typer.Argument(help="Labelled photos the model has not learned from, as for train.")
    ],
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write a copy of the model that has the thresholds."),
    ] = None,
    target_recall: TargetRecall = None,
    target_specificity: TargetSpecificity = None,
    confidence: Confidence = None,
    pooled: Pooled = False,
    allow_laxer: Annotated[
        bool,
        typer.Option("--allow-laxer", help="Let more photos be called clear than the model does."),
    ] = False,
    groups: Groups = None,
    positive: Positive = None,
    device: Device = "auto",
    verbose: Verbose = False,
) -> None:
    """Choose thresholds on labelled photos of your own walls, and say what they guarantee.

    With --groups, whole groups are counted, which holds for further walls. Where the photos are too
    few for the targets, it says how many it takes, changes nothing and exits with 1.

    Probabilities stay what they are; to change those, train.
    """
    from inspector.calibration.run import CalibrateConfig
    from inspector.calibration.run import calibrate as run_calibrate
    from inspector.core.progress import CountingBar
    from inspector.core.text import print_lines

    rule = rule_of(
        target_recall=target_recall, target_specificity=target_specificity, confidence=confidence,
        pooled=pooled,
    )  # fmt: skip
    config = CalibrateConfig(
        data=data, model=model, out=out, rule=rule, allow_laxer=allow_laxer,
        positive=tuple(positive or ()), groups=groups, device=device,
    )  # fmt: skip
    with CountingBar() as progress:
        result = run_calibrate(config, progress, lambda line: print_lines([line], to_stderr=True))
    print_lines(_laxer(result), to_stderr=True)
    print_lines(_render(result, out))


def _render(result: Calibrated, out: Path | None) -> Iterator[str]:
    chosen = result.thresholds
    yield f"clear below {chosen.clear_below:g}, crack from {chosen.crack_from:g}"
    yield from (f"  {claim}" for claim in chosen.evidence["claims"])
    yield from _table(chosen.evidence["counts"], result.before)
    if (wanted := chosen.evidence.get("would_be_clear_below")) is not None:
        yield (
            f"clear is kept below the model's own {result.own.clear_below:g}; these photos would "
            f"let it reach up to {wanted:g}: --allow-laxer takes that"
        )
    if result.failed:
        yield f"{len(result.failed):,} photos could not be decoded"
    if out is None:
        yield "nothing was written; --out BUNDLE writes a copy of the model with these thresholds"
        return
    if result.left_out:
        yield (
            f"left out, because it was gated for other thresholds: {', '.join(result.left_out)}; "
            f"make it again with: inspector export {shlex.quote(str(out))} "
            f"{' '.join(_option(name) for name in result.left_out)} --calibration PHOTOS"
        )
    yield f"model: {out}"
    yield Whole(f"use it: inspector scan /photos --model {shlex.quote(str(out))}")


def _laxer(result: Calibrated) -> Iterator[str]:
    own, chosen = result.own.clear_below, result.thresholds.clear_below
    if chosen > own:
        yield (
            f"WARNING: laxer than the model's own thresholds: clear below {chosen:g} instead of "
            f"{own:g}; cracks between the two are now called clear, and nobody looks at them"
        )


def _option(name: str) -> str:
    """The option of `inspector export` that makes a variant."""
    return f"--{name.rpartition('-')[2]}"


def _table(counts: JsonObject, before: JsonObject) -> Iterator[str]:
    rows = []
    for source, now in counts.items():
        was, images = before[source], now["cracks"] + now["clears"]
        shares = (("missed", now["cracks"]), ("alarms", now["clears"]), ("review", images))
        cells = [_share(of[kind], total) for kind, total in shares for of in (now, was)]
        rows.append([source or ".", f"{now['cracks']:,}", f"{now['clears']:,}", *cells])
    yield from plain_table(
        ("source", "cracks", "clear", "missed", "(was)", "alarms", "(was)", "review", "(was)"), rows
    )
    yield "missed: cracks called clear; alarms: crack-free photos called crack"


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "-"
