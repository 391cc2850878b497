"""What a summary names of a table: the likeliest cracks, reasons, failures, of all its runs."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from inspector.core.layout import Layout
from inspector.core.progress import line_of
from inspector.errors import OutputError
from inspector.reporting.contents import count_table
from inspector.results.codes import FAILURES, REASONS, REMEDIES
from inspector.results.labels import Label, open_labels, read_decisions
from inspector.results.parts import encode, opened_part
from inspector.results.query import Query
from inspector.results.reader import Table
from inspector.results.schema import SCHEMA, to_table
from inspector.reviewing.session import Session
from inspector.scanning.config import ScanConfig
from inspector.scanning.console import ScanConsole
from inspector.scanning.highlights import EXAMPLES, LIKELIEST, Highlights, find
from inspector.scanning.summary import Counts, Tally
from inspector.types import Batch, FailureCode, Judgement, Reason, Verdict, View
from tests.said import say


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A table of three parts, 12 cracks among them, without a manifest, which nobody reads."""
    out = tmp_path_factory.mktemp("found") / "results"
    table = Layout(out).table
    table.mkdir(parents=True)
    rows = [row(k, "crack", 0.80 + (k * 7 % 12) / 100) for k in range(12)]
    rows += [row(k, "clear", 0.01) for k in range(12, 20)]
    rows += [row(k, "review", 0.5, "near_threshold") for k in range(20, 23)]
    rows += [row(23, "review", 0.1, "scale")]
    rows += [row(k, None, None, None, "truncated", "ends") for k in range(24, 30)]
    for number in range(3):
        part = to_table(rows[number::3], {"fingerprint": "x"})
        (table / f"part-{number:06}.parquet").write_bytes(encode(part).to_pybytes())
    return out


def row(k, verdict, p, reason="model", code=None, detail=None):
    return {
        "uri": f"file:///w/{k}.jpg", "path": f"/w/{k}.jpg", "p_crack": p, "verdict": verdict,
        "status": "failed" if code else "ok", "reason": None if code else reason,
        "failure_code": code, "detail": detail, "content_hash": f"{k:064}",
    }  # fmt: skip


def test_the_likeliest_cracks_of_all_parts_come_first(out):
    found = find(out)
    assert len(found.cracks) == LIKELIEST
    assert [round(p or 0, 2) for _, p, _ in found.cracks] == [
        round(0.91 - k / 100, 2) for k in range(10)
    ]
    assert found.cracks[0][0] is False and found.cracks[0][2] == "/w/5.jpg"
    assert (found.all_cracks, found.new_cracks) == (12, 0)
    assert found.reasons == {"near_threshold": 3, "scale": 1}
    assert (found.unsure, found.open) == (0, 4)
    assert len(found.failed["truncated"]) == EXAMPLES
    assert all(text.endswith(".jpg: ends") for text in found.failed["truncated"])


def test_what_people_said_counts_and_what_is_new_comes_first(out, tmp_path):
    """As the report counts it: what somebody was unsure about is still left to a person."""
    out = shutil.copytree(out, tmp_path / "results")
    last = Layout(out).table / "part-000002.parquet"
    with opened_part(last) as file:
        part = file.read()
    now = datetime(9999, 1, 1)
    new = to_table([row | {"judged_at": now} for row in part.to_pylist()], {"fingerprint": "x"})
    last.write_bytes(encode(new).to_pybytes())
    labels = {5: "clear", 12: "crack", 20: "clear", 21: "not_concrete", 22: "unsure"}
    for k, label in labels.items():
        say(out, f"file:///w/{k}.jpg", Label(label))
    found = find(out, now)
    assert found.cracks[:3] == [c for c in found.cracks if c[0]] and found.new_cracks == 3
    assert found.cracks[3] == (False, None, "/w/12.jpg"), "a person is surer than the model"
    assert found.all_cracks == 12 and "/w/5.jpg" not in {path for *_, path in found.cracks}
    assert (found.reasons, found.unsure, found.open) == ({"scale": 1}, 1, 2)
    with closing(Query(Table.open(out), read_decisions(out))) as query:
        report = count_table(query, 10)
        assert (report.total.review, report.total.crack) == (found.open, found.all_cracks)
    with open_labels(out, "ann") as store:
        assert Session(out, store).left == found.open


def test_a_table_without_rows_has_nothing_to_name(tmp_path):
    table = Layout(tmp_path).table
    table.mkdir()
    (table / "part-000000.parquet").write_bytes(encode(SCHEMA.empty_table()).to_pybytes())
    nothing = Highlights(cracks=[], all_cracks=0, new_cracks=0, reasons={}, unsure=0, failed={})
    assert find(tmp_path) == nothing
    with pytest.raises(OutputError, match="holds no rows"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize("columns", [60, 80])
def test_the_line_of_a_large_scan_fits_and_waits_for_the_total(columns):
    console = ScanConsole(ScanConfig(sources=("photos",)), quiet=True)
    console._started -= 3600
    tally = Tally(already_done=100_000, megapixels=1234.5)
    tally.outcomes.update({"crack": 2_345, "clear": 150_123, "review": 321, "truncated": 4_321})
    console.update(tally)
    before = line_of(console.state(), columns).plain
    assert "257,110 photos" in before and "left" not in before and "━" not in before
    console.total = 400_000
    after = line_of(console.state(), columns).plain
    assert len(after) < columns and "257,110 of 400,000" in after and "failed 4,321" in after
    assert "left" in after and after.startswith("━━━━━")


def test_a_dense_photo_is_counted_where_it_was_judged():
    """Also where an exact tile has decided its region."""
    tile = Judgement(Verdict.CRACK, Reason.MODEL, 0.9, 1.0, "int8@224", 0.5, 0.5)
    photo = replace(tile, stage="fp32@224", view=View.DENSE)
    tally = Tally()
    tally.count(Batch((), np.zeros((0, 8, 8, 3), np.uint8), 0.0), [tile, photo])
    assert tally.judged_by("int8@dense") == 1
    assert tally.judged_by("int8@224") == 1 and tally.judged_by("fp32@224") == 0
    assert Counts.of(tally.outcomes).rows == 2


def test_every_code_has_its_words():
    assert set(REASONS) == set(Reason) and set(REMEDIES) == set(FailureCode)
    assert set(FAILURES) == set(FailureCode)
