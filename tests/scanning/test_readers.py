"""A result directory is read by everything that reads directories of Parquet files."""

from __future__ import annotations

from datetime import datetime

import duckdb
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from inspector import ReportConfig, report
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.schema import to_table
from inspector.results.store import open_results
from inspector.scanning.pipeline import ParquetSink
from tests.results.test_results import IDENTITY, rows, write


def by_polars(out):
    polars = pytest.importorskip("polars")
    return polars.read_parquet(out / "table")["uri"].to_list()


def by_dask(out):
    dask = pytest.importorskip("dask.dataframe")
    return dask.read_parquet(out / "table").compute(scheduler="sync")["uri"].tolist()


def by_fastparquet(out):
    fastparquet = pytest.importorskip("fastparquet")
    return fastparquet.ParquetFile(str(out / "table")).to_pandas()["uri"].tolist()


def by_datasets(out):
    datasets = pytest.importorskip("datasets")
    found = datasets.load_dataset(
        "parquet", data_dir=str(out / "table"), split="train", cache_dir=str(out.parent / "cache")
    )
    return list(found["uri"])


def by_duckdb(pattern):
    return lambda out: [
        uri for (uri,) in duckdb.sql(f"SELECT uri FROM '{out}/{pattern}'").fetchall()
    ]


READERS = {
    "polars": by_polars,
    "dask": by_dask,
    "fastparquet": by_fastparquet,
    "datasets": by_datasets,
    "duckdb": by_duckdb("table/*.parquet"),
    "duckdb **": by_duckdb("**/*.parquet"),
    "pandas": lambda out: pd.read_parquet(out / "table")["uri"].tolist(),
    "pandas, OUT": lambda out: pd.read_parquet(out)["uri"].tolist(),
    "pyarrow.dataset": lambda out: ds.dataset(out / "table").to_table()["uri"].to_pylist(),
    "pyarrow.dataset, OUT": lambda out: ds.dataset(out).to_table()["uri"].to_pylist(),
    "pq.read_table, OUT": lambda out: pq.read_table(out)["uri"].to_pylist(),
}


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


def replace(out, *numbers):
    """New rows for these files, as a scan of changed files makes them."""
    with (
        open_results(out, IDENTITY, overwrite=False) as results,
        ParquetSink(results, {}) as sink,
    ):
        sink.add(to_table(rows(*numbers, detail="new", mtime_us=5), {}))


def decision(number):
    return Decision(
        uri=f"file:///{number}.jpg", label=Label.CRACK, content_hash=None, size_bytes=0,
        mtime=datetime(1970, 1, 1), verdict=None, p_crack=None, model=None,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of what other programs do
@pytest.mark.parametrize("name", READERS)
def test_reads_the_table_after_scan_report_and_review(tmp_path, offline, name):
    out, read = tmp_path / "out", READERS[name]
    write(out, *range(9), rows_per_part=3)
    assert len(read(out)) == 9
    replace(out, 0, 1, 2, 5)  # the first part is left without rows
    report(ReportConfig(out=out, html=out / "_report.html", geojson=out / "_places.geojson"))
    with open_labels(out, "ann") as store:
        store.add(decision(4))
        with open_results(out, IDENTITY, overwrite=False):
            found = read(out)
    assert sorted(found) == [f"file:///{number}.jpg" for number in range(9)]


def test_a_table_is_an_excel_sheet(tmp_path):
    pytest.importorskip("openpyxl")
    write(tmp_path / "out", *range(3))
    sheet = tmp_path / "table.xlsx"
    pd.read_parquet(tmp_path / "out").to_excel(sheet)
    assert pd.read_excel(sheet)["mtime"].tolist() == [datetime(1970, 1, 1)] * 3


def names(out):
    files = sorted((out / "table").iterdir())
    return lambda: [uri for file in files for uri in pq.read_table(file)["uri"].to_pylist()]


def dataset(out):
    found = ds.dataset(out)
    return lambda: found.to_table()["uri"].to_pylist()


def relation(out):
    found = duckdb.sql(f"SELECT uri FROM '{out}/table/*.parquet'")
    return lambda: [uri for (uri,) in found.fetchall()]


@pytest.mark.parametrize("list_parts", [names, dataset, relation])
def test_who_listed_the_parts_before_rows_moved_reads_on(tmp_path, list_parts):
    """Each row at most once; of those that moved, none that came to a part after the listing."""
    write(tmp_path, *range(9), rows_per_part=3)
    read = list_parts(tmp_path)
    replace(tmp_path, 0, 1, 2, 5)
    found = read()
    stayed = [f"file:///{number}.jpg" for number in (3, 4, 6, 7, 8)]
    assert sorted(set(found)) == sorted(found)
    assert set(stayed) <= set(found)
