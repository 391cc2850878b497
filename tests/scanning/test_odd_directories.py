"""Result directories as people name them, and as somebody else may have prepared them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pytest

from inspector import ReportConfig, report
from inspector.core.durable import locked
from inspector.core.layout import Layout, is_being_written
from inspector.errors import InspectorError, OutputError
from inspector.labelled.reviewed import read_reviewed
from inspector.reporting.page import _query
from inspector.results.labels import Decision, Label, open_labels
from inspector.results.opening import look_into
from inspector.results.store import open_results
from inspector.results.verify import VerifyConfig, verify
from inspector.reviewing.queue import Filters
from inspector.reviewing.session import Session
from tests.results.test_results import snapshot
from tests.reviewing.tables import IDENTITY, labelled, row_of, write_table
from tests.said import read_labels

if not hasattr(os, "mkfifo"):
    pytest.skip("pipes have no names on this system", allow_module_level=True)

NAMES = [
    "scan-2026-11-28T14:48:16", "s3:out", "a b", "Brücke", "[x]*?", "100%20", "it's", "-out",
    os.fsdecode(b"caf\xe9"),
]  # fmt: skip


def label(store, row):
    about = {name: row[name] for name in ("uri", "content_hash", "size_bytes", "mtime")}
    store.add(Decision(label=Label.CRACK, verdict=None, p_crack=None, model=None, **about))


def use_everything(out, row):
    """Continue a table, prove it, report it, review it, and learn from it."""
    with open_results(out, IDENTITY, overwrite=False) as results:
        assert len(results.ledger) == 1
        assert is_being_written(out)
    assert not is_being_written(out)
    assert len(look_into(out, IDENTITY)) == 1
    result = verify(VerifyConfig(out=out, photos=True))
    assert (result.rows, result.photos, result.notes) == (1, 1, ())
    with open_labels(out, "ann") as store:
        session = Session(out, store)
        queue = session.start_queue(Filters(text="wall"))["queue"]
        assert [shown["path"] for shown in session.page(queue, 0, 9)] == [row["path"]]
        label(store, row)
    assert read_labels(out).num_rows == labelled(out).num_rows == 1
    assert len(read_reviewed([out]).images) == 1
    summary = report(ReportConfig(out=out, html=Layout(out).page))
    assert (summary.total.photos, summary.people.looked_at) == (1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_will_do_for_a_result_directory(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "wall.jpg"
    photo.write_bytes(b"bytes")
    row = row_of(photo)
    out = Path(name)
    write_table(out, [row])
    use_everything(out, row)
    write_table(out, [row], [], overwrite=True)
    use_everything(out, row)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_the_query_on_the_page_can_be_run(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    out = write_table(Path(name), [row_of(tmp_path / "a.jpg", failure_code="empty")])
    assert duckdb.sql(_query(out)).fetchall() == [(str(tmp_path / "a.jpg"), "empty", "broken")]


TRAPS = {
    "a part": lambda out: os.mkfifo(out / "table/part-000077.parquet"),
    "the manifest": lambda out: os.mkfifo(emptied(Layout(out).manifest)),
    "the manifest's draft": lambda out: os.mkfifo(Layout(out).draft("manifest.json")),
    "the journal": lambda out: os.mkfifo(Layout(out).journal),
    "the lock": lambda out: os.mkfifo(emptied(Layout(out).lock)),
    "the labels": lambda out: os.mkfifo(Layout(out).labels),
    "the labels' lock": lambda out: os.mkfifo(Layout(out).labels_lock),
    "a part beside the table": lambda out: os.mkfifo(out / "part-000077.parquet"),
    "the page": lambda out: os.mkfifo(Layout(out).page),
}


def emptied(path):
    path.unlink(missing_ok=True)
    return path


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TRAPS)
def test_a_pipe_in_place_of_a_file_is_named_and_never_waited_for(tmp_path, name):
    out, photo = tmp_path / "out", tmp_path / "wall.jpg"
    photo.write_bytes(b"bytes")
    row = row_of(photo)
    write_table(out, [row])
    TRAPS[name](out)
    acts = [
        lambda: write_table(out, [row]),
        lambda: look_into(out, IDENTITY),
        lambda: verify(VerifyConfig(out=out)),
        lambda: report(ReportConfig(out=out, html=Layout(out).page)),
        lambda: use_labels(out, row),
    ]
    refusals = 0
    for act in acts:
        try:
            act()
        except InspectorError as error:
            refusals += 1
            assert "\n" not in str(error) and "regular file" in str(error)
    assert refusals or name in ("a part beside the table", "the manifest's draft")


def use_labels(out, row):
    with open_labels(out, "ann") as store:
        Session(out, store)
        label(store, row)


LINKS = {
    "the lock": lambda at: at.lock,
    "the labels": lambda at: at.labels,
    "the labels' lock": lambda at: at.labels_lock,
    "the manifest": lambda at: at.manifest,
    "the manifest's draft": lambda at: at.draft("manifest.json"),
    "the journal": lambda at: at.journal,
    "a part": lambda at: at.table / "part-000001.parquet",
    "a part's draft": lambda at: at.draft("part-000001.parquet"),
    "the page": lambda at: at.page,
    "the page's draft": lambda at: at.page.with_name("._report.html.partial"),
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_written_or_removed_through_a_link(tmp_path, name, overwrite):
    out, theirs, photo = tmp_path / "out", tmp_path / "theirs", tmp_path / "wall.jpg"
    photo.write_bytes(b"bytes")
    row = row_of(photo)
    write_table(out, [row])
    theirs.mkdir()
    (theirs / "file").write_bytes(b"precious")
    before = snapshot(theirs)
    for target in ("file", "missing"):
        place = emptied(LINKS[name](Layout(out)))
        place.symlink_to(theirs / target)
        acts = (
            lambda: write_table(out, [row], overwrite=overwrite),
            lambda: report(ReportConfig(out=out, html=Layout(out).page)),
            lambda: use_labels(out, row),
        )
        for act in acts[: 1 if overwrite else 3]:
            try:
                act()
            except InspectorError as error:
                assert "\n" not in str(error)
        assert snapshot(theirs) == before


def test_a_lock_on_another_disk_is_not_taken_for_this_one(tmp_path, monkeypatch):
    """The same number of a file on two disks."""
    out = write_table(tmp_path / "out", [row_of(tmp_path / "a.jpg")])
    with locked(Layout(out).lock):
        inode = Layout(out).lock.stat().st_ino
        (held,) = (line for line in Path("/proc/locks").read_text().splitlines()
                   if f":{inode} " in line)  # fmt: skip
        assert is_being_written(out)
    device = held.split()[5].rpartition(":")[0]
    (tmp_path / "locks").write_text(held.replace(device, "fe:dc") + "\n")
    monkeypatch.setattr("inspector.core.layout._LOCKS", str(tmp_path / "locks"))
    assert not is_being_written(out)
    (tmp_path / "locks").write_text(held + "\n")
    assert is_being_written(out)


BOMBS = [
    b"[" * 100_000, b'{"identity":' * 50_000, b'{"parts": ' + b"[" * 990 + b"]" * 990 + b"}",
    b'{"schema_version": ' + b"[" * 900 + b"]" * 900 + b"}",
    {"identity": []}, {"parts": [[]]}, {"parts": [{"file": [], "rows": {}, "sha256": ""}]},
    {"rewriting": [1]}, {"rewriting": {"a": 1}},
]  # fmt: skip
"""Manifests, and what stands in a whole one."""


@pytest.mark.parametrize("content", BOMBS)
def test_a_manifest_made_to_crash_is_one_line(tmp_path, content):
    out = write_table(tmp_path / "out", [row_of(tmp_path / "a.jpg")])
    if isinstance(content, dict):
        content = json.dumps(json.loads(Layout(out).manifest.read_bytes()) | content).encode()
    Layout(out).manifest.write_bytes(content)
    for act in (write_table, lambda out: look_into(out, IDENTITY)):
        with pytest.raises(OutputError) as caught:
            act(out)
        assert "\n" not in str(caught.value)
    assert [finding.code for finding in verify(VerifyConfig(out=out)).damage] == ["manifest"]
    assert report(ReportConfig(out=out)).state.kind == "damaged"
