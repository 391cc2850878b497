"""Counts of what a scan would look at, without looking at it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

from inspector.core.text import display_path
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.photos.source import suffix_of
from inspector.results.ledger import Ledger
from inspector.results.store import look_into, recorded_facts
from inspector.scanning.choice import AUTO, choose_engine, identity_of
from inspector.scanning.worklist import Need, triage

if TYPE_CHECKING:
    from inspector.scanning.config import ScanConfig
    from inspector.types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Counts of files; `size_bytes` of the photos that a scan would look at."""

    discovered: int
    new: int
    """Without a row."""
    changed: int
    """Whose row would be replaced: they have changed since, or failed and are retried."""
    already_done: int
    left_out: int
    """Without a row, and none would be made: only failed ones are retried."""
    size_bytes: int
    photos_by_suffix: dict[str, int]
    ignored_by_suffix: dict[str, int]
    excluded: dict[str, int]
    repeated: int
    unreadable_dirs: list[str]
    linked_dirs: list[str]
    notes: list[str]

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
    others = ledger.other_photos() if counts else None
    without_row = counts[Need.FIRST_ROW]
    return Preview(
        discovered=counts.total(),
        new=0 if config.retry_failed else without_row,
        changed=counts[Need.NEW_ROW],
        already_done=counts[Need.NOTHING] + counts[Need.KEEP_ROW],
        left_out=without_row if config.retry_failed else 0,
        size_bytes=size_bytes,
        photos_by_suffix=dict(suffixes.most_common()),
        ignored_by_suffix=dict(discovery.ignored_by_suffix.most_common()),
        excluded=dict(discovery.excluded.most_common()),
        repeated=discovery.repeated,
        unreadable_dirs=[display_path(str(unread)) for unread in discovery.unreadable_dirs],
        linked_dirs=[display_path(path) for path in discovery.linked_dirs],
        notes=[display_path(note) for note in (*discovery.notes, others) if note],
    )


def _ledger(config: ScanConfig, bundle: ModelBundle) -> Ledger:
    """The rows that are there; nothing is measured to find out."""
    if config.overwrite:
        return Ledger(config.out, [])
    recorded = recorded_facts(config.out, overwrite=False)
    identity = {}
    if recorded:
        precision = choose_engine(config, bundle, recorded).precision
        identity = identity_of(config, bundle, "fp32" if precision == AUTO else precision)
    return look_into(config.out, identity, by_content=config.verify_content, moved=config.moves())
