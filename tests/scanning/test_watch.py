"""Photos that arrive, grow, change and go while a watch looks: each is judged once."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from inspector.core.layout import Layout
from inspector.engines.photo import open_photo_engine
from inspector.errors import BusyError, SourceError, UsageError
from inspector.library.frames import Results
from inspector.results.store import open_results
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import ScanConfig, executor, scan, watch
from inspector.scanning.pipeline import work_through
from tests.scanning.walls import wall


@pytest.fixture
def place(tmp_path):
    """A folder with one photo, which was there before."""
    (tmp_path / "in").mkdir()
    put(tmp_path, 0)
    return tmp_path


def put(place, k, name=None):
    wall(k).save(place / "in" / (name or f"{k}.png"))


@pytest.fixture
def config(place, tiny_bundle):
    return ScanConfig(
        sources=(str(place / "in"),), out=place / "out", model=tiny_bundle.path, view="whole",
        precision="fp32", workers=0,
    )  # fmt: skip


def watched(config, *events, **options):
    """Watch while one event after the other happens, each once nothing is arriving any more;
    returns the summary and what was said of each look."""
    left, said = list(events), []

    def status(arriving, trouble):
        said.append((arriving, trouble))
        if left and not arriving and not trouble:
            left.pop(0)()
        elif not left and not arriving and not trouble:
            left.append(None)

    def stop():
        return bool(left) and left[0] is None

    return watch(config, every_s=0.01, status=status, stop=stop, **options), said


def rows_of(config):
    return {row["path"].rpartition("/")[2]: row for row in table_of(config)}


def table_of(config):
    return ds.dataset(config.out).to_table().sort_by("uri").to_pylist()


def test_each_photo_is_judged_once_as_it_arrives(place, config, monkeypatch):
    told: list[list[str]] = []
    engines = []

    def opened(*given, **options):
        engines.append(open_photo_engine(*given, **options))
        return engines[-1]

    monkeypatch.setattr(executor, "open_photo_engine", opened)
    summary, _ = watched(
        config,
        lambda: put(place, 1),
        lambda: (put(place, 2), (place / "in" / "void.jpg").touch()),
        lambda: put(place, 3),
        rows=lambda rows: told.append([row["path"].rpartition("/")[2] for row in rows]),
    )
    assert told == [["0.png"], ["1.png"], ["2.png", "void.jpg"], ["3.png"]]
    assert (summary.run.ok, summary.run.failed, summary.exit_code) == (4, 1, 0)
    assert Results(config.out).count(since=summary.began) == 5, "what is new since it began"
    assert len(engines) == 1, "the model stays open"
    assert summary.table.rows == len(table_of(config)) == 5 and summary.parts == 1
    found = verify(VerifyConfig(out=config.out, photos=True))
    assert (found.rows, found.damage) == (5, ())
    whole = config.out.with_name("whole")
    scan(ScanConfig(sources=config.sources, out=whole, model=config.model, view="whole",
                    precision="fp32", workers=0))  # fmt: skip
    p = [row["p_crack"] for row in ds.dataset(whole).to_table().sort_by("uri").to_pylist()]
    assert p == [row["p_crack"] for row in table_of(config)]


def test_a_signal_that_comes_while_a_scan_is_closed_ends_the_watch(config, monkeypatch):
    def signalled(*given):
        summary = work_through(*given)
        os.kill(os.getpid(), signal.SIGINT)
        return summary

    monkeypatch.setattr("inspector.scanning.watching.work_through", signalled)
    looks: list[int] = []
    watch(
        config,
        every_s=0.01,
        status=lambda arriving, trouble: looks.append(arriving),
        stop=lambda: len(looks) > 9,
    )
    assert not looks


def test_a_photo_is_not_judged_while_it_is_written(place, config):
    content = (place / "in" / "0.png").read_bytes()
    file = place / "in" / "grows.png"
    told: list[str] = []
    size = len(content) // 4

    def grow(arriving, trouble):
        at = file.stat().st_size if file.exists() else 0
        if at < len(content):
            assert "grows.png" not in told, "judged before it was whole"
            with file.open("ab") as stream:
                stream.write(content[at : at + size])

    watch(
        config, every_s=0.01, status=grow, stop=lambda: "grows.png" in told,
        rows=lambda rows: told.extend(row["path"].rpartition("/")[2] for row in rows),
    )  # fmt: skip
    assert sorted(told) == ["0.png", "grows.png"]
    assert rows_of(config)["grows.png"]["status"] == "ok"


def test_overlays_among_the_photos_are_none(place, config):
    inside = replace(config, out=place / "in" / "out", heatmaps="all")
    summary, _ = watched(inside, lambda: put(place, 1))
    assert summary.run.rows == len(list((inside.out / "_heatmaps").iterdir())) == 2
    assert scan(replace(inside, heatmaps=None)).discovered == 2


@pytest.mark.parametrize("prune", [False, True])
def test_a_photo_that_changes_is_judged_again_and_one_that_goes_is_kept_or_dropped(
    place, config, prune
):
    put(place, 1)
    before = {}

    def change():
        before.update(rows_of(config))
        put(place, 5, "0.png")
        os.utime(place / "in" / "0.png", (1, 1))

    watched(replace(config, prune=prune), change, lambda: (place / "in" / "1.png").unlink())
    after = rows_of(config)
    assert after["0.png"]["content_hash"] != before["0.png"]["content_hash"]
    assert set(after) == ({"0.png"} if prune else {"0.png", "1.png"})


def test_a_kill_before_a_row_is_safe_makes_it_again(place, config):
    class Killed(BaseException):
        pass

    def die(rows):
        if any(row["path"].endswith("1.png") for row in rows):
            raise Killed

    with pytest.raises(Killed):
        watched(config, lambda: put(place, 1), rows=die)
    assert set(rows_of(config)) == {"0.png"}
    told: list[dict[str, Any]] = []
    summary, _ = watched(config, rows=told.extend)
    assert [row["path"].rpartition("/")[2] for row in told] == ["1.png"]
    assert (summary.table.rows, len(table_of(config))) == (2, 2)


def test_others_may_scan_in_between_but_not_watch(place, config):
    def refused():
        with pytest.raises(BusyError, match="another process is writing"):
            watch(config)
        assert scan(config).already_done == 1
        put(place, 1)

    _, said = watched(config, refused)
    assert not any(trouble for _, trouble in said)
    assert set(rows_of(config)) == {"0.png", "1.png"}


def test_a_scan_that_writes_is_waited_for(place, config):
    held: list[Any] = []

    def hold():
        put(place, 1)
        held.append(open_results(config.out, None, overwrite=False))
        held[0].__enter__()

    def status(arriving, trouble):
        if not held and not arriving:
            hold()
        elif trouble:
            assert "another process is writing" in trouble
            held[0].__exit__(None, None, None)
            held.append(None)

    watch(config, every_s=0.01, status=status,
          stop=lambda: len(held) == 2 and len(table_of(config)) == 2)  # fmt: skip


def test_a_source_that_is_gone_for_a_while_is_waited_for(place, config):
    troubles = []

    def status(arriving, trouble):
        if trouble:
            troubles.append(trouble)
            (place / "away").rename(place / "in")
        elif not troubles and not arriving:
            put(place, 1)
            (place / "in").rename(place / "away")

    watch(config, every_s=0.01, status=status,
          stop=lambda: bool(troubles) and len(table_of(config)) == 2)  # fmt: skip
    assert len(troubles) == 1 and "cannot scan" in troubles[0]


def test_a_source_that_was_never_there_is_an_error(config):
    with pytest.raises(SourceError):
        watch(replace(config, sources=("nowhere",)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_a_summary(config, number):
    before = signal.getsignal(number)
    summary = watch(
        config, every_s=60, status=lambda arriving, trouble: os.kill(os.getpid(), number)
    )
    assert (summary.exit_code, summary.table.rows) == (0, 0)
    assert signal.getsignal(number) == before
    assert Layout(config.out).table.is_dir()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limit": 3}, "takes no limit"),
        ({"overwrite": True}, "takes no overwrite"),
        ({"source_gone": ("x",)}, "takes no source-gone"),
        ({"sources": ("-",)}, "takes no list on the standard input"),
    ],
)
def test_what_speaks_of_one_scan_is_refused(config, options, said):
    with pytest.raises(UsageError, match=said):
        watch(replace(config, **options))
    with pytest.raises(UsageError, match="no time to wait"):
        watch(config, every_s=0)
    assert not config.out.exists()


def test_a_table_in_a_bucket_is_not_watched_into(config):
    with pytest.raises(UsageError, match="a watch writes to a directory"):
        watch(replace(config, out="s3://results/bridge"))


def test_a_watch_opens_the_engine_anew_for_a_table_begun_with_another(place, config, monkeypatch):
    """A scan has put another table in the place of its own meanwhile."""
    engines: list[Any] = []

    def opened(bundle, name, **options):
        engines.append((name, open_photo_engine(bundle, name, **options)))
        monkeypatch.setattr(engines[-1][1], "close", lambda: closed.append(name))
        return engines[-1][1]

    def begin_anew():
        scan(replace(config, backend="eager", overwrite=True))
        engines.pop()
        closed.clear()
        put(place, 1)

    closed: list[str] = []
    monkeypatch.setattr(executor, "open_photo_engine", opened)
    watched(config, begin_anew, lambda: put(place, 2))
    assert [name for name, _ in engines] == ["onnxruntime", "eager"]
    assert closed == ["onnxruntime", "eager"], "each once, when it was done with"
    assert len(table_of(config)) == 3
    for part in (config.out / "table").iterdir():
        assert pq.read_schema(part).metadata[b"inspector.backend"] == b"eager"
