"""Commands around a model: train it, export it, try it on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.options import (
    Confidence,
    Device,
    Pooled,
    Quiet,
    TargetRecall,
    TargetSpecificity,
    Verbose,
    rule_of,
)

commands = typer.Typer()

Positive = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Name of the folders with cracks, if not Positive or the like; may be repeated.",
    ),
]
Groups = Annotated[
    Path | None, typer.Option(help="CSV with columns file, group: images of one place.")
]


@commands.command(
    epilog="Examples:\n\ninspector train /labelled --out my-model\n\ninspector train /labelled "
    "--init default --freeze-backbone --epochs 3\n\ninspector train /labelled --labels results"
)
def train(
    data: Annotated[
        Path | None, typer.Argument(help="Folder with Positive/ and Negative/, any depth.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Bundle to write.")] = Path(
        "inspector-model"
    ),
    labels: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="OUT", help="Results labelled in inspector review; may be repeated."
        ),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Labelled folder to validate on, outside DATA.")
    ] = None,
    groups: Groups = None,
    positive: Positive = None,
    init: Annotated[
        str, typer.Option(help="imagenet (download), default (shipped model), random, or a file.")
    ] = "imagenet",
    epochs: Annotated[int, typer.Option(help="Number of epochs at most.")] = 6,
    batch_size: Annotated[int, typer.Option("-b", "--batch-size")] = 100,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="Peak rate; 3e-4, or 1e-3 with a frozen backbone.")
    ] = None,
    freeze_backbone: Annotated[
        bool, typer.Option("--freeze-backbone", help="Train the last layer only.")
    ] = False,
    size: Annotated[int, typer.Option(help="Side of the model's input, pixels.")] = 224,
    train_size: Annotated[
        int | None, typer.Option(help="Smaller side for all epochs but the last: faster.")
    ] = None,
    synthetic: Annotated[
        float,
        typer.Option(help="Share of crack-free images given a synthetic crack or distractor."),
    ] = 0.0,
    target_recall: TargetRecall = None,
    target_specificity: TargetSpecificity = None,
    confidence: Confidence = None,
    pooled: Pooled = False,
    seed: Annotated[int, typer.Option(help="Same seed, same data: same model.")] = 0,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option("-j", "--workers", help="Loader processes.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last epoch's checkpoint.")
    ] = False,
    strict_splits: Annotated[
        bool, typer.Option("--strict-splits", help="Refuse validation images that leak.")
    ] = False,
    no_leak_audit: Annotated[
        bool, typer.Option("--no-leak-audit", help="Do not look for leaking images.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Fine-tune ResNet18 on two folders of images and write a model bundle that scans.

    A divided folder is used as it is: train/ to train on, val/ to validate on, test/ not at all.
    The report training/report.html in the bundle shows figures and curves on the validation images,
    and pictures of the mistakes.
    """
    from inspector.calibration.thresholds import for_unseen_walls
    from inspector.training import TrainConfig
    from inspector.training import train as run_train
    from inspector.training.console import TrainConsole, print_result

    rule = rule_of(
        target_recall=target_recall, target_specificity=target_specificity, confidence=confidence,
        pooled=pooled,
    )  # fmt: skip
    config = TrainConfig(
        data=data,
        out=out,
        labels=tuple(labels or ()),
        validation=validation,
        groups=groups,
        positive=tuple(positive or ()),
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        freeze_backbone=freeze_backbone,
        size=size,
        train_size=train_size,
        synthetic=synthetic,
        rule=for_unseen_walls(rule),
        seed=seed,
        device=device,
        workers=workers,
        resume=resume,
        strict_splits=strict_splits,
        leak_audit=not no_leak_audit,
    )
    with TrainConsole(quiet=quiet) as console:
        result = run_train(config, progress=console, say=console.say, warn=console.warn)
    if not quiet:
        print_result(result)


@commands.command(
    epilog="Examples:\n\ninspector export my-model\n\ninspector export --onnx --out deploy\n\n"
    "inspector export my-model --int8 --calibration /photos"
)
def export(
    bundle: Annotated[
        Path | None, typer.Argument(help="Model bundle; the shipped one by default.")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX in fp32.")] = False,
    torchscript: Annotated[bool, typer.Option("--torchscript", help="TorchScript.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="ONNX in int8, for CPUs.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="ONNX in fp16, for GPUs.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where to write; the bundle itself if not given."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of photos that set the ranges of int8."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Other photos, on which verdicts must agree."),
    ] = None,
    images_limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Compare N photos at most; 256, or 6000 for int8."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Export a model, to ONNX and TorchScript by default.

    Writes nothing if verdicts differ: none may in fp32, 1 in 1,000 in int8 and fp16, where fp32
    decides near the thresholds.
    """
    from export import ExportConfig, export_bundle
    from inspector.core.text import print_lines

    config = ExportConfig(
        bundle=bundle,
        onnx=onnx,
        torchscript=torchscript,
        int8=int8,
        fp16=fp16,
        out=out,
        calibration=calibration,
        images=images,
        images_limit=images_limit,
    )
    exported = export_bundle(config)
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


@commands.command(epilog="Examples:\n\ninspector doctor\n\ninspector doctor my-model")
def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="Model bundle; the shipped one by default.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Check this machine and a model: versions, providers, hashes, answers on golden inputs.

    Safe for a bundle from somebody else: its TorchScript, which is a program, is not run.
    """
    from inspector.core.text import print_lines
    from inspector.doctor import examine, render

    report = examine(bundle)
    print_lines(render(report).splitlines())
    raise typer.Exit(report.exit_code)
