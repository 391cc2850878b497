"""The photos that still need a row: listed for a scan, or counted for a dry run."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import Enum, auto
from functools import partial
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from inspector.core.machine import usable_cores
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.photos.reading import sha256_within
from inspector.photos.source import is_gone, suffix_of
from inspector.results.ledger import Ledger
from inspector.results.opening import look_into, recorded_facts
from inspector.scanning.identity import identity_of
from inspector.scanning.plan import AUTO, choose_engine
from inspector.scanning.summary import Listing
from inspector.workers.child import HANGUP, STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import FrameType

    from inspector.results.ledger import Digests
    from inspector.scanning.config import ScanConfig
    from inspector.scanning.summary import Tally
    from inspector.types import ImageRef, JsonObject


CHUNK = 1024
"""Files that are looked up in the ledger together."""
CHUNK_READ = 64
"""Files hashed together under `--verify-content`; few, because a signal waits until it is done."""


class Need(Enum):
    """The work that a scan has with a file."""

    FIRST_ROW = auto()
    NEW_ROW = auto()
    """Its row is not that of the file as it is now, or says `failed` and is to be tried again."""
    NOTHING = auto()
    """Its row is that of the file as it is now."""
    KEEP_ROW = auto()
    """Its row stays: a list names the file, which is gone."""
    KEEP_OLD = auto()
    """Its row is not that of the file as it is now, and stays: the table only grows."""


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP only sets `received`; a second SIGINT or
    SIGTERM raises KeyboardInterrupt on the spot (a SIGHUP does not: a terminal that goes away sends
    two). A SIGHUP that is ignored, as under `nohup`, stays so. Outside the main thread Python
    allows no signal handlers."""

    def __init__(self) -> None:
        self.received: int | None = None
        """Number of the first signal."""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if number != HANGUP or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            # None stands for a handler that was not set from Python and cannot be set back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = number
        elif number != HANGUP:
            raise KeyboardInterrupt


class Worklist:
    """The listing of `config.sources` up to `config.limit`, without what has its row already or is
    left out; that is counted in `tally`. It ends early at a signal. Raises SourceError at once for
    a source that cannot be listed."""

    def __init__(
        self,
        config: ScanConfig,
        tally: Tally,
        stop: StopSignals,
        settled: Callable[[ImageRef], bool] = lambda ref: True,
    ) -> None:
        """What is not `settled` keeps the row that it has, or is left out."""
        self._settled = settled
        self.discovery = config.discover()
        self.stop = tally.stop = stop
        self._config = config
        self._tally = tally
        listed = islice(self.discovery, config.limit)
        self._refs: Iterator[ImageRef] = takewhile(lambda _: not self.stopped, listed)

    @property
    def stopped(self) -> bool:
        """Whether a signal has come."""
        return self.stop.received is not None

    def first(self, count: int) -> list[ImageRef]:
        """The first photos of the listing, done or not; they stay in it."""
        first = list(islice(self._refs, count))
        self._refs = chain(first, self._refs)
        return first

    def leave_out_done(self, ledger: Ledger) -> bool:
        """Leave out what has its row by `ledger`; whether any of the rest was found so far."""
        rest = self._without_done(self._refs, ledger)
        first = list(islice(rest, CHUNK))
        self._refs = chain(first, rest)
        return bool(first)

    def __iter__(self) -> Iterator[ImageRef]:
        return self._refs

    def _without_done(self, refs: Iterable[ImageRef], ledger: Ledger) -> Iterator[ImageRef]:
        for ref, need in triage(refs, ledger, self._config):
            if self.stopped:
                return
            wait = not self._settled(ref)
            done = (Need.NOTHING, Need.KEEP_ROW, Need.KEEP_OLD)
            if need in done or (need is Need.NEW_ROW and wait):
                self._tally.already_done += 1
                self._tally.outdated += need is Need.KEEP_OLD
                self._tally.gone_but_named += need is Need.KEEP_ROW
            elif need is Need.FIRST_ROW and (wait or self._config.retry_failed):
                self._tally.left_out += 1
            else:
                yield ref


def triage(
    refs: Iterable[ImageRef], ledger: Ledger, config: ScanConfig
) -> Iterator[tuple[ImageRef, Need]]:
    """Pair each file with what it needs, in order; `CHUNK` files are looked up at a time."""
    waiting = iter(refs)
    if not len(ledger):
        yield from ((ref, Need.FIRST_ROW) for ref in waiting)
        return
    read = partial(sha256_within, max_bytes=config.limits.max_bytes)
    by_content = ledger.by_content and not config.retry_failed
    size = CHUNK_READ if by_content else CHUNK
    with ThreadPoolExecutor(usable_cores(), "hash") as threads:  # hashing lets go of Python's lock

        def digests(some: Sequence[ImageRef]) -> list[bytes | None]:
            return list(threads.map(read, [ref.path for ref in some]))

        while chunk := list(islice(waiting, size)):
            needs = _needs(chunk, ledger, digests if by_content else None, config)
            yield from zip(chunk, needs, strict=True)


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
        elif outdated and config.appends:
            yield Need.KEEP_OLD
        else:
            yield Need.NEW_ROW if outdated else Need.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Listing):
    """Counts of files; `size_bytes` of the photos that a scan would look at."""

    new: int
    """Without a row."""
    changed: int
    """Whose row would be replaced: they have changed since, or failed and are retried."""
    size_bytes: int
    photos_by_suffix: dict[str, int]

    def to_json(self) -> JsonObject:
        return asdict(self)


def preview(config: ScanConfig) -> Preview:
    """List the sources and judge no photo; nothing is written or measured. Raises what a scan would
    raise for its sources, its model and its result directory."""
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    discovery = config.discover()
    ledger = _ledger(config, bundle)
    counts: Counter[Need] = Counter()
    size_bytes = 0
    suffixes: Counter[str] = Counter()
    for ref, need in triage(islice(discovery, config.limit), ledger, config):
        suffixes[suffix_of(ref.path)] += 1
        counts[need] += 1
        if need is Need.NEW_ROW or (need is Need.FIRST_ROW and not config.retry_failed):
            size_bytes += ref.size or 0
    others = ledger.other_photos(str(config.out), discovery.below) if counts else None
    without_row = counts[Need.FIRST_ROW]
    return Preview(
        **Listing.of(discovery, *([others] if others else [])),
        discovered=counts.total(),
        new=0 if config.retry_failed else without_row,
        changed=counts[Need.NEW_ROW],
        already_done=sum(counts[need] for need in (Need.NOTHING, Need.KEEP_ROW, Need.KEEP_OLD)),
        left_out=without_row if config.retry_failed else 0,
        size_bytes=size_bytes,
        photos_by_suffix=dict(suffixes.most_common()),
    )


def _ledger(config: ScanConfig, bundle: ModelBundle) -> Ledger:
    """The rows that are there; nothing is measured to find out."""
    if config.overwrite:
        return Ledger(Path(), [])
    recorded = recorded_facts(config.out, overwrite=False)
    identity = {}
    if recorded:
        precision = choose_engine(config, bundle, recorded).precision
        identity = identity_of(config, bundle, "fp32" if precision == AUTO else precision)
    return look_into(config.out, identity, by_content=config.verify_content, moved=config.moves())
