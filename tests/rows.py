"""The rows of a table, as tests compare them between scans."""

from __future__ import annotations

import pyarrow.dataset as ds


def rows_in(out):
    """Return all rows in the order of their parts, but for when they were made, in which no two
    scans agree."""
    found = ds.dataset(str(out))
    return found.to_table([name for name in found.schema.names if name != "judged_at"]).to_pylist()
