"""Each row keeps the time at which it was judged, whatever becomes of its part and its files."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from inspector.core.layout import Layout
from inspector.errors import UsageError
from inspector.library.frames import Results, table_lines
from inspector.reporting.coco import write_coco
from inspector.reporting.contents import count_table
from inspector.reporting.maps import write_geojson
from inspector.results.labels import Label, read_decisions
from inspector.results.query import Query
from inspector.results.reader import Table
from inspector.results.schema import to_table
from inspector.results.store import open_results
from inspector.results.times import added, filtered, parse_since, spans_of, stamped
from tests.reviewing.tables import IDENTITY, row_of, write_table
from tests.said import say

MONDAY, TUESDAY = datetime(2026, 11, 30, 18, 50), datetime(2026, 12, 1, 7, 0, 0, 5)
ROWS = [{"uri": f"file:///{k}.jpg", "path": f"/{k}.jpg", "status": "ok"} for k in range(5)]


def times(table):
    return spans_of(table.schema.metadata, len(table))


def test_a_row_takes_its_time_along():
    table = added(
        stamped(to_table(ROWS[:3], {"x": "y"}), [(3, MONDAY)]),
        stamped(to_table(ROWS[3:], {"x": "y"}), [(2, TUESDAY)]),
    )
    assert times(table) == [(3, MONDAY), (2, TUESDAY)]
    left = filtered(table, pa.array([True, False, False, False, True]))
    assert times(left) == [(1, MONDAY), (1, TUESDAY)]
    assert left.schema.metadata[b"inspector.x"] == b"y"
    assert times(filtered(table, pa.array([False] * 3 + [True] * 2))) == [(2, TUESDAY)]


def test_of_older_versions_and_damaged_parts_nothing_is_known():
    old = to_table(ROWS[:2], {})
    assert times(old) == [(2, None)]
    assert times(added(old, stamped(to_table(ROWS[2:3], {}), [(1, TUESDAY)]))) == [
        (2, None), (1, TUESDAY),
    ]  # fmt: skip
    assert filtered(old, pa.array([True, False])).schema.metadata == old.schema.metadata
    for said in ("[[3, null]]", "[[1, 5], [1, 5]]", "{}", "[[-1, null], [3, null]]", "x", "[[2]]"):
        wrong = old.replace_schema_metadata({"inspector.judged_at": said})
        assert times(wrong) == [(2, None)]


@pytest.fixture
def out(tmp_path):
    """Rows of a version that kept no time, of Monday and of Tuesday, two of each."""
    out = write_table(tmp_path / "out", [row_of(tmp_path / f"old{k}.jpg") for k in range(2)])
    with open_results(out, IDENTITY, overwrite=False) as results:
        facts = {**IDENTITY, "fingerprint": results.fingerprint}
        for day, verdict in ((MONDAY, "crack"), (TUESDAY, "review")):
            rows = [row_of(tmp_path / f"{day:%a}{k}.jpg", verdict=verdict) for k in range(2)]
            results.commit(stamped(to_table(rows, facts), [(2, day)]), fill=2)
    return out


def test_what_is_new_can_be_asked(out, tmp_path):
    table = Results(out).to_arrow(["path", "judged_at"])
    assert table["judged_at"].to_pylist() == [None, None, MONDAY, MONDAY, TUESDAY, TUESDAY]
    results = Results(out)
    assert [results.count(since) for since in (None, "2026-11-30", "2026-12-01T07:00Z")] == [
        6,
        4,
        2,
    ]
    found = results.head(9, ["path", "judged_at"], since="2026-12-01T00:00+00:00")
    assert {os.path.basename(path) for path in found["path"].to_pylist()} == {
        "Tue0.jpg",
        "Tue1.jpg",
    }
    assert results.export(tmp_path / "new.jsonl", since="2026-12-01T00:00Z") == 2
    assert (tmp_path / "new.jsonl").read_text().count('"judged_at": "2026-12-01T07:00:00') == 2
    assert "Tue0" in str(table_lines(results, 9, since="2026-12-01T00:00Z"))
    assert "Mon0" not in str(table_lines(results, 9, since="2026-12-01T00:00Z"))
    assert table_lines(results, 9, since="2027-01-01") == [
        "photos     none was judged since 2027-01-01"
    ]
    with pytest.raises(UsageError, match="write it like 2026-11-30"):
        results.count("last Monday")


def counted(out, since=None):
    table = Table.open(out, since)
    with closing(Query(table, read_decisions(out))) as query:
        return count_table(query, 10)


def test_the_report_dates_rows_and_not_files(out, tmp_path):
    report = counted(out, MONDAY)
    assert (report.total.photos, report.total.crack, report.total.review) == (4, 2, 2)
    days = tuple(day.replace(tzinfo=UTC) for day in (MONDAY, TUESDAY))
    assert report.written == days and not report.dated_by_files
    assert report.since == days[0] and len(report.cracks) == 2
    copy = shutil.copytree(out, tmp_path / "stick")
    for part in Layout(copy).parts():
        os.utime(part, (1, 1))
    assert counted(copy, MONDAY).written == days
    old = counted(copy)
    assert old.dated_by_files and old.total.photos == 6
    assert old.written[0] == datetime.fromtimestamp(1, UTC) and old.written[1] == days[1]


@pytest.mark.parametrize(("since", "new"), [(TUESDAY, 2), (TUESDAY + timedelta(days=1), 0)])
def test_files_of_the_report_count_what_is_new_alone_whatever_people_said(
    since, new, out, tmp_path
):
    say(out, Results(out).to_arrow(["uri"])["uri"][2].as_py(), Label.CRACK)  # on Monday
    assert counted(out, since).total.photos == new
    with closing(Query(Table.open(out, since), read_decisions(out))) as query:
        assert write_geojson(query, tmp_path / "map") == f"0 photos, {new} have no place"
        said = write_coco(query, tmp_path / "regions")
        assert said == f"0 regions in 0 photos; {new} not judged at their own scale"


def test_a_date_is_local_unless_it_says_otherwise():
    local = datetime(2026, 11, 30).astimezone()
    assert parse_since("2026-11-30").replace(tzinfo=UTC) == local
    assert parse_since("2026-11-30T18:50+01:00") == MONDAY - timedelta(hours=1)
