"""`report`: count a scan's table, and write the page, the lists and the maps of it."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.durable import replacing
from inspector.core.layout import refuse_other
from inspector.core.progress import no_progress
from inspector.core.untrusted import take_paths
from inspector.errors import UsageError
from inspector.photos.address import Moved
from inspector.reporting.contents import Report, count_table
from inspector.reporting.copies import ANNOTATE, COPY, CROPS, check_folder, write_copies
from inspector.reporting.counting import PASSES
from inspector.reporting.listing import list_photos
from inspector.reporting.lists import Links, write_csv, writing
from inspector.reporting.page import Cover, render_page, shown_rows, unseen
from inspector.reporting.shots import take_shots
from inspector.results.labels import read_decisions
from inspector.results.opening import at_hand
from inspector.results.query import Query
from inspector.results.reader import parse_since, read_steadily
from inspector.workers.process import refuse_reimport

if TYPE_CHECKING:
    from inspector.core.progress import Progress
    from inspector.reporting.listing import Listing
    from inspector.results.reader import Table

EXPORTS = ("csv", "xlsx", "geojson", "geoparquet", "coco")
_PASSES = {"--html": 1, "--csv": 4, "--xlsx": 6, "--geojson": 2, "--geoparquet": 2, "--coco": 3}
"""Readings of the rows by each of them."""
MOST_PICTURES = 5_000
"""Photos with pictures on one page: some 15 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Options of a report. Raises UsageError when a value cannot be right."""

    out: Path | str
    """Result directory of a scan, or its address in a bucket."""
    html: Path | None = None
    """The page's file; None: no page."""
    csv: Path | None = None
    """A list of all photos; None, here and below: no such file."""
    xlsx: Path | None = None
    """The same for Excel, with small pictures of cracks."""
    geojson: Path | None = None
    """A file for the photos that know their place."""
    geoparquet: Path | None = None
    """The same as GeoParquet."""
    coco: Path | None = None
    """The regions of photos that were judged at their own scale, as COCO JSON."""
    annotate: Path | None = None
    """A new folder for the photos with cracks, their regions marked; None, here and below: none."""
    crops: Path | None = None
    """A new folder for their regions, cut out."""
    copy_cracks: Path | None = None
    """A new folder for copies of them."""
    pictures: int = 500
    """Photos that the page, and the list for Excel, have pictures of, at most: cracks first, then
    those left to a person. The page shows others from their files, where it can reach them."""
    title: str | None = None
    """The page's title."""
    cover: Path | None = None
    """A TOML file with other texts of its cover (`inspector.reporting.page`)."""
    model: Path | None = None
    """Bundle that made the table, for what is known about it; None: the one that comes along."""
    moved: str | None = None
    """`OLD=NEW`: what was scanned as OLD, a folder or a file, is NEW now."""
    since: str | None = None
    """Only photos that were judged then or later: a date or a time as of ISO 8601, local unless it
    names a time zone; None: all."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not 0 <= self.pictures <= MOST_PICTURES:
            raise UsageError(f"--pictures {self.pictures} is not between 0 and {MOST_PICTURES}")
        if self.moved is not None:
            Moved.parse(self.moved)
        if self.since is not None:
            parse_since(self.since)
        seen: dict[Path, str] = {}
        for option, place in (self.folders | self.files).items():
            is_folder = option in self.folders
            (check_folder if is_folder else _check_file)(option, place, self.out)
            if (other := seen.setdefault(place.absolute(), option)) != option:
                what = "folders" if is_folder else "files"
                raise UsageError(f"{other} and {option} are both {place}; name two {what}")

    @property
    def files(self) -> dict[str, Path]:
        """The files that are asked for, by option."""
        names = ("html", *EXPORTS)
        return {f"--{name}": file for name in names if (file := getattr(self, name)) is not None}

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of pictures that are asked for, by option."""
        named = {ANNOTATE: self.annotate, CROPS: self.crops, COPY: self.copy_cracks}
        return {option: folder for option, folder in named.items() if folder is not None}


def _check_file(option: str, file: Path, out: Path | str) -> None:
    """A page that a reader of the table would take for a piece of it would break the table."""
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        raise UsageError(f"{option} {file} is a directory, link or device; name a regular file")
    if isinstance(out, str) or out.resolve() not in file.resolve().parents:
        return
    skipped = file.name.startswith(("_", ".")) and not file.name.endswith(".parquet")
    if file.resolve().parent != out.resolve() or not skipped:
        raise UsageError(
            f"{option} {file} lies in the result directory, where readers would take it for a "
            "piece of the table; name another place, or begin its name with _"
        )


def report(config: ReportConfig, *, progress: Progress = no_progress) -> Report:
    """Count the table of `config.out`, and write the files that are asked for.

    Nothing but these files is changed. Raises OutputError where there is no table, a scan keeps
    changing it, or a file cannot be written; BundleError where `config.model` is none.
    """
    refuse_reimport("report")
    with at_hand(config.out) as out:
        return _report(config, out, progress)


def _report(config: ReportConfig, out: Path, progress: Progress) -> Report:
    refuse_other(out)
    cover = Cover.read(config.cover, config.title)
    moved = Moved.parse(config.moved) if config.moved else None
    links = None if config.html is None else Links(config.html.parent, out, moved)

    def read(table: Table) -> tuple[Report, dict[str, Listing]]:
        decisions = read_decisions(out)
        passes = PASSES + bool(decisions.num_rows) + bool(config.folders)
        passes += sum(_PASSES[option] for option in config.files)
        done, total = 0, table.streamed

        def count(rows: int) -> None:
            nonlocal done
            done += rows
            progress("rows", min(done // passes, total), total)

        with closing(Query(table, decisions, progress=count)) as query:
            counted = count_table(query, config.pictures)
            lists = {} if links is None else list_photos(query, links, counted.root)
            said = {
                option: _export(
                    query, option, file, Links(file.parent, out, moved), config.pictures, progress
                )
                for option, file in config.files.items()
                if option != "--html"
            }
            if config.folders:
                said |= write_copies(query, config.folders, moved, progress)
        return replace(counted, said=said), lists

    since = None if config.since is None else parse_since(config.since)
    counted, lists = read_steadily(out, read, since)
    counted = replace(counted, out=config.out)
    if config.html is not None and links is not None:
        shots = take_shots(*shown_rows(counted), moved, progress)
        if missing := unseen(shots):
            counted = replace(counted, said={**counted.said, "--html": missing})
        page = render_page(counted, lists, shots, cover, links, config.model)
        with (
            writing(config.html, "--html"),
            replacing(config.html) as draft,
            draft.open("x", encoding="utf-8", errors="backslashreplace") as stream,
        ):
            stream.writelines(page)
    return counted


def _export(
    query: Query, option: str, file: Path, links: Links, pictures: int, progress: Progress
) -> str:
    """Write one file, and return what there is to say of it. What it takes is loaded here: a report
    without it does without that memory."""
    with writing(file, option):
        if option == "--csv":
            return write_csv(query, file, links)
        if option == "--xlsx":
            from inspector.reporting.excel import take_pictures, write_xlsx

            shown = take_pictures(query, pictures, links.moved, progress)
            return write_xlsx(query, file, links, shown)
        if option == "--coco":
            from inspector.reporting.coco import write_coco

            return write_coco(query, file, links.moved)
        from inspector.reporting.maps import write_geojson, write_geoparquet

        write = {"--geojson": write_geojson, "--geoparquet": write_geoparquet}[option]
        return write(query, file, links.moved)
