"""Lists of photos for people, what is pressing first, with links to the pictures; as CSV."""

from __future__ import annotations

import csv
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote_from_bytes

from inspector.core.durable import make_directory, replacing
from inspector.core.layout import Layout
from inspector.core.text import printable
from inspector.errors import OutputError
from inspector.photos.address import LOCAL, MEMBER, WEB, path_of, text_of, uri_of
from inspector.reporting.wording import longest, photos
from inspector.results.query import FAILED
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.photos.address import Moved
    from inspector.results.query import Query

ORDER = (str(Verdict.CRACK), str(Verdict.REVIEW), FAILED, str(Verdict.CLEAR))
"""Outcomes in the order of a list; within each, photos stand in the order of the table."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", *"\uff1d\uff0b\uff0d\uff20")
"""Beginnings by which spreadsheets take a text for a program; of letters, also the wide ones."""
_UNSAFE = re.compile(r'[%"<>\[\]`^{}|\\#? ]')
"""Printable letters that no link may hold as they are."""

_FOLDERS_KEPT = 100

Kind = Literal["text", "count", "number", "time", "link"]


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a list: its values, and for Excel its width in letters and its format."""

    name: str
    kind: Kind = "text"
    width: int = 12
    format: str = "General"


FIELDS = (
    Field("folder", width=40),
    Field("file", width=24),
    Field("verdict"),
    Field("human_verdict", width=14),
    Field("note", width=30),
    Field("after_review"),
    Field("p_crack", "number", format="0.000"),
    Field("reason", width=18),
    Field("regions", "count", 9),
    Field("longest_region", width=20),
    Field("px_at_least", "number", format="0"),
    Field("px_at_most", "number", format="0"),
    Field("mm_at_least", "number", format="0"),
    Field("mm_at_most", "number", format="0"),
    Field("mm_per_px", "number", format="0.000"),
    Field("mm_per_px_source", width=16),
    Field("smallest_visible_mm", "number", 18, "0.00"),
    Field("taken_at", "time", 19, "yyyy-mm-dd hh:mm:ss"),
    Field("judged_at", "time", 19, "yyyy-mm-dd hh:mm:ss"),
    Field("gps_lat", "number", format="0.000000"),
    Field("gps_lon", "number", format="0.000000"),
    Field("gps_alt", "number", format="0.0"),
    Field("camera_yaw", "number", format="0.0"),
    Field("camera_pitch", "number", format="0.0"),
    Field("camera", width=24),
    Field("photo", "link", 30),
    Field("overlay", "link", 30),
)
_SHORT = ("p_crack", "mm_per_px", "smallest_visible_mm", "camera_yaw", "camera_pitch")
"""Numbers of single precision."""
PLACE_DIGITS = 7
"""Of degrees: a centimetre. What stands behind them is noise."""


def round_place(degrees: str) -> str:
    """Round degrees in SQL."""
    return f"round({degrees}, {PLACE_DIGITS})"


_AS_READ = """uri p_crack mm_per_px mm_per_px_source smallest_visible_mm taken_at judged_at
              gps_lat gps_lon gps_alt camera_yaw camera_pitch camera""".split()
_ASKED = {
    "row": "row", "verdict": "model", "human_verdict": "human", "note": "note",
    "after_review": "after", "reason": "coalesce(reason, failure_code)", "regions": "len(regions)",
    "found": "if(len(regions) > 0, regions, NULL)", **{name: name for name in _AS_READ},
    "gps_lat": round_place("gps_lat"), "gps_lon": round_place("gps_lon"),
    "gps_alt": "round(gps_alt, 2)",
}  # fmt: skip
"""Values of a photo in SQL."""


