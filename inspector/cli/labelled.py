"""Commands on labelled photos that the model has not learned from: evaluate and calibrate."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.cli.help import examples
from inspector.cli.model import DATA, Groups, Positive
from inspector.cli.options import (
    Confidence,
    Device,
    Model,
    Pooled,
    TargetRecall,
    TargetSpecificity,
    View,
    completed,
    from_options,
    one_of,
    output,
    speed,
    verdicts,
    working,
)
from inspector.core.text import Whole, plain_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.calibration.run import Calibrated
    from inspector.types import JsonObject


commands = typer.Typer()

_report = partial(typer.Option, rich_help_panel="Report")
_data = partial(typer.Option, rich_help_panel="Labelled photos")


@commands.command(
    epilog=examples(
        ("inspector evaluate /labelled --out evaluation", "figures, and a page with the mistakes"),
        ("inspector evaluate /labelled --groups groups.csv --by folder", "figures by folder"),
        ("inspector evaluate /labelled --json", "for a script"),
    )
)
def evaluate(
    data: Annotated[Path, DATA],
    model: Model = None,
    out: Annotated[
        Path | None,
        _report(
            "-o", "--out", metavar="DIR", help="Write report.html, metrics.json, predictions here."
        ),
    ] = None,
    by: Annotated[
        str,
        _report(
            metavar="COLUMN",
            autocompletion=completed("source", "folder", "group"),
            help="Split figures by source, folder, group, or a column of --groups.",
        ),
    ] = "source",
    groups: Groups = None,
    positive: Positive = None,
    trained_on: Annotated[
        Path | None,
        _data(
            metavar="DIR", help="Folder the model learned from: images of DATA in it are leaks."
        ),
    ] = None,
    strict_splits: Annotated[
        bool, _data("--strict-splits", help="Stop if the model has seen any of the images.")
    ] = False,
    gallery: Annotated[
        int, _report(metavar="N", help="Show at most N pictures of each kind of mistake.")
    ] = 60,
    device: Device = "auto",
    view: View = "auto",
    batch_size: Annotated[
        int, speed("-b", "--batch-size", metavar="N", help="Photos that the model takes at once.")
    ] = 32,
    workers: Annotated[
        int, speed("-j", "--workers", metavar="N", help="Processes that decode.")
    ] = 1,
    as_json: Annotated[bool, output("--json", help="Print metrics.json.")] = False,
) -> None:  # fmt: skip
    """Measure a model on labelled photos that it has not learned from, per source.

    Every figure has its interval. With --out, a page that opens anywhere: figures, curves,
    calibration, and the mistakes as pictures with heat maps.
    """
    from inspector.core.progress import CountingBar
    from inspector.core.text import print_lines

    with working("loading scikit-learn and Matplotlib"):
        from inspector.evaluation.page import PAGE
        from inspector.evaluation.run import EvaluateConfig
        from inspector.evaluation.run import evaluate as run_evaluate
        from inspector.evaluation.wording import render

    config = from_options(EvaluateConfig, locals())
    with CountingBar() as progress:
        result = run_evaluate(config, progress, lambda line: print_lines([line], to_stderr=True))
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        print_lines(render(result).splitlines())
    if out is not None:
        print_lines([f"report: {out / PAGE}"], to_stderr=as_json)
    elif not as_json:
        print_lines(["--out DIR writes a report with pictures of the mistakes"])


@commands.command(
    epilog=examples(
        ("inspector calibrate /labelled", "only say what thresholds it takes"),
        ("inspector calibrate /labelled --target-recall 0.99 --out my-walls", "and write a model"),
        ("inspector calibrate /large-photos --view dense --out my-walls", "at their own scale"),
    )
)
def calibrate(
    data: Annotated[Path, DATA],
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            rich_help_panel="Thresholds",
            metavar="BUNDLE",
            help="Write a copy of the model that has the thresholds.",
        ),
    ] = None,
    target_recall: TargetRecall = None,
    target_specificity: TargetSpecificity = None,
    confidence: Confidence = None,
    pooled: Pooled = False,
    allow_laxer: Annotated[
        bool,
        typer.Option(
            "--allow-laxer",
            rich_help_panel="Thresholds",
            help="Let more photos be called clear than the model does.",
        ),
    ] = False,
    groups: Groups = None,
    positive: Positive = None,
    view: Annotated[
        str,
        verdicts(
            **one_of("whole", "dense"),
            help="dense: thresholds for photos that are judged at their own scale.",
        ),
    ] = "whole",
    device: Device = "auto",
) -> None:
    """Choose thresholds on labelled photos of your own walls, and say what they guarantee.

    With --groups, whole groups are counted, which holds for further walls. Where the photos are too
    few for the targets, it says how many it takes, changes nothing and exits with 1. Probabilities
    stay what they are; to change those, train.
    """
    from inspector.core.progress import CountingBar
    from inspector.core.text import print_lines

    with working("loading scikit-learn"):
        from inspector.calibration.run import CalibrateConfig
        from inspector.calibration.run import calibrate as run_calibrate
        from inspector.calibration.thresholds import Rule

    rule = from_options(Rule, locals(), by_source=not pooled)
    config = from_options(CalibrateConfig, locals())
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
