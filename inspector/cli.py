"""The command line: parse, build a config, call the library, print.

Heavy imports stand inside the commands, so that `inspector --help` costs nothing.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from inspector.data.limits import DecodeLimits
from inspector.errors import InspectorError
from inspector.version import __version__

app = typer.Typer(
    name="inspector",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Find cracks in photos of concrete: one verdict per photo, as a Parquet table.",
    epilog="Start with: inspector scan /photos",
)

_SCAN_PANEL = "Speed"
_LIMITS_PANEL = "Limits"
_LIMITS = DecodeLimits()
_tracebacks_wanted = False


def _want_tracebacks(verbose: bool) -> bool:
    global _tracebacks_wanted
    _tracebacks_wanted = _tracebacks_wanted or verbose
    return verbose


Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", callback=_want_tracebacks, help="Show an error's traceback."),
]
Model = Annotated[
    Path | None, typer.Option(help="Model bundle; the one that comes along if not given.")
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda[:i] or, to scan, cuda:all; cuda stops without a usable GPU."
    ),
]
Positive = Annotated[
    str | None, typer.Option(help="Name of the folders with cracks, if not Positive or the like.")
]
Groups = Annotated[
    Path | None, typer.Option(help="CSV with columns file, group: images of one place.")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"inspector {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command(
    epilog="Examples:  inspector scan /photos  ·  inspector scan a b.jpg --out results -j 4"
    "  ·  inspector scan /photos --max-failures 5% --json"
)
def scan(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Result directory; the same one continues a scan.")
    ] = Path("inspector-results"),
    model: Model = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="P", help="Crack from this probability on, clear below, no review."),
    ] = None,
    view: Annotated[str, typer.Option(help="auto or whole: each photo is judged once.")] = "auto",
    max_failures: Annotated[
        str | None, typer.Option(metavar="5%|N", help="Stop when more photos cannot be judged.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N photos.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Only the files that failed before, again.")
    ] = False,
    verify_content: Annotated[
        bool, typer.Option("--verify-content", help="Tell changed files by hash.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop the rows of files that are gone.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove earlier results from the directory.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be scanned.")
    ] = False,
    follow_symlinks: Annotated[
        bool,
        typer.Option(
            "--follow-symlinks", help="Enter links to directories.", rich_help_panel=_LIMITS_PANEL
        ),
    ] = False,
    max_pixels: Annotated[
        int, typer.Option(help="Refuse larger photos.", rich_help_panel=_LIMITS_PANEL)
    ] = _LIMITS.max_pixels,
    max_bytes: Annotated[
        int, typer.Option(help="Refuse larger files.", rich_help_panel=_LIMITS_PANEL)
    ] = _LIMITS.max_bytes,
    max_seconds: Annotated[
        float, typer.Option(help="Give up on a file after that.", rich_help_panel=_LIMITS_PANEL)
    ] = _LIMITS.max_seconds,
    device: Device = "auto",
    backend: Annotated[
        str,
        typer.Option(
            help="auto, onnxruntime, openvino, tensorrt, torchscript or eager.",
            rich_help_panel=_SCAN_PANEL,
        ),
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="auto (the fastest here), fp32, int8 or fp16.", rich_help_panel=_SCAN_PANEL
        ),
    ] = "auto",
    cascade: Annotated[
        str,
        typer.Option(
            help="auto, on or off: a low-resolution stage decides what is beyond doubt.",
            rich_help_panel=_SCAN_PANEL,
        ),
    ] = "auto",
    batch_size: Annotated[
        str, typer.Option("-b", "--batch-size", metavar="auto|N", rich_help_panel=_SCAN_PANEL)
    ] = "auto",
    workers: Annotated[
        str,
        typer.Option(
            "-j", "--workers", metavar="auto|N", help="Processes that decode; 0: threads.",
            rich_help_panel=_SCAN_PANEL,
        ),
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Give every photo in SOURCE (directories, files) one row with a crack verdict.

    Stopped or killed, the same command continues. Exit code 0: done; 3: done, but more photos
    failed than --max-failures allows or a directory could not be read; 130, 143: interrupted.
    """
    from inspector.scan import FailureBudget, ScanConfig, preview
    from inspector.scan import scan as run_scan
    from inspector.scan.console import ScanConsole, print_preview, print_summary

    config = ScanConfig(
        sources=tuple(sources),
        out=out,
        model=model,
        device=device,
        backend=backend,
        precision=precision,
        cascade=_auto_or_switch("--cascade", cascade),
        batch_size=_auto_or_count("--batch-size", batch_size),
        workers=_auto_or_count("--workers", workers),
        view=view,
        threshold=threshold,
        max_failures=FailureBudget.parse(max_failures) if max_failures else None,
        limit=limit,
        overwrite=overwrite,
        follow_symlinks=follow_symlinks,
        limits=DecodeLimits(max_pixels=max_pixels, max_bytes=max_bytes, max_seconds=max_seconds),
        verify_content=verify_content,
        retry_failed=retry_failed,
        prune=prune,
    )
    if dry_run:
        seen = preview(config)
        print(json.dumps(seen.to_json(), indent=2)) if as_json else print_preview(seen)
        return
    with ScanConsole(config, quiet=quiet) as console:
        summary = run_scan(config, watch=console)
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    if not quiet:
        print_summary(summary, to_stderr=as_json)
    raise typer.Exit(summary.exit_code)


