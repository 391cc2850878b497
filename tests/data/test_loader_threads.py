"""Threads that decode ahead: in order, bounded, no later than asked, and gone when told to go."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inspector.data import loader
from inspector.data.decode import decode
from inspector.data.loader import PREFETCH, load_batches
from inspector.preprocess import PreprocessSpec
from inspector.types import ImageRef
from tests.data.files import encoded, surface

if TYPE_CHECKING:
    from collections.abc import Callable

SPEC = PreprocessSpec(size=32)


@pytest.fixture(scope="module")
def refs(tmp_path_factory):
    """24 photos of several formats and sizes; every fifth is broken."""
    root = tmp_path_factory.mktemp("photos")
    refs = []
    for k in range(24):
        path = root / f"{k}.jpg"
        image = surface(32, 32, k) if k % 2 else Image.new("RGB", (40, 600 if k == 2 else 30))
        path.write_bytes(encoded(image, "JPEG" if k % 3 else "PNG")[: 200 if k % 5 == 4 else None])
        refs.append(ImageRef(k, str(path), f"file://{path}", None, None))
    return refs


def wait_until(done: Callable[[], bool]) -> None:
    """Up to a minute, for a machine that is busy with other things."""
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done()


def own_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("inspector-decode")]


@pytest.fixture(autouse=True)
def all_threads_end():
    yield
    wait_until(lambda: own_threads() == [])


@pytest.fixture
def slow(monkeypatch):
    """Decoding that takes 20 ms; the list counts the photos."""
    seen = []

    def slowly(ref, *settings):
        seen.append(ref.index)
        time.sleep(0.02)
        return decode(ref, *settings)

    monkeypatch.setattr(loader, "decode", slowly)
    return seen


@settings(max_examples=40, deadline=None)
@given(
    picks=st.lists(st.integers(0, 23), max_size=30),
    batch_size=st.integers(1, 8),
    threads=st.integers(1, 4),
)
def test_the_same_batches_as_without_threads(picks, batch_size, threads, refs):
    chosen = [refs[k] for k in picks]
    options = {"batch_size": batch_size, "workers": 0}
    expected = list(load_batches(chosen, SPEC, threads=0, **options))
    found = list(load_batches(chosen, SPEC, threads=threads, **options))
    assert [batch.items for batch in found] == [batch.items for batch in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.pixels_NHWC, other.pixels_NHWC)


def test_without_threads_all_happens_here(refs, monkeypatch):
    where = set()

    def watched(*arguments):
        where.add(threading.current_thread())
        return decode(*arguments)

    monkeypatch.setattr(loader, "decode", watched)
    list(load_batches(refs, SPEC, batch_size=5, workers=0, threads=0))
    assert where == {threading.current_thread()}
    list(load_batches(refs, SPEC, batch_size=5, workers=0, threads=2))
    assert len(where) > 1


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_is_bounded_and_here(threads, refs):
    read, readers = [], set()

    def listing():
        for ref in refs:
            read.append(ref.index)
            readers.add(threading.current_thread())
            yield ref

    batches = load_batches(listing(), SPEC, batch_size=2, workers=0, threads=threads)
    for taken in range(4):
        time.sleep(0.05)
        assert len(read) <= 2 * (taken + threads * PREFETCH)
        next(batches)
    list(batches)
    assert len(read) == len(refs)
    assert readers == {threading.current_thread()}


def test_decoding_begins_before_the_first_batch_is_asked_for(refs, slow):
    batches = load_batches(refs, SPEC, batch_size=2, workers=0, threads=1)
    wait_until(lambda: slow == [0, 1, 2, 3])
    batches.close()


def test_closing_stops_at_the_next_photo(refs, slow):
    batches = load_batches(refs, SPEC, batch_size=24, workers=0, threads=2)
    wait_until(lambda: len(slow) > 0)
    batches.close()
    assert own_threads() == []
    assert len(slow) < 24
    assert list(batches) == []
    batches.close()


def test_closing_after_some_batches(refs, slow):
    batches = load_batches(refs, SPEC, batch_size=2, workers=0, threads=1)
    next(batches)
    batches.close()
    assert own_threads() == []
    assert list(batches) == []


def test_forgotten_batches_end_their_threads(refs, slow):
    load_batches(refs, SPEC, batch_size=24, workers=0, threads=1)
    wait_until(lambda: own_threads() == [])
    assert len(slow) < 24


def test_what_the_listing_raises_comes_after_the_batches_before_it(refs):
    def listing():
        yield from refs[:5]
        raise OSError("the share is gone")

    batches = load_batches(listing(), SPEC, batch_size=2, workers=0, threads=2)
    assert [len(next(batches).items) for _ in range(2)] == [2, 2]
    with pytest.raises(OSError, match="the share is gone"):
        next(batches)
    assert own_threads() == []
    assert list(batches) == []


def test_a_bug_in_decoding_comes_out(refs, monkeypatch):

    def buggy(ref, *settings):
        if ref.index == 7:
            raise ZeroDivisionError("bug")
        return decode(ref, *settings)

    monkeypatch.setattr(loader, "decode", buggy)
    batches = load_batches(refs, SPEC, batch_size=2, workers=0, threads=2)
    assert [[i.ref.index for i in next(batches).items] for _ in range(3)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    with pytest.raises(ZeroDivisionError, match="bug"):
        next(batches)
    assert own_threads() == []


def test_an_interrupt_while_waiting_ends_the_threads(refs, monkeypatch):
    def interrupted(_self, _timeout=None):
        raise KeyboardInterrupt

    batches = load_batches(refs, SPEC, batch_size=24, workers=0, threads=1)
    monkeypatch.setattr("concurrent.futures.Future.result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(batches)
    assert own_threads() == []
