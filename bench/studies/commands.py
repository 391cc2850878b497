"""Command line of fault injection and studies, `python -m bench COMMAND`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspector.core.text import patient_streams, print_lines
from inspector.errors import InspectorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.studies.report import Columns
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
Rounds = Annotated[int, typer.Option(help="Runs of each.")]
Out = Annotated[Path, typer.Option(help="Folder for results.json and report.md.")]


@app.command()
def memory(
    tiles: Annotated[
        Path | None, typer.Argument(help="Folder of tiles; synthetic ones if not given.")
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Numbers of files, separated by commas.")
    ] = "10000,200000",
    per_folder: Annotated[int, typer.Option(help="Files in one directory.")] = 1000,
    rounds: Rounds = 1,
    done_rows: Annotated[
        str, typer.Option(help="Rows that a table has before; none if not given.")
    ] = "",
    out: Out = Path("bench-results/memory"),
) -> None:  # fmt: skip
    """Peak memory, first verdict and cost per file, at several numbers of files."""
    from bench.studies.memory import COLUMNS, MemoryConfig, bench_memory

    config = MemoryConfig(
        tiles=tiles,
        sizes=_numbers("--sizes", sizes),
        per_folder=per_folder,
        rounds=rounds,
        done_rows=_numbers("--done-rows", done_rows),
    )
    _finish(lambda: bench_memory(config), COLUMNS, out)


@app.command()
def commits(
    parts: Annotated[
        str, typer.Option(help="Numbers of parts, separated by commas.")
    ] = "1000,10000,100000",
    rounds: Rounds = 5,
    out: Out = Path("bench-results/commits"),
) -> None:  # fmt: skip
    """What it costs to record one more part of a table, by the number of parts it has."""
    from bench.studies.commits import COLUMNS, bench_commits

    _finish(lambda: bench_commits(_numbers("--parts", parts), rounds), COLUMNS, out)


@app.command()
def ledger(
    rows: Annotated[
        str, typer.Option(help="Numbers of rows, separated by commas; 26 bytes of memory each.")
    ] = "1000000,10000000,100000000",
    rounds: Rounds = 3,
    out: Out = Path("bench-results/ledger"),
) -> None:  # fmt: skip
    """What a scan pays for the rows that its table has already, by their number."""
    from bench.studies.ledgers import COLUMNS, bench_ledgers

    _finish(lambda: bench_ledgers(_numbers("--rows", rows), rounds), COLUMNS, out)


@app.command()
def formats(
    megapixels: Annotated[
        str, typer.Option(help="Sizes of the photo, separated by commas.")
    ] = "12,100",
    rounds: Rounds = 3,
    out: Out = Path("bench-results/formats"),
) -> None:  # fmt: skip
    """Time and memory that each format of photos takes to decode at its own scale."""
    from bench.studies.formats import COLUMNS, bench_formats

    _finish(lambda: bench_formats(_numbers("--megapixels", megapixels), rounds), COLUMNS, out)


@app.command()
def faults(
    source: Annotated[
        Path | None,
        typer.Argument(help="Folder of photos for the scans that are killed.", show_default=False),
    ] = None,
    parts: Annotated[
        str, typer.Option(help="Separated by commas.")
    ] = "kills,steps,mutants,order,catalogue,crashes,writers,stores",
    quick: Annotated[bool, typer.Option("--quick", help="A few of each, in minutes.")] = False,
    photos: Annotated[int, typer.Option(help="In a scan that is killed.")] = 96,
    kills: Annotated[int, typer.Option(help="Scans killed at random moments.")] = 200,
    mutants: Annotated[int, typer.Option(help="Damaged files.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of moments and damage.")] = 0,
    model: Model = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 or int8.")] = "auto",
    parallel: Annotated[int, typer.Option(help="Scans at the same time.")] = 2,
    out: Out = Path("bench-results/faults"),
) -> None:  # fmt: skip
    """Kill scans, feed them bad files, and compare their tables: exactly once?"""
    from bench.faults.run import COLUMNS, FaultsConfig, bench_faults

    config = FaultsConfig(
        source=source,
        parts=_words(parts),
        model=model,
        precision=precision,
        photos=photos,
        kills=kills,
        mutants=mutants,
        seed=seed,
        parallel=parallel,
    )
    _finish(lambda: bench_faults(config.quick() if quick else config), COLUMNS, out)


@app.command()
def leaks(
    data: Annotated[
        Path, typer.Argument(help="Labelled folder, numbered by photo.", show_default=False)
    ],
    groups: Annotated[
        Path,
        typer.Option(help="CSV with columns file, group: images of one photo.", show_default=False),
    ],
    positive: Annotated[
        str | None, typer.Option(help="Name of the folders with cracks, if not Positive.")
    ] = None,
    init: Annotated[
        str, typer.Option(help="Weights of the frozen network, as in `inspector train`.")
    ] = "imagenet",
    size: Annotated[int, typer.Option(help="Side of the images it sees, pixels.")] = 112,
    rounds: Rounds = 5,
    out: Out = Path("bench-results/leaks"),
) -> None:  # fmt: skip
    """Measure how much a split by tile flatters, and whether the leak audit notices."""
    from bench.studies.leaks import COLUMNS, LeaksBenchConfig, bench_leaks

    config = LeaksBenchConfig(
        data=data, groups=groups, positive=positive, init=init, size=size, rounds=rounds
    )
    _finish(lambda: bench_leaks(config), COLUMNS, out)


@app.command()
def training(
    data: Annotated[
        Path,
        typer.Argument(
            help="Folder with train/ and validation/, each SOURCE/CLASS/file, as the recipe lays "
            "them out (runs/shipped/images).",
            show_default=False,
        ),
    ],
    init: Annotated[
        str, typer.Option(help="Initial weights, as in `inspector train`.")
    ] = "imagenet",
    variations: Annotated[
        str, typer.Option(help="Separated by commas; all if not given.")
    ] = "",
    epochs: Annotated[int, typer.Option(help="Of each training.")] = 5,
    epoch_images: Annotated[int, typer.Option(metavar="N", help="Images per epoch.")] = 320,
    batch_size: Annotated[int, typer.Option("-b", "--batch-size")] = 20,
    size: Annotated[int, typer.Option(help="Input side, pixels.")] = 224,
    train_size: Annotated[int, typer.Option(help="The same in all epochs but the last.")] = 112,
    per_class: Annotated[
        int, typer.Option(metavar="N", help="Images judged per source and class, at most.")
    ] = 100,
    seed: Annotated[int, typer.Option(help="Of draws and weights.")] = 1,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Of torch; 0: its own choice.")] = 0,
    out: Out = Path("bench-results/training"),
) -> None:  # fmt: skip
    """Short trainings that differ in one thing each, judged on walls none of them has seen."""
    from bench.studies.training.run import COLUMNS, TrainingBenchConfig, bench_training

    config = TrainingBenchConfig(
        data=data,
        out=out,
        init=init,
        variations=_words(variations),
        epochs=epochs,
        epoch_images=epoch_images,
        batch_size=batch_size,
        size=size,
        train_size=train_size,
        per_class=per_class,
        seed=seed,
        device=device,
        threads=threads,
    )
    _finish(lambda: bench_training(config), COLUMNS, out)


@app.command()
def ood(
    data: Annotated[Path, typer.Argument(help="Concrete: DATA/SOURCE/...", show_default=False)],
    other: Annotated[Path, typer.Argument(help="Other things: KIND/...", show_default=False)],
    model: Model = None,
    threshold: Annotated[
        float | None, typer.Option(help="Out of distribution from this score; else the model's.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="Pictures of each kind.")] = 400,
    out: Out = Path("bench-results/ood"),
) -> None:  # fmt: skip
    """Measure how much of what is no concrete a model notices, and how much concrete it flags."""
    from bench.studies.ood import COLUMNS, OodBenchConfig, bench_ood

    config = OodBenchConfig(
        concrete=data, other=other, model=model, threshold=threshold, limit=limit
    )
    _finish(lambda: bench_ood(config), COLUMNS, out)


@app.command()
def photos(
    data: Annotated[
        Path,
        typer.Argument(help="Folder with photos/uavcrack, no_crack, mosaic.", show_default=False),
    ],
    images: Annotated[
        Path,
        typer.Argument(
            help="Tiles as the recipe lays them out (runs/shipped/images).", show_default=False
        ),
    ],
    model: Model = None,
    fit: Annotated[
        Path | None, typer.Option(help="Write a copy of the model whose dense view is fitted.")
    ] = None,
    precision: Annotated[str, typer.Option(help="fp32, int8 or narrow.")] = "fp32",
    out: Annotated[Path, typer.Option(help="Folder for photos.json, photos.md, answers.")] = Path(
        "bench-results/photos"
    ),
) -> None:
    """Verdicts and regions on photos with known cracks, among joints, cables and shadows."""
    from bench.results import make_folder
    from bench.studies.photos.report import markdown
    from bench.studies.photos.run import PhotosConfig, study_photos

    make_folder(out)
    config = PhotosConfig(
        data=data, images=images, out=out, model=model, fit=fit, precision=precision
    )
    _, found = study_photos(config)
    print_lines(markdown(found).splitlines())


def _numbers(option: str, text: str) -> tuple[int, ...]:
    words = _words(text)
    if not all(word.isdecimal() for word in words):
        raise typer.BadParameter(f"{text!r} are no numbers", param_hint=option)
    return tuple(map(int, words))


def _words(text: str) -> tuple[str, ...]:
    """Without repetitions, which would be one case twice."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _finish(study: Callable[[], JsonObject], columns: Columns, out: Path) -> None:
    """Measure, write and print; a case that failed or was wrong makes the exit code 1."""
    from bench.processes import describe_system
    from bench.results import make_folder
    from bench.studies.report import table, write

    make_folder(out)
    system = describe_system()
    results = study() | {"system": system}
    write(out, results, columns)
    print_lines([*table(results, columns), "", f"method, machine and raw times: {out}"])
    measured = [case for case in results["cases"] if case["status"] == "ok"]
    failed = any(case["status"] == "failed" for case in results["cases"])
    raise typer.Exit(1 if failed or not measured else 0)


def main() -> None:
    """Run the command line; an InspectorError becomes one line and its exit code."""
    with patient_streams():
        try:
            app()
        except InspectorError as error:
            print_lines([f"bench: {error}"], to_stderr=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
