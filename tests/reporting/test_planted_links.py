"""Whoever may write to a folder plants a link where a draft is made: no victim is written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.restamp import put
from inspector import Results
from inspector.errors import OutputError
from inspector.model.stamp import model_metadata
from inspector.reporting.report import ReportConfig, report
from tests.reviewing.tables import row_of, write_table


@pytest.fixture
def victim(tmp_path, monkeypatch):
    """A file to which a link leads from every draft, just after its place was cleared."""
    file = tmp_path / "victim"
    file.write_bytes(b"old")
    unlink = Path.unlink

    def plant(path, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        if path.name.endswith(".partial") and path.name not in planted:
            planted.add(path.name)
            path.symlink_to(file)

    planted: set[str] = set()
    monkeypatch.setattr(Path, "unlink", plant)
    yield file
    assert planted and file.read_bytes() == b"old"


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "out", [row_of(tmp_path / "a.jpg", verdict="crack")])


@pytest.mark.parametrize("option", ["html", "csv", "xlsx", "geojson", "geoparquet", "coco"])
def test_a_report(table, tmp_path, victim, option):
    with pytest.raises(OutputError, match="exists"):
        report(ReportConfig(out=table, **{option: tmp_path / "made"}))


@pytest.mark.parametrize("name", ["made.parquet", "made.jsonl"])
def test_an_export_of_a_table(table, tmp_path, victim, name):
    with pytest.raises(OutputError, match="exists"):
        Results(table).export(tmp_path / name)


@pytest.mark.parametrize("name", ["model.onnx", "model.ts", "bundle.json"])
def test_a_file_of_a_bundle(tiny_bundle, tmp_path, victim, name):
    stamp = None if name == "bundle.json" else model_metadata(tiny_bundle)
    with pytest.raises(FileExistsError):
        put(tiny_bundle.file(name), tmp_path / name, stamp)
