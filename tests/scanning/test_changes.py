"""Files that come, change, fail and go between scans: one live row each, and true counts."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pytest

from inspector.core.text import print_lines
from inspector.engines import tuned
from inspector.photos.address import path_of
from inspector.scanning import ScanConfig, preview, scan
from inspector.scanning.console import ScanConsole
from inspector.scanning.outcome import print_preview, summary_lines
from tests.scanning.walls import wall


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_bundle):
    """Six photos, of which one is broken, with their table."""
    root = tmp_path_factory.mktemp("begun")
    (root / "photos").mkdir()
    for k in range(5):
        wall(k).save(root / f"photos/{k}.png")
    (root / "photos/bad.png").write_bytes(b"broken")
    scan(config_for(root, tiny_bundle))
    return root


@pytest.fixture
def place(begun, tmp_path):
    """A copy with the same names and times: addresses are those of `begun`, so it takes its place
    for one test."""
    shutil.copytree(begun, tmp_path / "kept")
    yield begun
    shutil.rmtree(begun)
    shutil.copytree(tmp_path / "kept", begun)


def config_for(root, bundle, **options):
    return ScanConfig(
        sources=(str(root / "photos"),), out=root / "out", model=bundle.path, **options
    )


def rows_of(root):
    """By file name; both readers agree that there is one row each."""
    rows = ds.dataset(root / "out").to_table().to_pylist()
    by_name = {Path(path_of(row["uri"])).name: row for row in rows}
    query = f"select count(*), count(distinct uri) from '{root}/out/**/*.parquet'"
    assert duckdb.sql(query).fetchall() == [(len(rows), len(by_name))]
    return by_name


def touch(file):
    os.utime(file, (1, 1))


def test_a_changed_file_is_scanned_again_and_has_one_row(place, tiny_bundle, capsys):
    before = rows_of(place)
    wall(77).save(place / "photos/2.png")
    wall(78).save(place / "photos/new.png")
    config = config_for(place, tiny_bundle)
    seen = preview(config)
    assert (seen.new, seen.changed, seen.already_done) == (1, 1, 5)
    print_preview(seen)
    assert "1 new and 1 again" in capsys.readouterr().out
    summary = scan(config)
    assert (summary.run.ok, summary.changed, summary.already_done, summary.table.rows) == (
        2,
        1,
        5,
        7,
    )
    print_lines(summary_lines(summary))
    assert "older rows of these photos: 1" in capsys.readouterr().out
    after = rows_of(place)
    assert after["2.png"]["content_hash"] != before["2.png"]["content_hash"]
    assert after["2.png"]["p_crack"] != before["2.png"]["p_crack"]
    assert {name: row for name, row in after.items() if name not in ("2.png", "new.png")} == {
        name: row for name, row in before.items() if name != "2.png"
    }
    again = scan(config)
    assert (again.run.ok, again.changed, again.already_done) == (0, 0, 7)


def test_content_decides_when_asked(place, tiny_bundle):
    file = place / "photos/3.png"
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    touch(place / "photos/1.png")
    (place / "photos/bad.png").unlink()
    os.mkfifo(place / "photos/bad.png")  # nobody writes to it: reading would wait for ever
    config = config_for(place, tiny_bundle, verify_content=True)
    assert (preview(config).changed, preview(config).already_done) == (2, 4)
    summary = scan(config)
    assert (summary.changed, summary.already_done, summary.table.rows) == (2, 4, 6)
    assert rows_of(place)["bad.png"]["failure_code"] == "not_a_file"


def test_only_failed_rows_are_tried_again_and_the_rest_is_named(place, tiny_bundle, capsys):
    times = (place / "photos/bad.png").stat()
    wall(9).save(place / "photos/bad.png")
    os.utime(place / "photos/bad.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    touch(place / "photos/1.png")
    wall(10).save(place / "photos/new.png")
    config = config_for(place, tiny_bundle, retry_failed=True)
    seen = preview(config)
    assert (seen.new, seen.changed, seen.already_done, seen.left_out) == (0, 1, 5, 1)
    summary = scan(config)
    assert (summary.run.ok, summary.changed, summary.left_out, summary.table.rows) == (1, 1, 1, 6)
    print_lines(summary_lines(summary))
    assert "without a row yet: 1; run without --retry-failed" in capsys.readouterr().out
    assert rows_of(place)["bad.png"]["status"] == "ok"


def test_files_that_are_gone_are_reported_and_dropped_when_asked(place, tiny_bundle, capsys):
    (place / "photos/4.png").unlink()
    summary = scan(config_for(place, tiny_bundle))
    assert (summary.discovered, summary.vanished, summary.pruned, summary.table.rows) == (
        5,
        1,
        0,
        6,
    )
    print_lines(summary_lines(summary))
    assert "--prune drops" in capsys.readouterr().out
    summary = scan(config_for(place, tiny_bundle, prune=True))
    assert (summary.vanished, summary.pruned, summary.table.rows) == (1, 1, 5)
    print_lines(summary_lines(summary))
    assert "rows of files that are gone: 1\n" in capsys.readouterr().out
    assert "4.png" not in rows_of(place)


def test_an_empty_table_remains_when_all_rows_go(place, tiny_bundle):
    for file in (place / "photos").iterdir():
        file.unlink()
    wall(5).save(place / "photos/other.png")
    scan(config_for(place, tiny_bundle, prune=True))
    assert list(rows_of(place)) == ["other.png"]


def test_a_dry_run_of_a_begun_table_measures_nothing(begun, tiny_bundle, monkeypatch):
    monkeypatch.setattr(tuned, "_measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(tuned, "set_cached", lambda *_: pytest.fail("written"))
    config = config_for(begun, tiny_bundle)
    assert preview(config).already_done == 6
    assert preview(dataclasses.replace(config, out=begun / "none")).new == 6


def said(rows):
    """What the rows say, by verdict or failure code, without zeros."""
    return Counter(row["verdict"] or row["failure_code"] for row in rows.values())


def outcomes(counts):
    return +Counter(counts.verdicts) + Counter(counts.failures)


def test_a_scan_that_continues_says_what_the_whole_table_holds(place, tiny_bundle, capsys):
    """After nothing new, replaced rows, retries, a limit and dropped rows; never this run's counts
    as if they were the table's."""

    def run(**options):
        config = config_for(place, tiny_bundle, **options)
        with ScanConsole(config) as console:
            summary = scan(config, watch=console)
        print_lines(summary_lines(summary))
        assert outcomes(summary.table) == said(rows_of(place)), options
        assert summary.table.rows == summary.table.ok + summary.table.failed
        return summary, " ".join(capsys.readouterr())

    before = said(rows_of(place))
    summary, shown = run()
    assert summary.run.rows == 0 and outcomes(summary.table) == before
    words = " ".join(shown.split())
    assert f"6 photos: crack {before['crack']}, clear {before['clear']}" in words
    assert f"verdicts table this run crack {before['crack']} 0 clear {before['clear']} 0" in words
    assert "failed not_an_image 1 (0 in this run): nothing to do" in words
    wall(77).save(place / "photos/2.png")
    (place / "photos/3.png").write_bytes(b"")
    wall(78).save(place / "photos/new.png")
    summary, _ = run(limit=4)
    assert summary.changed == 2 and summary.run.failures == {"empty": 1}
    run()
    wall(79).save(place / "photos/bad.png")
    assert run(retry_failed=True)[0].run.rows == 2
    (place / "photos/2.png").unlink()
    summary, shown = run(prune=True)
    assert (summary.pruned, summary.table.rows) == (1, 6)
    values = summary.to_json()
    assert values["table"]["verdicts"] == summary.table.verdicts and values["run"]["rows"] == 0


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "JPEG 2000"), (b"text", "viewer")],
)
def test_nothing_that_could_be_judged_is_no_success(tmp_path, tiny_bundle, capsys, content, word):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/IMG_1.jp2").write_bytes(content)
    for _ in range(2):
        summary = scan(config_for(tmp_path, tiny_bundle))
        print_lines(summary_lines(summary))
        shown = capsys.readouterr().out
        assert summary.exit_code == summary.to_json()["exit_code"] == 3
        assert "none of these photos could be judged" in shown and summary.remedy in " ".join(
            shown.split()
        )
    if word == "JPEG 2000":
        assert "JPEG, PNG or TIFF" in summary.remedy and "inspector doctor" in summary.remedy
    else:
        assert word in summary.remedy
    wall(1).save(tmp_path / "photos/2.png")
    for _ in range(2):
        summary = scan(config_for(tmp_path, tiny_bundle))
        assert (summary.exit_code, summary.remedy) == (0, "")
