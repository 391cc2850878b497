"""The photos that still need a row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from inspector.core.machine import usable_cores
from inspector.photos.reading import sha256_within
from inspector.photos.source import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from inspector.results.ledger import Digests, Ledger
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.interrupt import StopSignals
    from inspector.scanning.summary import Tally
    from inspector.types import ImageRef

CHUNK = 1024
"""Files that are looked up in the ledger together."""
CHUNK_READ = 64
"""The same where they are read for that, and a signal waits until they have been."""


class Need(Enum):
    """What a scan has to do about a file."""

    FIRST_ROW = auto()
    NEW_ROW = auto()
    """Its row is not that of the file as it is now, or says `failed` and is to be tried again."""
    NOTHING = auto()
    """Its row is that of the file as it is now."""
    KEEP_ROW = auto()
    """It is named, as in a list, and gone: it keeps the row of what it was."""


class Worklist:
    """The listing of `config.sources` up to `config.limit`, without what has its row already or is
    left out; that is counted in `tally`. It ends early at a signal. Raises SourceError at once for
    a source that cannot be listed."""

    def __init__(self, config: ScanConfig, tally: Tally, stop: StopSignals) -> None:
        self.discovery = config.discover()
        self.stop = stop
        self.sources_without_photos = [s.uri for s in self.discovery.sources if s.is_dir]
        """Directories below which nothing has been listed yet."""
        self._config = config
        self._tally = tally
        self._refs: Iterator[ImageRef] = iter(())

    def peek(self, ledger: Ledger, count: int) -> list[ImageRef]:
        """Leave out what the table has, by `ledger`, and look at the first `count` of the rest."""
        rest = self._without_done(ledger)
        first = list(islice(rest, count))
        self._refs = chain(first, rest)
        return first

    def __iter__(self) -> Iterator[ImageRef]:
        return self._refs

    def _without_done(self, ledger: Ledger) -> Iterator[ImageRef]:
        listing = islice(self.discovery, self._config.limit)
        for ref, need in triage(self._until_stopped(listing), ledger, self._config):
            if self.stop.received is not None:
                return
            if need in (Need.NOTHING, Need.KEEP_ROW):
                self._tally.already_done += 1
                self._tally.gone_but_named += need is Need.KEEP_ROW
            elif need is Need.FIRST_ROW and self._config.retry_failed:
                self._tally.left_out += 1
            else:
                yield ref

    def _until_stopped(self, refs: Iterable[ImageRef]) -> Iterator[ImageRef]:
        for ref in refs:
            if self.stop.received is not None:
                return
            for uri in tuple(self.sources_without_photos):
                if ref.uri.startswith(uri):
                    self.sources_without_photos.remove(uri)
            yield ref


def triage(
    refs: Iterable[ImageRef], ledger: Ledger, config: ScanConfig
) -> Iterator[tuple[ImageRef, Need]]:
    """What each file needs, in the same order; looks at up to `CHUNK` files at a time."""
    waiting = iter(refs)
    if not len(ledger):
        yield from ((ref, Need.FIRST_ROW) for ref in waiting)
        return
    read = partial(sha256_within, max_bytes=config.limits.max_bytes)
    by_content = ledger.by_content and not config.retry_failed
    size = CHUNK_READ if by_content else CHUNK
    with ThreadPoolExecutor(usable_cores(), "hash") as threads:  # hashing lets go of Python's lock
        while chunk := list(islice(waiting, size)):
            digests = partial(_digests, threads, read) if by_content else None
            yield from zip(chunk, _needs(chunk, ledger, digests, config), strict=True)


def _needs(
    refs: Sequence[ImageRef], ledger: Ledger, digests: Digests | None, config: ScanConfig
) -> Iterator[Need]:
    standing = ledger.look_up(refs, digests)
    again = standing.failed_N if config.retry_failed else ~standing.current_N
    for ref, known, outdated in zip(refs, standing.known_N, again, strict=True):
        if not known:
            yield Need.FIRST_ROW
        elif outdated and ref.size is None and is_gone(ref.uri):
            yield Need.KEEP_ROW
        else:
            yield Need.NEW_ROW if outdated else Need.NOTHING


def _digests(
    threads: ThreadPoolExecutor, read: Callable[[str], bytes | None], refs: Sequence[ImageRef]
) -> list[bytes | None]:
    return list(threads.map(read, [ref.path for ref in refs]))
