"""What is looked at first, what a filter leaves, and that a number never means another photo."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from inspector.errors import OutputError, UsageError
from inspector.results.labels import Label, open_labels
from inspector.results.reader import StaleTableError, Table
from inspector.reviewing.queue import DIFFERS, OPEN, Filters
from inspector.reviewing.session import PhotoError, Session
from tests.reviewing.tables import row_of, write_table


def judged(folder, name, verdict, p, reason="model"):
    return row_of(folder / name, verdict=verdict, p_crack=p, reason=reason)


@pytest.fixture
def out(tmp_path):
    """Two parts, worst first; names say where each belongs."""
    walls = tmp_path / "walls"
    first = [
        judged(walls, "12 sure crack", "crack", 0.999),
        judged(walls, "11 sure clear", "clear", 0.0001),
        judged(walls, "07 clear, nearly not", "clear", 0.29),
        judged(walls, "10 crack, nearly not", "crack", 0.71),
        row_of(walls / "13 gone", failure_code="vanished"),
        row_of(walls / "05 damaged", failure_code="corrupt"),
    ]
    second = [
        judged(tmp_path / "Bridge", "09 clear", "clear", 0.02),
        judged(tmp_path / "Bridge", "08 clear", "clear", 0.1),
        judged(tmp_path / "Bridge", "04 shrunk", "review", 0.2, "downscaled"),
        judged(tmp_path / "Bridge", "03 cat", "review", 0.9, "out_of_distribution"),
        judged(tmp_path / "Bridge", "02 open", "review", 0.31, "near_threshold"),
        judged(tmp_path / "Bridge", "01 likely", "review", 0.69, "near_threshold"),
    ]
    return write_table(tmp_path / "out", first, second)


@pytest.fixture
def session(out):
    with open_labels(out, "ann") as store, closing(Session(out, store)) as session:
        yield session


def names(session, **filters):
    queue = session.start_queue(Filters(**filters))
    return [row["path"].rsplit("/", 1)[1] for row in session.page(queue["queue"], 0, 200)]


def test_the_order_is_what_a_look_is_worth(session):
    found = names(session)
    assert len(found) == 12
    assert found == sorted(found)


def test_filters_agree_with_their_counts(session):
    queue = session.start_queue(Filters())
    rows = [row["row"] for row in session.page(queue["queue"], 0, 200)]
    for row, label in ((rows[0], "unsure"), (rows[7], "unsure")):
        uri = session.facts(1, row)["uri"]
        session.decide(1, row, uri, Label(label), queue["queue"])
    counts = session.start_queue(Filters())["counts"]
    for name, words in counts.items():
        for word, count in words.items():
            assert len(names(session, **{name: word})) == count, (name, word)
    assert sum(counts["verdict"].values()) == len(session) == 12
    assert (counts["label"]["open"], counts["label"]["unsure"]) == (10, 2)
    assert names(session, text="bRIDGE", verdict="review")[0] == "01 likely"
    assert names(session, failure="corrupt") == ["05 damaged"]
    assert names(session, text="no such") == []
    assert names(session, text=".*") == [], "a search is no pattern"
    assert names(session, text="'") == [], "nor a piece of SQL"


@pytest.mark.parametrize("text", ["br\u00fccke", "BRU\u0308CKE"])
def test_a_search_finds_accents_however_they_are_written(tmp_path, text):
    apart, whole = "Bru\u0308cke 1", "Br\u00fccke 2"
    rows = [judged(tmp_path, name, "clear", 0.1) for name in (apart, whole, "Brucke 3")]
    out = write_table(tmp_path / "out", rows)
    with open_labels(out, "ann") as store, closing(Session(out, store)) as session:
        assert names(session, text=text) == [apart, whole]


def test_unknown_filters_are_refused():
    with pytest.raises(UsageError, match="none of"):
        Filters(verdict="maybe")
    assert Filters.parse({"text": "x", "other": "y"}) == Filters(text="x")


def test_labels_are_in_the_index_and_in_the_filters(out):
    with open_labels(out, "ann") as store:
        session = Session(out, store)
        queue = session.start_queue(Filters())
        first, second = session.page(queue["queue"], 0, 2)
        for row, label in ((first, "unsure"), (second, "unsure")):
            uri = session.facts(1, row["row"])["uri"]
            done = session.decide(1, row["row"], uri, Label(label), queue["queue"])
        assert (done["labelled"], done["labelled_in_queue"]) == (2, 2)
        assert session.start_queue(Filters())["first_open"] == 2
        assert session.start_queue(Filters(label=OPEN))["in_queue"] == 10
        assert session.start_queue(Filters(label=DIFFERS))["in_queue"] == 0
        undone = session.undo(queue["queue"])
        assert (undone["at"], undone["row"]["label"]) == (1, None)
        assert session.labelled == 1
    with open_labels(out, "ann") as store:
        again = Session(out, store)
        assert again.labelled == 1
        assert again.page(again.start_queue(Filters())["queue"], 0, 1)[0]["label"] == "unsure"


def test_only_what_was_shown_can_be_labelled(out):
    with open_labels(out, "ann") as store:
        session = Session(out, store)
        queue = session.start_queue(Filters())["queue"]
        row = session.facts(1, session.page(queue, 0, 1)[0]["row"])
        with pytest.raises(PhotoError, match="has not been shown"):
            session.decide(1, row["row"], row["uri"], Label.CRACK, queue)
        with pytest.raises(StaleTableError):
            session.decide(1, row["row"], row["uri"] + "x", Label.UNSURE, queue)
        with pytest.raises(StaleTableError):
            session.decide(0, row["row"], row["uri"], Label.UNSURE, queue)
        with pytest.raises(StaleTableError):
            session.facts(1, 12)
        assert store.table.num_rows == 0


def test_a_table_that_a_scan_changes_is_indexed_anew(out, tmp_path):
    with open_labels(out, "ann") as store:
        session = Session(out, store)
        queue = session.start_queue(Filters())["queue"]
        last = session.page(queue, 11, 1)[0]
        write_table(out, [judged(tmp_path / "walls", "12 sure crack", "clear", 0.1)])
        with pytest.raises(StaleTableError):
            session.facts(1, last["row"])
        found = session.start_queue(Filters())
        assert (found["generation"], found["rows"]) == (2, 12)
        with pytest.raises(StaleTableError):
            session.page(queue, 0, 1)
        paths = [r["path"] for r in session.page(found["queue"], 0, 20)]
        assert sum(path.endswith("12 sure crack") for path in paths) == 1


def test_undo_takes_nothing_back_where_a_scan_has_changed_the_table(out, tmp_path):
    with open_labels(out, "ann") as store, closing(Session(out, store)) as session:
        queue = session.start_queue(Filters())["queue"]
        for row in session.page(queue, 0, 2):
            uri = session.facts(1, row["row"])["uri"]
            session.decide(1, row["row"], uri, Label.UNSURE, queue)
        write_table(out, [judged(tmp_path / "Bridge", "01 likely", "clear", 0.1)])
        with pytest.raises(StaleTableError):
            session.undo(queue)
        assert len(store) == 2
        again = session.start_queue(Filters())["queue"]
        assert session.undo(again)["row"] is not None and len(store) == 3


def test_numbers_name_the_same_rows_everywhere(tmp_path):
    """However rows are read: as a list, one by one, or as a stream."""
    rng = random.Random(0)
    parts = [
        [judged(tmp_path, f"{part}-{k}", "review", rng.random()) for k in range(5)]
        for part in range(20)
    ]
    out = write_table(tmp_path / "out", *parts, [])
    everything = [row for part in parts for row in part]
    table = Table.open(out)
    chosen = rng.choices(range(100), k=150)
    found = table.rows(chosen, ["path", "uri"])
    assert [row["path"] for row in found] == [everything[number]["path"] for number in chosen]
    streamed = [row for batch in table.batches(["uri"]) for row in batch.to_pylist()]
    assert streamed == [{"row": k, "uri": row["uri"]} for k, row in enumerate(everything)]
    with open_labels(out, "ann") as store, closing(Session(out, store)) as session:
        queue = session.start_queue(Filters())["queue"]
        listed = session.page(queue, 0, 200)
        chances = [row["p_crack"] for row in listed]
        assert chances == sorted(chances, reverse=True) and len(listed) == 100
        assert session.page(queue, 30, 5) == listed[30:35]
        for row in listed[:20]:
            facts = session.facts(1, row["row"])
            assert facts["path"] == row["path"] == everything[row["row"]]["path"]
            assert facts["p_crack"] == row["p_crack"]


def test_a_label_of_other_bytes_can_be_taken_back(out, tmp_path):
    """Its photo has another row by now, to which it never applied."""
    row = ds.dataset(out).to_table().to_pylist()[0]
    with open_labels(out, "ann") as store, closing(Session(out, store)) as session:
        session.decide(1, 0, row["uri"], Label.UNSURE, "none")
    write_table(out, [row_of(Path(row["path"]), content_hash="1" * 64)])
    with open_labels(out, "ann") as store, closing(Session(out, store)) as session:
        assert session.labelled == 0
        undone = session.undo("none")
        assert (undone["row"]["uri"], undone["row"]["label"]) == (row["uri"], None)
        assert session.undo("none")["row"] is None


def test_no_table_is_said(tmp_path):
    with open_labels(tmp_path, "ann") as store, pytest.raises(OutputError, match="inspector scan"):
        Session(tmp_path, store)


def test_a_folder_holds_those_below_it(session, tmp_path):
    assert session.start_queue(Filters())["counts"]["folder"] == {
        str(tmp_path / "Bridge"): 6, str(tmp_path / "walls"): 6,
    }  # fmt: skip
    assert len(names(session, folder=str(tmp_path / "walls"))) == 6
    assert len(names(session, folder=str(tmp_path))) == 12
    assert names(session, folder=str(tmp_path / "wall")) == []
    assert names(session, folder="' OR true --") == []
    assert names(session, folder=str(tmp_path / "walls"), verdict="failed") == [
        "05 damaged",
        "13 gone",
    ]
