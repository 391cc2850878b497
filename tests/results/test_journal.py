"""A commit costs a line however many parts there are, and a kill at any byte costs nothing."""

from __future__ import annotations

import json
import shutil
from itertools import accumulate, pairwise

import pytest

from inspector.core.layout import Layout
from inspector.core.untrusted import read_plain
from inspector.errors import OutputError
from inspector.results import journal
from inspector.results.manifest import Manifest
from inspector.results.schema import to_table
from inspector.results.store import open_results
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning.pipeline import ParquetSink
from tests.results.verify.table import IDENTITY, row, write
from tests.scanning.dying import Killed

PARTS = 6


def sizes_while_writing(out, count=PARTS, first=0):
    """Write parts of one row and be killed; the sizes of manifest and journal after each."""
    at, sizes = Layout(out), []
    with (
        pytest.raises(Killed),
        open_results(out, IDENTITY, overwrite=False) as results,
        ParquetSink(results, {}, rows_per_part=1) as sink,
    ):
        results.begin_with("echo")
        for number in range(first, first + count):
            sink.add(to_table([row(number)], {}))
            length = at.journal.stat().st_size if at.journal.exists() else 0
            sizes.append((at.manifest.stat().st_size, length))
        raise Killed
    return sizes


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    out = tmp_path_factory.mktemp("killed")
    sizes_while_writing(out)
    return out


def rows_of(out):
    result = verify(VerifyConfig(out=out))
    assert result.damage == ()
    return result.rows


def test_a_commit_adds_a_line_and_the_end_makes_it_whole(killed, tmp_path):
    out = tmp_path / "out"
    sizes = sizes_while_writing(out)
    assert len({manifest for manifest, _ in sizes}) == 1, "the manifest was written again"
    lengths = [length for _, length in sizes]
    assert len({b - a for a, b in pairwise(lengths)}) == 1
    assert [len(Manifest.read(out).parts), rows_of(out)] == [PARTS, PARTS]
    write(out, range(PARTS, PARTS + 3))
    assert not Layout(out).journal.exists()
    values = json.loads(Layout(out).manifest.read_text())
    assert len(values["parts"]) == PARTS + 1 and values["rows"] == PARTS + 3 == rows_of(out)


def test_cut_at_any_byte_it_has_the_steps_before(killed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(killed, out)
    file = Layout(out).journal
    content = file.read_bytes()
    parts = Manifest.read(out).parts
    ends = list(accumulate(len(line) + 1 for line in content.split(b"\n")[:-1]))
    begun = len(parts) - (len(ends) - 1)
    """Parts in the manifest itself."""
    for cut in range(len(content) + 1):
        file.write_bytes(content[:cut])
        manifest = Manifest.read(out)
        steps = max(0, sum(end <= cut for end in ends) - 1)
        assert manifest.parts == parts[: begun + steps], cut
    for cut in (0, ends[0], ends[3] - 1, ends[-1]):
        again = tmp_path / f"{cut}"
        shutil.copytree(killed, again)
        Layout(again).journal.write_bytes(content[:cut])
        assert rows_of(again) == PARTS
        write(again, [99])
        assert rows_of(again) == PARTS + 1 and verify(VerifyConfig(out=again)).notes == ()
        assert Manifest.read(again).parts[:-1] == parts


def test_a_journal_of_another_manifest_does_not_count(killed, tmp_path):
    """As a kill between the new manifest and the journal's end leaves it."""
    for token in ("0" * 32, ""):
        out = tmp_path / f"{len(token)}"
        shutil.copytree(killed, out)
        whole = json.loads(Layout(out).manifest.read_text())
        Layout(out).manifest.write_text(json.dumps(whole | {"journal": token}))
        assert len(Manifest.read(out).parts) == len(whole["parts"])
        write(out, [99])
        assert not Layout(out).journal.exists() and rows_of(out) == PARTS + 1


def test_a_manifest_without_a_journal_is_continued(tmp_path):
    write(tmp_path, range(5))
    values = json.loads(Layout(tmp_path).manifest.read_text()) | {"journal": ""}
    Layout(tmp_path).manifest.write_text(json.dumps(values, indent=1))
    sizes_while_writing(tmp_path, 3, first=20)
    assert [part.rows for part in Manifest.read(tmp_path).parts] == [5, 1, 1, 1]
    assert rows_of(tmp_path) == 8 and verify(VerifyConfig(out=tmp_path)).notes == ()


def test_a_reader_is_never_told_of_fewer_parts(killed, tmp_path, monkeypatch):
    """However a new manifest and the end of the journal fall between its two looks."""
    out = tmp_path / "out"
    shutil.copytree(killed, out)

    def read(path):
        content = read_plain(path)
        if path == Layout(out).journal:
            monkeypatch.undo()
            write(out, [])
        return content

    monkeypatch.setattr("inspector.results.manifest.read_plain", read)
    assert len(Manifest.read(out).parts) == PARTS


def test_a_long_journal_gives_way_to_a_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FEW_LINES", 2)
    sizes = sizes_while_writing(tmp_path, 30)
    assert len({manifest for manifest, _ in sizes}) <= 6, "as many as doublings"
    assert len(Manifest.read(tmp_path).parts) == 30 == rows_of(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [lines[0], b"nonsense", *lines[2:]],
        lambda lines: [lines[0], b"[]", *lines[2:]],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"rows":1,', b'"rows":-1,')],
        lambda lines: [*lines[:-1], lines[-1].replace(b"part-", b"../part-")],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"parts"', b'"part"')],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"rows":6', b'"rows":7')],
        lambda lines: [*lines, b'{"parts":[],"rows":6,"ended":"soon"}'],
    ],
)
def test_a_damaged_journal_is_found(killed, tmp_path, spoil):
    out = tmp_path / "out"
    shutil.copytree(killed, out)
    file = Layout(out).journal
    lines = spoil(file.read_bytes().splitlines())
    file.write_bytes(b"\n".join([*lines, b""]))
    assert {str(finding.code) for finding in verify(VerifyConfig(out=out)).damage} == {"manifest"}
    if b'"rows":7' not in lines[-1]:
        with pytest.raises(OutputError, match="damaged"):
            write(out, [99])
