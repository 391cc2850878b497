"""What people said of photos, as tests ask for it."""

from __future__ import annotations

import pyarrow.dataset as ds

from inspector.results.labels import Decision, newest, open_labels, read_decisions


def read_labels(out):
    """Return the decision that counts for each labelled photo, in the order of the decisions."""
    table = newest(read_decisions(out))
    return table.filter(table["label"].is_valid())


def say(out, uri, label):
    """Label a photo of a table as a person does who looks at it now."""
    (row,) = ds.dataset(out / "table").to_table(filter=ds.field("uri") == uri).to_pylist()
    names = ("uri", "content_hash", "size_bytes", "mtime", "verdict", "p_crack")
    with open_labels(out, "ann") as labels:
        labels.add(Decision(label=label, model=None, **{name: row[name] for name in names}))
