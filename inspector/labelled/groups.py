"""CSV files about images: their groups, and whatever other columns they have.

They may come from Excel (`;` or tabs, UTF-16, a byte order mark, `sep=;`), from `find` (`./a.jpg`),
from Windows (`\\`, CRLF, an old code page) or from a Mac (decomposed Unicode).
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.text import printable
from inspector.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.labelled.folder import LabelledImage

FILE, GROUP = "file", "group"
SHOWN = 3
"""Examples given of images and of rows without a match."""


@dataclass(frozen=True, slots=True)
class Row:
    """Line of the CSV about one file; `cells` by column."""

    line: int
    file: str
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class FileTable:
    """CSV with a column `file`. Column names are those of its first line, in lower case."""

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]

    def column(
        self, name: str, images: Sequence[LabelledImage], roots: Sequence[Path]
    ) -> tuple[list[str], list[Row]]:
        """The value of a column for each image, empty where there is none, and the rows that match
        no image. File names may be relative to `roots`, the CSV's own folder and the working
        directory. Raises DataError where the column is missing, or two rows disagree."""
        wanted = name.strip().casefold()
        if wanted not in self.columns:
            raise DataError(_lacks(self.path, wanted, self.columns))
        places: dict[str, int] = {}
        for place, image in enumerate(images):
            for way in (os.path.abspath(image.path), os.path.realpath(image.path)):
                places[_key(way)] = place
        bases = [os.path.abspath(base) for base in (self.path.parent, *roots, Path())]
        said: dict[int, Row] = {}
        unmatched = []
        for row in self.rows:
            found = _find(row.file, bases, places)
            if found is None:
                unmatched.append(row)
            elif row.cells[wanted]:
                before = said.setdefault(found, row)
                if before.cells[wanted] != row.cells[wanted]:
                    raise DataError(
                        f"{self.path} contradicts itself about {printable(row.file)}: {wanted} is "
                        f"{printable(before.cells[wanted])!r} in line {before.line} and "
                        f"{printable(row.cells[wanted])!r} in line {row.line}"
                    )
        values = [said[k].cells[wanted] if k in said else "" for k in range(len(images))]
        return values, unmatched


def with_groups(
    images: Sequence[LabelledImage], groups_csv: Path, roots: Sequence[Path]
) -> tuple[list[LabelledImage], list[str]]:
    """Images with the CSV's groups (one that it does not name is a group of its own), and remarks
    about what did not match. Raises DataError where the CSV names none of the images, or cannot be
    read."""
    table = read_table(groups_csv)
    groups, unmatched = table.column(GROUP, images, roots)
    if len(unmatched) < len(table.rows) and not any(groups):
        raise DataError(f"{groups_csv} has nothing in its column `{GROUP}` for the images it names")
    if not any(groups):
        raise DataError(
            f"{groups_csv} names none of the images below {roots[0]}"
            f"{_named('; its first rows are about', [row.file for row in unmatched])}; its column "
            "`file` must be given from the CSV's folder, from DATA or from the working directory"
        )
    without = [image.path for image, group in zip(images, groups, strict=True) if not group]
    remarks = []
    if without:
        remarks.append(
            f"WARNING: {groups_csv} gives no group to {len(without):,} of {len(images):,} images, "
            f"each a group of its own{_named(', first', without)}"
        )
    if unmatched:
        remarks.append(
            f"{groups_csv} names no image here in {len(unmatched):,} of {len(table.rows):,} rows"
            f"{_named(', first', [row.file for row in unmatched])}"
        )
    found = [
        replace(image, group=group or image.path)
        for image, group in zip(images, groups, strict=True)
    ]
    return found, remarks


def _named(words: str, names: Sequence[str]) -> str:
    return f"{words} {', '.join(map(printable, names[:SHOWN]))}" if names else ""


def read_table(path: Path) -> FileTable:
    """Read a CSV. Raises DataError saying what is wrong, and in which line."""
    try:
        text = _decoded(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
        sep, _, rest = text.partition("\n")
        told = sep.strip().strip('"').casefold()
        skipped = int(told.startswith("sep=") and len(told) <= 5)
        if skipped:  # the line by which Excel declares the separator
            text = rest
        head = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text), delimiter=max(",;\t|", key=head.count), strict=True)
        lines = [
            (reader.line_num + skipped, cells) for cells in reader if any(map(str.strip, cells))
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    columns = tuple(name.strip().casefold() for name in lines[0][1]) if lines else ()
    if FILE not in columns:
        raise DataError(_lacks(path, FILE, columns))
    return FileTable(path, columns, [_row(path, columns, *line) for line in lines[1:]])


def _row(path: Path, columns: tuple[str, ...], line: int, cells: list[str]) -> Row:
    """Make a row; missing cells at its end are empty."""
    if any(map(str.strip, cells[len(columns) :])):
        raise DataError(
            f"{path} has {len(cells)} cells in line {line} and {len(columns)} in the first; put "
            'names in which a separator occurs in quotes: "a,b.jpg"'
        )
    padded = [*map(str.strip, cells), *[""] * len(columns)]
    found = dict(zip(columns, padded, strict=False))
    # File names may be any bytes; everything else is text, normalised whatever its encoding was.
    found |= {
        name: unicodedata.normalize("NFC", _from_code_page(cell) or cell)
        for name, cell in found.items()
        if name != FILE
    }
    if not found[FILE]:
        raise DataError(f"{path} names no file in line {line}")
    return Row(line, found[FILE], found)


def _lacks(path: Path, column: str, columns: Sequence[str]) -> str:
    has = f"its first line has: {', '.join(map(printable, columns))}" if columns else "it is empty"
    return (
        f"{path} has no column `{column}` ({has}); the first line must name the columns, for "
        f"example: {FILE},{GROUP}"
    )


def _decoded(content: bytes) -> str:
    """Decode UTF-16 by its byte order mark, else UTF-8; other bytes are kept as in file names."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    return content.decode("utf-8-sig", "surrogateescape")


def _key(path: str) -> str:
    """Key that is equal for two spellings of one path."""
    return unicodedata.normalize("NFC", os.path.normcase(path))


def _find(file: str, bases: Sequence[str], places: dict[str, int]) -> int | None:
    """Find the place of the image that a cell names."""
    cells = [file]
    if "\\" in file:
        cells.append(file.replace("\\", "/"))
    old = [_from_code_page(cell) for cell in cells]
    paths = [os.path.join(base, cell) for cell in [*cells, *filter(None, old)] for base in bases]
    for path in map(os.path.normpath, paths):
        if (found := places.get(_key(path))) is not None:
            return found
    for path in filter(os.path.lexists, paths):  # through links not taken to the images
        if (found := places.get(_key(os.path.realpath(path)))) is not None:
            return found
    return None


def _from_code_page(cell: str) -> str:
    """Decode bytes that are not UTF-8 as Windows-1252, as Excel writes; empty for valid UTF-8."""
    if cell.isascii() or not any("\udc80" <= c <= "\udcff" for c in cell):
        return ""
    return cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
