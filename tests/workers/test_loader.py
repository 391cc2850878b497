"""Batches keep the listing's order and never mix photos up, whoever decodes."""

from __future__ import annotations

import inspect
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.opened import DecodeLimits
from inspector.types import Decoded, Failure, FailureCode, ImageRef, Photo
from inspector.workers import child
from inspector.workers.loader import load_batches

SPEC = PreprocessSpec(size=32)


@pytest.fixture(scope="module")
def refs(tmp_path_factory):
    """40 photos, each of its own colour; the first takes longest; every seventh is broken."""
    root = tmp_path_factory.mktemp("photos")
    refs = []
    for k in range(40):
        side = 2500 if k == 0 else 40
        path = str(root / f"{k}.png")
        Image.new("RGB", (side, side), (k * 6, 255 - k * 6, k)).save(path)
        if k % 7 == 3:
            with open(path, "wb") as file:
                file.write(b"broken")
        refs.append(ImageRef(k, path, f"file://{path}", None, None))
    return refs


def assert_all_there(batches, refs):
    """Each file once, in order, with its own pixels."""
    assert [(item.ref.index, item.ref.path) for batch in batches for item in batch.items] == [
        (ref.index, ref.path) for ref in refs
    ]
    for batch in batches:
        photos = [item for item in batch.items if isinstance(item, Photo)]
        assert batch.pixels_NHWC.shape == (len(photos), 32, 32, 3)
        assert batch.pixels_NHWC.dtype == np.uint8
        assert [p.ref.index for p in photos] == batch.pixels_NHWC[:, 0, 0, 2].tolist()
        assert all(i.ref.index % 7 == 3 for i in batch.items if isinstance(i, Failure))


@pytest.mark.parametrize(
    ("workers", "batch_size", "dataloader"),
    [(0, 1, False), (0, 64, True), (1, 5, False), (3, 1, False), (3, 7, False), (2, 5, True)],
)
def test_each_photo_keeps_its_place_and_its_pixels(refs, workers, batch_size, dataloader):
    batches = list(
        load_batches(refs, SPEC, batch_size=batch_size, workers=workers, dataloader=dataloader)
    )
    assert [len(batch.items) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert_all_there(batches, refs)
    for batch in batches:
        photos = [item for item in batch.items if isinstance(item, Photo)]
        for photo, pixels_HWC in zip(photos, batch.pixels_NHWC, strict=True):
            alone = decode(photo.ref, SPEC)
            assert isinstance(alone, Decoded)
            assert np.array_equal(pixels_HWC, alone.pixels_HWC)
            assert (photo.facts, photo.shrink) == (alone.facts, alone.shrink)
    failed = [i.ref.index for b in batches for i in b.items if isinstance(i, Failure)]
    assert failed == [3, 10, 17, 24, 31, 38]


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_to_load(workers):
    assert list(load_batches([], SPEC, batch_size=4, workers=workers)) == []


def test_a_batch_of_failures_has_no_pixels(refs):
    for workers in (0, 1):
        (batch,) = load_batches([refs[3], refs[10]], SPEC, batch_size=4, workers=workers)
        assert batch.pixels_NHWC.shape == (0, 32, 32, 3)
        assert len(batch.items) == 2


@pytest.mark.parametrize("dataloader", [False, True])
def test_listing_streams(refs, dataloader):
    """The listing is read as batches are fetched, not ahead of them without bound."""
    read = []

    def listing():
        for ref in refs:
            read.append(ref.index)
            yield ref

    batches = load_batches(listing(), SPEC, batch_size=2, workers=1, dataloader=dataloader)
    assert max(read) < 6
    next(batches)
    assert max(read) < 8
    batches.close()
    assert multiprocessing.active_children() == []


def test_the_limits_reach_the_decoders(refs):
    tight = DecodeLimits(max_pixels=1000)
    for workers in (0, 1):
        (batch,) = load_batches(refs[:1], SPEC, batch_size=4, workers=workers, limits=tight)
        assert batch.items[0].code == FailureCode.TOO_LARGE


def test_without_workers_all_happens_here(refs, monkeypatch):
    seen = []

    def watched(ref, *settings):
        seen.append(ref.index)
        return decode(ref, *settings)

    monkeypatch.setattr(child, "decode", watched)
    next(load_batches(refs, SPEC, batch_size=5, workers=0))
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_dataloader_that_fails_has_not_handed_out_is_decoded_elsewhere(
    refs, number, caplog, capfd
):
    """Dead or deaf: nothing is lost, nothing doubled, and its processes are gone."""
    many = refs * 10
    batches = load_batches(many, SPEC, batch_size=2, workers=2, dataloader=True)
    loaded = list(islice(batches, 3))
    dataloader = inspect.getgeneratorlocals(batches)["loaded"]
    dataloader._seconds = 1  # they have come up, so that 120 seconds are not needed
    os.kill(dataloader._loaded._workers[0].pid, number)
    with caplog.at_level(logging.WARNING):
        loaded += batches
    assert_all_there(loaded, many)
    (record,) = caplog.records
    assert "the DataLoader failed" in record.getMessage()
    assert multiprocessing.active_children() == []
    assert capfd.readouterr().err == ""


def test_what_the_listing_raises_comes_after_what_precedes_it(refs):
    def listing():
        yield from refs[:17]
        raise OSError("the share is gone")

    for dataloader in (False, True):
        batches = load_batches(listing(), SPEC, batch_size=2, workers=1, dataloader=dataloader)
        loaded = [next(batches) for _ in range(8)]
        assert_all_there(loaded, refs[:16])
        with pytest.raises(OSError, match="the share is gone"):
            next(batches)


def test_torch_is_loaded_for_its_dataloader_only(refs):
    program = (
        "import sys; from inspector.workers.loader import load_batches;"
        "from inspector.model.preprocess import PreprocessSpec;"
        "from inspector.types import ImageRef;"
        "refs = [ImageRef(0, sys.argv[1], 'file:///x', None, None)];"
        "(batch,) = load_batches(refs, PreprocessSpec(size=32), batch_size=4, workers=1);"
        "assert len(batch.pixels_NHWC) == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, next(islice(refs, 1)).path], check=True)


def test_decoders_load_nothing_heavy():
    program = (
        "import sys, inspector.workers.child;"
        "assert not {'torch', 'pyarrow', 'onnxruntime', 'typer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
