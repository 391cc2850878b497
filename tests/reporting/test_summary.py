"""What is counted, against a plain count; and what is said of tables that are not whole."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from inspector import ReportConfig, report
from inspector.errors import OutputError, UsageError
from inspector.results.store import open_results
from tests.reporting.conftest import label
from tests.reviewing.tables import IDENTITY, row_of, write_table
from tests.said import read_labels


def plain_rows(out):
    """Every row with what stands, counted without any of the code under test."""
    rows = ds.dataset(str(out)).to_table().to_pylist()
    said = {row["uri"]: row for row in read_labels(out).to_pylist()}
    for row in rows:
        about = said.get(row["uri"], {"label": None})
        keys = ["content_hash"] if row["content_hash"] else ["size_bytes", "mtime"]
        same = all(about.get(key) == row[key] for key in keys)
        row["human_verdict"] = human = about["label"] if same else None
        model = row["verdict"] or "failed"
        row["after"] = {"crack": "crack", "clear": "clear", "unsure": "review", None: model}[human]
    return rows


@pytest.fixture(scope="module")
def summary(site):
    return report(ReportConfig(out=site.out))


def test_totals_are_those_of_a_plain_count(site, summary):
    rows = plain_rows(site.out)
    found = summary.to_json()
    assert summary.total.photos == len(rows) == 18
    assert Counter(row["after"] for row in rows) == Counter(found["after_review"])
    verdicts = Counter(row["verdict"] or "failed" for row in rows)
    assert verdicts == Counter(found["verdicts"])
    assert Counter(row["reason"] for row in rows if row["reason"]) == Counter(summary.reasons)
    assert summary.failures == {"empty": 1, "not_an_image": 1}
    looked_at = [row for row in rows if row["human_verdict"]]
    assert summary.people.looked_at == len(looked_at) == 12
    assert summary.people.missed_cracks == sum(
        row["verdict"] == "clear" and row["human_verdict"] == "crack" for row in looked_at
    )
    assert summary.copies == 1
    assert found["failed_share"] == 2 / 18
    json.dumps(found, allow_nan=False)


def test_folders_times_and_places(site, summary):
    rows = plain_rows(site.out)
    assert summary.root == str(site.photos)
    for folders in summary.folders:
        for group in folders.listed:

            def inside(row, name=group.name, level=folders.level):
                below = row["path"].removeprefix(f"{site.photos}/").split("/")[:-1]
                if "(directly in it)" in name:
                    return len(below) < level
                return "/".join(below[:level]) == name

            own = [row for row in rows if inside(row)]
            assert group.photos == len(own)
            assert group.crack == sum(row["after"] == "crack" for row in own)
        assert sum(group.photos for group in folders.listed) == len(rows)
        assert list(folders.listed) == sorted(
            folders.listed, key=lambda group: (-group.crack, -group.review, group.name)
        )
    assert {len(folders.listed) for folders in summary.folders} == {2, 6}
    assert [(g.name, g.photos) for g in summary.periods] == [
        ("2026-05-01T08", 5), ("2026-05-01T09", 5)
    ]  # fmt: skip
    assert sum(group.photos for *_, group in summary.places) == 11
    north, east, _ = next(place for place in summary.places if place[0] > 50)
    assert (north, east) == pytest.approx((51.0, 13.7), abs=1e-5)


def test_the_likeliest_cracks_are_shown_first_whatever_the_parts(tmp_path):
    rows = [
        row_of(Path(f"/w/{k:03}.jpg"), verdict="crack", p_crack=(k * 37 % 101) / 101)
        for k in range(90)
    ]
    out = write_table(tmp_path / "out", rows[:30], rows[30:40], rows[40:])
    label(out, {rows[7]["uri"]: "crack", rows[80]["uri"]: "clear"})
    summary = report(ReportConfig(out=out, pictures=12))
    first, *others = summary.cracks
    assert (first["path"], first["human_verdict"]) == ("/w/007.jpg", "crack")
    standing = sorted((r["p_crack"] for k, r in enumerate(rows) if k not in (7, 80)), reverse=True)
    assert [r["p_crack"] for r in others] == pytest.approx(standing[:11])
    assert (summary.total.crack, summary.total.clear, summary.model["crack"]) == (89, 1, 90)
    (wrong,) = summary.differing
    assert wrong["path"] == "/w/080.jpg"


def test_what_was_said_about_other_bytes_does_not_count(tmp_path):
    row = row_of(Path("/w/a.jpg"), verdict="clear")
    out = write_table(tmp_path / "out", [row])
    label(out, {row["uri"]: "crack"})
    assert report(ReportConfig(out=out)).total.crack == 1
    write_table(out, [row | {"content_hash": "1" * 64}], overwrite=True)
    again = report(ReportConfig(out=out))
    assert (again.total.clear, again.people.looked_at) == (1, 0)


@pytest.fixture
def out(tmp_path):
    rows = [row_of(Path(f"/w/{k}.jpg")) for k in range(4)]
    return write_table(tmp_path / "out", rows[:2], rows[2:])


def test_a_scan_that_writes_is_named(out):
    with open_results(out, IDENTITY, overwrite=False):
        summary = report(ReportConfig(out=out))
    assert (summary.state.kind, summary.total.photos) == ("writing", 4)
    assert report(ReportConfig(out=out)).state.kind == "at_rest"


@pytest.mark.parametrize(
    ("kind", "rows", "harm"),
    [
        ("interrupted", 4, lambda out: (out / "_inspector" / "manifest.json.partial").touch()),
        ("damaged", 2, lambda out: (out / "table/part-000000.parquet").unlink()),
        ("damaged", 4, lambda out: (out / "_inspector" / "manifest.json").write_text("{}")),
        ("interrupted", 6, lambda out: _commit_unlisted(out)),
    ],
)
def test_a_table_that_is_not_whole_is_counted_and_named(out, kind, rows, harm):
    harm(out)
    summary = report(ReportConfig(out=out))
    assert (summary.state.kind, summary.total.photos) == (kind, rows)


def test_a_table_of_another_version_is_refused_and_not_called_damaged(out):
    manifest = out / "_inspector" / "manifest.json"
    values = json.loads(manifest.read_text()) | {"schema_version": 99, "tool_version": "9.9"}
    manifest.write_text(json.dumps(values))
    with pytest.raises(OutputError, match=r"schema 99.*use the version that wrote it"):
        report(ReportConfig(out=out))


def _commit_unlisted(out):
    """As a crash between a part's rename and the manifest leaves it."""
    manifest = out / "_inspector" / "manifest.json"
    before = manifest.read_bytes()
    write_table(out, [row_of(Path(f"/w/new{k}.jpg")) for k in range(2)])
    manifest.write_bytes(before)


