"""The list for Excel: numbers, times and links as such, and small pictures of cracks."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from inspector.core.durable import replacing
from inspector.core.text import quantity
from inspector.photos.drawing import mark_regions
from inspector.photos.pictures import as_jpeg
from inspector.reporting.lists import FIELDS, ORDER, Field, listed
from inspector.reporting.shots import ask_each, open_judged
from inspector.reporting.wording import photos, unseen
from inspector.results.query import FAILED
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from inspector.core.progress import Progress
    from inspector.photos.address import Moved
    from inspector.reporting.lists import Links
    from inspector.results.query import Query
    from inspector.types import JsonObject

MOST_ROWS = 1_048_576
MOST_LINKS = 65_530
"""What a sheet of Excel holds."""
_LONGEST_CELL, _LONGEST_LINK = 32_767, 2_000
_FIRST_YEAR = 1900
_FILLS = {str(Verdict.CRACK): "#F8CBAD", str(Verdict.REVIEW): "#FFE699", FAILED: "#D9D9D9"}
_SIDE, _MARGIN = 240, 2
"""Longest side of a picture in a cell, and the space around it, pixels."""
_BOXES = 5
"""Regions marked in it, the likeliest."""
_QUALITY = 75
_PICTURED = ORDER[:2]
_AFTER_NAMES = 2
"""Column of the pictures."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo with its regions as a JPEG, and its size in pixels."""

    content: bytes
    width: int
    height: int


def take_pictures(
    query: Query, most: int, moved: Moved | None, progress: Progress
) -> dict[int, Picture | None]:
    """Take pictures of the first `most` cracks and photos left to a person in the order of a list,
    by the numbers of their rows; None where one cannot be shown. Raises as `Query.ask`."""
    numbers: list[int] = []
    for outcome in _PICTURED:
        some = f"SELECT row FROM photos WHERE after = '{outcome}' ORDER BY row LIMIT {most}"
        numbers += [row for (row,) in query.ask([], some)] if len(numbers) < most else []
    rows = query.rows(numbers[:most], ["uri", "content_hash", "regions", "width", "height"])
    regions = [((row["regions"] or [])[:_BOXES],) for row in rows]
    found: dict[int, Picture | None] = {}
    answers = ask_each(draw_picture, rows, regions, moved)
    for done, (row, picture) in enumerate(zip(rows, answers, strict=True), 1):
        progress("pictures", done, len(rows))
        found[row["row"]] = picture if isinstance(picture, Picture) else None
    return found


def draw_picture(address: str, content_hash: str, regions: Sequence[JsonObject]) -> Picture:
    """A picture with marked regions. Raises CannotShowError."""
    opened = open_judged(address, content_hash, _SIDE)
    image = opened.image
    mark_regions(image, regions, image.width / opened.width)
    return Picture(as_jpeg(image, _QUALITY), image.width, image.height)


def write_xlsx(
    query: Query, file: Path, links: Links, pictures: Mapping[int, Picture | None]
) -> str:
    """Write the list for Excel, as much of it as a sheet holds, with `pictures` by the numbers of
    their rows. Returns what there is to say of it. Raises OSError, OutputError, StaleTableError."""
    import xlsxwriter

    shown = {row: picture for row, picture in pictures.items() if picture}
    with replacing(file) as draft, draft.open("xb") as stream:
        # Of a row that is done only its links and its picture stay in memory.
        options = {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"}
        with xlsxwriter.Workbook(stream, options) as book:
            sheet = _Sheet(book, shown)
            for photo in listed(query, links):
                sheet.add(photo)
            sheet.finish()
    said = photos(sheet.rows) + (f", {len(shown):,} with pictures" if shown else "")
    if sheet.left_out:
        more = quantity(sheet.left_out, "more does", "more do")
        said += f", cracks first; {more} not fit into a sheet of Excel: see --csv"
    if missing := len(pictures) - len(shown):
        said += f"; {unseen(missing, len(pictures))}"
    if sheet.unlinked:
        said += f"; {sheet.unlinked:,} without links, of which a sheet holds {MOST_LINKS:,}"
    return said


class _Sheet:
    """The one sheet of a workbook, filled row by row."""

    def __init__(self, book: Any, pictures: Mapping[int, Picture]) -> None:
        self._pictures = pictures
        self._fields = list(FIELDS)
        if pictures:
            self._fields.insert(_AFTER_NAMES, Field("picture"))
        self._sheet = book.add_worksheet("photos")
        self._formats = [
            None
            if field.kind in ("text", "link")
            else book.add_format({"num_format": field.format})
            for field in self._fields
        ]
        self._fills = {word: book.add_format({"bg_color": fill}) for word, fill in _FILLS.items()}
        self._heads = book.add_format({"bold": True})
        self._links = 0
        self.rows = self.left_out = self.unlinked = 0
        for column, field in enumerate(self._fields):
            self._sheet.set_column(column, column, field.width)
            self._sheet.write_string(0, column, field.name, self._heads)
        if pictures:
            self._sheet.set_column_pixels(_AFTER_NAMES, _AFTER_NAMES, _SIDE + 2 * _MARGIN)
        self._sheet.freeze_panes(1, _AFTER_NAMES)

    def add(self, photo: dict[str, Any]) -> None:
        if self.rows + 1 >= MOST_ROWS:
            self.left_out += 1
            return
        self.rows += 1
        if picture := self._pictures.get(photo["row"]):
            self._show(picture, photo["file"])
        wanted = sum(bool(photo[name]) for name in ("photo", "overlay"))
        linked = self._links + wanted <= MOST_LINKS
        self.unlinked += not linked
        for column, field in enumerate(self._fields):
            if (value := photo.get(field.name)) not in (None, ""):
                self._write(column, field, value, linked)

    def _show(self, picture: Picture, name: str) -> None:
        """Put a picture into its cell, which it follows when the list is sorted or filtered."""
        self._sheet.set_row_pixels(self.rows, picture.height + 2 * _MARGIN)
        about = {"image_data": BytesIO(picture.content), "description": name, "object_position": 1,
                 "x_offset": _MARGIN, "y_offset": _MARGIN}  # fmt: skip
        self._sheet.insert_image(self.rows, _AFTER_NAMES, "photo.jpg", about)

    def _write(self, column: int, field: Field, value: Any, linked: bool) -> None:
        sheet, row, style = self._sheet, self.rows, self._formats[column]
        if field.kind in ("count", "number"):
            sheet.write_number(row, column, value, style)
        elif field.kind == "time" and value.year >= _FIRST_YEAR:
            sheet.write_datetime(row, column, value, style)
        elif field.kind == "link" and linked and len(value) <= _LONGEST_LINK:
            self._links += 1
            sheet.write_url(row, column, link_to(value), string=None)
        else:
            fill = self._fills.get(value) if field.name == "after_review" else None
            sheet.write_string(row, column, str(value)[:_LONGEST_CELL], fill)

    def finish(self) -> None:
        self._sheet.autofilter(0, 0, self.rows, len(self._fields) - 1)


def link_to(reference: str) -> Any:
    """A link to a relative reference as it stands: XlsxWriter writes backslashes, for Windows."""
    from xlsxwriter.url import Url

    class Reference(Url):  # type: ignore[misc]  # XlsxWriter says no types
        def _target(self) -> str:
            return reference

    link = Reference("external:photo")
    link.text = reference.rpartition("/")[2]
    return link
