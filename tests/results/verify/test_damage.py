"""Damage of any kind to a result directory is found and named."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pytest

from inspector.results.verify import VerifyConfig, verify
from inspector.results.verify.findings import MOST_LISTED
from tests.results.verify.table import IDENTITY, PARTS, codes, edit, flip, forge, put, write


def test_an_untouched_directory_is_proven(out):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()}
    seen = []
    result = verify(VerifyConfig(out=out), progress=lambda *step: seen.append(step))
    assert (result.damage, result.notes, result.exit_code) == ((), (), 0)
    assert (result.rows, result.parts, result.photos) == (15, 3, None)
    assert seen == [("parts", k, 3) for k in range(3)]
    assert before == {
        p: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.rglob("*") if p.is_file()
    }


def add_column(table):
    return table.append_column("extra", pa.array([1] * len(table)))


def as_double(table):
    index = table.schema.get_field_index("p_crack")
    return table.set_column(index, "p_crack", table.column("p_crack").cast(pa.float64()))


def nullable(table):
    return table.cast(
        pa.schema([f.with_nullable(True) for f in table.schema], table.schema.metadata)
    )


def exchange(out):
    (out / PARTS[0]).rename(out / "x")
    (out / PARTS[1]).rename(out / PARTS[0])
    (out / "x").rename(out / PARTS[1])


def make_pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGE = {
    "flipped byte": (lambda out: flip(out / PARTS[1]), {"changed_part"}),
    "truncated part": (lambda out: os.truncate(out / PARTS[1], 1000), {"changed_part"}),
    "emptied part": (lambda out: (out / PARTS[1]).write_bytes(b""), {"changed_part"}),
    "parts exchanged": (exchange, {"changed_part"}),
    "removed part": (lambda out: (out / PARTS[2]).unlink(), {"missing_part"}),
    "doubled part": (
        lambda out: shutil.copy(out / PARTS[0], out / "table/part-000007.parquet"), {"doubled_uri"}
    ),
    "copy under another name": (
        lambda out: shutil.copy(out / PARTS[0], out / "backup.parquet"), {"stray_file"}
    ),
    "notes beside the table": (lambda out: (out / "notes.txt").write_text("x"), set()),
    "stray in a folder": (
        lambda out: (
            (out / "table/old").mkdir(), (out / "table/old/x").write_text("x"),
        ),
        {"stray_file"},
    ),
    "hidden from pyarrow only": (
        lambda out: shutil.copy(out / PARTS[0], out / "_x.parquet"), {"stray_file"}
    ),
    "hidden in the working directory": (
        lambda out: shutil.copy(out / PARTS[0], out / "_inspector/x.parquet"), {"stray_file"}
    ),
    "hidden among the parts": (
        lambda out: (out / "table/.DS_Store").touch(), {"stray_file"}
    ),
    "a part outside the table": (
        lambda out: shutil.copy(out / PARTS[0], out / "part-000000.parquet"), {"stray_file"}
    ),
    "pipe outside the table": (lambda out: os.mkfifo(out / "part-000077.parquet"), {"stray_file"}),
    "part of another scan": (
        lambda out: os.replace(
            write(out.parent / "other", [99], IDENTITY | {"model": "b"}) / PARTS[0],
            out / "table/part-000003.parquet",
        ),
        {"other_scan"},
    ),
    "broken part without an entry": (
        lambda out: (out / "table/part-000003.parquet").write_bytes(b"PAR1"), {"unreadable"}
    ),
    "manifest gone": (lambda out: (out / "_inspector/manifest.json").unlink(), {"manifest"}),
    "manifest a pipe": (
        lambda out: make_pipe(out / "_inspector/manifest.json"), {"manifest"}
    ),
    "total of rows": (lambda out: edit(out, lambda m: m.update(rows=16)), {"manifest"}),
    "rows of a part": (
        lambda out: edit(out, lambda m: (m["parts"][0].update(rows=6), m.update(rows=16))),
        {"row_count"},
    ),
    "identity": (
        lambda out: edit(out, lambda m: m["identity"].update(crack_from="0.8")),
        {"identity", "row_verdict"},
    ),
    "fingerprint": (
        lambda out: edit(out, lambda m: m.update(fingerprint="0" * 64)),
        {"identity", "other_scan"},
    ),
    "part a directory": (
        lambda out: ((out / PARTS[0]).unlink(), (out / PARTS[0]).mkdir()), {"not_a_file"}
    ),
    "part a link": (
        lambda out: (
            shutil.copy(out / PARTS[0], out.parent / "real"),
            (out / PARTS[0]).unlink(),
            (out / PARTS[0]).symlink_to(out.parent / "real"),
        ),
        {"not_a_file"},
    ),
    "part a pipe": (lambda out: make_pipe(out / PARTS[0]), {"not_a_file"}),
    "pipe without an entry": (
        lambda out: os.mkfifo(out / "table/part-000003.parquet"), {"stray_file"}
    ),
    "extra column": (lambda out: forge(out, add_column), {"schema"}),
    "missing column": (lambda out: forge(out, lambda t: t.drop_columns("camera")), {"schema"}),
    "columns in another order": (
        lambda out: forge(out, lambda t: t.select(t.column_names[::-1])), {"schema"}
    ),
    "another type": (lambda out: forge(out, as_double), {"schema"}),
    "nullable uri": (lambda out: forge(out, nullable), {"schema"}),
    "a file twice in a part": (
        lambda out: forge(out, put("uri", ["file:///p/6%20a.jpg"] * 2)), {"doubled_uri", "row_uri"}
    ),
    "a file in two parts": (
        lambda out: forge(
            out,
            lambda t: put("path", ["/p/0 a.jpg"])(put("uri", ["file:///p/0%20a.jpg"])(t)),
        ),
        {"doubled_uri", "photo_list"},
    ),
    "a row too many": (lambda out: forge(out, lambda t: t.slice(1)), {"row_count"}),
    "uri with a letter of its own": (
        lambda out: forge(out, put("uri", ["file:///p/5%20\u00e4.jpg"])), {"row_uri"}
    ),
    "verdict under the wrong name": (lambda out: forge(out, put("path", ["6 a.jpg"])), {"row_uri"}),
    "failed with a verdict": (lambda out: forge(out, put("verdict", ["clear"], 4)), {"row_nulls"}),
    "ok without p_crack": (lambda out: forge(out, put("p_crack", [None])), {"row_nulls"}),
    "ok with a code": (lambda out: forge(out, put("failure_code", ["empty"])), {"row_nulls"}),
    "a peak in a clear photo": (lambda out: forge(out, put("peak_x", [0.5], 1)), {"row_nulls"}),
    "a code of our own": (lambda out: forge(out, put("failure_code", ["tired"], 4)), {"row_value"}),
    "p_crack NaN": (
        lambda out: forge(out, put("p_crack", [float("nan")])), {"row_value", "row_verdict"}
    ),
    "p_crack above 1": (lambda out: forge(out, put("p_crack", [1.5])), {"row_value"}),
    "negative size": (lambda out: forge(out, put("size_bytes", [-1])), {"row_value"}),
    "no hash": (lambda out: forge(out, put("content_hash", ["0f" * 31 + "0g"])), {"row_value"}),
    "clear above the threshold": (
        lambda out: forge(out, put("p_crack", [float(np.float32(0.3))], 1)), {"row_verdict"}
    ),
    "crack just below the threshold": (
        lambda out: forge(
            out, put("p_crack", [float(np.nextafter(np.float32(0.7), np.float32(0)))])
        ),
        {"row_verdict"},
    ),
    "right verdict, wrong reason": (
        lambda out: forge(out, put("reason", ["downscaled"])), {"row_verdict"}
    ),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(out, name):
    damage, expected = DAMAGE[name]
    damage(out)
    assert codes(out) == expected


def test_every_finding_says_where_and_what_to_do(out):
    flip(out / PARTS[0])
    (out / "table/stray").write_text("x")
    result = verify(VerifyConfig(out=out))
    assert result.exit_code == 1
    assert {finding.where for finding in result.damage} == {PARTS[0], "table/stray"}
    assert all(finding.what and finding.remedy for finding in result.damage)
    assert json.loads(json.dumps(result.to_json()))["damage"][0]["code"] in {
        "changed_part",
        "stray_file",
    }


def test_an_example_row_is_named(out):
    forge(out, put("p_crack", [1.5, 1.5], 0))
    (finding, _) = sorted(verify(VerifyConfig(out=out)).damage, key=lambda f: f.code != "row_value")
    assert "2 rows" in finding.what and "file:///p/5%20a.jpg" in finding.what


def test_more_findings_than_anybody_reads_are_counted(out):
    for number in range(MOST_LISTED + 5):
        (out / f"table/{number}.txt").touch()
    damage = verify(VerifyConfig(out=out)).damage
    assert len(damage) == MOST_LISTED + 1
    assert "5 more" in damage[-1].what
