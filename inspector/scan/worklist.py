"""The photos that still need a row."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from inspector.data.source import Discovery
from inspector.scan.results import row_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from inspector.scan.config import ScanConfig
    from inspector.scan.interrupt import StopSignals
    from inspector.scan.summary import Tally
    from inspector.types import ImageRef


class Worklist:
    """The listing of `config.sources` up to `config.limit`, without what has a row already; that
    is counted in `tally`. It ends early at a signal. Raises SourceError at once for a source that
    cannot be listed."""

    def __init__(self, config: ScanConfig, tally: Tally, stop: StopSignals) -> None:
        self.discovery = Discovery(config.sources)
        self.stop = stop
        self._listing = islice(self.discovery, config.limit)
        self._tally = tally
        self._refs: Iterator[ImageRef] = iter(())

    def peek(self, done: Set[bytes], count: int) -> list[ImageRef]:
        """Leave out what is `done` from here on, and look at the first `count` of the rest."""
        rest = self._without(done)
        first = list(islice(rest, count))
        self._refs = chain(first, rest)
        return first

    def __iter__(self) -> Iterator[ImageRef]:
        return self._refs

    def _without(self, done: Set[bytes]) -> Iterator[ImageRef]:
        for ref in self._listing:
            if self.stop.received is not None:
                return
            if row_key(ref.uri) in done:
                self._tally.already_done += 1
            else:
                yield ref
