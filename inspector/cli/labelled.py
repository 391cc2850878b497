"""Commands on labelled photos: learn from some, measure and calibrate a model on others."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.help import examples
from inspector.cli.options import (
    Device,
    Model,
    Quiet,
    Verbose,
    View,
    called,
    completed,
    from_options,
    one_of,
    output,
    speed,
    verdicts,
    working,
)
from inspector.core.text import print_lines

commands = typer.Typer()

_report = partial(typer.Option, rich_help_panel="Report")
_data = partial(typer.Option, rich_help_panel="Labelled photos")
_learning = partial(typer.Option, rich_help_panel="Learning")
_thresholds = partial(typer.Option, rich_help_panel="Thresholds")

DATA = typer.Argument(
    metavar="DATA", help="Folder with Positive/ and Negative/, at any depth.", show_default=False
)
Positive = Annotated[
    list[str] | None,
    _data(
        metavar="NAME",
        help="Folders with cracks have this name, instead of Positive or the like; repeatable.",
    ),
]
Groups = Annotated[
    Path | None, _data(metavar="CSV", help="Columns file and group: which photos show one place.")
]
TargetRecall = Annotated[
    float | None,
    _thresholds(
        metavar="SHARE",
        show_default="0.9",
        help="Of each source's cracks, at least this share is not called clear.",
    ),
]
TargetSpecificity = Annotated[
    float | None,
    _thresholds(
        metavar="SHARE",
        show_default="0.92",
        help="Of each source's photos without cracks, at least this share is not called crack.",
    ),
]
Confidence = Annotated[
    float | None,
    _thresholds(
        metavar="P", show_default="0.95", help="How surely the targets hold on further photos."
    ),
]
Pooled = Annotated[
    bool, _thresholds("--pooled", help="Keep the targets over all sources together, not for each.")
]


@commands.command(
    epilog=examples(
        ("inspector train /labelled --out my-model", "from ImageNet's weights"),
        (
            "inspector train /labelled --init default --freeze-backbone --epochs 3",
            "a quick start from the model that comes along",
        ),
        ("inspector train /labelled --labels results", "with what inspector review was told"),
    )
)
def train(
    data: Annotated[Path | None, DATA] = None,
    out: Annotated[
        Path, _learning("-o", "--out", metavar="BUNDLE", help="The model to write.")
    ] = Path("inspector-model"),
    labels: Annotated[
        list[Path] | None,
        _data(metavar="OUT", help="Results labelled in inspector review; repeatable."),
    ] = None,
    validation: Annotated[
        Path | None, _data(metavar="DIR", help="Labelled folder to validate on, outside DATA.")
    ] = None,
    groups: Groups = None,
    positive: Positive = None,
    init: Annotated[
        str,
        _learning(
            metavar="FROM",
            autocompletion=completed("imagenet", "default", "random"),
            help="Where weights begin: imagenet (a download), default (the model that comes "
            "along), random, a model of yours, or a file of weights.",
        ),
    ] = "imagenet",
    epochs: Annotated[int, _learning(metavar="N", help="Epochs at most.")] = 6,
    batch_size: Annotated[
        int, _learning("-b", "--batch-size", metavar="N", help="Photos in one step.")
    ] = 100,
    learning_rate: Annotated[
        float | None,
        _learning("--lr", metavar="RATE", help="Peak rate; 3e-4, or 1e-3 with a frozen backbone."),
    ] = None,
    freeze_backbone: Annotated[bool, _learning(help="Train the last layer only.")] = False,
    size: Annotated[int, _learning(metavar="PX", help="Side of the model's input.")] = 224,
    train_size: Annotated[
        int | None,
        _learning(metavar="PX", help="A smaller side for all epochs but the last: faster."),
    ] = None,
    synthetic: Annotated[
        float,
        _learning(
            metavar="SHARE",
            help="So many of the photos without cracks get a synthetic crack or distractor.",
        ),
    ] = 0.0,
    target_recall: TargetRecall = None,
    target_specificity: TargetSpecificity = None,
    confidence: Confidence = None,
    pooled: Pooled = False,
    seed: Annotated[
        int, _learning(metavar="N", help="The same seed and data give the same model.")
    ] = 0,
    device: Device = "auto",
    workers: Annotated[
        int | None, speed("-j", "--workers", metavar="N", help="Processes that decode.")
    ] = None,
    resume: Annotated[bool, _learning(help="Continue from the last epoch's checkpoint.")] = False,
    strict_splits: Annotated[bool, _data(help="Refuse validation photos that leak.")] = False,
    no_leak_audit: Annotated[bool, _data(help="Do not look for photos that leak.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Fine-tune ResNet18 on two folders of photos and write a model that scans.

    A divided folder is used as it is: train/ to train on, val/ to validate on, test/ not at all.
    The page training/report.html in the bundle shows figures and curves on the validation photos,
    and the mistakes as pictures.
    """
    with working("loading PyTorch", quiet=quiet):
        from inspector.calibration.thresholds import Rule, for_unseen_walls
        from inspector.training.console import TrainConsole, print_result

        rule = for_unseen_walls(from_options(Rule, locals(), by_source=not pooled))
        run, config = called("train", locals(), rule=rule, leak_audit=not no_leak_audit)
    with TrainConsole(quiet=quiet, verbose=verbose) as console:
        result = run(
            config, progress=console, say=console.say, warn=console.warn, detail=console.detail
        )
    if not quiet:
        print_result(result)


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
        _data(metavar="DIR", help="Folder the model learned from: images of DATA in it are leaks."),
    ] = None,
    strict_splits: Annotated[
        bool, _data(help="Stop if the model has seen any of the images.")
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
) -> None:
    """Measure a model on labelled photos that it has not learned from, per source.

    Every figure has its interval. With --out, a page that opens anywhere: figures, curves,
    calibration, and the mistakes as pictures with heat maps.
    """
    from inspector.core.progress import CountingBar

    with working("loading scikit-learn and Matplotlib"):
        from inspector.evaluation.page import PAGE
        from inspector.evaluation.wording import evaluated_lines

        run, config = called("evaluate", locals())
    with CountingBar() as progress:
        result = run(config, progress, lambda line: print_lines([line], to_stderr=True))
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        print_lines(evaluated_lines(result))
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
        _thresholds(
            "-o",
            "--out",
            metavar="BUNDLE",
            help="Write a copy of the model that has the thresholds.",
        ),
    ] = None,
    target_recall: TargetRecall = None,
    target_specificity: TargetSpecificity = None,
    confidence: Confidence = None,
    pooled: Pooled = False,
    allow_laxer: Annotated[
        bool, _thresholds(help="Let more photos be called clear than the model does.")
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

    with working("loading SciPy"):
        from inspector.calibration.run import calibrated_lines
        from inspector.calibration.thresholds import Rule

        rule = from_options(Rule, locals(), by_source=not pooled)
        run, config = called("calibrate", locals())
    with CountingBar() as progress:
        result = run(config, progress, lambda line: print_lines([line], to_stderr=True))
    print_lines(calibrated_lines(result))
