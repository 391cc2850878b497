"""Whether a table is whole, as far as a result directory tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.core.layout import Layout
from inspector.results.directory import is_being_written
from inspector.results.verify.manifest import ManifestError, read_manifest

if TYPE_CHECKING:
    from inspector.reporting.table import Table

WRITING, INTERRUPTED, DAMAGED, AT_REST = "writing", "interrupted", "damaged", "at_rest"


@dataclass(frozen=True, slots=True)
class State:
    """`kind` is one of the words above; `note` says what that means for the counts."""

    kind: str
    note: str


def state_of_scan(table: Table) -> State:
    """How the table's directory is now. A scan that was stopped between two parts leaves no trace:
    that its listing was worked through, only the scan itself can say."""
    if is_being_written(table.out):
        return State(
            WRITING,
            "A scan was writing this table while it was read: what it had committed by then is "
            "counted here, and more will follow.",
        )
    try:
        manifest = read_manifest(Layout(table.out).manifest)
    except ManifestError as error:
        return State(DAMAGED, f"The manifest of this table is damaged ({error}): see what "
                              f"inspector verify says before you rely on it.")  # fmt: skip
    names = {file.name for file in table.parts}
    missing = sorted(manifest.parts.keys() - names)
    if missing:
        return State(DAMAGED, f"A part of this table is gone ({missing[0]}): its photos are not "
                              f"counted here; see what inspector verify says.")  # fmt: skip
    if manifest.next is not None:
        return State(INTERRUPTED, "The verdicts of this table were being changed when that was "
                                  "interrupted: inspector rejudge completes it.")  # fmt: skip
    if manifest.lost:
        return State(DAMAGED, f"Rows of this table were lost ({min(manifest.lost)}), and not all "
                              f"are there again: see what inspector verify says.")  # fmt: skip
    if Layout(table.out).drafts() or manifest.rewriting or names - manifest.parts.keys():
        return State(
            INTERRUPTED,
            "The scan of this table was interrupted: photos are missing here. The same inspector "
            "scan command continues it.",
        )
    return State(
        AT_REST,
        "All rows of the table are counted. That its scan had reached the last photo, the scan "
        "says when it ends; the same command run again finds what is missing.",
    )
