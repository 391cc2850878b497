"""A table asked in SQL: nothing leaks, nothing is trusted, and a scan does not pay for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from inspector.errors import OutputError
from inspector.results.labels import SCHEMA as LABELS
from inspector.results.query import Query
from inspector.results.reader import StaleTableError, Table
from inspector.results.schema import to_table
from inspector.results.store import open_results
from tests.reviewing.tables import IDENTITY, row_of, write_table

NOBODY = LABELS.empty_table()


@pytest.fixture
def out(tmp_path):
    rows = [row_of(Path(f"/w/{k}.jpg"), verdict="crack") for k in range(4)]
    return write_table(tmp_path / "out", rows[:2], rows[2:])


def test_query_close_removes_what_it_wrote(out, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with closing(Query(Table.open(out), NOBODY)) as query:
        query.db.execute("CREATE TABLE big AS SELECT md5(range::VARCHAR) FROM range(2000000)")
        (folder,) = (tmp_path / "temporary").iterdir()
        assert list(folder.iterdir()), "more than fits is written to a file"
        assert folder.stat().st_mode & 0o077 == 0, "for nobody else to read"
        assert query.ask([], "SELECT count(*) FROM photos") == [(4,)]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_query_reads_no_files_and_loads_no_extensions(out):
    with closing(Query(Table.open(out), NOBODY)) as query:
        for sql in (
            "FROM read_csv('/etc/passwd')",
            "INSTALL httpfs",
            "COPY said TO '/tmp/said.csv'",
            "SET enable_external_access = true",
        ):
            with pytest.raises(Exception, match=r"(?i)disabled|locked"):
                query.db.execute(sql)


def test_ask_raises_stale_table_error_when_a_part_is_rewritten(out):
    table = Table.open(out)
    write_table(out, [row_of(Path("/w/3.jpg"), verdict="clear")])
    assert not table.is_current()
    with pytest.raises(StaleTableError):
        Query(table, NOBODY).ask([], "SELECT count(*) FROM photos")
    with pytest.raises(StaleTableError):
        table.rows([3], ["path"])
    assert table.rows([0], ["path"]) == [{"path": "/w/0.jpg", "row": 0}]


def test_text_that_is_no_utf8_is_refused(tmp_path):
    with open_results(tmp_path / "out", IDENTITY, overwrite=False) as results:
        facts = {**IDENTITY, "fingerprint": results.fingerprint}
        rows = to_table([row_of(Path("/w/a.jpg"))], facts)
        bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"/w/\xff.jpg"]).buffers())
        place = rows.schema.get_field_index("path")
        results.commit(rows.set_column(place, rows.schema.field(place), bad))
    with (
        closing(Query(Table.open(tmp_path / "out"), NOBODY)) as query,
        pytest.raises(OutputError, match="inspector verify"),
    ):
        query.ask(["path"], "SELECT path FROM photos")


PROGRAM = """
import sys
from inspector.cli import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert end.code == 0, end.code
print(*sorted({"duckdb", "torch", "onnx", "sklearn", "scipy", "matplotlib"} & sys.modules.keys()))
"""


def test_a_scan_does_not_load_duckdb(tmp_path, tiny_bundle):
    Image.new("RGB", (90, 90), "grey").save(tmp_path / "a.png")
    options = ["--model", str(tiny_bundle.path), "--out", str(tmp_path / "out"), "-j", "0", "-q",
               "--device", "cpu", "--precision", "fp32"]  # fmt: skip
    for act in (["scan", str(tmp_path / "a.png"), *options], ["verify", str(tmp_path / "out")]):
        command = [sys.executable, "-c", PROGRAM, *act]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "", done.stdout
