"""The command `scan`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from inspector.cli.options import (
    Device,
    MinCrackMm,
    MmPerPx,
    Model,
    Moved,
    Quiet,
    Threshold,
    Verbose,
    View,
    auto_or_count,
)
from inspector.photos.reading import DecodeLimits

commands = typer.Typer()

_speed = partial(typer.Option, rich_help_panel="Speed")
_limits = partial(typer.Option, rich_help_panel="Limits")
_DEFAULT = DecodeLimits()


@commands.command(
    epilog="Examples:\n\ninspector scan /photos\n\ninspector scan a b.jpg --out results -j 4"
    "\n\ninspector scan /photos --max-failures 5% --json"
    "\n\ninspector scan /photos --min-crack-mm 0.3 --mm-per-px 0.12"
)
def scan(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Result directory; the same one continues a scan.")
    ] = Path("inspector-results"),
    model: Model = None,
    threshold: Threshold = None,
    min_crack_mm: MinCrackMm = None,
    mm_per_px: MmPerPx = None,
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
    source_gone: Annotated[
        list[str] | None,
        typer.Option(metavar="DIR", help="Drop its photos' rows: it is gone for good; repeatable."),
    ] = None,
    moved: Moved = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove earlier results from the directory.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be scanned.")
    ] = False,
    follow_symlinks: Annotated[
        bool, _limits("--follow-symlinks", help="Enter links to directories.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        _limits(metavar="GLOB", help="Leave out names or paths like this; repeatable."),
    ] = None,
    max_pixels: Annotated[int, _limits(help="Refuse larger photos.")] = _DEFAULT.max_pixels,
    max_bytes: Annotated[int, _limits(help="Refuse larger files.")] = _DEFAULT.max_bytes,
    max_seconds: Annotated[
        float, _limits(help="Give up on a file after that.")
    ] = _DEFAULT.max_seconds,
    device: Device = "auto",
    backend: Annotated[
        str, _speed(help="auto, onnxruntime, openvino, tensorrt, torchscript or eager.")
    ] = "auto",
    trust: Annotated[
        bool,
        _speed(
            "--trust", help="Let the bundle's TorchScript run: a program, with all your rights."
        ),
    ] = False,
    view: View = "auto",
    heatmaps: Annotated[
        str | None,
        typer.Option(
            metavar="crack|review|all",
            help="Draw where the evidence lies, on photos called crack (or left to review; or all),"
            " into OUT/_heatmaps.",
        ),
    ] = None,
    overlap: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the tiles of --view tiles.")
    ] = 0.25,
    precision: Annotated[
        str, _speed(help="auto (the fastest here), fp32, int8 or fp16.")
    ] = "auto",
    batch_size: Annotated[str, _speed("-b", "--batch-size", metavar="auto|N")] = "auto",
    workers: Annotated[
        str,
        _speed("-j", "--workers", metavar="auto|N", help="Processes that decode; 0: none."),
    ] = "auto",
    loader: Annotated[
        str, _speed(help="auto, processes or torch: a DataLoader decodes.")
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on stdout.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Give every photo in SOURCE one row with a crack verdict.

    SOURCE: directories, files, patterns ('photos/**/*.jpg'), lists of names
    (@list.txt, or - for the standard input; relative to the current directory).
    A photo has one row, however it is named.

    Stopped or killed, the same command continues. Exit code 0: done; 3: done, but more photos
    failed than --max-failures allows, none could be judged, or a directory could not be read; 130,
    143: interrupted.
    """
    from inspector.scanning import FailureBudget, ScanConfig, preview
    from inspector.scanning import scan as run_scan
    from inspector.scanning.console import ScanConsole, print_preview, print_summary

    config = ScanConfig(
        sources=tuple(sources),
        out=out,
        model=model,
        device=device,
        backend=backend,
        trust=trust,
        precision=precision,
        batch_size=auto_or_count("--batch-size", batch_size),
        workers=auto_or_count("--workers", workers),
        loader=loader,
        threshold=threshold,
        min_crack_mm=min_crack_mm,
        mm_per_px=mm_per_px,
        view=view,
        heatmaps=heatmaps,
        overlap=overlap,
        max_failures=FailureBudget.parse(max_failures) if max_failures else None,
        limit=limit,
        overwrite=overwrite,
        follow_symlinks=follow_symlinks,
        exclude=tuple(exclude or ()),
        limits=DecodeLimits(max_pixels=max_pixels, max_bytes=max_bytes, max_seconds=max_seconds),
        verify_content=verify_content,
        retry_failed=retry_failed,
        prune=prune,
        source_gone=tuple(source_gone or ()),
        moved=moved,
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
