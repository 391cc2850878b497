"""Each row keeps the time at which it was judged, whatever becomes of its part and its files."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from inspector.core.layout import Layout
from inspector.errors import UsageError
from inspector.library.frames import Results, table_lines
from inspector.reporting.coco import write_coco
from inspector.reporting.contents import count_table
from inspector.reporting.maps import write_geojson
from inspector.results.labels import Label, read_decisions
from inspector.results.query import Query
from inspector.results.reader import Table, parse_since
from inspector.results.schema import judged_now, to_table
from inspector.results.store import open_results
from tests.reviewing.tables import IDENTITY, row_of, write_table
from tests.said import say

SUNDAY, MONDAY = datetime(2026, 11, 29, 23), datetime(2026, 11, 30, 18, 50)
TUESDAY = datetime(2026, 12, 1, 7, 0, 0, 5)


def test_a_row_was_judged_when_it_was_made(tmp_path):
    began = datetime.now(UTC).replace(tzinfo=None)
    out = write_table(tmp_path / "out", [row_of(tmp_path / f"{k}.jpg") for k in range(2)])
    ended = datetime.now(UTC).replace(tzinfo=None)
    moments = Results(out).to_arrow(["judged_at"])["judged_at"].to_pylist()
    assert all(began <= moment <= ended for moment in moments)


def test_rows_of_another_machine_get_the_clock_of_this_one(tmp_path):
    """Whose clock says when the scan began."""
    slow = to_table([row_of(tmp_path / "a.jpg", judged_at=SUNDAY)], IDENTITY)
    began = datetime.now(UTC).replace(tzinfo=None)
    here = judged_now(slow)
    assert here["judged_at"][0].as_py() >= began
    assert here.schema.equals(slow.schema, check_metadata=True)
    assert here.drop(["judged_at"]) == slow.drop(["judged_at"])


@pytest.fixture
def out(tmp_path):
    """Rows of Sunday in a part, of Monday and of Tuesday in another, two of each."""
    out = tmp_path / "out"
    with open_results(out, IDENTITY, overwrite=False) as results:
        facts = {**IDENTITY, "fingerprint": results.fingerprint}
        for day, verdict in ((SUNDAY, "review"), (MONDAY, "crack"), (TUESDAY, "review")):
            rows = [
                row_of(tmp_path / f"{day:%a}{k}.jpg", verdict=verdict, judged_at=day)
                for k in range(2)
            ]
            results.commit(to_table(rows, facts), fill=4 if day == TUESDAY else 2)
    return out


def test_a_row_takes_its_time_along(out, tmp_path):
    with open_results(out, IDENTITY, overwrite=False) as results:
        results.drop({results.parts[-1].file: [(tmp_path / "Mon0.jpg").as_uri()]})
    left = Results(out).to_arrow(["judged_at"])["judged_at"].to_pylist()
    assert left == [SUNDAY] * 2 + [MONDAY] + [TUESDAY] * 2


def test_what_is_new_can_be_asked(out, tmp_path):
    table = Results(out).to_arrow(["path", "judged_at"])
    assert table["judged_at"].to_pylist() == [SUNDAY] * 2 + [MONDAY] * 2 + [TUESDAY] * 2
    assert len(Layout(out).parts()) == 2
    results = Results(out)
    assert [results.count(since) for since in (None, "2026-11-30T00:00Z", "2026-12-01T07:00Z")] == [
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
    assert report.judged == days
    assert report.since == days[0] and len(report.cracks) == 2
    copy = shutil.copytree(out, tmp_path / "stick")
    for part in Layout(copy).parts():
        os.utime(part, (1, 1))
    whole = counted(copy)
    assert whole.total.photos == 6
    assert whole.judged == (SUNDAY.replace(tzinfo=UTC), days[1])
    assert counted(copy, TUESDAY + timedelta(days=1)).judged == ()


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
