"""A result directory looked into, unchanged: what its table was begun with, and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.durable import as_before, reporting
from inspector.core.layout import Layout, refuse_unknown
from inspector.errors import OutputError
from inspector.results.ledger import Ledger
from inspector.results.log import at_hand, recorded_in
from inspector.results.manifest import Manifest, check_identity
from inspector.results.parts import examine
from inspector.results.store import Results

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.photos.address import Moved


def recorded_facts(out: Path | str, *, overwrite: bool) -> Mapping[str, str]:
    """The identity of the table in `out`, and the `backend` that it was begun with; empty where
    there is none that will stay. Raises OutputError for a manifest that cannot be read."""
    if overwrite:
        return {}
    if isinstance(out, str):
        manifest = recorded_in(out)
    else:
        with reporting(out, as_before):
            manifest = Manifest.read(out)
    return {**manifest.identity, "backend": manifest.backend} if manifest else {}


def look_into(
    name: Path | str,
    identity: Mapping[str, str],
    *,
    by_content: bool = False,
    moved: Moved | None = None,
) -> Ledger:
    """Index the table in `name` for a scan of this identity, once photos have `moved`; changes
    nothing. Raises OutputError."""
    if isinstance(name, str) and recorded_in(name) is None:
        return Ledger(Path(), [])
    with at_hand(name) as out, reporting(out, as_before):
        results = Results(out, identity)
        refuse_unknown(out)
        manifest = Manifest.read(out)
        if manifest and manifest.next:
            raise OutputError(
                f"the verdicts of {name} were being changed when inspector rejudge was "
                "interrupted; run that again, which completes it"
            )
        check_identity(name, results.identity, manifest)
        at = Layout(out)
        sizes = [(path.name, examine(path, results.fingerprint)) for path in at.parts()]
        return Ledger(at.table, sizes, by_content=by_content, moved=moved)
