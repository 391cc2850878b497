"""What a scan would look at, without looking at it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

from inspector.bundle import DEFAULT_PATH, ModelBundle
from inspector.data.source import Discovery, suffix_of
from inspector.scan.engines import choose_engines, identity_of
from inspector.scan.results import done_in, recorded_identity, row_key
from inspector.scan.schema import display_path

if TYPE_CHECKING:
    from inspector.scan.config import ScanConfig
    from inspector.types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Counts of files; `size_bytes` of the photos that still have to be scanned."""

    discovered: int
    already_done: int
    size_bytes: int
    photos_by_suffix: dict[str, int]
    ignored_by_suffix: dict[str, int]
    unreadable_dirs: list[str]
    linked_dirs: list[str]
    notes: list[str]

    def to_json(self) -> JsonObject:
        return asdict(self)


def preview(config: ScanConfig) -> Preview:
    """List the sources and open no photo; nothing is written. Raises what a scan would raise for
    its sources, its model and its result directory."""
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    discovery = Discovery(config.sources)
    recorded = recorded_identity(config.out, overwrite=config.overwrite)
    done = set()
    if recorded:
        engines = choose_engines(config, bundle, recorded)
        done = done_in(config.out, identity_of(config, bundle, engines))
    already_done = size_bytes = 0
    suffixes: Counter[str] = Counter()
    for ref in islice(discovery, config.limit):
        suffixes[suffix_of(ref.path)] += 1
        if row_key(ref.uri) in done:
            already_done += 1
        else:
            size_bytes += ref.size or 0
    return Preview(
        discovered=sum(suffixes.values()),
        already_done=already_done,
        size_bytes=size_bytes,
        photos_by_suffix=dict(suffixes.most_common()),
        ignored_by_suffix=dict(discovery.ignored_by_suffix.most_common()),
        unreadable_dirs=[display_path(str(unread)) for unread in discovery.unreadable_dirs],
        linked_dirs=[display_path(path) for path in discovery.linked_dirs],
        notes=[display_path(note) for note in discovery.notes],
    )
