"""Every kind of file gets the row that the catalogue says, in a real scan."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any
from urllib.parse import unquote_to_bytes

import pyarrow.dataset as ds
import pytest

from bench.faults.bad_files import ARCHIVE, IGNORED, NAMES, Entry, make_catalogue, sources_of
from bench.faults.bad_images import OK
from bench.faults.encodings import ARITHMETIC_JPEG, HUFFMAN_JPEG
from inspector.scanning import ScanConfig, ScanSummary, scan
from inspector.types import FailureCode

DECODERS_WORDS = (
    "decoder error", "data stream", "Truncated File Read", "has no fixed way", "IFDRational",
    "conversion from", "tile cannot", "bytes not processed", "MAX_TEXT_CHUNK", "DOS attack", "Error"
)  # fmt: skip
"""What Pillow says about a file and what tells a person nothing."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("catalogue") / "files"


@pytest.fixture(scope="module")
def entries(root) -> dict[bytes, Entry]:
    return make_catalogue(root)


@pytest.fixture(scope="module")
def summary(root, entries, tiny_bundle) -> ScanSummary:
    config = ScanConfig(
        sources=tuple(sources_of(root)), out=root.parent / "out", model=tiny_bundle.path
    )
    return scan(config)


@pytest.fixture(scope="module")
def rows(root, summary) -> dict[bytes, dict[str, Any]]:
    """By name relative to the catalogue."""
    table = ds.dataset(summary.out).to_table().to_pylist()
    prefix = b"file://" + os.fsencode(root) + b"/"
    found = {unquote_to_bytes(row["uri"]).removeprefix(prefix): row for row in table}
    assert len(found) == len(table)
    return found


def test_every_file_has_the_row_that_it_must_have(entries, rows):
    outcomes = {name: row["failure_code"] or row["status"] for name, row in rows.items()}
    expected = {name: e.expected for name, e in entries.items() if e.expected != IGNORED}
    wrong = {name: (outcomes.get(name), rows.get(name, {}).get("detail"), entry.about)
             for name, entry in entries.items()
             if outcomes.get(name) != expected.get(name)}  # fmt: skip
    assert wrong == {}
    assert outcomes.keys() == expected.keys()


def test_the_same_pixels_have_the_same_probability(entries, rows):
    pairs = [(name, entry.same_as) for name, entry in entries.items() if entry.same_as]
    assert len(pairs) > 25
    differing = [name for name, same in pairs if rows[name]["p_crack"] != rows[same]["p_crack"]]
    assert differing == []


def test_the_accounts_agree(entries, rows, summary, root):
    codes = Counter(row["failure_code"] for row in rows.values() if row["failure_code"])
    assert summary.table.rows == summary.discovered == len(rows)
    assert summary.run.ok == sum(row["status"] == OK for row in rows.values())
    assert summary.run.failures == codes
    ignored = [e for e in entries.values() if e.expected == IGNORED and e.about != ARCHIVE]
    assert sum(summary.ignored_by_suffix.values()) == len(ignored)
    assert summary.linked_dirs == [f"{root}/links/linked_folder"]
    assert sum(summary.run.verdicts.values()) == summary.run.ok
    unread = {os.path.basename(line.partition(": ")[0]) for line in summary.unreadable_dirs}
    assert unread == {"none.zip", "cut.zip", "cut.tar"} and summary.exit_code == 3
    assert json.loads(json.dumps(summary.to_json()))["run"]["ok"] == summary.run.ok


def test_rows_say_why_in_one_line(rows):
    for name, row in rows.items():
        if row["failure_code"]:
            assert row["detail"], name
            assert len(row["detail"].splitlines()) == 1, name
            assert not [words for words in DECODERS_WORDS if words in row["detail"]], name
            assert row["p_crack"] is None and row["verdict"] is None, name
        else:
            assert 0 <= row["p_crack"] <= 1, name
            assert row["size_bytes"] > 0, name


def test_names_are_exact_in_the_uri_and_text_in_the_path(rows):
    named = {name.removeprefix(b"names/") for name in rows if name.startswith(b"names/")}
    assert named <= set(NAMES)
    assert len(named) == len(NAMES) or os.name == "nt"
    for name, row in rows.items():
        assert row["uri"].isascii()
        assert row["uri"].isprintable()
        assert row["path"].encode().endswith(os.path.basename(name)) or b"\\x" in (
            row["path"].encode()
        )


def test_all_codes_that_a_file_alone_can_get_are_there(entries):
    seen = {entry.expected for entry in entries.values()}
    elsewhere = {FailureCode.PERMISSION, FailureCode.CHANGED, FailureCode.DECODER_CRASH,
                 FailureCode.TIMEOUT}  # fmt: skip
    assert {code.value for code in FailureCode if code not in elsewhere} <= seen


def test_the_catalogue_is_the_same_every_time(entries, root, tmp_path):
    again = tmp_path / "again"
    made = make_catalogue(again)
    assert _without_long_path(made) == _without_long_path(entries)
    for name in sorted(entries):
        if name.startswith((b"whole/", b"broken/")):
            path = name.decode()
            assert (again / path).read_bytes() == (root / path).read_bytes(), name


def _without_long_path(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    """How long the path within the catalogue can be depends on where that is."""
    return {name: entry for name, entry in entries.items() if not name.startswith(b"long_path/")}


def test_the_arithmetic_jpeg_is_what_it_says():
    assert b"\xff\xc9" in ARITHMETIC_JPEG
    assert b"\xff\xc0" in HUFFMAN_JPEG
