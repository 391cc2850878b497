"""What people said is never lost, and never sticks to another photo."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest

from inspector.core.layout import Layout
from inspector.errors import OutputError
from inspector.library.frames import Results
from inspector.results.labels import Decision, Label, RegionLabel, open_labels
from inspector.results.schema import SCHEMA
from inspector.results.view import VIEW
from tests.reviewing.tables import row_of, write_table
from tests.said import read_labels

NOW = datetime(2026, 5, 4)
IN_SQL = """
SELECT t.*, said.label AS human_verdict
FROM '{out}/table/*.parquet' t LEFT JOIN (
  FROM read_json_auto('{out}/_inspector/labels.jsonl')
  QUALIFY row_number() OVER (PARTITION BY uri ORDER BY id DESC) = 1
) said USING (uri, content_hash)
"""
"""As docs/reference/results.md has it; a test compares them."""


def said(uri, label, content_hash="a", **changes):
    values = {
        "uri": uri, "label": label and Label(label), "content_hash": content_hash, "size_bytes": 5,
        "mtime": NOW, "verdict": "review", "p_crack": 0.5, "model": "f",
    }  # fmt: skip
    return Decision(**(values | changes))


def undone(store):
    row = store.undo()
    assert row is not None
    return row["uri"], row["label"]


def labels_in(out):
    table = read_labels(out)
    return dict(zip(table["uri"].to_pylist(), table["label"].to_pylist(), strict=True))


def test_the_newest_standing_decision_counts(tmp_path):
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
        store.add(said("file:///2", "clear"))
        store.add(said("file:///1", "clear"))
        assert labels_in(tmp_path) == {"file:///2": "clear", "file:///1": "clear"}
        assert undone(store) == ("file:///1", "clear")
        assert labels_in(tmp_path) == {"file:///1": "crack", "file:///2": "clear"}
        assert undone(store) == ("file:///2", "clear")
        assert undone(store) == ("file:///1", "crack")
        assert store.undo() is None
    assert labels_in(tmp_path) == {}
    with open_labels(tmp_path, "ann") as store:
        assert len(store) == store.table.num_rows == 6, "nothing that was said is forgotten"


REGION = {"x": 10, "y": 20, "width": 224, "height": 300}


def test_what_is_said_of_regions_stands_beside_the_photos_label(tmp_path):
    """And is taken back with the decision that said it."""
    label = RegionLabel(**REGION, label=Label.CRACK)
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
        store.add(said("file:///1", "crack", regions=(label,)))
        store.add(said("file:///2", None, regions=(label,)))
    assert labels_in(tmp_path) == {"file:///1": "crack"}, "a region is no label of the photo"
    (row,) = read_labels(tmp_path).to_pylist()
    assert row["regions"] == [REGION | {"label": "crack"}]
    with open_labels(tmp_path, "ann") as store:
        last = store.last("file:///2")
        assert last is not None
        assert (last["label"], last["regions"]) == (None, [REGION | {"label": "crack"}])
        assert undone(store) == ("file:///2", None)
        assert store.table["regions"].to_pylist()[-1] is None
        assert undone(store) == ("file:///1", "crack")
        assert store.table["regions"].to_pylist()[-1] is None
    assert labels_in(tmp_path) == {"file:///1": "crack"}


def test_labels_of_versions_that_knew_no_regions_are_read(tmp_path):
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
        store.add(said("file:///2", "clear"))
    file = Layout(tmp_path).labels
    old = [json.loads(line) for line in file.read_text().splitlines()]
    for line in old:
        del line["regions"]
    file.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert labels_in(tmp_path) == {"file:///1": "crack", "file:///2": "clear"}
    with open_labels(tmp_path, "ann") as store:
        assert undone(store) == ("file:///2", "clear")
    assert labels_in(tmp_path) == {"file:///1": "crack"}


def test_undo_takes_back_only_what_one_said_oneself(tmp_path):
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
    with open_labels(tmp_path, "bob") as store:
        assert store.undo() is None
    assert labels_in(tmp_path) == {"file:///1": "crack"}


def test_a_reviewer_whose_name_is_no_text_costs_no_label(tmp_path):
    with open_labels(tmp_path, "ann\udcff") as store:
        store.add(said("file:///1", "crack"))
        assert undone(store) == ("file:///1", "crack")
    assert set(open_and_read(tmp_path)["reviewer"].to_pylist()) == {"ann\\udcff"}


def open_and_read(out):
    with open_labels(out, "bob") as store:
        return store.table


def test_no_labels_are_no_error_and_damaged_ones_are(tmp_path):
    assert read_labels(tmp_path).num_rows == 0
    Layout(tmp_path).work.mkdir()
    bomb = b'{"id": ' + b"[" * 1_000_000
    for content in (b"PAR1", b"[]", b"{}", b'{"id": "x"}', b'{"a": 1}', b"\xff", b"\0", bomb):
        Layout(tmp_path).labels.write_bytes(content + b"\n")
        with pytest.raises(OutputError, match="damaged"):
            read_labels(tmp_path)


def test_two_cannot_add_at_once(tmp_path):
    with (
        open_labels(tmp_path, "ann"),
        pytest.raises(OutputError, match="being reviewed"),
        open_labels(tmp_path, "bob"),
    ):
        pass
    with open_labels(tmp_path, "bob"):
        pass


def test_a_full_disk_keeps_the_earlier_labels(tmp_path):
    """A real limit on file size stands in for the full disk: the write fails half way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
        size = Layout(tmp_path).labels.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        try:
            with pytest.raises(OutputError, match="this one is not kept"):
                store.add(said("file:///2", "crack"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert Layout(tmp_path).labels.stat().st_size == size
        store.add(said("file:///3", "clear"))
    assert labels_in(tmp_path) == {"file:///1": "crack", "file:///3": "clear"}


@pytest.mark.parametrize("torn", [b'{"id": 1, "uri": "file:///2", "lab', b"\0" * 5000])
def test_a_line_that_a_crash_has_torn_is_dropped(tmp_path, torn):
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
    with Layout(tmp_path).labels.open("ab") as stream:
        stream.write(torn)
    assert labels_in(tmp_path) == {"file:///1": "crack"}
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///3", "clear"))
    assert labels_in(tmp_path) == {"file:///1": "crack", "file:///3": "clear"}


def test_a_label_is_added_and_nothing_is_written_again(tmp_path):
    with open_labels(tmp_path, "ann") as store:
        file = Layout(tmp_path).labels
        before = b""
        for number in range(5):
            store.add(said(f"file:///{number}", "crack"))
            content = file.read_bytes()
            assert content.startswith(before) and content.count(b"\n") == number + 1
            before = content
        store.undo()
        assert file.read_bytes().startswith(before)


def test_a_label_belongs_to_the_bytes_that_were_seen(tmp_path):
    rows = [
        row_of(tmp_path / "same.jpg", content_hash="a"),
        row_of(tmp_path / "changed.jpg", content_hash="b"),
        row_of(tmp_path / "unread.jpg", content_hash=None, size_bytes=5, mtime=NOW),
        row_of(tmp_path / "unread2.jpg", content_hash=None, size_bytes=6, mtime=NOW),
        row_of(tmp_path / "nobody.jpg", content_hash="a"),
        row_of(tmp_path / "nobody2.jpg", content_hash=None, size_bytes=None, mtime=None),
    ]
    out = write_table(tmp_path / "out", rows[:3], rows[3:])
    with open_labels(out, "ann") as store:
        for row in rows[:4]:
            store.add(said(row["uri"], "crack"))
    table = Results(out).to_arrow()
    assert table["human_verdict"].to_pylist() == ["crack", None, "crack", None, None, None]
    assert table.schema.names == [column.name for column in VIEW]
    assert table.select(SCHEMA.names).equals(ds.dataset(out).to_table().replace_schema_metadata())


def test_an_empty_and_an_unlabelled_table_join_too(tmp_path):
    for rows in ([row_of(tmp_path / "1.jpg")], []):
        out = write_table(tmp_path / f"out{len(rows)}", rows)
        assert Results(out).to_arrow(["human_verdict", "note"]).to_pylist() == [
            {"human_verdict": None, "note": None} for _ in rows
        ]


def test_sql_says_the_same(tmp_path):
    rows = [row_of(tmp_path / f"{k}.jpg", content_hash="a" if k < 3 else "b") for k in range(4)]
    out = write_table(tmp_path / "out", rows)
    with open_labels(out, "ann") as store:
        for row, label in zip(rows, ("crack", "clear", "crack", "clear"), strict=True):
            store.add(said(row["uri"], label))
        store.add(said(rows[0]["uri"], "clear"))
        store.add(said(rows[1]["uri"], "crack"))
        store.undo()
    joined = f"SELECT human_verdict FROM ({IN_SQL.format(out=out)}) ORDER BY uri"
    by_sql = duckdb.sql(joined).fetchall()
    table = Results(out).to_arrow().sort_by("uri")
    assert [row[-1] for row in by_sql] == table["human_verdict"].to_pylist()
    assert [row[-1] for row in by_sql] == ["clear", "clear", "crack", None]
    documented = (Path(__file__).parents[2] / "docs/reference/results.md").read_text(
        encoding="utf-8"
    )
    assert IN_SQL.format(out="results").strip() in documented


PROGRAM = """
import sys
from pathlib import Path
from inspector.results.labels import Decision, Label, open_labels
with open_labels(Path(sys.argv[1]), "ann") as store:
    print("ready", flush=True)
    while True:
        n = len(store)
        store.add(Decision(uri=f"file:///{n}", label=Label.CRACK, content_hash=None,
            size_bytes=None, mtime=None, verdict=None, p_crack=None, model=None))
        print(n, flush=True)
"""


def test_what_was_acknowledged_survives_sigkill(tmp_path):
    kept = 0
    for moment in range(4):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            for _ in range(moment % 3 + 1):
                kept = int(process.stdout.readline()) + 1
            os.kill(process.pid, signal.SIGKILL)
            rest = process.stdout.read().split("\n")[:-1]
        kept = int(rest[-1]) + 1 if rest else kept
        found = read_labels(tmp_path)["uri"].to_pylist()
        assert found[:kept] == [f"file:///{n}" for n in range(kept)]
        assert len(found) <= kept + 1, "at most the one that was being written"


def test_labels_are_what_other_tools_read(tmp_path):
    with open_labels(tmp_path, "ann") as store:
        store.add(said("file:///1", "crack"))
    found = duckdb.sql(f"FROM read_json_auto('{Layout(tmp_path).labels}')")
    (row,) = found.to_arrow_table().to_pylist()
    assert (row["reviewer"], row["label"], row["mtime"]) == ("ann", "crack", NOW)
    assert isinstance(row["labelled_at"], datetime) and row["labelled_at"].tzinfo is None
