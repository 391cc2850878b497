"""One view of a table for every reader: its columns, and what people said."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import inspector
from inspector.cli import app
from inspector.errors import OutputError, UsageError
from inspector.library.frames import table_lines
from inspector.results.store import open_results
from inspector.scanning.pipeline import ParquetSink
from tests.scanning.dying import IDENTITY

NOTE = '=a "form tie", behind <b>'
REGION = {"x": 1, "y": 2, "width": 3, "height": 4, "label": "clear"}


@pytest.fixture
def results(room):
    return inspector.Results(room / "both")


def test_labels_are_columns_of_every_form(results, tmp_path):
    said = {"human_verdict": "clear", "note": NOTE, "human_regions": [REGION], "reviewer": "Jörg"}
    table = results.to_arrow()
    assert len(results) == table.num_rows == 5
    (row,) = [row for row in table.to_pylist() if row["human_verdict"]]
    assert row["path"].endswith("dense.png") and row["labelled_at"] is not None
    assert said.items() <= row.items()
    assert results.to_polars().height == 5 and NOTE in results.to_pandas()["note"].tolist()
    assert sum(batch.num_rows for batch in results.batches(["note"])) == 5
    assert results.export(tmp_path / "new" / "t.parquet") == 5
    assert pq.read_table(tmp_path / "new" / "t.parquet").equals(table)
    results.export(tmp_path / "t.jsonl", ["note", "labelled_at", "p_crack"])
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [line["note"] for line in lines] == table["note"].to_pylist()
    assert [line["p_crack"] for line in lines] == table["p_crack"].to_pylist()


def test_what_is_pressing_comes_first(results):
    head = results.head(3, ["path", "p_crack"]).to_pylist()
    names = [row["path"].rpartition("/")[2] for row in head]
    assert set(names[:2]) == {"crack.jpg", "turned.jpg"} and names[2] == "broken.jpg"
    assert head[0]["p_crack"] >= head[1]["p_crack"]
    assert results.head(9).num_rows == 5


def test_a_notebook_shows_it(results):
    html = results._repr_html_()
    assert "5 photos" in html and "<b>" not in html and "dense.png" in html


@pytest.mark.parametrize("file", ["t.csv", "both/t.parquet", "both/table/t.jsonl"])
def test_no_file_where_it_would_do_harm(results, room, file):
    with pytest.raises(UsageError):
        results.export(room / file)


def test_wrong_names_are_said(results, tmp_path):
    with pytest.raises(UsageError, match="there is no column p"):
        results.to_arrow(["p"])
    with pytest.raises(OutputError):
        inspector.Results(tmp_path)


def test_table_prints_and_exports(room, tmp_path):
    run = CliRunner().invoke
    said = run(app, ["table", str(room / "both"), "--rows", "4"]).output
    assert f"photos below {room}/" in said and "... and 1 more (--rows)" in said
    assert said.index("crack.jpg") < said.index("broken.jpg")
    said = run(app, ["table", str(room / "both"), "--columns", "human_verdict,note"]).output
    assert NOTE in said
    file = tmp_path / "t.parquet"
    done = run(app, ["table", str(room / "both"), "--export", str(file), "--columns", "note"])
    assert "5 photos" in done.output and pq.read_schema(file).names == ["note"]


def test_a_table_without_rows_says_so(tmp_path):
    with (
        open_results(tmp_path / "out", IDENTITY, overwrite=False) as opened,
        ParquetSink(opened, {}),
    ):
        pass
    results = inspector.Results(tmp_path / "out")
    assert table_lines(results, 20) == ["photos     the table has none"]
    assert table_lines(results, 20, since="2026-01-01") == [
        "photos     none was judged since 2026-01-01"
    ]
    assert "0 photos" in results._repr_html_()


@pytest.mark.parametrize(
    ("paths", "shared"),
    [
        (["C:\\p\\a\\1.jpg", "C:\\p\\a2.jpg"], "C:\\p\\"),
        (["\\\\nas\\p\\1.jpg"], "\\\\nas\\p\\"),
        (["/p/a/1.jpg", "/p/a2/1.jpg"], "/p/"),
        (["/1.jpg", "/2.jpg"], "/"),
        (["C:\\1.jpg", "D:\\1.jpg"], ""),
        (["s3://b/1.jpg", "s3://b/2.jpg"], ""),
    ],
)
def test_a_table_begins_with_the_folder_that_all_share_on_any_system(paths, shared):
    rows = [{"path": path} for path in paths]
    head = SimpleNamespace(to_pylist=lambda: rows)
    table: Any = SimpleNamespace(count=lambda _: len(rows), head=lambda *_, **__: head)
    first, *lines = table_lines(table, 9, ["path"])
    if shared:
        assert first == f"photos below {shared}"
    assert lines[-1].strip() == paths[-1].removeprefix(shared)
