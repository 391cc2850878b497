"""Photos with several views: each owns its own, whoever decodes."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from bench.faults.hostile import hostile_decoders
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.reading import DecodeLimits
from inspector.types import Decoded, Failure, ImageRef
from inspector.workers import child
from inspector.workers.loader import load_batches

SPEC = PreprocessSpec(size=32)
PROGRAM = """
from inspector.workers import child
from tests.workers.test_views import several

child.decode = several
child.main()
"""


def several(ref, spec, limits):
    """As many views of a photo as its name says, each one lighter than the one before."""
    outcome = decode(ref, spec, limits)
    if isinstance(outcome, Failure):
        return outcome
    count = int(ref.path[-5])
    views = np.stack([outcome.pixels_HWC + k for k in range(count)])
    return Decoded(outcome.ref, views, outcome.facts, outcome.shrink)


@pytest.mark.parametrize("loader", ["here", "processes", "torch"])
def test_each_photo_owns_its_views(tmp_path, monkeypatch, loader):
    counts = [1, 3, 0, 2, 1, 5]
    refs = []
    for place, count in enumerate(counts):
        path = tmp_path / f"{place}-{count}.png"
        Image.new("RGB", (40, 40), (place * 20,) * 3).save(path)
        if not count:
            path.write_bytes(b"broken")
        refs.append(ImageRef(place, str(path), f"file://{path}", None, None))
    if loader != "processes":
        monkeypatch.setattr(child, "decode", several)
    if loader == "torch":
        from inspector.workers.torch_loader import _Photos

        items, images, _ = _Photos(SPEC, DecodeLimits())[refs]
        assert images.is_shared() and len(images) == sum(counts) and len(items) == len(refs)
        return
    with hostile_decoders(PROGRAM):
        (batch,) = load_batches(refs, SPEC, batch_size=9, workers=int(loader == "processes"))
    assert batch.pixels_NHWC.shape == (sum(counts), 32, 32, 3)
    assert [isinstance(item, Failure) for item in batch.items] == [c == 0 for c in counts]
    owned = {photo.ref.index: batch.pixels_NHWC[place] for photo, place in batch.owned()}
    assert {index: len(views) for index, views in owned.items()} == {0: 1, 1: 3, 3: 2, 4: 1, 5: 5}
    for index, views_NHWC in owned.items():
        assert [int(view[0, 0, 0]) for view in views_NHWC] == [
            index * 20 + k for k in range(counts[index])
        ]
