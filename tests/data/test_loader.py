"""Batches keep the listing's order and never mix photos up, however many processes decode."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from inspector.data.decode import decode
from inspector.data.loader import load_batches
from inspector.errors import LoaderError
from inspector.preprocess import PreprocessSpec
from inspector.types import Decoded, Failure, ImageRef, Photo

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


@pytest.mark.parametrize(
    ("workers", "batch_size"), [(0, 1), (0, 5), (0, 64), (1, 5), (3, 1), (3, 7)]
)
def test_each_photo_keeps_its_place_and_its_pixels(refs, workers, batch_size):
    batches = list(load_batches(refs, SPEC, batch_size=batch_size, workers=workers))
    assert [len(batch.items) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert [item.ref for batch in batches for item in batch.items] == refs
    for batch in batches:
        photos = [item for item in batch.items if isinstance(item, Photo)]
        assert batch.pixels_NHWC.shape == (len(photos), 32, 32, 3)
        assert batch.pixels_NHWC.dtype == np.uint8
        for photo, pixels_HWC in zip(photos, batch.pixels_NHWC, strict=True):
            alone = decode(photo.ref, SPEC)
            assert isinstance(alone, Decoded)
            assert np.array_equal(pixels_HWC, alone.pixels_HWC)
            assert pixels_HWC[0, 0, 2] == photo.ref.index
            assert (photo.facts, photo.shrink) == (alone.facts, alone.shrink)
    failed = [i.ref.index for b in batches for i in b.items if isinstance(i, Failure)]
    assert failed == [3, 10, 17, 24, 31, 38]


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_to_load(workers):
    assert list(load_batches([], SPEC, batch_size=4, workers=workers)) == []


def test_a_batch_of_failures_has_no_pixels(refs):
    (batch,) = load_batches([refs[3], refs[10]], SPEC, batch_size=4, workers=0)
    assert batch.pixels_NHWC.shape == (0, 32, 32, 3)
    assert len(batch.items) == 2


def test_listing_streams(refs):
    """The listing is read as batches are fetched, not ahead of them without bound."""
    read = []

    def listing():
        for ref in refs:
            read.append(ref.index)
            yield ref

    batches = load_batches(listing(), SPEC, batch_size=2, workers=1)
    assert max(read) < 6
    next(batches)
    assert max(read) < 8
    batches.close()
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error_and_no_hang(refs):
    before = set(multiprocessing.active_children())
    batches = load_batches(refs * 50, SPEC, batch_size=2, workers=2)
    next(batches)
    victim = (set(multiprocessing.active_children()) - before).pop()
    assert victim.pid
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(LoaderError, match="--workers 0"):
        list(batches)


def test_no_torch_without_workers(refs):
    program = (
        "import sys; from inspector.data.loader import load_batches;"
        "from inspector.preprocess import PreprocessSpec; from inspector.types import ImageRef;"
        "refs = [ImageRef(0, sys.argv[1], 'file:///x', None, None)];"
        "(batch,) = load_batches(refs, PreprocessSpec(size=32), batch_size=4, workers=0);"
        "assert len(batch.pixels_NHWC) == 1; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, next(islice(refs, 1)).path], check=True)