def test_a_part_that_is_rewritten_meanwhile_is_read_again(out):
    """A photo's old row and its new one must not both be counted."""
    once = iter([True])

    def rescan(*_):
        if next(once, False):
            write_table(out, [row_of(Path("/w/3.jpg"), verdict="crack", p_crack=0.9)])

    summary = report(ReportConfig(out=out), progress=rescan)
    assert (summary.total.photos, summary.total.crack) == (4, 1)


def test_progress_counts_the_rows_of_the_table(out, tmp_path):
    """However often each is read."""
    seen = []
    report(ReportConfig(out=out, csv=tmp_path / "a.csv"), progress=lambda *said: seen.append(said))
    counts = [done for phase, done, total in seen if phase == "rows" and total == 4]
    assert counts == sorted(counts) and len(counts) == len(seen) and counts[-1] == 4


def test_a_table_that_never_rests_is_refused(out):
    def rescan(*_):
        write_table(out, [row_of(Path("/w/3.jpg"))])

    with pytest.raises(OutputError, match="keeps changing"):
        report(ReportConfig(out=out), progress=rescan)


def test_what_is_no_table_is_refused(tmp_path, out):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun" / "_inspector").mkdir(parents=True)
    for name, words in (("gone", "No such file"), ("empty", "no results"), ("begun", "no rows")):
        with pytest.raises(OutputError, match=words):
            report(ReportConfig(out=tmp_path / name))
    (out / "table/part-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match="inspector verify"):
        report(ReportConfig(out=out))


def test_a_scan_without_photos(tmp_path):
    out = write_table(tmp_path / "out", [])
    summary = report(ReportConfig(out=out, html=out / "_report.html"))
    assert (summary.total.photos, summary.folders, summary.periods) == (0, (), ())
    assert "0 photos" in (out / "_report.html").read_text()


@pytest.mark.parametrize(
    "name", ["report.html", "table/_x.html", "_x.parquet", "_inspector", "_inspector/x.html"]
)
def test_a_page_never_lies_where_readers_take_it_for_rows(out, name):
    with pytest.raises(UsageError, match="--html"):
        ReportConfig(out=out, html=out / name)


@pytest.mark.parametrize("place", ["/dev/full", "/dev/stdout", "link.html", "pipe.html"])
def test_a_page_never_takes_the_place_of_a_device_or_link(tmp_path, place):
    """As root, a rename would put the page where the device was."""
    (tmp_path / "link.html").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe.html")
    for option in ("html", "geojson"):
        with pytest.raises(UsageError, match="regular file"):
            ReportConfig(out=tmp_path / "out", **{option: tmp_path / place})


def test_a_page_that_cannot_be_written_costs_nothing(out, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--html"):
        report(ReportConfig(out=out, html=tmp_path / "file" / "page.html"))


def test_places_for_a_map(site, tmp_path):
    file = tmp_path / "new" / "places.geojson"
    report(ReportConfig(out=site.out, geojson=file))
    found = json.loads(file.read_text())
    features = {f["properties"]["path"].rpartition("/")[2]: f for f in found["features"]}
    assert found["type"] == "FeatureCollection" and len(features) == 11
    assert "no-fix.jpg" not in features
    far = features["far.jpg"]
    assert far["geometry"]["coordinates"] == pytest.approx([13.7, 51.0])
    properties = far["properties"]
    assert (properties["human_verdict"], properties["after_review"]) == ("unsure", "review")
    assert properties["verdict"] == site.rows["far.jpg"]["verdict"]
    assert features["IMG_0.jpg"]["properties"]["taken_at"] == "2026-05-01T08:10:00"


def test_the_table_is_as_it_was(site, tmp_path):
    copy = shutil.copytree(site.out, tmp_path / "copy")
    parts = {file.name: file.read_bytes() for file in copy.glob("table/*")}
    report(ReportConfig(out=copy, html=copy / "_report.html", pictures=0))
    assert {file.name: file.read_bytes() for file in copy.glob("table/*")} == parts
    assert ds.dataset(str(copy)).count_rows() == 18
