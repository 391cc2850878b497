"""The shipped model, from data to bundle: `python -m inspector.recipe --data DATA`.

One committed recipe, so that every number in the model card can be made again: lay out the data,
train, export through the gate, evaluate per source, write the card.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.data.folder import LabelledImage, find_labelled, split

if TYPE_CHECKING:
    from collections.abc import Iterable

SHIPPABLE = ("metu", "polyhaven")
"""Sources whose licence allows training a model that is given away (CC BY 4.0, CC0)."""
VALIDATION_METU = 800
SEED = 7


def lay_out(data: Path, work: Path, sources: Iterable[str]) -> None:
    """Links in `work/train`, `work/validation` and `work/test`, each SOURCE/CLASS/file.

    Sources in `sources` give training images and, by group, 15 % held back for the test. Of every
    other source one half is for validation (epochs, temperature, thresholds) and one for the
    test, by group where there are enough groups. A part of the METU images held back validates.
    """
    shutil.rmtree(work, ignore_errors=True)
    images = find_labelled(data / "train", groups_csv=data / "train.csv")
    seen = [image for image in images if image.source in set(sources)]
    training, held_back = split(seen, share=0.15, seed=SEED)
    link(training, data, work / "train")
    rng = np.random.default_rng(SEED)
    for source in sorted({image.source for image in images}):
        rest = [i for i in (held_back if source in sources else images) if i.source == source]
        order = [rest[int(k)] for k in rng.permutation(len(rest))]
        count = min(VALIDATION_METU, len(order) // 2)
        link(order[:count], data, work / "validation")
        link(order[count:], data, work / "test")


def link(images: Iterable[LabelledImage], data: Path, folder: Path) -> None:
    for image in images:
        place = folder / Path(image.path).relative_to(data / "train")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(os.path.abspath(image.path), place)
