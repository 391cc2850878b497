"""What people said of photos, as tests ask for it."""

from __future__ import annotations

from inspector.results.labels import newest, read_decisions


def read_labels(out):
    """Return the decision that counts for each labelled photo, in the order of the decisions."""
    table = newest(read_decisions(out))
    return table.filter(table["label"].is_valid())
