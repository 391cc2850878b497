"""Commands around a model: train it, export it, try it on this machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.help import examples
from inspector.cli.options import (
    Confidence,
    Device,
    Pooled,
    Quiet,
    TargetRecall,
    TargetSpecificity,
    Verbose,
    completed,
    from_options,
    speed,
    working,
)

commands = typer.Typer()

_data = partial(typer.Option, rich_help_panel="Labelled photos")
_learning = partial(typer.Option, rich_help_panel="Learning")
_variants = partial(typer.Option, rich_help_panel="What is written")
_gate = partial(typer.Option, rich_help_panel="Photos that decide whether it may be written")

DATA = typer.Argument(
    metavar="DATA", help="Folder with Positive/ and Negative/, at any depth.", show_default=False
)
Bundle = Annotated[
    Path | None,
    typer.Argument(metavar="BUNDLE", help="The model; not given: the one that comes along."),
]
Positive = Annotated[
    list[str] | None,
    _data(
        metavar="NAME",
        help="Folders with cracks have this name, instead of Positive or the like; repeatable.",
    ),
]
Groups = Annotated[
    Path | None,
    _data(metavar="CSV", help="Columns file and group: which photos show one place."),
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
            "along), random, or a file.",
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
    freeze_backbone: Annotated[
        bool, _learning("--freeze-backbone", help="Train the last layer only.")
    ] = False,
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
    resume: Annotated[
        bool, _learning("--resume", help="Continue from the last epoch's checkpoint.")
    ] = False,
    strict_splits: Annotated[
        bool, _data("--strict-splits", help="Refuse validation photos that leak.")
    ] = False,
    no_leak_audit: Annotated[
        bool, _data("--no-leak-audit", help="Do not look for photos that leak.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Fine-tune ResNet18 on two folders of photos and write a model that scans.

    A divided folder is used as it is: train/ to train on, val/ to validate on, test/ not at all.
    The page training/report.html in the bundle shows figures and curves on the validation photos,
    and the mistakes as pictures.
    """
    with working("loading PyTorch", quiet=quiet):
        from inspector.calibration.thresholds import Rule, for_unseen_walls
        from inspector.training import TrainConfig
        from inspector.training import train as run_train
        from inspector.training.console import TrainConsole, print_result

    rule = for_unseen_walls(from_options(Rule, locals(), by_source=not pooled))
    config = from_options(TrainConfig, locals(), rule=rule, leak_audit=not no_leak_audit)
    with TrainConsole(quiet=quiet, verbose=verbose) as console:
        result = run_train(
            config, progress=console, say=console.say, warn=console.warn, detail=console.detail
        )
    if not quiet:
        print_result(result)


@commands.command(
    epilog=examples(
        ("inspector export my-model", "ONNX and TorchScript, into the bundle"),
        ("inspector export --onnx --out deploy", "a file that stands alone"),
        ("inspector export my-model --int8 --calibration /photos", "faster on a CPU"),
    )
)
def export(
    bundle: Bundle = None,
    onnx: Annotated[bool, _variants("--onnx", help="ONNX in fp32.")] = False,
    torchscript: Annotated[bool, _variants("--torchscript", help="TorchScript.")] = False,
    int8: Annotated[bool, _variants("--int8", help="ONNX in int8, for CPUs.")] = False,
    fp16: Annotated[bool, _variants("--fp16", help="ONNX in fp16, for GPUs.")] = False,
    out: Annotated[
        Path | None,
        _variants("-o", "--out", metavar="DIR", help="Where to write; not given: the bundle."),
    ] = None,
    calibration: Annotated[
        Path | None,
        _gate(metavar="DIR", help="Photos that set the ranges of int8."),
    ] = None,
    images: Annotated[
        Path | None,
        _gate(metavar="DIR", help="Other photos, on which verdicts must agree."),
    ] = None,
    images_limit: Annotated[
        int | None,
        _gate(metavar="N", help="Compare N of them at most.", show_default="256; int8: 6000"),
    ] = None,
) -> None:
    """Write a model as ONNX and TorchScript, or as what is named, and compare its verdicts.

    Nothing is written where verdicts differ: none may in fp32, 1 in 1,000 in int8 and fp16, where
    fp32 decides near the thresholds.
    """
    from inspector.core.progress import CountingBar
    from inspector.core.text import print_lines

    with working("loading PyTorch"):
        from export import ExportConfig, export_bundle

    config = from_options(ExportConfig, locals())
    with CountingBar() as progress:
        exported = export_bundle(config, progress)
    for name in config.variants:
        variant = exported.variants.get(name)
        if variant is None:
            print_lines([f"{name} was left out: of no use for this model"])
            continue
        seen = variant.parity
        if variant.view == "dense":
            moved = f"largest difference of log odds {seen['max_difference']:.1e}"
            looked = (
                f"{seen['windows']} windows" if "windows" in seen else f"{seen['scenes']} scenes"
            )
            print_lines([f"{exported.file(variant.file)}  {looked}, {moved}"])
            continue
        line = (
            f"{exported.file(variant.file)}  {seen['images']} images, largest probability "
            f"difference {seen['max_difference']:.1e}"
        )
        if variant.margin:
            line += f", {seen['deferred']:.1%} of them judged again in fp32"
        print_lines([f"{line}, {len(seen['verdict_flips']) or 'no'} verdicts differ"])


@commands.command(
    epilog=examples(
        ("inspector doctor", "this machine, and the model that comes along"),
        ("inspector doctor my-model", "this machine, and your model"),
    )
)
def doctor(bundle: Bundle = None) -> None:
    """Check this machine and a model: versions, formats, hashes, known answers, speed.

    Safe for a bundle from somebody else: its TorchScript, which is a program, is not run.
    """
    from inspector.core.text import print_lines
    from inspector.doctor import examine, exit_code, render

    with working("checking this machine and the model"):
        checks = examine(bundle)
    print_lines(render(checks))
    raise typer.Exit(exit_code(checks))
