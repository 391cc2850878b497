"""The table has always the same columns, and holds whatever a file can say about itself."""

from __future__ import annotations

import os
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.core.text import display_path
from inspector.results.schema import COLUMNS, SCHEMA, make_row, to_table
from inspector.types import (
    Failure,
    FailureCode,
    ImageRef,
    Judgement,
    Photo,
    PhotoFacts,
    Reason,
    Verdict,
)

any_text = st.text(st.characters(), max_size=20)  # half surrogate pairs included
maybe_float = st.none() | st.floats(allow_nan=False)
facts = st.builds(
    PhotoFacts,
    width=st.none() | st.integers(1, 2**31 - 1),
    height=st.none() | st.integers(1, 2**31 - 1),
    format=st.none() | st.sampled_from(["JPEG", "PNG"]),
    content_hash=st.none() | st.just("ab" * 32),
    taken_at=st.none() | st.datetimes(),
    gps_lat=maybe_float,
    gps_lon=maybe_float,
    gps_alt=maybe_float,
    camera=st.none() | any_text,
)
names = st.binary(min_size=1, max_size=30).map(os.fsdecode)
times = st.none() | st.integers(-(2**63), 2**63 - 1)
refs = st.builds(
    lambda path, size, mtime: ImageRef(0, path, "file:///x", size, mtime),
    names,
    st.none() | st.integers(0, 2**63 - 1),
    times,
)
share = st.floats(0, 1, width=32)
judgements = st.builds(
    Judgement,
    st.sampled_from(Verdict),
    st.sampled_from(Reason),
    share,
    st.floats(-9, 9, width=32),
    st.text(),
    st.none() | share,
    share,
)
photos = st.tuples(st.builds(Photo, refs, facts, st.just(1.0)), judgements)
failures = st.tuples(
    st.builds(Failure, refs, st.sampled_from(FailureCode), any_text, facts), st.none()
)


@settings(deadline=None)
@given(st.lists(photos | failures, max_size=4))
def test_every_possible_row_fits_and_comes_back(items):
    table = to_table([make_row(*item) for item in items], {"model": "x"})
    table.validate(full=True)
    assert table.schema.equals(SCHEMA)
    assert table.schema.metadata == {b"inspector.model": b"x"}
    for (item, judgement), row in zip(items, table.to_pylist(), strict=True):
        assert row["path"].encode().isascii() or row["path"]
        assert row["size_bytes"] == item.ref.size
        assert row["width"] == item.facts.width
        assert row["taken_at"] == item.facts.taken_at
        assert row["gps_alt"] == item.facts.gps_alt
        if isinstance(item, Failure):
            assert (row["status"], row["failure_code"]) == ("failed", item.code)
            assert row["verdict"] is row["p_crack"] is row["reason"] is row["peak_x"] is None
        else:
            assert (row["status"], row["verdict"]) == ("ok", judgement.verdict)
            assert row["p_crack"] == judgement.p_crack
            assert row["failure_code"] is row["detail"] is None


def test_flags_and_types():
    required = {column.name for column in COLUMNS if not column.nullable}
    assert required == {"uri", "path", "status", "judged_at"}
    assert SCHEMA.field("p_crack").type == pa.float32()
    assert SCHEMA.field("mtime").type == pa.timestamp("us")
    assert SCHEMA.field("taken_at").type == SCHEMA.field("judged_at").type == pa.timestamp("us")
    assert all(column.doc.endswith(".") for column in COLUMNS)


@pytest.mark.parametrize("mtime", [None, 2**63 - 1, -(2**63), 10**18])
def test_a_time_that_no_calendar_has_is_null(mtime):
    ref = ImageRef(0, "x", "file:///x", 1, mtime)
    row = make_row(Failure(ref, FailureCode.EMPTY, ""), None)
    assert row["mtime"] is None


def test_mtime_is_utc_and_has_no_time_zone():
    ref = ImageRef(0, "x", "file:///x", 1, 1_700_000_000_250_000)
    row = make_row(Failure(ref, FailureCode.EMPTY, ""), None)
    assert row["mtime"] == datetime(2023, 11, 14, 22, 13, 20, 250_000)


def test_path_shows_the_bytes_that_are_no_text():
    assert display_path(os.fsdecode(b"caf\xe9 \xc3\xa9")) == "caf\\xe9 \u00e9"
