"""Tables in a bucket: several writers, lost answers, damage; the store is one on this machine."""

from __future__ import annotations

import os
import shutil

import pytest

from bench.faults.store import ObjectServer, Stored
from bench.faults.table import Snapshot
from bench.faults.writers import race_writers
from inspector.errors import OutputError, UsageError
from inspector.photos import stores
from inspector.results import bucket
from inspector.results.bucket_table import open_in_bucket
from inspector.results.opening import at_hand
from inspector.results.parts import FINGERPRINT
from inspector.results.schema import make_row, to_table
from inspector.results.verify import Flaw, VerifyConfig, verify
from inspector.scanning import ScanConfig, preview, scan
from inspector.types import Failure, FailureCode, ImageRef
from tests.photos.files import encoded
from tests.scanning.walls import wall

pytest.importorskip("obstore", reason="obstore is not installed: no table was put into a bucket")

ADDRESS = "s3://photos/brücke 7"
IDENTITY = {"model": "a" * 64, "clear_below": "0.2", "crack_from": "0.8",
            "out_of_distribution": "None"}  # fmt: skip
PART = "brücke 7/table/part-{:06}.parquet"


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(stores, "RETRIES", 0)
    monkeypatch.setattr(bucket, "_PAUSE_S", 0.01)
    stores.open_store.cache_clear()
    with ObjectServer() as opened:
        for name, value in opened.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("INSPECTOR_CACHE_DIR", str(tmp_path / "cache"))
        yield opened
    stores.open_store.cache_clear()


def rows(table, *numbers):
    refs = [ImageRef(n, f"/{n}.jpg", f"file:///{n}.jpg", n, n) for n in numbers]
    made = [make_row(Failure(ref, FailureCode.EMPTY, "x"), None) for ref in refs]
    return to_table(made, {FINGERPRINT: table.fingerprint})


def written(*parts, identity=IDENTITY):
    """Write a table of these parts to its end; return the state of it then."""
    with open_in_bucket(ADDRESS, identity) as table:
        table.begin_with("onnxruntime")
        for numbers in parts:
            table.commit(rows(table, *numbers))
        table.end()
    return table


def numbers_there():
    with at_hand(ADDRESS) as copy:
        found = Snapshot.of(copy)
    assert not found.doubled
    return sorted(int(uri[8:-4]) for uri in found.rows)


def flaws():
    return {(flaw.code, flaw.where) for flaw in verify(VerifyConfig(out=ADDRESS)).damage}


