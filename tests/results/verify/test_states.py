"""What a crash leaves behind, and what a running scan does meanwhile, is no damage."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from inspector.core.durable import locked
from inspector.errors import OutputError
from inspector.results.verify import VerifyConfig, verify
from tests.results.verify.table import PARTS, codes, edit, flip, notes, write


def test_what_a_kill_leaves_is_a_note(out):
    """Between a part's rename and the manifest, with a draft of the next one."""
    write(out.parent / "more", range(20, 23))
    shutil.copy(out.parent / "more" / PARTS[0], out / "table/part-000003.parquet")
    (out / "_inspector/part-000004.parquet.partial").write_bytes(b"half")
    assert notes(out) == {"unfinished", "leftover"}
    assert verify(VerifyConfig(out=out)).rows == 18


@pytest.mark.parametrize("replaced", [False, True])
def test_a_rewriting_cut_short_is_a_note_on_either_side(out, replaced):
    smaller = out.parent / "smaller"
    pq.write_table(pq.read_table(out / PARTS[0]).slice(2), smaller)
    empty = out.parent / "empty"
    pq.write_table(pq.read_table(out / PARTS[1]).slice(5), empty)
    states = [
        {"file": Path(part).name, "rows": rows, "sha256": sha256(file.read_bytes()).hexdigest()}
        for part, rows, file in ((PARTS[0], 3, smaller), (PARTS[1], 0, empty))
    ]
    edit(out, lambda m: m.update(rewriting=states))
    if replaced:
        os.replace(smaller, out / PARTS[0])
        os.replace(empty, out / PARTS[1])
    assert notes(out) == {"unfinished"}
    assert verify(VerifyConfig(out=out)).rows == (8 if replaced else 15)
    flip(out / PARTS[0])
    assert codes(out) == {"changed_part"}


def test_a_running_scan_is_neither_disturbed_nor_called_damage(out):
    if not Path("/proc/locks").exists():
        pytest.skip("this kernel does not list its locks")
    with locked(out / "_inspector/lock"):
        (out / "_inspector/manifest.json.partial").write_bytes(b"half")
        assert notes(out) == {"running"}
    assert notes(out) == {"leftover"}


def test_what_changes_while_it_is_read_is_read_again(out, tmp_path):
    """A real commit in the middle of the reading, which has seen the old manifest."""
    again: list[str] = []

    def commit_once(what, done, total):
        if not again:
            again.append(what)
            write(out, range(15, 20))

    result = verify(VerifyConfig(out=out), progress=commit_once)
    assert (result.damage, result.rows) == ((), 15)
    assert [str(note.code) for note in result.notes] == ["running"]

    def swap_always(what, done, total):
        for name in PARTS:
            (out / name).unlink(missing_ok=True)
            (out / name).write_bytes(os.urandom(8))

    with pytest.raises(OutputError, match="keeps changing"):
        verify(VerifyConfig(out=out), progress=swap_always)


def test_what_is_no_result_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(OutputError):
            verify(VerifyConfig(out=path))


def test_what_later_runs_do_to_a_table_keeps_it_proven(out):
    """Rows superseded in several parts, a part emptied, a table without rows."""
    write(out, [0, 7, 20])
    assert notes(out) == set()
    write(out, range(5))
    result = verify(VerifyConfig(out=out))
    assert (result.damage, result.notes, result.rows) == ((), (), 16)
    empty = verify(VerifyConfig(out=write(out.parent / "empty", [])))
    assert (empty.damage, empty.notes, empty.rows, empty.parts) == ((), (), 0, 1)
