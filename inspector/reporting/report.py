"""`report`: count a scan's table, and write the page and the map of it."""

from __future__ import annotations

import contextlib
import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.durable import make_directory, publish, replacing
from inspector.core.layout import refuse_other
from inspector.core.progress import no_progress
from inspector.core.untrusted import take_paths
from inspector.errors import OutputError, UsageError
from inspector.photos.address import Moved
from inspector.reporting.contents import Report, count_table
from inspector.reporting.counting import PASSES
from inspector.reporting.page import render_page
from inspector.reporting.shots import take_shots
from inspector.results.labels import read_decisions
from inspector.results.query import Query
from inspector.results.reader import read_steadily
from inspector.workers.process import refuse_reimport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.core.progress import Progress
    from inspector.results.reader import Table

MOST_PICTURES = 500
"""Photos on one page: some 50 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Options of a report. Raises UsageError when a value cannot be right."""

    out: Path
    """Result directory of a scan."""
    html: Path | None = None
    """The page's file; None: no page."""
    geojson: Path | None = None
    """A file for the photos that know their place; None: no such file."""
    pictures: int = 48
    """Cracks that are shown as pictures, at most."""
    model: Path | None = None
    """Bundle that made the table, for what is known about it; None: the one that comes along."""
    moved: str | None = None
    """`OLD=NEW`: photos that were scanned below OLD now lie below NEW."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not 0 <= self.pictures <= MOST_PICTURES:
            raise UsageError(f"--pictures {self.pictures} is not between 0 and {MOST_PICTURES}")
        if self.moved is not None:
            Moved.parse(self.moved)
        for option, file in (("--html", self.html), ("--geojson", self.geojson)):
            if file is not None:
                self._check_file(option, file)
        if self.html is not None and self.html == self.geojson:
            raise UsageError(f"--html and --geojson are both {self.html}; name two files")

    def _check_file(self, option: str, file: Path) -> None:
        """A page that a reader of the table would take for a piece of it would break the table."""
        if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
            raise UsageError(f"{option} {file} is a directory, link or device; name a regular file")
        place, out = file.resolve(), self.out.resolve()
        if out not in place.parents:
            return
        skipped = file.name.startswith(("_", ".")) and not file.name.endswith(".parquet")
        if place.parent != out or not skipped:
            raise UsageError(
                f"{option} {file} lies in the result directory, where readers would take it for a "
                "piece of the table; name another place, or begin its name with _"
            )


def report(config: ReportConfig, *, progress: Progress = no_progress) -> Report:
    """Count the table of `config.out`, and write the page and the map where they are asked for.

    Nothing but these two files is changed. Raises OutputError where there is no table, a scan keeps
    changing it, or a file cannot be written; BundleError where `config.model` is none.
    """
    refuse_reimport("report")
    refuse_other(config.out)

    def read(table: Table) -> Report:
        done, total = 0, len(table) * PASSES

        def count(rows: int) -> None:
            nonlocal done
            done = min(done + rows, total)
            progress("rows", done, total)

        with closing(Query(table, read_decisions(config.out), progress=count)) as query:
            counted = count_table(query, config.pictures)
            if config.geojson is not None:
                with _writing(config.geojson, "--geojson"):
                    write_geojson(query, config.geojson)
        return counted

    counted = read_steadily(config.out, read)
    if config.html is not None:
        rows = [*counted.cracks, *counted.differing]
        moved = Moved.parse(config.moved) if config.moved else None
        shots = take_shots(rows, moved, progress)
        page = render_page(counted, shots, config.model, moved)
        with _writing(config.html, "--html"):
            publish(page.encode(), config.html)
    return counted


def write_geojson(query: Query, file: Path) -> None:
    """Write the photos whose place is known as a FeatureCollection (RFC 7946) of points.

    Its properties are columns of the table, `human_verdict`, and `after_review`: what stands after
    people had their say. Raises OSError, OutputError, StaleTableError.
    """
    columns = "path uri p_crack reason failure_code taken_at camera gps_lat gps_lon gps_alt".split()
    features = query.each(
        columns,
        """SELECT to_json({
             type: 'Feature',
             geometry: {type: 'Point', coordinates: if(coalesce(isfinite(gps_alt), false),
               [gps_lon, gps_lat, gps_alt], [gps_lon, gps_lat])},
             properties: {path: path, uri: uri, verdict: verdict,
               p_crack: if(isfinite(p_crack), round(p_crack::DOUBLE, 6), NULL), reason: reason,
               failure_code: failure_code, human_verdict: human, camera: camera,
               taken_at: strftime(taken_at, '%Y-%m-%dT%H:%M:%S'), after_review: after}
           })
           FROM photos WHERE isfinite(gps_lat) AND isfinite(gps_lon)""",
    )
    with replacing(file) as draft, draft.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write('{"type": "FeatureCollection", "features": [\n')
        for number, (feature,) in enumerate(features):
            stream.write(f",\n{feature}" if number else feature)
        stream.write("\n]}\n")


@contextlib.contextmanager
def _writing(file: Path, option: str) -> Iterator[None]:
    try:
        make_directory(file.parent)
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror or error}; name another place with {option}"
        ) from error
