"""Killed between any two steps on the disk, a table is right, and the next run completes it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import OutputError
from inspector.results.merge import FinishedTable
from inspector.results.store import open_results
from tests.scanning.dying import IDENTITY, Killed, dying_at, quick_scan, table_of

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")


def put(folder, name, content, second):
    (folder / name).write_text(content)
    os.utime(folder / name, (second, second))


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """Photos with their table, then: one changed beside an unchanged one (its part is rewritten),
    two changed that were a part of their own (it is left empty), one gone, two new."""
    root = tmp_path_factory.mktemp("begun")
    photos = root / "photos"
    photos.mkdir()
    for name in ("a", "b", "c", "d", "e", "f"):
        put(photos, f"{name}.jpg", "first", 1)
    quick_scan(photos, root / "out")
    for name in ("b", "c", "d", "g", "h"):
        put(photos, f"{name}.jpg", "second", 2)
    (photos / "f.jpg").unlink()
    return root


AFTER = {f"{name}.jpg": "first" for name in "ae"} | {f"{name}.jpg": "second" for name in "bcdgh"}


def steps_of(begun, out):
    with dying_at(None) as steps:
        quick_scan(begun / "photos", out, prune=True)
    return steps


def test_killed_at_every_step(begun, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(begun / "out", out)
    steps = steps_of(begun, out)
    assert table_of(out) == AFTER
    assert {"write", "append", "replace", "unlink"} == set(steps)
    for step in range(len(steps)):
        shutil.rmtree(out)
        shutil.copytree(begun / "out", out)
        with pytest.raises(Killed), dying_at(step):
            quick_scan(begun / "photos", out, prune=True)
        seen = table_of(out)
        assert seen["a.jpg"] == seen["e.jpg"] == "first", (step, steps[step])
        assert set(seen.values()) <= {"first", "second"}
        quick_scan(begun / "photos", out, prune=True)
        assert table_of(out) == AFTER, (step, steps[step])
        assert not list(out.rglob("*.partial"))
        manifest = json.loads((out / "_inspector/manifest.json").read_text())
        assert manifest["rewriting"] == [] and manifest["rows"] == len(AFTER)


def test_killed_while_recovering_from_a_kill(begun, tmp_path):
    """The first run dies in the middle of a rewrite, the second anywhere."""
    out = tmp_path / "out"
    shutil.copytree(begun / "out", out)
    steps = steps_of(begun, out)
    # The announcement, and then the first part that it speaks of.
    middle = list(pairwise(steps)).index(("append", "replace")) + 1
    for second in range(0, len(steps), 4):
        shutil.rmtree(out)
        shutil.copytree(begun / "out", out)
        for step in (middle, second):
            with suppress(Killed), dying_at(step):
                quick_scan(begun / "photos", out, prune=True)
            assert table_of(out)["a.jpg"] == "first"
        quick_scan(begun / "photos", out, prune=True)
        assert table_of(out) == AFTER, second


def taken_for_finished(out):
    """Whether the table is handed on as whole, once a scan has opened it that ended at once."""
    with open_results(out, IDENTITY, overwrite=False):
        pass
    try:
        FinishedTable.of(out, out)
    except OutputError:
        return False
    return True


def test_after_a_kill_no_table_is_taken_for_finished_that_lacks_rows(begun, tmp_path):
    """Handed on is the table before, untouched, or the one after."""
    out = tmp_path / "out"
    shutil.copytree(begun / "out", out)
    before = table_of(out)
    steps = steps_of(begun, out)
    assert taken_for_finished(out)
    for step in range(len(steps)):
        shutil.rmtree(out)
        shutil.copytree(begun / "out", out)
        with suppress(Killed), dying_at(step):
            quick_scan(begun / "photos", out, prune=True)
        if taken_for_finished(out):
            assert table_of(out) in (before, AFTER), (step, steps[step])


def test_killed_while_a_part_is_filled_up(tmp_path):
    """As by a watch, whose photos come one by one."""
    photos, before, out = (tmp_path / name for name in ("photos", "before", "out"))
    photos.mkdir()
    for name in NAMES[:2]:
        put(photos, name, "first", 1)
    quick_scan(photos, before)
    for name in NAMES[1:4]:
        put(photos, name, "second", 2)
    after = {"a.jpg": "first"} | dict.fromkeys(NAMES[1:4], "second")

    def fill_up(step):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(before, out)
        with dying_at(step) as steps:
            quick_scan(photos, out, fill=20, rows_per_part=1)
        return steps

    steps = fill_up(None)
    parts = [pq.read_metadata(part).num_rows for part in sorted((out / "table").iterdir())]
    assert parts == [1, 3], "what replaces a row does so in a part of its own, which then fills up"
    for step in range(len(steps)):
        with pytest.raises(Killed):
            fill_up(step)
        assert table_of(out)["a.jpg"] == "first"
        if taken_for_finished(out):
            assert table_of(out) in ({"a.jpg": "first", "b.jpg": "first"}, after)
        quick_scan(photos, out, fill=20, rows_per_part=1)
        assert table_of(out) == after, (step, steps[step])


OPTIONS = st.fixed_dictionaries(
    {"prune": st.booleans(), "verify_content": st.booleans(), "retry_failed": st.booleans()}
)
CONTENTS = st.sampled_from(["ok 1", "ok 2", "bad1", "bad2", "ok longer"])
EVENTS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(NAMES), CONTENTS, st.integers(1, 3)),
    st.tuples(st.just("remove"), st.sampled_from(NAMES)),
    st.tuples(st.just("scan"), OPTIONS, st.none() | st.integers(0, 30)),
)


def expected(table, files, *, prune, verify_content, retry_failed):
    """What a scan must make of a table, by the rules alone. Rows: (content, second)."""
    result = dict(table)
    for name, (content, second) in files.items():
        old = table.get(name)
        if retry_failed:
            due = old is not None and not old[0].startswith("ok")
        elif old is None:
            due = True
        elif verify_content:
            due = old[0] != content
        else:
            due = (len(old[0]), old[1]) != (len(content), second)
        if due:
            result[name] = (content, second)
    if prune and files:
        result = {name: row for name, row in result.items() if name in files}
    return result


@settings(deadline=None, max_examples=30)
@given(history=st.lists(EVENTS, min_size=3, max_size=14))
def test_any_history_of_files_scans_and_kills(tmp_path_factory, history):
    root = tmp_path_factory.mktemp("history")
    photos, out = root / "photos", root / "out"
    photos.mkdir()
    files: dict[str, tuple[str, int]] = {}
    table: dict[str, tuple[str, int]] = {}
    for event in [*history, ("scan", dict.fromkeys(("prune",), True), None)]:
        if event[0] == "put":
            _, name, content, second = event
            put(photos, name, content, second)
            files[name] = (content, second)
        elif event[0] == "remove":
            (photos / event[1]).unlink(missing_ok=True)
            files.pop(event[1], None)
        else:
            rules = {"prune": False, "verify_content": False, "retry_failed": False} | event[1]
            table = scan_and_check(photos, out, files, table, rules, kill_at=event[2])


def scan_and_check(photos, out, files, table, rules, *, kill_at):
    """Scan; returns the table, which a kill may have left anywhere between before and after."""
    after = expected(table, files, **rules)
    try:
        with dying_at(kill_at):
            tally, results, _ = quick_scan(photos, out, **rules)
    except Killed:
        seen = table_of(out) if out.exists() else {}
        for name, content in seen.items():
            assert content in {old[name][0] for old in (table, after) if name in old}
        for name, row in table.items():
            retried = rules["retry_failed"] and not row[0].startswith("ok")
            if after.get(name) == row and not retried:
                assert seen[name] == row[0], "a row was lost that nothing had to touch"
        # Where the old and the new content are the same, the row may be of either time.
        return {
            name: next(old[name] for old in (after, table) if old.get(name, ("",))[0] == content)
            for name, content in seen.items()
        }
    assert table_of(out) == {name: content for name, (content, _) in after.items()}
    assert results.rows == len(after) and len(table) - results.superseded >= 0
    assert results.pruned == (tally.vanished if rules["prune"] else 0)
    return after
