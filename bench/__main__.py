"""`python -m bench engine` and `python -m bench scan`; heavy imports stand inside the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.errors import InspectorError

if TYPE_CHECKING:
    from bench.report import Columns
    from inspector.types import JsonObject

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure on this machine. Exit code 1: a case failed or gave wrong answers.",
)

Model = Annotated[
    Path | None, typer.Option(help="Model bundle; the one that comes along if not given.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.command()
def engine(
    images: Annotated[
        Path | None, typer.Argument(help="Folder of photos; synthetic images if not given.")
    ] = None,
    model: Model = None,
    backends: Annotated[
        str, typer.Option(help="Separated by commas.")
    ] = "onnxruntime,torchscript,eager",
    batch_sizes: Annotated[str, typer.Option(help="Separated by commas.")] = "1,32",
    seconds: Annotated[float, typer.Option(help="Running time per case.")] = 10.0,
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.md.")] = Path(
        "bench-results/engine"
    ),
) -> None:  # fmt: skip
    """Engines alone, on the same images in memory."""
    from bench.engine import COLUMNS, EngineConfig, bench_engine
    from bench.report import make_folder

    sizes = _words(batch_sizes)
    if not all(size.isdecimal() for size in sizes):
        raise typer.BadParameter(f"{batch_sizes!r} are no numbers", param_hint="--batch-sizes")
    config = EngineConfig(
        images=images,
        model=model,
        backends=_words(backends),
        batch_sizes=tuple(map(int, sizes)),
        seconds=seconds,
        device=device,
    )
    make_folder(out)
    _finish(bench_engine(config), COLUMNS, out)


@app.command()
def scan(
    source: Annotated[Path, typer.Argument(help="Folder of photos.", show_default=False)],
    model: Model = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Only the first N photos.")] = None,
    rounds: Annotated[int, typer.Option(help="Runs of each.")] = 3,
    device: Device = "auto",
    out: Annotated[Path, typer.Option(help="Folder for results.json and report.md.")] = Path(
        "bench-results/scan"
    ),
) -> None:  # fmt: skip
    """From files to a table: inspector scan against a plain loop."""
    from bench.report import make_folder
    from bench.scan import COLUMNS, ScanBenchConfig, bench_scan

    config = ScanBenchConfig(source=source, model=model, limit=limit, rounds=rounds, device=device)
    make_folder(out)
    _finish(bench_scan(config), COLUMNS, out)


def _words(text: str) -> tuple[str, ...]:
    """Without repetitions, which would be one case twice."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _finish(results: JsonObject, columns: Columns, out: Path) -> None:
    """Write and print; a case that failed or was wrong makes the exit code 1."""
    from bench.report import table, write

    write(out, results, columns)
    print("\n".join(table(results, columns)))
    print(f"\nmethod, machine and raw times: {out}")
    measured = [case for case in results["cases"] if case["status"] == "ok"]
    failed = any(case["status"] == "failed" for case in results["cases"])
    raise typer.Exit(1 if failed or not measured else 0)


def main() -> None:
    """Run the command line; an InspectorError becomes one line and its exit code."""
    try:
        app()
    except InspectorError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
