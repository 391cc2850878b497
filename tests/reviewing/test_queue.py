"""What is looked at first, what a filter leaves, and that a number never means another photo."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.errors import OutputError, UsageError
from inspector.results.labels import SCHEMA, Label, open_labels
from inspector.reviewing.index import StaleTableError, build_index
from inspector.reviewing.queue import DIFFERS, OPEN, Filters, counts, select
from inspector.reviewing.rows import Rows
from inspector.reviewing.session import PhotoError, Session
from tests.reviewing.tables import row_of, write_table

NOTHING = SCHEMA.empty_table()


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
        row_of(walls / "06 gone", failure_code="vanished"),
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


def names(index, rows, **filters):
    chosen = select(index, rows, Filters(**filters)).tolist()
    return [path.rsplit("/", 1)[1] for path in rows.paths(chosen)]


def test_the_order_is_what_a_look_is_worth(out):
    index = build_index(out, NOTHING)
    found = names(index, Rows(index))
    assert len(found) == 12
    assert found == sorted(found)


def test_filters_agree_with_their_counts(out):
    index = build_index(out, NOTHING)
    rows = Rows(index)
    for name, words in counts(index).items():
        for word, count in words.items():
            assert len(names(index, rows, **{name: word})) == count, (name, word)
    assert sum(counts(index)["verdict"].values()) == len(index) == 12
    assert names(index, rows, text="bRIDGE", verdict="review")[0] == "01 likely"
    assert names(index, rows, failure="corrupt") == ["05 damaged"]
    assert names(index, rows, text="no such") == []
    assert names(index, rows, text=".*") == [], "a search is no pattern"


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


def test_paths_and_facts_are_those_of_the_row_across_parts(tmp_path):
    rng = np.random.default_rng(0)
    parts = [
        [judged(tmp_path, f"{part}-{k}", "review", float(rng.random())) for k in range(5)]
        for part in range(20)
    ]
    out = write_table(tmp_path / "out", *parts)
    index = build_index(out, NOTHING)
    rows = Rows(index)
    everything = [row for part in parts for row in part]
    for _ in range(2):
        chosen = rng.permutation(100).tolist()
        assert rows.paths(chosen) == [everything[row]["path"] for row in chosen]
        for row in chosen[:20]:
            found = rows.get(row)
            assert found["uri"] == everything[row]["uri"]
            assert found["p_crack"] == pytest.approx(index.facts(row)["p_crack"])
            assert rows.find(found["uri"]) == row
    assert rows.find("file:///none") is None


def test_no_table_is_said(tmp_path):
    with pytest.raises(OutputError, match="inspector scan"):
        build_index(tmp_path, NOTHING)
