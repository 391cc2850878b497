"""The `evaluate` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.model import Groups, Positive
from inspector.cli.options import Device, Model, Verbose

commands = typer.Typer()


@commands.command(
    epilog="Examples:\n\ninspector evaluate /labelled --out evaluation\n\ninspector evaluate "
    "/labelled --groups groups.csv --by folder\n\ninspector evaluate /labelled --json"
)
def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder with Positive/ and Negative/, any depth.")],
    model: Model = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Write report.html, metrics.json, predictions here."),
    ] = None,
    by: Annotated[
        str, typer.Option(help="Split figures by source, folder, group, or a column of --groups.")
    ] = "source",
    groups: Groups = None,
    positive: Positive = None,
    trained_on: Annotated[
        Path | None,
        typer.Option(help="Folder the model learned from: images of DATA in it are leaks."),
    ] = None,
    strict_splits: Annotated[
        bool, typer.Option("--strict-splits", help="Stop if the model has seen any of the images.")
    ] = False,
    gallery: Annotated[
        int, typer.Option(metavar="N", help="Show at most N pictures of each kind of mistake.")
    ] = 60,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option("-b", "--batch-size")] = 32,
    workers: Annotated[int, typer.Option("-j", "--workers", help="Decoder processes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json.")] = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Measure a model on labelled images it has not learned from, with intervals, per source.

    With --out, a report that opens anywhere: figures, curves, calibration, and mistakes as pictures
    with heat maps.
    """
    from inspector.core.progress import CountingBar
    from inspector.core.text import print_lines
    from inspector.evaluation import PAGE, EvaluateConfig, render
    from inspector.evaluation import evaluate as run_evaluate

    config = EvaluateConfig(
        data=data, model=model, positive=tuple(positive or ()), groups=groups, by=by, out=out,
        gallery=gallery, trained_on=trained_on, strict_splits=strict_splits, device=device,
        batch_size=batch_size, workers=workers,
    )  # fmt: skip
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
