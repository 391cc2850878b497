"""Counting in SQL agrees with a plain count, and takes as much detail as there is room for."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspector.photos.address import text_of, uri_of
from inspector.reporting import counting, listing
from inspector.reporting.contents import count_table
from inspector.reporting.counting import (
    PER_DEGREE,
    Group,
    choose_shown,
    count_copies,
    count_folders,
    count_periods,
    count_places,
)
from inspector.reporting.sites import METRES_PER_DEGREE, find_sites
from inspector.reporting.wording import share
from inspector.results.labels import read_decisions
from inspector.results.query import Query
from inspector.results.reader import Table
from tests.reporting.conftest import label
from tests.reviewing.tables import row_of, write_table


def query_of(out):
    return closing(Query(Table.open(out), read_decisions(out)))


def rows_at(paths, **columns):
    """A row for each path, with the value of each column at its place."""
    values = [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]
    return [
        row_of(Path(path)) | {"uri": uri_of(path)} | given
        for path, given in zip(paths, values or [{}] * len(paths), strict=True)
    ]


@pytest.mark.parametrize(
    ("paths", "root", "levels"),
    [
        (["/a/b/1.jpg", "/a/b/2.jpg"], "/a/b", []),
        (["/a/b/1.jpg", "/a/b/c/2.jpg"], "/a/b", [{"(directly in it)", "c"}]),
        (["/a/b/1.jpg", "/a/b!/2.jpg", "/a/b/c/3.jpg"], "/a", [{"b", "b!"}, {"b", "b!", "b/c"}]),
        (["/1.jpg", "/x/2.jpg"], "/", [{"(directly in it)", "x"}]),
        (["/a b/\u00e4/1.jpg", "/a b/%20/2.jpg"], "/a b", [{"\u00e4", "%20"}]),
        (["/a/x/1/1.jpg", "/a/y/1/1.jpg"], "/a", [{"x", "y"}]),
    ],
)
def test_count_folders_finds_the_shared_root(tmp_path, paths, root, levels):
    with query_of(write_table(tmp_path / "out", rows_at(paths))) as query:
        found, folders = count_folders(query)
    assert found == root
    assert [{group.name for group in level.listed} for level in folders] == levels


def test_count_folders_adds_up_those_that_are_not_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "MOST_FOLDERS", 3)
    paths = [f"/w/{k}/{n}.jpg" for k in range(6) for n in range(k + 1)]
    with query_of(write_table(tmp_path / "out", rows_at(paths))) as query:
        _, (level,) = count_folders(query)
    assert [(group.name, group.photos) for group in level.listed] == [("5", 6), ("4", 5), ("3", 4)]
    assert (level.others.name, level.others.photos, level.unlisted) == ("3 other folders", 6, 3)


@pytest.mark.parametrize("hours", [1, 40, 300, 40_000, 400_000])
def test_count_periods_takes_the_finest_there_is_room_for(tmp_path, hours):
    first = datetime(1999, 12, 31, 22, 30)
    times = [first + timedelta(hours=round(k * hours / 60)) for k in range(60)]
    out = write_table(tmp_path / "out", rows_at([f"/{k}.jpg" for k in range(60)], taken_at=times))
    with query_of(out) as query:
        period, groups = count_periods(query)
    names = {
        name: Counter(time.isoformat()[:letters] for time in times)
        for name, letters in counting.PERIODS.items()
    }
    expected = next((n for n, found in names.items() if len(found) <= 48), "year")
    assert period == expected
    assert {group.name: group.photos for group in groups} == names[period]


@pytest.mark.parametrize("most", [2, 30, 1500])
def test_count_places_loses_no_photo_at_any_size_of_squares(tmp_path, monkeypatch, most):
    monkeypatch.setattr(counting, "MOST_PLACES", most)
    rng = np.random.default_rng(most)
    norths, easts = (rng.normal(0, 10 ** rng.uniform(-5, 1), 80).tolist() for _ in range(2))
    norths[0], easts[1] = None, math.nan
    paths = [f"/{k}.jpg" for k in range(80)]
    out = write_table(tmp_path / "out", rows_at(paths, gps_lat=norths, gps_lon=easts))
    with query_of(out) as query:
        places, side, spots = count_places(query, 8)
    assert len(places) <= most or side == counting.SIDES[-1]
    assert side == 1 or len(places) > most // 8, "no coarser than need be"
    squares = Counter(
        (round(n * PER_DEGREE) // side, round(e * PER_DEGREE) // side)
        for n, e in zip(norths[2:], easts[2:], strict=True)
    )
    found = {tuple(round(d * PER_DEGREE) // side for d in place): g.photos for *place, g in places}
    assert found == squares
    assert sum(group.photos for *_, group in spots) == 78


def test_count_copies_counts_beyond_the_first(tmp_path):
    hashes = ["a" * 64, "b" * 64, None, "a" * 64, "a" * 64, None]
    paths = [f"/{k}.jpg" for k in range(6)]
    with query_of(write_table(tmp_path / "out", rows_at(paths, content_hash=hashes))) as query:
        assert count_copies(query) == 2


def test_choose_shown_finds_the_best_of_all_parts(tmp_path):
    rng = np.random.default_rng(5)
    chances = [None, *rng.random(49).astype(np.float32).tolist()]
    rows = rows_at([f"/{k}.jpg" for k in range(50)], p_crack=chances, verdict=["crack"] * 50)
    with query_of(write_table(tmp_path / "out", rows[:9], [], rows[9:])) as query:
        cracks, review, differing = choose_shown(query, 7)
        assert choose_shown(query, 0) == ([], [], [])
        everything, *_ = choose_shown(query, 90)
    expected = sorted((p for p in chances if p is not None), reverse=True)
    assert [row["p_crack"] for row in cracks] == expected[:7]
    assert [row["p_crack"] for row in everything] == [*expected, None]
    assert (review, differing) == ([], [])


def test_count_table_tells_the_models_verdicts_from_those_that_stand(tmp_path):
    verdicts = ["crack", "crack", "clear", "review", "crack", "clear", "review"]
    rows = rows_at([f"/{k}.jpg" for k in range(7)], verdict=verdicts)
    failed = [row_of(Path(f"/x{k}"), failure_code="empty") for k in range(30)]
    out = write_table(tmp_path / "out", rows, failed)
    words = ("clear", "crack", "unsure", *["not_concrete"] * 3)
    label(out, dict(zip((row["uri"] for row in rows[1:]), words, strict=True)))
    with query_of(out) as query:
        found = count_table(query, 9)
    assert found.model == {"crack": 3, "clear": 2, "review": 2, "failed": 30}
    assert found.total == Group("all", 37, 3, crack=2, clear=4, review=1, failed=30)
    people = found.people
    sums = (people.agree, people.missed_cracks, people.false_alarms, people.decided, people.unsure)
    assert sums == (1, 1, 2, 1, 1) and sum(sums) == people.looked_at, "each in one of them"
    assert len(found.differing) == found.all_differing == 3
    said = {(o, w): n for o, by in found.people.by_model.items() for w, n in by.items() if n}
    assert said == {("crack", "clear"): 1, ("clear", "crack"): 1, ("review", "unsure"): 1} | {
        (outcome, "not_concrete"): 1 for outcome in ("crack", "clear", "review")
    }
    assert found.failures == {"empty": 30}
    assert [row["row"] for row in found.failed_files["empty"]] == list(range(7, 27))


def test_sites_are_drawn_to_scale_with_north_up():
    group = Group("", 1, 0, 0, 0, 1, 0)
    crack = Group("", 1, 1, 1, 0, 0, 0)
    first, second = find_sites(((47.0, 14.0, group), (47.001, 14.002, crack), (60.0, 5.0, group)))
    assert (first.cracks, first.photos, second.photos) == (1, 2, 1)
    low, high = first.marks
    assert high.kind == "crack", "drawn last, above the others"
    assert high.y < low.y and high.x > low.x
    metres = (low.y - high.y) / first.bar * first.bar_metres
    assert metres == pytest.approx(0.001 * METRES_PER_DEGREE)
    assert all(0 < mark.x < 640 and 0 < mark.y < first.height for mark in first.marks)


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 9, "0.0 %"), (1, 10**6, "< 0.1 %"), (10**6 - 1, 10**6, "> 99.9 %"), (9, 9, "100.0 %"),
     (0, 0, "-")],
)  # fmt: skip
def test_some_is_never_none_and_most_never_all(part, whole, words):
    assert share(part, whole) == words


def test_folders_are_named_from_the_one_that_all_share_on_windows_too(monkeypatch):
    monkeypatch.setattr(text_of, "__kwdefaults__", {"windows": True})
    monkeypatch.setattr(listing, "SLASHES", "/\\")
    links: Any = SimpleNamespace(photo=lambda uri: "", moved=None)
    uris = ["file:///C:/p/1.jpg", "file:///C:/p/sub/x/1.jpg"]
    for root in ("C:\\p", "C:\\p\\"):
        assert listing._names(uris, links, root)["folders"] == ["", "sub\\x"]
    assert listing._names(["file:///C:/1.jpg"], links, "C:\\")["folders"] == [""]
