"""A table found by its directory or its address in a bucket: read, or looked into by a scan."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.durable import as_before, reporting
from inspector.core.layout import Layout, refuse_unknown
from inspector.errors import OutputError
from inspector.results.bucket_table import begun_at, copied
from inspector.results.ledger import Ledger
from inspector.results.manifest import Manifest, check_identity
from inspector.results.parts import examine, uris_in
from inspector.results.store import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from inspector.photos.address import Moved


@contextmanager
def at_hand(out: Path | str, *, anew: bool = False) -> Iterator[Path]:
    """Yield `out` or, where that is the address of a bucket, a copy of the table there, to be read
    only, as `copied`."""
    with nullcontext(out) if isinstance(out, Path) else copied(out, anew=anew) as here:
        yield here


def recorded_facts(out: Path | str, *, overwrite: bool) -> Mapping[str, str]:
    """The identity of the table in `out`, and the `backend` that it was begun with; empty where
    there is none that will stay. Raises OutputError for a manifest that cannot be read."""
    manifest = None if overwrite else _begun_with(out)
    return {**manifest.identity, "backend": manifest.backend} if manifest else {}


def look_into(
    name: Path | str,
    identity: Mapping[str, str],
    *,
    by_content: bool = False,
    moved: Moved | None = None,
) -> Ledger:
    """Index a table for a scan of this identity, once photos have `moved`. Raises OutputError."""
    if isinstance(name, str) and _begun_with(name) is None:
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
        address = None
        if moved is not None:
            address = _where_free(moved, (u for file, _ in sizes for u in uris_in(at.table / file)))
        return Ledger(at.table, sizes, by_content=by_content, address=address)


def _where_free(moved: Moved, uris: Iterable[str]) -> Callable[[str], str]:
    """What a photo's address is now, but for those that have another row by it."""
    taken = {uri for uri in uris if uri.startswith(moved.new)}
    return lambda uri: uri if (now := moved.apply(uri)) in taken else now


def _begun_with(out: Path | str) -> Manifest | None:
    if isinstance(out, str):
        return begun_at(out)
    with reporting(out, as_before):
        return Manifest.read(out)