class Links:
    """Links of a list that lies in `folder`: relative, so that it can be handed on with the photos,
    to where they lie now; none to a photo that is no file of its own nor on a web server."""

    def __init__(self, folder: Path, out: Path, moved: Moved | None = None) -> None:
        self.moved = moved
        self._at = Layout(out.resolve())
        self._drawn = self._at.heatmaps.is_dir()
        self._folder = folder.resolve()
        self._below: dict[str, str] = {}
        """Links to the folders that photos and overlays were last in."""

    def photo(self, uri: str) -> str:
        uri = self.moved.apply(uri) if self.moved else uri
        if uri.startswith(WEB):
            return uri
        if not uri.startswith(LOCAL) or MEMBER in uri:
            return ""
        try:
            return self._to(path_of(uri))
        except ValueError:  # of a file of another machine
            return ""

    def overlay(self, uri: str) -> str:
        """The photo with its heat map, where that was drawn."""
        if not self._drawn:
            return ""
        file = self._at.heatmap(uri)
        return self._to(str(file.absolute())) if file.is_file() else ""

    def _to(self, path: str) -> str:
        folder, name = os.path.split(path)
        if folder not in self._below:
            if len(self._below) > _FOLDERS_KEPT:
                self._below.clear()
            self._below[folder] = self._to_folder(folder)
        return f"{self._below[folder]}/{_quoted(name)}"

    def _to_folder(self, folder: str) -> str:
        try:
            link = _quoted(os.path.relpath(folder, self._folder).replace(os.sep, "/"))
        except ValueError:  # on another drive
            return uri_of(folder)
        return link if link.startswith(".") else f"./{link}"


def _quoted(path: str) -> str:
    """A piece of a link; letters of all languages stay, as browsers and spreadsheets take them."""
    if path.isprintable() and not _UNSAFE.search(path):
        return path
    return "".join(
        c if c.isprintable() and not _UNSAFE.match(c) else quote_from_bytes(os.fsencode(c), safe="")
        for c in path
    )


def each_photo(query: Query, where: str = "true") -> Iterator[dict[str, Any]]:
    """Yield the photos for which SQL `where` holds, as values by the names of `FIELDS` but for the
    links, beside `row` and `uri`. Raises as `Query.ask`."""
    read = [*_AS_READ, "regions", "reason", "failure_code"]
    values = ", ".join(f"{sql} AS {name}" for name, sql in _ASKED.items())
    for row in query.each(read, f"SELECT {values} FROM photos WHERE {where}"):
        photo = dict(zip(_ASKED, row, strict=True))
        measured = _measured(photo.pop("found"), photo["mm_per_px"])
        folder, _, name = photo["uri"].rpartition("/")
        texts = {name: printable(photo[name]) for name in ("note", "camera") if photo[name]}
        numbers = {name: _short(photo[name]) for name in _SHORT}
        names = {"folder": printable(text_of(folder)) or "/", "file": printable(text_of(name))}
        yield {**photo, **names, **texts, **numbers, **measured}


def _measured(regions: list[dict[str, Any]] | None, mm_per_px: float | None) -> dict[str, Any]:
    """The longest region: its box in pixels (left, top, width, height), and its length, unless
    people alone have marked it."""
    if not regions:
        return {}
    region = longest(regions)
    found: dict[str, Any] = {"longest_region": "{x}, {y}, {width} x {height}".format(**region)}
    for end in ("at_least", "at_most"):
        px = region[f"length_{end}"]
        found[f"px_{end}"] = _short(px)
        found[f"mm_{end}"] = None if None in (px, mm_per_px) else _short(px * mm_per_px)
    return found


def _short(value: float | None) -> float | None:
    """A number of single precision without the digits that it does not have."""
    return None if value is None else float(f"{value:.6g}")


def listed(query: Query, links: Links) -> Iterator[dict[str, Any]]:
    """Yield all photos in the order of a list, with their links."""
    for outcome in ORDER:
        for photo in each_photo(query, f"after = '{outcome}'"):
            uri = photo["uri"]
            yield {**photo, "photo": links.photo(uri), "overlay": links.overlay(uri)}


def write_csv(query: Query, file: Path, links: Links) -> str:
    """Write the list as CSV in UTF-8 with a byte order mark, by which Excel knows it. Returns what
    there is to say of it. Raises OSError, OutputError, StaleTableError."""
    count = 0
    with (
        replacing(file) as draft,
        draft.open("x", encoding="utf-8-sig", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow([field.name for field in FIELDS])
        for count, photo in enumerate(listed(query, links), start=1):  # noqa: B007
            writer.writerow([_cell(photo.get(field.name), field.kind) for field in FIELDS])
    return photos(count)


def _cell(value: Any, kind: Kind) -> Any:
    """A cell that no spreadsheet runs, whatever a file is called."""
    if value is None:
        return ""
    if kind == "time":
        return value.isoformat(" ", "seconds")
    if kind == "text" and value.startswith(_FORMULA):
        return f"'{value}"
    return value


@contextmanager
def writing(file: Path, option: str) -> Iterator[None]:
    """Make the folder of a file that an option asks for. An OSError becomes an OutputError."""
    try:
        make_directory(file.parent)
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror or error}; name another place with {option}"
        ) from error