@app.command(
    epilog="Examples:  inspector train /labelled --out my-model  ·  inspector train /labelled "
    "--init default --freeze-backbone --epochs 3"
)
def train(
    data: Annotated[Path, typer.Argument(help="Folder with Positive/ and Negative/, any depth.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Bundle to write.")] = Path(
        "inspector-model"
    ),
    validation: Annotated[
        Path | None, typer.Option(help="Labelled folder to validate on, not a part of DATA.")
    ] = None,
    groups: Groups = None,
    positive: Positive = None,
    init: Annotated[
        str, typer.Option(help="imagenet (download), default (shipped model), random, or a file.")
    ] = "imagenet",
    epochs: Annotated[int, typer.Option(help="At most so many.")] = 6,
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
    seed: Annotated[int, typer.Option(help="Same seed, same data: same model.")] = 0,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option("-j", "--workers", help="Loader processes.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the last epoch's checkpoint.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Fine-tune ResNet18 on two folders of images and write a model bundle that scans.

    The bundle gets history, curves and the misclassified validation images in training/.
    """
    from export import ExportConfig, export_bundle
    from inspector.train import TrainConfig
    from inspector.train import train as run_train
    from inspector.train.console import print_result

    config = TrainConfig(
        data=data,
        out=out,
        validation=validation,
        groups=groups,
        positive=positive,
        init=init,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        freeze_backbone=freeze_backbone,
        size=size,
        train_size=train_size,
        synthetic=synthetic,
        seed=seed,
        device=device,
        workers=workers,
        resume=resume,
    )
    result = run_train(config, quiet=quiet)
    bundle = export_bundle(ExportConfig(bundle=out, images=validation or data))
    if not quiet:
        print_result(result, bundle)


@app.command(
    epilog="Examples:  inspector evaluate /labelled  ·  inspector evaluate /labelled "
    "--groups groups.csv --out evaluation"
)
def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder with Positive/ and Negative/, any depth.")],
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write evaluation.json and predictions here.")
    ] = None,
    groups: Groups = None,
    positive: Positive = None,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option("-b", "--batch-size")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Measure a model on labelled images, per source: ROC AUC, accuracy, calibration, verdicts."""
    from inspector.evaluate import EvaluateConfig, render, to_json
    from inspector.evaluate import evaluate as run_evaluate

    result = run_evaluate(
        EvaluateConfig(
            data=data, model=model, positive=positive, groups=groups, out=out, device=device,
            batch_size=batch_size,
        )
    )  # fmt: skip
    print(to_json(result) if as_json else render(result))


@app.command(
    epilog="Examples:  inspector export my-model  ·  inspector export --onnx --out deploy  ·  "
    "inspector export my-model --int8 --calibration /photos"
)
def export(
    bundle: Annotated[
        Path | None, typer.Argument(help="Model bundle; the one that comes along if not given.")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX in fp32.")] = False,
    torchscript: Annotated[bool, typer.Option("--torchscript", help="TorchScript.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="ONNX in int8, for CPUs.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="ONNX in fp16, for GPUs.")] = False,
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="A low-resolution first stage for CPUs; taught first if need be."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where to write; the bundle itself if not given."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of photos that set the ranges of int8 and teach the cascade."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of photos on which verdicts must agree; others than those."),
    ] = None,
    images_limit: Annotated[
        int | None, typer.Option(metavar="N", help="Compare on at most N; 256, or 6000 for int8.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Export the model, to ONNX and TorchScript if not told otherwise; writes nothing if verdicts
    differ: none may in fp32, 1 in 1,000 in int8 and fp16, where fp32 decides what is near a
    threshold."""
    from export import ExportConfig, export_bundle

    config = ExportConfig(
        bundle=bundle,
        onnx=onnx,
        torchscript=torchscript,
        int8=int8,
        fp16=fp16,
        cascade=cascade,
        out=out,
        calibration=calibration,
        images=images,
        images_limit=images_limit,
    )
    if cascade and calibration is not None and not config.student.exists():
        from inspector.train import DistilConfig, distil
        from inspector.train.console import DistilConsole

        with DistilConsole() as console:
            distil(DistilConfig(bundle=config.source, photos=calibration), console)
    exported = export_bundle(config)
    for name in config.variants:
        variant = exported.variants[name]
        seen = variant.parity
        line = (
            f"{exported.file(variant.file)}  {seen['images']} images, largest probability "
            f"difference {seen['max_difference']:.1e}"
        )
        if variant.margin:
            line += f", {seen['sent_on']:.1%} of them judged again in fp32"
        print(f"{line}, {len(seen['verdict_flips']) or 'no'} verdicts differ")
    if cascade and exported.cascade is not None:
        seen = exported.cascade.evidence
        print(
            f"{exported.file(exported.cascade.file)}  {seen['images']} images, "
            f"{1 - seen['sent_on']:.1%} of them decided at {exported.cascade.size} px, "
            f"{len(seen['verdict_flips']) or 'no'} verdicts differ"
        )


@app.command(epilog="Examples:  inspector doctor  ·  inspector doctor my-model")
def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="Model bundle; the one that comes along if not given.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Check this machine and a model: versions, providers, hashes, answers on golden inputs."""
    from inspector.doctor import examine, render

    report = examine(bundle)
    print(render(report))
    raise typer.Exit(report.exit_code)


def _auto_or_switch(option: str, text: str) -> bool | None:
    """None for `auto`. Raises BadParameter for what is neither that nor `on` nor `off`."""
    choices = {"auto": None, "on": True, "off": False}
    if text not in choices:
        raise typer.BadParameter(f"{text!r} is not auto, on or off", param_hint=option)
    return choices[text]


def _auto_or_count(option: str, text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither auto nor a number", param_hint=option)
    return int(text)


def main() -> None:
    """Run the command line; an InspectorError becomes one line and its exit code."""
    try:
        app()
    except InspectorError as error:
        if _tracebacks_wanted:
            traceback.print_exc()
        print(f"inspector: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
