"""A directory of every kind of file that a scan may meet, with what must become of each.

Everything is made here, from scenes of this project's own generator and a seed: the same files on
every machine, apart from what a platform does not have.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.faults.bad_archives import make_archives
from bench.faults.bad_images import OK, Seeds, broken_images, whole_images
from bench.faults.encodings import encoded
from inspector.core.layout import RESULTS_DIR
from inspector.results.manifest import Manifest
from inspector.synthesis import Kind, make_scene
from inspector.types import FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IGNORED", "OK", "Entry", "make_catalogue", "sources_of"]

IGNORED = "ignored"
ARCHIVE = "an archive"
"""Which is read, so that it has no row of its own."""
"""Outcome of a file that is no photo, by name and content: it is counted and has no row."""

_FAILS_TO_READ = "/proc/self/mem"
"""A regular file on Linux whose first byte cannot be read."""

_LONGEST_PATH = 3_900
"""Bytes; Linux takes 4,095 in one call."""
_LONGEST_NAME = 255

NAMES = (
    b"latin\xe9.png",
    b"half \xed\xa0\x80 surrogate.png",
    b"new\nline.png",
    b"return\rhome.png",
    b"esc\x1b[31m\x1b]0;title\x07.png",
    b"-rf.png",
    b"$(touch owned) `id` ; & | > out.png",
    b"<img src=x onerror=alert(1)>.png",
    b"\"double\" 'single' \\back.png",
    b"a b#c?d%20%.png",
    b"[red]x.png",
    b" .png",
    b"..png",
    b"\x7f\x01.png",
    "m\u00fcnchen \u6a4b \U0001f9f1.png".encode(),
    "right\u202egpj.png".encode(),
    "zero\u200bwidth\ufeff.png".encode(),
    b"n" * (_LONGEST_NAME - 4) + b".png",
)
"""File names of photos that are all in order."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the catalogue.

    `expected` is `ok`, a failure code or `ignored`; `same_as` names an entry with the same pixels,
    whose probability this one must have, too.
    """

    about: str
    expected: str
    same_as: bytes | None = None


def make_catalogue(root: Path) -> dict[bytes, Entry]:
    """Fill `root`, which must not exist; the entries by name relative to it, in bytes. Links to
    directories in it are no entries."""
    seeds = Seeds()
    entries: dict[bytes, Entry] = {}
    for kind, items in (("whole", whole_images(seeds)), ("broken", broken_images(seeds))):
        (root / kind).mkdir(parents=True)
        for name, item in items.items():
            (root / kind / name).write_bytes(item.data)
            same_as = f"{kind}/{item.same_as}".encode() if item.same_as else None
            entries[f"{kind}/{name}".encode()] = Entry(item.about, item.expected, same_as)
    for make in (
        _names,
        _long_path,
        _plain_surroundings,
        _odd_times,
        _links,
        _no_files,
        _secrets,
        _archives,
    ):
        folder = root / make.__name__.strip("_")
        folder.mkdir()
        entries.update(
            {os.fsencode(folder.name) + b"/" + name: entry for name, entry in make(folder)}
        )
    return entries


def sources_of(root: Path) -> list[str]:
    """What a scan has to name to meet all of a catalogue."""
    return [str(root), str(root / "archives" / "*.[zt]*")]


def _photo(number: int) -> bytes:
    """A PNG that no other number gives."""
    scene = make_scene(np.random.default_rng(number), 64, 64, Kind.CRACK)
    return encoded(Image.fromarray(scene.pixels), "PNG")


def _names(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    for number, name in enumerate(NAMES):
        try:
            with open(os.path.join(os.fsencode(folder), name), "wb") as file:
                file.write(_photo(number))
        except (OSError, ValueError):  # a file system that takes text only
            continue
        yield name, Entry("a photo with an odd name", OK)


def _long_path(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    name = Path()
    while len(os.fsencode(folder / name)) < _LONGEST_PATH - 210:
        name /= "d" * 200
    with suppress(OSError):
        (folder / name).mkdir(parents=True)
        (folder / name / "deep.png").write_bytes(_photo(100))
        yield os.fsencode(name / "deep.png"), Entry("a photo at the end of a long path", OK)


def _plain_surroundings(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    (folder / "notes.txt").write_text("notes", encoding="ascii")
    (folder / "README").write_text("no photo", encoding="ascii")
    (folder / "folder.jpg").mkdir()
    (folder / "folder.jpg" / "inside.png").write_bytes(_photo(101))
    (folder / RESULTS_DIR).mkdir()
    (folder / RESULTS_DIR / "ours.png").write_bytes(_photo(102))
    Manifest(identity={}).write(folder)
    yield b"notes.txt", Entry("a text by name and content", IGNORED)
    yield b"README", Entry("a file without a name ending", IGNORED)
    yield b"folder.jpg/inside.png", Entry("in a folder named like a photo", OK)


def _odd_times(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    for number, (name, seconds) in enumerate({"1938": -(10**9), "1970": 0, "2100": 2**32}.items()):
        path = folder / f"{name}.png"
        path.write_bytes(_photo(110 + number))
        with suppress(OSError):
            os.utime(path, (seconds, seconds))
        yield path.name.encode(), Entry(f"changed in {name}", OK)


def _links(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    (folder / "photo.jpg").write_bytes(_photo(120))
    yield b"photo.jpg", Entry("a photo that a link leads to", OK)
    links = {
        "link.jpg": ("photo.jpg", "a link to a photo", OK),
        "dangling.jpg": ("nowhere.jpg", "a link to nothing", FailureCode.VANISHED.value),
        "dangling.txt": ("nowhere.txt", "a link to nothing, not a photo's name", IGNORED),
        "loop.jpg": ("loop.jpg", "a link to itself", FailureCode.VANISHED.value),
        "linked_folder": ("..", "a link to a directory", None),
    }
    for name, (target, about, expected) in links.items():
        try:
            (folder / name).symlink_to(target, target_is_directory=expected is None)
        except OSError:  # a file system, or a user of Windows, without links
            continue
        if expected:
            same_as = b"links/photo.jpg" if expected == OK else None
            yield name.encode(), Entry(about, expected, same_as)


def _no_files(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    if sys.platform == "win32":
        return
    not_a_file = FailureCode.NOT_A_FILE.value
    os.mkfifo(folder / "pipe.jpg")
    yield b"pipe.jpg", Entry("a pipe that nobody writes to", not_a_file)
    os.mkfifo(folder / "pipe")
    yield b"pipe", Entry("a pipe without a photo's name", IGNORED)
    (folder / "device.jpg").symlink_to("/dev/zero")
    yield b"device.jpg", Entry("a link to an endless device", not_a_file)
    if _bind_socket(folder / "socket.jpg"):
        yield b"socket.jpg", Entry("a socket", not_a_file)
    if os.path.exists(_FAILS_TO_READ):
        (folder / "failing.jpg").symlink_to(_FAILS_TO_READ)
        yield b"failing.jpg", Entry("fails while it is read", FailureCode.IO_ERROR.value)


def _bind_socket(path: Path) -> bool:
    """Leave a socket at `path`; False where that is too long for one's address."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(path))
        except OSError:
            return False
    return True


def _archives(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    (folder / "alone.png").write_bytes(_photo(140))
    yield b"alone.png", Entry("a photo that lies in archives, too", OK)
    for name, about, expected in make_archives(folder, _photo(140)):
        yield (
            name.encode(),
            Entry(about, expected, b"archives/alone.png" if expected == OK else None),
        )
    for path in folder.iterdir():
        if path.suffix != ".png":
            yield path.name.encode(), Entry(ARCHIVE, IGNORED)


def _secrets(folder: Path) -> Iterator[tuple[bytes, Entry]]:
    """Permissions do not hold for the superuser, and mean something else on Windows."""
    path = folder / "secret.png"
    path.write_bytes(_photo(130))
    path.chmod(0)
    holds = not os.access(path, os.R_OK)
    yield b"secret.png", Entry("may not be read", FailureCode.PERMISSION.value if holds else OK)
