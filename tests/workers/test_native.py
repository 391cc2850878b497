"""Photos at their own scale: each has its own pixels, whoever decodes, and memory is bounded by
their bytes."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
from PIL import Image

from inspector.model.preprocess import PreprocessSpec, Views
from inspector.photos.decode import decode
from inspector.photos.opened import DecodeLimits
from inspector.types import Batch, Decoded, Failure, ImageRef, Photo, View
from inspector.workers import gathering, loader
from inspector.workers.gathering import PixelBudget
from inspector.workers.loader import load_batches

SPEC = PreprocessSpec(size=32)
VIEWS = Views(View.DENSE, 48)
SIDES = [(32, 32), (70, 50), (33, 32), (48, 48), (49, 48), (20, 90), (32, 32), (300, 40), (40, 40)]
BROKEN = 3


@pytest.fixture(scope="module")
def refs(tmp_path_factory):
    """Small and large photos in turn, one of them broken, large ones in all eight orientations."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    sides = [*SIDES, *[(60, 41)] * 9]
    found = []
    for place, (width, height) in enumerate(sides):
        path = folder / f"{place}.png"
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112] = max(place - len(SIDES), 0)
        image.save(path, exif=exif)
        if place == BROKEN:
            path.write_bytes(b"broken")
        found.append(ImageRef(place, str(path), f"file://{path}", None, None))
    return found


def assert_as_alone(batches: list[Batch], refs: list[ImageRef]) -> None:
    """Every photo has its own view and its own pixels, in the order of the listing."""
    items = [item for batch in batches for item in batch.items]
    assert [item.ref.index for item in items] == [ref.index for ref in refs]
    for batch in batches:
        whole, native = iter(batch.pixels_NHWC), iter(batch.native)
        for item in batch.items:
            alone = decode(item.ref, SPEC, DecodeLimits(), VIEWS)
            if isinstance(item, Failure):
                assert isinstance(alone, Failure)
                continue
            assert isinstance(alone, Decoded) and item.view is alone.view
            pixels_HWC = next(whole if item.view is View.WHOLE else native)
            assert np.array_equal(pixels_HWC, alone.pixels_HWC)
            assert item.shape == (None if item.view is View.WHOLE else pixels_HWC.shape[:2])
        assert next(whole, None) is next(native, None) is None


@pytest.mark.parametrize(
    ("workers", "torch", "batch_size"),
    [(0, False, 1), (0, False, 5), (1, False, 1), (2, False, 5), (3, False, 99), (2, True, 5)],
)
def test_each_photo_has_its_own_pixels(refs, workers, torch, batch_size):
    batches = load_batches(
        refs, SPEC, batch_size=batch_size, workers=workers, views=VIEWS, dataloader=torch
    )
    assert_as_alone(list(batches), refs)


def test_the_upright_photo_counts(refs):
    (batch,) = load_batches(refs, SPEC, batch_size=99, workers=0, views=VIEWS)
    first = len(SIDES)
    turned = [p for p in batch.photos if p.ref.index >= first]
    assert [p.shape for p in turned] == [(41, 60)] * 5 + [(60, 41)] * 4
    assert all((p.facts.height, p.facts.width) == p.shape and p.shrink == 1 for p in turned)
    sizes = {p.ref.index: p.view for p in batch.photos if p.ref.index < first}
    large = {k for k, sides in enumerate(SIDES) if max(sides) > 48}
    assert {k for k, view in sizes.items() if view is View.DENSE} == large


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_is_closed_when_its_photos_are_large(refs, monkeypatch, workers):
    monkeypatch.setattr(gathering, "BATCH_BYTES", 10_000)
    batches = list(load_batches(refs, SPEC, batch_size=99, workers=workers, views=VIEWS))
    assert_as_alone(batches, refs)
    assert len(batches) > 5
    for batch in batches:
        assert sum(pixels_HWC.nbytes for pixels_HWC in batch.native[:-1]) < 10_000


def test_what_is_too_much_for_shared_memory_goes_another_way(tmp_path, caplog):
    refs = []
    for place, sides in enumerate([(40, 40), (60, 60), (4000, 3000), (40, 40)]):
        path = tmp_path / f"{place}.png"
        Image.new("RGB", sides, (place, 9, 9)).save(path)
        refs.append(ImageRef(place, str(path), f"file://{path}", None, None))
    with caplog.at_level("INFO"):
        batches = list(
            load_batches(refs, SPEC, batch_size=2, workers=1, views=VIEWS, dataloader=True)
        )
    assert_as_alone(batches, refs)
    assert "other processes decode from here" in caplog.text and "failed" not in caplog.text


class Watched(PixelBudget):
    """Notes the most that was ever held."""

    peak = 0
    own: Watched

    def __init__(self) -> None:
        super().__init__(most=40_000)
        Watched.own = self

    def array(self, shape, turn):
        made = super().array(shape, turn)
        self.peak = max(self.peak, self.held)
        return made


@pytest.fixture
def flat(tmp_path, monkeypatch):
    """Sixty flat pictures of 12,000 bytes of pixels, in files of a hundredth of that."""
    monkeypatch.setattr(loader, "PixelBudget", Watched)
    monkeypatch.setattr(gathering, "BATCH_BYTES", 12_000)
    found = []
    for place in range(60):
        path = tmp_path / f"{place}.png"
        Image.new("RGB", (100, 40), (place, 9, 9)).save(path)
        found.append(ImageRef(place, str(path), f"file://{path}", None, None))
    return found


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_pixels_in_flight_are_bounded_by_their_bytes(flat, seconds):
    """Whoever takes them is slow or quick; 60 of them would be 720,000 bytes."""
    seen = 0
    for batch in load_batches(flat, SPEC, batch_size=16, workers=3, views=VIEWS):
        time.sleep(seconds)
        seen += len(batch.photos)
        assert len(batch.native) == 1
    assert seen == 60
    # The budget, the batch that the loop holds, and the one that it waits for.
    assert Watched.own.peak <= 40_000 + 2 * 12_000
    del batch
    gc.collect()
    assert Watched.own.held == 0


def test_one_who_keeps_all_of_them_waits_for_nothing(flat):
    batches = list(load_batches(flat, SPEC, batch_size=7, workers=2, views=VIEWS))
    photos = [item for batch in batches for item in batch.items]
    assert len(photos) == 60 and all(isinstance(photo, Photo) for photo in photos)
    assert [int(native[0, 0, 0]) for b in batches for native in b.native] == list(range(60))
    assert Watched.own.held == 60 * 12_000


def test_a_stop_ends_those_who_wait_for_room(flat):
    batches = load_batches(flat, SPEC, batch_size=7, workers=3, views=VIEWS)
    kept = [next(batches) for _ in range(4)]
    time.sleep(0.2)
    batches.close()
    assert len(kept) == 4
