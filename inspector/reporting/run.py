"""From a table to its summary, and to the page that shows it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from inspector.core.durable import make_directory, publish
from inspector.errors import OutputError
from inspector.photos.address import Moved
from inspector.reporting.contents import Summary, sum_up
from inspector.reporting.geojson import write_geojson
from inspector.reporting.page import render_page
from inspector.reporting.shots import take_shots
from inspector.reporting.state import state_of_scan
from inspector.reporting.table import Table
from inspector.reporting.tally import Tally
from inspector.results.directory import refuse_other
from inspector.reviewing.index import StaleTableError
from inspector.workers.start import refuse_reimport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inspector.reporting.config import SummaryConfig

    Progress = Callable[[str, int, int], None]

ATTEMPTS = 4
"""Readings of a table whose parts a scan keeps rewriting."""


def summarise(config: SummaryConfig, *, progress: Progress | None = None) -> Summary:
    """Count the table of `config.out`, and write the page and the places where they are asked for.

    Reads the table's parts once (once more for the places), and the photos that are shown; changes
    nothing but the two files. `progress` is told what is being read, how many are done and how
    many there are. Raises OutputError where there is no table, where a scan keeps changing it, or
    where a file cannot be written; BundleError where `config.model` is none.
    """
    show = progress or _show_nothing
    refuse_reimport("summarise")
    refuse_other(config.out)
    for _ in range(ATTEMPTS):
        with contextlib.suppress(StaleTableError):
            table = Table.open(config.out)
            summary = sum_up(table, _count(table, config, show), state_of_scan(table))
            if config.geojson is not None:
                with _writing(config.geojson, "--geojson"):
                    write_geojson(table, config.geojson)
            break
    else:
        raise OutputError(f"a scan keeps changing {config.out}; try again when it has ended")
    if config.html is not None:
        _write_page(config, summary, config.html, show)
    return summary


def _count(table: Table, config: SummaryConfig, show: Progress) -> Tally:
    tally = Tally(config)
    total, done = table.count_rows(), 0
    for piece in table.pieces():
        tally.add(piece)
        done += piece.rows.num_rows
        show("rows", done, total)
    return tally


def _write_page(config: SummaryConfig, summary: Summary, file: Path, show: Progress) -> None:
    rows = [*summary.cracks, *summary.differing]
    moved = Moved.parse(config.moved) if config.moved else None
    shots = take_shots(rows, moved, show)
    page = render_page(summary, shots, config.model)
    with _writing(file, "--html"):
        publish(page.encode(), file)


@contextlib.contextmanager
def _writing(file: Path, option: str) -> Iterator[None]:
    try:
        make_directory(file.parent)
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror or error}; name another place with {option}"
        ) from error


def _show_nothing(what: str, done: int, total: int) -> None:
    pass
