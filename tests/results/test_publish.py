"""A table published as a Delta table: read back by deltalake, once for each state of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspector.errors import OutputError, UsageError
from inspector.library.frames import Results
from inspector.results import publish as module
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.publish import PublishConfig, publish
from inspector.results.store import open_results
from inspector.results.view import view_batches
from tests.reviewing.tables import IDENTITY, row_of, write_table

deltalake = pytest.importorskip("deltalake", reason="deltalake is not installed")


@pytest.fixture
def out(tmp_path):
    finish(tmp_path / "out", 1, 2, 3)
    return tmp_path / "out"


def row(number):
    return row_of(Path(f"/{number}.jpg"), content_hash=f"{number:064}")


def finish(out, *numbers):
    write_table(out, *([row(number)] for number in numbers))
    with open_results(out, IDENTITY, overwrite=False) as results:
        results.end()


def test_what_is_published_is_the_view(out, tmp_path):
    lake = tmp_path / "lake" / "cräcks"
    first = publish(PublishConfig(out=out, delta=lake))
    assert (first.rows, first.version, first.unchanged) == (3, 0, False)
    with open_labels(out, "ann") as labels:
        about = {name: row(2)[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
        labels.add(Decision(label=Label.CRACK, verdict=None, p_crack=None, model=None, **about))
    finish(out, 4)
    second = publish(PublishConfig(out=out, delta=lake))
    assert (second.rows, second.version, second.unchanged) == (4, 1, False)
    table = deltalake.DeltaTable(str(lake))
    found = table.to_pyarrow_table().sort_by("uri").to_pylist()
    assert found == Results(out).to_arrow().sort_by("uri").to_pylist()
    assert [row["human_verdict"] for row in found] == [None, "crack", None, None]
    assert deltalake.DeltaTable(str(lake), version=0).to_pyarrow_table().num_rows == 3


def test_what_is_there_already_is_not_published_again(out, tmp_path):
    config = PublishConfig(out=out, delta=tmp_path / "lake")
    publish(config)
    table = deltalake.DeltaTable(str(tmp_path / "lake"))
    table.optimize.compact()
    table.create_checkpoint()
    again = publish(config)
    assert again.unchanged and again.version == table.version()


def test_a_publication_that_breaks_off_counts_for_nothing(out, tmp_path, monkeypatch):
    config = PublishConfig(out=out, delta=tmp_path / "lake")
    publish(config)
    finish(out, 4)

    def broken(table, decisions, names):
        yield from view_batches(table, decisions, names)
        raise OSError("the disk is gone")

    monkeypatch.setattr(module, "view_batches", broken)
    with pytest.raises(OutputError, match=r"the disk is gone.*as it was"):
        publish(config)
    table = deltalake.DeltaTable(str(tmp_path / "lake"))
    assert (table.version(), table.to_pyarrow_table().num_rows) == (0, 3)
    monkeypatch.undo()
    assert publish(config).version == 1


def test_what_cannot_be_published_is_said(out, tmp_path):
    part = out / "table" / "part-000000.parquet"
    kept = part.read_bytes()
    part.write_bytes(kept[:-1] + b"x")
    with pytest.raises(OutputError, match="not the file that was committed"):
        publish(PublishConfig(out=out, delta=tmp_path / "lake"))
    part.write_bytes(kept)
    write_table(out, [row(4)])
    with pytest.raises(OutputError, match="run its scan again, then publish"):
        publish(PublishConfig(out=out, delta=tmp_path / "lake"))
    finish(out)
    deltalake.write_deltalake(tmp_path / "other", Results(out).to_arrow(["uri"]))
    with pytest.raises(OutputError, match="not published"):
        publish(PublishConfig(out=out, delta=tmp_path / "other"))
    for taken, words in ((out / "lake", "in the result directory"), (tmp_path, "no Delta table")):
        with pytest.raises(UsageError, match=words):
            PublishConfig(out=out, delta=taken)
