"""A part that was lost is not forgotten before every photo of its rows has a row again."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress

import pytest

from inspector.core.text import print_lines
from inspector.errors import OutputError
from inspector.results.parts import FINGERPRINT, uris_in
from inspector.results.schema import to_table
from inspector.results.store import open_results
from inspector.results.switch import next_table
from inspector.results.verify import Flaw, VerifyConfig, verify
from inspector.scanning import scan
from inspector.scanning.config import ScanConfig
from inspector.scanning.console import ScanConsole
from inspector.scanning.outcome import summary_lines
from tests.scanning.dying import IDENTITY, Killed, dying_at, quick_scan, table_of
from tests.scanning.walls import wall

LOST = "part-000001.parquet"


def put(folder, *names, content="first"):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.jpg").write_text(content)


@pytest.fixture
def begun(tmp_path):
    """Photos a to f in parts of two, and the second part lost: c and d."""
    put(tmp_path / "photos", *"abcdef")
    quick_scan(tmp_path / "photos", tmp_path / "out")
    (tmp_path / "out/table" / LOST).unlink()
    return tmp_path


def damage(root):
    found = verify(VerifyConfig(out=root / "out")).damage
    # A scan without a model has no thresholds.
    return {str(f.code): f.what for f in found if f.code != Flaw.IDENTITY}


def rescan(root, **options):
    return quick_scan(root / "photos", root / "out", **options)[1]


def test_all_rows_are_made_again_and_then_it_is_proven(begun):
    assert "2 rows" in damage(begun)["missing_part"]
    results = rescan(begun)
    assert f"{LOST} was lost with 2 rows" in results.notes[0]
    assert results.lost.rows == 0 and damage(begun) == {}
    assert len(table_of(begun / "out")) == 6
    names = {path.name for path in (begun / "out/table").iterdir()}
    assert LOST not in names, "a name that a lost part had means one thing"
    rescan(begun)
    lists = {path.name for path in (begun / "out/_inspector").glob("*.photos")}
    assert lists == {name.replace(".parquet", ".photos") for name in names}


def test_a_limit_a_part_of_the_source_and_another_source_do_not_prove_it(begun):
    assert rescan(begun, limit=3).lost.rows == 1
    assert "of which 1 is not there yet" in damage(begun)["lost_rows"]
    put(begun / "other", "x", "y", "z")
    assert quick_scan(begun / "other", begun / "out")[1].lost.rows == 1
    (begun / "photos/d.jpg").rename(begun / "d.jpg")
    results = rescan(begun)
    assert results.lost.rows == 1 and damage(begun)["lost_rows"].endswith("d.jpg)")
    (begun / "d.jpg").rename(begun / "photos/d.jpg")
    assert rescan(begun).lost.rows == 0 and damage(begun) == {}


def test_photos_that_are_gone_for_good_are_given_up_by_prune_and_below_its_sources_only(begun):
    (begun / "photos/d.jpg").unlink()
    put(begun / "other", "x")
    assert quick_scan(begun / "other", begun / "out", prune=True)[1].lost.rows == 2
    assert rescan(begun).lost.rows == 1
    for _ in range(2):  # once given up, it does not come back
        assert rescan(begun, prune=True).lost.rows == 0 and damage(begun) == {}


def test_a_row_that_came_back_and_was_dropped_is_not_missed(begun):
    assert rescan(begun, limit=3).lost.rows == 1
    (begun / "photos/c.jpg").unlink()
    (begun / "photos/d.jpg").rename(begun / "photos/d.txt")
    assert rescan(begun, prune=True).lost.rows == 0
    assert damage(begun) == {}


def test_the_file_put_back_is_as_good_as_its_rows(tmp_path):
    put(tmp_path / "photos", *"abcdef")
    quick_scan(tmp_path / "photos", tmp_path / "out")
    part = tmp_path / "out/table" / LOST
    part.rename(tmp_path / LOST)
    rescan(tmp_path, limit=1)
    assert set(damage(tmp_path)) == {"lost_rows"}
    shutil.copy(tmp_path / LOST, part)
    results = rescan(tmp_path)
    assert results.lost.rows == 0 and damage(tmp_path) == {} and results.rows == 6


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_part_is_refused_and_missed_once_it_is_removed(tmp_path, harm):
    """Also where its damage would be written anew, under a hash of its own, with its last rows."""
    put(tmp_path / "photos", *"abcdef")
    quick_scan(tmp_path / "photos", tmp_path / "out")
    part = tmp_path / "out/table" / LOST
    content = bytearray(part.read_bytes())
    if harm == "cut":
        part.write_bytes(content[:-30])
    else:
        content[len(content) // 3] ^= 1
        part.write_bytes(content)
        put(tmp_path / "photos", "c", content="another")
    with pytest.raises(OutputError, match="remove"):
        rescan(tmp_path)
    assert set(damage(tmp_path)) == {"changed_part"}
    part.unlink()
    assert rescan(tmp_path, limit=3).lost.rows == 1
    assert rescan(tmp_path).lost.rows == 0 and damage(tmp_path) == {}


def test_without_the_list_of_its_photos_a_lost_part_stays_missed(begun):
    (begun / "out/_inspector/part-000001.photos").write_bytes(b"damaged")
    for _ in range(2):
        results = rescan(begun)
        assert results.lost.rows == 2 and "which they are is not known" in results.notes[0]
    assert "which photos they were of is not known" in damage(begun)["lost_rows"]


def test_killed_at_every_step_the_loss_is_known_until_the_rows_are_there(begun):
    (begun / "photos/f.jpg").unlink()
    shutil.copytree(begun / "out", begun / "before")
    with dying_at(None) as steps:
        rescan(begun, prune=True)
    for step in range(len(steps)):
        shutil.rmtree(begun / "out")
        shutil.copytree(begun / "before", begun / "out")
        with suppress(Killed), dying_at(step):
            rescan(begun, prune=True)
        if not {"c.jpg", "d.jpg"} <= table_of(begun / "out").keys():
            assert {"missing_part", "lost_rows"} & damage(begun).keys(), (step, steps[step])
        assert rescan(begun, prune=True).lost.rows == 0, step
        assert sorted(table_of(begun / "out")) == [f"{name}.jpg" for name in "abcde"]
    assert damage(begun) == {}


def test_the_scan_says_what_is_lost_at_its_begin_and_its_end(tmp_path, tiny_bundle, capsys):
    (tmp_path / "photos").mkdir()
    for k in range(3):
        wall(k).save(tmp_path / f"photos/{k}.png")
    out = tmp_path / "out"

    def run(**options):
        config = ScanConfig(
            sources=(str(tmp_path / "photos"),), out=out, model=tiny_bundle.path, **options
        )
        with ScanConsole(config) as console:
            summary = scan(config, watch=console)
        print_lines(summary_lines(summary))
        return summary, *(" ".join(text.split()) for text in capsys.readouterr())

    run()
    (out / "table/part-000000.parquet").unlink()
    summary, shown, begun = run(limit=1)
    assert "note table/part-000000.parquet was lost with 3 rows" in begun
    assert "lost rows that are not there again: 2" in shown
    assert (summary.exit_code, summary.to_json()["lost"], summary.table.rows) == (3, 2, 1)
    summary, shown, _ = run()
    assert (summary.exit_code, summary.lost) == (0, 0) and "not there again" not in shown
    assert json.loads((out / "_inspector/manifest.json").read_text())["lost"] == []


def test_photos_left_out_are_known_by_lists_short_enough_to_be_read(tmp_path, monkeypatch):
    put(tmp_path / "photos", *"abcdefg")
    _, results, _ = quick_scan(tmp_path / "photos", tmp_path / "out", rows_per_part=7)
    uris = uris_in(tmp_path / "out/table" / results.parts[0].file)
    monkeypatch.setattr("inspector.results.lost._MOST", 3 * len(uris[0]) + 9)
    monkeypatch.setattr("inspector.results.switch.LISTED", 3)
    with open_results(tmp_path / "out", IDENTITY, overwrite=False) as results:
        with next_table(results) as table:
            table.leave_out(uris)
            table.write(to_table([], {FINGERPRINT: results.fingerprint}))
        results.switch(results.identity, table)
    assert [part.rows for part in table.again] == [3, 3, 1]
    assert "lost_rows" in damage(tmp_path)
    notes = rescan(tmp_path).notes
    assert notes == [
        "7 photos to be judged again at other thresholds; 7 of them had no row when this scan began"
    ]
    assert damage(tmp_path) == {} and len(table_of(tmp_path / "out")) == 7
