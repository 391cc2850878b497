"""Pictures of a table's cracks in folders of their own: with their regions marked, cut out, or as
they are. Photos keep their folders, and are opened by processes of their own."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from inspector.core.durable import is_empty, publish
from inspector.core.text import quantity
from inspector.errors import OutputError, UsageError
from inspector.photos.address import decoded
from inspector.photos.drawing import mark_regions
from inspector.photos.pictures import CannotShowError, as_jpeg, read_whole
from inspector.reporting.counting import SHOWN, common_folder
from inspector.reporting.lists import writing
from inspector.reporting.shots import ask_each, open_judged
from inspector.reporting.wording import photos
from inspector.workers.process import HelperError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inspector.core.progress import Progress
    from inspector.photos.address import Moved
    from inspector.results.query import Query
    from inspector.types import JsonObject

ANNOTATE, CROPS, COPY = "--annotate", "--crops", "--copy-cracks"
_AT_ONCE = 200
"""Rows in memory."""
_LONGEST_NAME = 200
"""Bytes or letters of one name."""
_LONGEST_SUFFIX = 20
_NO_PLACE = {
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.EINVAL,
    errno.EILSEQ,
}
"""Error numbers of a path that cannot be, or where another photo is in its way."""
if os.name == "nt":
    _NO_PLACE |= {errno.ENOENT, errno.EACCES}
_REPLACED = dict.fromkeys(map(ord, "/\0"), "_")
_REPLACED_ON_WINDOWS = dict.fromkeys([*range(32), *map(ord, '/\\:*?"<>|')], "_")
"""Letters that have a meaning in a path, or that no name may have."""
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\.|$)", re.I)
"""Names of devices on Windows, in whatever folder and with whatever ending."""
_LONGEST_SIDE = 65_500
"""Pixels of a JPEG's side."""
_AROUND = 32
"""Pixels around a region that is cut out."""
_QUALITY = 92


def check_folder(option: str, folder: Path, out: Path | str) -> None:
    """Raise UsageError for a folder that is not empty, or in which readers look for the table."""
    if os.path.lexists(folder) and not is_empty(folder):
        raise UsageError(f"{option} {folder} is there and not empty; name a new folder")
    if isinstance(out, Path) and out.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f"{option} {folder} lies in the result directory; name another folder")


def write_copies(
    query: Query, folders: Mapping[str, Path], moved: Moved | None, progress: Progress
) -> dict[str, str]:
    """Write the pictures of all cracks, as they stand after people had their say, into `folders`,
    by option, each below the folder that holds all photos. Returns what there is to say of each.
    Raises OutputError, StaleTableError."""
    cracks = "list(row ORDER BY row) FILTER (after = 'crack')"
    asked = f"SELECT coalesce({cracks}, []), min(uri), max(uri) FROM photos"
    ((numbers, first, last),) = query.ask(["uri"], asked)
    root = common_folder(first or "", last or "")
    written, missing, why, done = dict.fromkeys(folders, 0), 0, "", 0
    taken: set[str] = set()
    for start in range(0, len(numbers), _AT_ONCE):
        rows = query.rows(numbers[start : start + _AT_ONCE], SHOWN)
        places = [_unique(place_of(row["uri"], root), row["uri"], taken) for row in rows]
        more = [(row["regions"] or [], tuple(folders)) for row in rows]
        with closing(ask_each(make_pictures, rows, more, moved)) as answers:
            for row, place, made in zip(rows, places, answers, strict=True):
                done += 1
                progress("copies", done, len(numbers))
                if isinstance(made, HelperError):
                    missing, why = missing + 1, why or f"{row['path']}: {made}"
                    continue
                for option, contents in made.items():
                    written[option] += len(contents)
                    _write(option, folders[option], place, row["uri"], contents)
    gone = f"; {photos(missing)} could not be read, first {why}" if missing else ""
    return {option: f"{quantity(count, 'picture')}{gone}" for option, count in written.items()}


def make_pictures(
    address: str, content_hash: str, regions: Sequence[JsonObject], options: Sequence[str]
) -> dict[str, list[bytes]]:
    """The files of one photo by option, as bytes. Raises CannotShowError."""
    found: dict[str, list[bytes]] = {}
    if COPY in options:
        with read_whole(address) as contents:
            if contents.content_hash != content_hash:
                raise CannotShowError("the file has changed since the scan")
            found[COPY] = [bytes(contents.data[:])]
    if ANNOTATE not in options and CROPS not in options:
        return found
    opened = open_judged(address, content_hash)
    image = opened.image
    if CROPS in options:
        parts = []
        for region in regions:
            left, top = max(0, region["x"] - _AROUND), max(0, region["y"] - _AROUND)
            right = min(image.width, region["x"] + region["width"] + _AROUND)
            bottom = min(image.height, region["y"] + region["height"] + _AROUND)
            if left < right and top < bottom:
                parts.append(as_jpeg(image.crop((left, top, right, bottom)), _QUALITY))
        found[CROPS] = parts
    if ANNOTATE in options:
        image = image.convert("RGB")
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        mark_regions(image, regions, image.width / opened.width)
        found[ANNOTATE] = [as_jpeg(image, _QUALITY)]
    return found


def place_of(uri: str, root: str, *, windows: bool = os.name == "nt") -> str:
    """Where a photo belongs below a folder: its path below `root`. Names that would lead out of it
    or that no file system takes become others."""
    names, wrong = [], _REPLACED_ON_WINDOWS if windows else _REPLACED
    for part in uri.removeprefix(root).replace("#", "-").split("/"):
        name = decoded(unquote_to_bytes(part)[:_LONGEST_NAME], windows=windows)
        name = name.translate(wrong)[:_LONGEST_NAME]
        if windows:
            name = name.rstrip(". ")
            name = f"_{name}" if _DEVICE.match(name) else name
        if name not in ("", ".", ".."):
            names.append(name)
    return "/".join(names) or "photo"


def _unique(place: str, uri: str, taken: set[str]) -> str:
    """The place, or one beside it where another photo has it, in letters of any case."""
    if place.casefold() in taken:
        place = f"{place}-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
    taken.add(place.casefold())
    return place


def _write(option: str, folder: Path, place: str, uri: str, contents: Sequence[bytes]) -> None:
    """Write the pictures of a photo; where no file can have its place, they are called after the
    hash of its uri. Raises OutputError."""
    endings = {COPY: "", ANNOTATE: "-regions.jpg"}
    flat = hashlib.sha256(uri.encode()).hexdigest()[:32] + Path(place).suffix[:_LONGEST_SUFFIX]
    for number, content in enumerate(contents, 1):
        ending = endings.get(option, f"-region-{number}.jpg")
        try:
            _put(option, folder / f"{place}{ending}", content)
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) not in _NO_PLACE:
                raise
            _put(option, folder / f"{flat}{ending}", content)


def _put(option: str, file: Path, content: bytes) -> None:
    with writing(file, option):
        publish(content, file)
