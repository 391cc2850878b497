"""Folders of photos made for a measurement, without copying what is there already."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inspector.types import ImageRef

T = TypeVar("T")


def spread_evenly(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, in their order, at equal distances: a listing is sorted, and
    its beginning may hold a single class of photos."""
    if count >= len(items):
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def link_photos(refs: Iterable[ImageRef], folder: Path, *, root: Path) -> None:
    """The files of `refs`, all below `root`, as links in `folder` under the same relative names;
    as copies where links are not allowed."""
    folder.mkdir(parents=True)
    for ref in refs:
        place = folder / os.path.relpath(ref.path, root)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.symlink_to(ref.path)
        except OSError:
            shutil.copyfile(ref.path, place)


def link_many(seeds: Sequence[Path], folder: Path, count: int, *, per_folder: int) -> None:
    """`count` hard links to `seeds` in turn, `per_folder` in each of `folder`'s own folders. Where
    a file system allows no (more) links to a file, a copy takes the seed's place."""
    sources = list(seeds)
    for number in range(count):
        own = folder / f"{number // per_folder:06}"
        if number % per_folder == 0:
            own.mkdir(parents=True)
        turn = number % len(sources)
        place = own / f"{number:09}{sources[turn].suffix}"
        try:
            os.link(sources[turn], place)
        except OSError:
            shutil.copyfile(sources[turn], place)
            sources[turn] = place
