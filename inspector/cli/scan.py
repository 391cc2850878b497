"""The commands `scan` and `watch`."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspector.cli.help import examples
from inspector.cli.lines import lines_to
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
    called,
    completed,
    from_options,
    one_of,
    output,
    photos,
    size,
    speed,
    verdicts,
    with_options_of,
)
from inspector.core.text import print_lines
from inspector.photos.opened import DecodeLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

commands = typer.Typer()

_table = partial(typer.Option, rich_help_panel="Table")
_limits = partial(typer.Option, rich_help_panel="Limits")
_count = partial(speed, parser=auto_or_count, metavar="auto|N", show_default="auto")
_DEFAULT = DecodeLimits()
Jsonl = Annotated[
    str | None,
    output(
        metavar="-|FILE", help="A line of JSON for each photo as it is judged; a FILE is added to."
    ),
]


@commands.command(
    epilog=examples(
        ("inspector scan /photos", "every photo below, into photos-results"),
        ("inspector scan a b.jpg --out results -j 4", "several sources, 4 decoders"),
        ("inspector scan photos.zip 'shards/*.tar'", "archives, read in place"),
        ("inspector scan s3://bucket/bridge-7 --out results", "a bucket"),
        ("inspector scan /photos --out s3://bucket/results", "results in a bucket"),
        ("inspector scan /photos --max-failures 5% --json", "for a script"),
        ("inspector scan /photos --shard 3/8", "one of eight machines; then: inspector merge"),
        ("inspector scan /photos --engine ray", "all nodes of a Ray cluster"),
        (
            "inspector scan /photos --jsonl - | jq -r 'select(.verdict == \"crack\").path'",
            "each crack as it is found",
        ),
        ("inspector scan /photos --min-crack-mm 0.3 --mm-per-px 0.12", "cracks of 0.3 mm matter"),
    )
)
def scan(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            show_default=False,
            help="Directories, files, archives (.zip, .tar, .tar.gz), buckets (s3://, gs://, "
            "az://), web addresses of photos, patterns ('photos/**/*.jpg') or lists of names "
            "(@list.txt, @list.parquet; - for the standard input).",
        ),
    ],
    out: Annotated[
        str | None,
        _table(
            "-o",
            "--out",
            metavar="DIR",
            help="Where the results lie; the same directory continues a scan. In a bucket "
            "(s3://bucket/name) a table only grows, and several scans may add to it.",
            show_default="SOURCE-results",
        ),
    ] = None,
    model: Model = None,
    threshold: Threshold = None,
    min_crack_mm: MinCrackMm = None,
    mm_per_px: MmPerPx = None,
    max_failures: Annotated[
        str | None,
        _limits(metavar="5%|N", help="Stop when more photos than that could not be judged."),
    ] = None,
    limit: Annotated[int | None, photos(metavar="N", help="Only the first N photos.")] = None,
    shard: Annotated[
        str | None,
        photos(metavar="I/N", help="Only share I of N (0 to N - 1); see inspector merge."),
    ] = None,
    retry_failed: Annotated[
        bool, photos(help="Only the photos that failed before, again.")
    ] = False,
    verify_content: Annotated[
        bool, photos(help="Tell a changed photo by its content, not by its date.")
    ] = False,
    prune: Annotated[bool, _table(help="Drop the rows of photos that are gone.")] = False,
    source_gone: Annotated[
        list[str] | None,
        _table(
            metavar="DIR", help="DIR is gone for good: drop the rows of its photos; repeatable."
        ),
    ] = None,
    moved: Moved = None,
    overwrite: Annotated[bool, _table(help="Remove earlier results from the directory.")] = False,
    dry_run: Annotated[bool, output(help="Only say what would be scanned.")] = False,
    follow_symlinks: Annotated[bool, photos(help="Enter links to directories.")] = False,
    exclude: Annotated[
        list[str] | None,
        photos(metavar="GLOB", help="Leave out names or paths like this; repeatable."),
    ] = None,
    max_pixels: Annotated[
        int, _limits(parser=size, metavar="SIZE", help="Larger photos fail.", show_default="180MP")
    ] = _DEFAULT.max_pixels,
    max_bytes: Annotated[
        int, _limits(parser=size, metavar="SIZE", help="Larger files fail.", show_default="1GiB")
    ] = _DEFAULT.max_bytes,
    max_seconds: Annotated[
        float, _limits(metavar="SECONDS", help="A photo that takes longer fails.")
    ] = _DEFAULT.max_seconds,
    device: Device = "auto",
    backend: Annotated[
        str,
        speed(
            metavar="auto|NAME",
            autocompletion=completed(
                "auto", "onnxruntime", "openvino", "tensorrt", "torchscript", "eager"
            ),
            help="What runs the model: onnxruntime, openvino, tensorrt, torchscript or eager.",
        ),
    ] = "auto",
    trust: Annotated[
        bool,
        speed(help="Let the bundle's TorchScript run, which is a program with all your rights."),
    ] = False,
    view: View = "auto",
    heatmaps: Annotated[
        str | None,
        output(
            **one_of("crack", "review", "all"),
            help="Draw where the evidence lies, into OUT/_heatmaps: on photos called crack, also "
            "on those left to review, or on all.",
        ),
    ] = None,
    overlap: Annotated[
        float, verdicts(metavar="SHARE", help="How much neighbours overlap, under --view tiles.")
    ] = 0.25,
    precision: Annotated[
        str,
        speed(
            **one_of("auto", "fp32", "fp16", "int8", "narrow"),
            help="auto: the fastest on this machine.",
        ),
    ] = "auto",
    batch_size: Annotated[
        int | None, _count("-b", "--batch-size", help="Photos that the model takes at once.")
    ] = None,
    workers: Annotated[
        int | None, _count("-j", "--workers", help="Processes that decode; 0: none.")
    ] = None,
    engine: Annotated[
        str,
        speed(
            **one_of("local", "ray"),
            help="Where photos are judged: here, or on all nodes of a Ray cluster.",
        ),
    ] = "local",
    address: Annotated[
        str | None,
        speed(
            metavar="HOST:PORT",
            help="The Ray cluster; without it that of this machine, started if there is none.",
        ),
    ] = None,
    loader: Annotated[
        str,
        speed(
            **one_of("auto", "processes", "torch"),
            help="What decodes: own processes, or a torch DataLoader.",
        ),
    ] = "auto",
    as_json: Annotated[bool, output("--json", help="Print the summary as JSON on stdout.")] = False,
    jsonl: Jsonl = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Give every photo one verdict: crack, clear, or review, where a person must look.

    The results are one table (Parquet) with one row per photo, however often it is named. Stopped
    or killed, the same command continues.

    Exit code 0: done; 3: done, but more photos failed than --max-failures allows, none could be
    judged, or a directory could not be read; 129, 130, 143: interrupted.
    """
    if as_json and jsonl == "-":
        raise typer.BadParameter("--json and --jsonl - both want the standard output")
    from inspector.scanning import preview
    from inspector.scanning.console import ScanConsole
    from inspector.scanning.outcome import print_preview, summary_lines

    run, config = called("scan", locals(), limits=from_options(DecodeLimits, locals()))
    if dry_run:
        seen = preview(config)
        print(json.dumps(seen.to_json(), indent=2)) if as_json else print_preview(seen)
        return
    with ScanConsole(config, quiet=quiet, verbose=verbose) as console, lines_to(jsonl) as rows:
        summary = run(config, watch=console, rows=rows)
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))
    if not quiet:
        print_lines(summary_lines(summary, verbose), to_stderr=as_json or jsonl == "-")
    raise typer.Exit(summary.exit_code)


