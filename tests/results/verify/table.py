"""A small table, written as a scan writes it, and ways to damage it."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspector.results.schema import make_row, to_table
from inspector.results.store import open_results
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning.pipeline import ParquetSink
from inspector.types import (
    Failure,
    FailureCode,
    ImageRef,
    Judgement,
    Photo,
    PhotoFacts,
    Reason,
    Verdict,
)

IDENTITY = {
    "model": "a" * 64, "precision": "fp32",
    "clear_below": "0.3", "crack_from": "0.7", "out_of_distribution": "1.5",
}  # fmt: skip
PARTS = tuple(f"table/part-00000{k}.parquet" for k in range(3))
SOUND = (
    Judgement(Verdict.CRACK, Reason.MODEL, float(np.float32(0.7)), 1.0, "fp32@64", 0.5, 0.25),
    Judgement(Verdict.CLEAR, Reason.MODEL, 0.0, 0.5, "fp32@64", None, None),
    Judgement(
        Verdict.REVIEW, Reason.NEAR_THRESHOLD, float(np.float32(0.3)), 1.2, "fp32@64", 0.0, 1.0
    ),
    Judgement(Verdict.REVIEW, Reason.DOWNSCALED, 0.1, 0.0, "fp32@64", 0.5, 0.5),
)


def row(number):
    ref = ImageRef(number, f"{number} a.jpg", f"file:///p/{number}%20a.jpg", 10, 1_000_000)
    if number % 5 == 4:
        return make_row(Failure(ref, FailureCode.TRUNCATED, "cut"), None)
    facts = PhotoFacts(width=8, height=9, format="JPEG", content_hash="0f" * 32)
    return make_row(Photo(ref, facts, 1.0), SOUND[number % 5])


def write(out, numbers, identity=IDENTITY):
    with (
        open_results(out, identity, overwrite=False) as results,
        ParquetSink(results, {"tool_version": "0"}, rows_per_part=5) as sink,
    ):
        sink.add(to_table([row(number) for number in numbers], {}))
    return out


def codes(out, **options):
    return {str(finding.code) for finding in verify(VerifyConfig(out=out, **options)).damage}


def notes(out, **options):
    result = verify(VerifyConfig(out=out, **options))
    assert result.damage == ()
    return {str(finding.code) for finding in result.notes}


def manifest_of(out):
    return json.loads((out / "_inspector/manifest.json").read_bytes())


def edit(out, change):
    values = manifest_of(out)
    change(values)
    (out / "_inspector/manifest.json").write_text(json.dumps(values))


def forge(out, change, name=PARTS[1]):
    """Another content for a part, under the manifest's own hash: as a bug would make it."""
    part = out / name
    table = change(pq.read_table(part))
    pq.write_table(table, part)

    def adapt(values):
        entry = next(entry for entry in values["parts"] if entry["file"] == part.name)
        entry["sha256"] = sha256(part.read_bytes()).hexdigest()

    edit(out, adapt)


def put(column, values, at=0):
    """A change of one column's values from row `at` on."""

    def change(table):
        index = table.schema.get_field_index(column)
        old = table.column(column).to_pylist()
        old[at : at + len(values)] = values
        new = pa.array(old, table.schema.field(index).type)
        return table.set_column(index, table.schema.field(index), new)

    return change


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-9])
