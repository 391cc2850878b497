"""Counts by a key that may take any number of values, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inspector.reporting.counts import Cells

Key = TypeVar("Key")


class Coarse(Generic[Key]):
    """Cells by key, as fine as `most` keys allow: where there are more, keys become coarser, level
    by level, and the counts of those that are now the same are added up. Keys of the last level
    are kept however many there are."""

    def __init__(self, most: int, levels: Sequence[int], cut: Callable[[Key, int], Key]) -> None:
        """`levels` from fine to coarse; `cut` gives what a key becomes at one of them."""
        self._most = most
        self._levels = list(levels)
        self._cut = cut
        self._cells: dict[Key, Cells] = {}

    @property
    def level(self) -> int:
        return self._levels[0]

    def add(self, key: Key, cells: Cells) -> None:
        _add(self._cells, self._cut(key, self.level), cells)
        while len(self._cells) > self._most and len(self._levels) > 1:
            del self._levels[0]
            self._cells = self.at(self.level)

    def at(self, level: int) -> dict[Key, Cells]:
        """The counts at a level that is as coarse as the present one, or coarser."""
        merged: dict[Key, Cells] = {}
        for key, cells in self._cells.items():
            _add(merged, self._cut(key, level), cells)
        return merged

    def finest(self, most: int) -> Mapping[Key, Cells]:
        """The counts at the finest level that has at most `most` keys, else at the coarsest."""
        found: Mapping[Key, Cells] = self._cells
        for level in self._levels:
            found = self.at(level)
            if len(found) <= most:
                break
        return found


def _add(into: dict[Key, Cells], key: Key, cells: Cells) -> None:
    into[key] = into[key] + cells if key in into else cells