def test_a_scan_into_a_bucket_makes_the_table_of_a_directory(server, tiny_bundle, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        (photos / f"{number}.png").write_bytes(encoded(wall(number), "PNG"))
    (photos / "torn.jpg").write_bytes(b"no image")

    def scanned(out, **more):
        options = {"model": tiny_bundle.path, "workers": 0, "precision": "fp32"} | more
        return scan(ScanConfig(sources=(str(photos),), out=out, **options))

    scanned(tmp_path / "near")
    first = scanned(ADDRESS)
    assert (first.out, first.table.rows, first.parts) == (ADDRESS, 6, 1)
    with at_hand(ADDRESS) as copy:
        assert Snapshot.of(copy).content == Snapshot.of(tmp_path / "near").content
    changed = photos / "0.png"
    changed.write_bytes(encoded(wall(9), "PNG"))
    os.utime(changed, ns=(1, 1))
    (photos / "new.png").write_bytes(encoded(wall(6), "PNG"))
    shutil.rmtree(tmp_path / "cache")
    seen = preview(ScanConfig(sources=(str(photos),), out=ADDRESS, model=tiny_bundle.path))
    assert (seen.new, seen.changed, seen.already_done) == (1, 0, 6)
    second = scanned(ADDRESS)
    assert (second.run.rows, second.already_done, second.outdated) == (1, 6, 1)
    third = scanned(ADDRESS)
    assert (third.run.rows, third.parts, third.table.rows) == (0, 2, 7)
    proven = verify(VerifyConfig(out=ADDRESS))
    assert (proven.damage, proven.notes, proven.rows) == ((), (), 7)
    with pytest.raises(OutputError, match="holds the results of another scan"):
        scanned(ADDRESS, threshold=0.3)


def test_of_two_writers_each_photo_has_one_row(server):
    with (
        open_in_bucket(ADDRESS, IDENTITY) as one,
        open_in_bucket(ADDRESS, IDENTITY) as other,
    ):
        assert one.out != other.out
        for table in (one, other):
            table.begin_with("onnxruntime")
        one.commit(rows(one, 1, 2, 3))
        other.commit(rows(other, 3, 4))
        assert (other.yielded, other.rows, len(other.ledger)) == (1, 4, 3)
        other.commit(rows(other, 1, 5))
        other.commit(rows(other, 2))
        assert (other.yielded, other.rows, other.ledger.unseen) == (3, 5, 0)
        one.commit(rows(one, 4, 5, 6))
        assert (one.yielded, one.rows, one.outcomes["empty"]) == (2, 6, 6)
        one.end()
    assert numbers_there() == [1, 2, 3, 4, 5, 6]
    assert flaws() == set()
    assert sum("/table/" in key for key in server.objects) == 4


def test_an_empty_table_is_begun_once(server):
    with (
        open_in_bucket(ADDRESS, IDENTITY) as one,
        open_in_bucket(ADDRESS, IDENTITY) as other,
    ):
        for table in (one, other):
            table.begin_with("onnxruntime")
            table.commit(rows(table))
        assert [part.rows for part in other.parts] == [0]
    assert flaws() == set()


def test_a_part_whose_answer_got_lost_is_known_as_ones_own(server):
    lost: list[str] = []

    def loses(key):
        first = "/table/" in key and not lost
        lost.extend([key] if first else [])
        return first

    server.unanswered = loses
    table = written([1, 2], [3])
    assert (table.yielded, table.rows, len(table.parts)) == (0, 3, 2) and lost
    assert numbers_there() == [1, 2, 3]


def test_a_store_that_fails_ends_the_scan_and_the_next_goes_on(server):
    server.refused = lambda key: key == PART.format(1)
    with pytest.raises(OutputError, match=r"s3://photos/brücke 7: .*1 row is committed"):
        written([1], [2])
    assert numbers_there() == [1]
    server.refused = lambda key: False
    assert written([2]).rows == 2


def test_a_store_that_overwrites_is_refused(server):
    server.keeps = False
    with pytest.raises(OutputError, match="no conditional writes"):
        written([1])


def test_writers_of_other_scans_are_refused(server):
    other = {**IDENTITY, "model": "b" * 64}
    with open_in_bucket(ADDRESS, IDENTITY) as one, open_in_bucket(ADDRESS, other) as two:
        one.begin_with("onnxruntime")
        with pytest.raises(OutputError, match="another scan"):
            two.begin_with("onnxruntime")
    with pytest.raises(OutputError, match="another scan"):
        written([1], identity=other)
    server.objects.clear()
    server.objects[PART.format(0)] = Stored(b"whose")
    with pytest.raises(OutputError, match="not known whose"):
        written([1])


def test_a_table_made_anew_at_its_address_has_nothing_of_the_old_one(server):
    written([1], [2])
    server.objects.clear()
    written([7])
    assert numbers_there() == [7]
    server.objects.clear()
    with pytest.raises(OutputError, match="holds no results"):
        numbers_there()


def test_damage_to_the_log_is_found(server):
    written([1], [2], [3])
    kept = dict(server.objects)
    for number in (0, 2):  # by the next part, by the mark of the end
        key = PART.format(number)
        body = bytearray(kept[key].body)
        body[40] ^= 1
        server.objects[key] = Stored(bytes(body))
        assert (Flaw.CHANGED_PART, key.partition("/")[2]) in flaws()
        del server.objects[key]
        assert flaws() == {(Flaw.MISSING_PART, key.partition("/")[2])}
        with pytest.raises(OutputError, match=rf"part-00000{number}.parquet is gone: put it back"):
            written([4])
        server.objects = dict(kept)
    assert written([4]).rows == 4


@pytest.mark.parametrize("name", ["_inspector/ended-999999999999", "table/part-99999999.parquet"])
def test_a_number_of_parts_that_cannot_be_is_damage_and_not_that_many_parts(server, name):
    written([1], [2])
    server.objects[f"brücke 7/{name}"] = Stored(b"0" * 64)
    for act in (flaws, numbers_there, lambda: written([3])):
        with pytest.raises(OutputError, match=f"is damaged: by its {name}.* and it has [23]; "):
            act()


@pytest.mark.parametrize(
    "option",
    [{"overwrite": True}, {"prune": True}, {"source_gone": ("a",)}, {"moved": "a=b"},
     {"retry_failed": True}, {"verify_content": True}, {"heatmaps": "all"}],
)  # fmt: skip
def test_what_replaces_rows_is_refused(option):
    with pytest.raises(UsageError, match="inspector merge s3://photos/a --out DIR"):
        ScanConfig(sources=("a",), out="s3://photos/a/", **option)


@pytest.mark.parametrize(
    "address", ["s3://", "gs://a//b", "az://a/../b", "https://a/b", "file:///a"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError):
        ScanConfig(sources=("a",), out=address)


def test_writers_that_are_killed_lose_and_double_nothing(tmp_path):
    case = race_writers(tmp_path, writers=3, kills=3, photos=60, seed=1)
    assert not case.broken, case.troubles
    assert 1 <= case.runs <= 3 and case.rows == 60