_ONE_SCAN = (
    "address as_json dry_run engine limit max_failures moved overwrite retry_failed source_gone "
    "verify_content"
).split()
"""Options of a scan that are not for many, one after the other."""


@commands.command(
    epilog=examples(
        ("inspector watch /incoming --out results", "judge photos as they arrive"),
        ("inspector watch /incoming --every 30 --jsonl found.jsonl", "look every 30 seconds"),
    )
)
@with_options_of(scan, *_ONE_SCAN)
def watch(
    every: Annotated[
        float, photos(metavar="SECONDS", help="How often to look for new photos.")
    ] = 2.0,
    jsonl: Jsonl = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    **options: Any,
) -> None:
    """Judge photos as they arrive in a folder, each once, into one table, until Ctrl-C.

    A photo is judged once its file stays as it is from one look to the next, so not while it is
    being copied; one that changes is judged again. Stopped or killed, the same command goes on,
    and inspector scan, report and review work on the table meanwhile.
    """
    from inspector.scanning.console import WatchConsole
    from inspector.scanning.outcome import watched_lines

    run, config = called("watch", options, limits=from_options(DecodeLimits, options))
    alone = jsonl == "-"
    with (
        WatchConsole(config, quiet=quiet, to_stderr=alone) as console,
        lines_to(jsonl) as write,
    ):

        def rows(some: Sequence[Mapping[str, Any]]) -> None:
            console.rows(some)
            if write is not None:
                write(some)

        summary = run(config, every_s=every, status=console.status, rows=rows)
    if not quiet:
        print_lines(watched_lines(summary, verbose), to_stderr=alone)
