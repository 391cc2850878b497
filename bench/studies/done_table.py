"""Tables with very many rows, made without a scan: what a scan pays for what is done already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.results.parts import FINGERPRINT
from inspector.results.schema import JUDGED_AT, METADATA_PREFIX, SCHEMA
from inspector.results.store import open_results
from inspector.scanning import ScanConfig
from inspector.scanning.identity import identity_of
from inspector.scanning.pipeline import ROWS_PER_PART

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.model.bundle import ModelBundle

SEED = 0
PER_FOLDER = 1000
_FIRST_US = 1_700_000_000_000_000
_STEP_US = 1_000_003
_MEAN_SIZE, _SPREAD = 4_000_000, 1_000_000
_HASH_BYTES = 32


def make_done_table(out: Path, rows: int, bundle: ModelBundle) -> None:
    """A table that a CPU scan with `bundle` in fp32 would continue, in as many parts as a scan
    makes: addresses as of a tree of `PER_FOLDER` files per directory, which does not exist; sizes
    and content hashes at random."""
    config = ScanConfig(sources=("/",), out=out, precision="fp32")
    identity = identity_of(config, bundle, "fp32")
    rng = np.random.default_rng(SEED)
    with open_results(out, identity, overwrite=False) as results:
        facts = {f"{METADATA_PREFIX}{FINGERPRINT}": results.fingerprint}
        for begin in range(0, rows, ROWS_PER_PART):
            table = _part(range(begin, min(begin + ROWS_PER_PART, rows)), rng)
            results.commit(table.replace_schema_metadata(facts))


def _part(numbers: range, rng: np.random.Generator) -> pa.Table:
    count = len(numbers)
    uris = [f"file:///inspection/{n // PER_FOLDER:06}/IMG_{n:09}.jpg" for n in numbers]
    digests = rng.bytes(_HASH_BYTES * count).hex()
    step = 2 * _HASH_BYTES
    columns = {
        "uri": pa.array(uris),
        "path": pc.replace_substring(pa.array(uris), "file://", ""),
        "status": pa.array(["ok"] * count),
        "verdict": pa.array(["clear"] * count),
        "size_bytes": pa.array(rng.normal(_MEAN_SIZE, _SPREAD, count).astype(np.int64)),
        "mtime": pa.array(_FIRST_US + _STEP_US * np.array(numbers), pa.int64()),
        "content_hash": pa.array([digests[k * step : (k + 1) * step] for k in range(count)]),
        JUDGED_AT: pa.array([_FIRST_US] * count, pa.int64()),
    }
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns
        else pa.nulls(count, field.type)
        for field in SCHEMA
    ]  # fmt: skip
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
