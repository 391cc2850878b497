"""The files of a run: results.json is the truth, the others are made from it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.suite.contract import BENCHMARK, FORMAT, damage
from inspector.core.durable import make_directory, publish
from inspector.core.untrusted import parse_json
from inspector.errors import OutputError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from inspector.types import JsonObject

RESULTS, SAMPLES, REPORT, PAGE = "results.json", "results.parquet", "report.md", "report.html"


def write_results(out: Path, results: JsonObject) -> None:
    """All four files, the measurement first: whatever happens to the reports, it is kept. Raises
    OutputError when they cannot be written, ValueError when `results` is no JSON."""
    from bench.suite.report.markdown import report_lines
    from bench.suite.report.page import render_page

    text = json.dumps(results, indent=1, allow_nan=False) + "\n"
    try:
        make_directory(out)
        publish(text.encode(), out / RESULTS)
        publish(_parquet(results), out / SAMPLES)
        publish("\n".join([*report_lines(results), ""]).encode(), out / REPORT)
        publish(render_page(results).encode(), out / PAGE)
    except OSError as error:
        raise OutputError(f"cannot write to {out} ({error.strerror}); use another --out") from error


def read_results(path: Path) -> JsonObject:
    """Results by their directory or by the file. Raises SourceError when they are not there, are
    not of the suite, have another format or are damaged."""
    file = path / RESULTS if path.is_dir() else path
    try:
        found = parse_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceError(
            f"{file} does not exist; name the --out folder of an inspector bench that has ended"
        ) from error
    except OSError as error:
        raise SourceError(f"cannot read {file} ({error.strerror})") from error
    except ValueError as error:  # no UTF-8, no JSON, or not all of it
        raise SourceError(
            f"{file} is damaged: it is not complete JSON; run inspector bench again"
        ) from error
    if not isinstance(found, dict) or found.get("benchmark") != BENCHMARK:
        raise SourceError(f"{file} was not written by inspector bench; name another folder")
    if found.get("format") != FORMAT:
        raise SourceError(
            f"{file} has format {found.get('format')!r:.20}, this version reads format {FORMAT}; "
            "run inspector bench again"
        )
    if wrong := damage(found):
        raise SourceError(f"{file} is damaged: {wrong}; run inspector bench again")
    return found


def samples(results: JsonObject) -> Iterator[dict[str, Any]]:
    """Raw samples in long form. A row without a `run` holds the rate of its round; those with one,
    of engines alone, hold the milliseconds of one counted run of that round. Rounds and runs count
    from 0."""
    for case in results["cases"]:
        names = ("id", "level", "name", "input", "batch_size", "workers")
        of_case = {name: case[name] for name in names}
        for number, rate in enumerate(case["rates"]):
            yield of_case | {"round": number, "run": None, "ms": None, "images_per_second": rate}
        for number, times_ms in enumerate(case["runs_ms"]):
            for run, ms in enumerate(times_ms):
                rate = 1e3 * case["batch_size"] / ms
                yield of_case | {"round": number, "run": run, "ms": ms, "images_per_second": rate}


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("level", text, nullable=False),
            pa.field("name", text, nullable=False),
            pa.field("input", text, nullable=False),
            pa.field("batch_size", whole),
            pa.field("workers", whole),
            pa.field("round", whole, nullable=False),
            pa.field("run", whole),
            pa.field("ms", real),
            pa.field("images_per_second", real, nullable=False),
        ]
    )


def _parquet(results: JsonObject) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(samples(results)), schema=_schema())
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()
