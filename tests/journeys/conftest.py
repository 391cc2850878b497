"""A place to work in, as people have one: folders with odd names, a model, relative paths."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspector.synthesis import Kind, make_scene

EMPTY = (
    "wall:1.jpg",
    "a b.jpg",
    "Brücke → Süd.jpg",
    "[x] [red].jpg",
    "a:warning:.jpg",
    "bell\x07\x1b]0;pwned\x07.jpg",
    os.fsdecode(b"caf\xe9.jpg"),
    f"{'long ' * 40}.jpg",
)
"""Names of files that are no photos, so that every command has to say them."""


@pytest.fixture(scope="session")
def walls(tmp_path_factory) -> Path:
    """Labelled folders and photos of 64 pixels; copy it before anything is written there."""
    place = tmp_path_factory.mktemp("walls")
    for number, folder in enumerate(("labelled", "other walls")):
        rng = np.random.default_rng(number)
        for label, kind in (("Positive", Kind.CRACK), ("Negative", Kind.CLEAN)):
            (place / folder / label).mkdir(parents=True)
            for k in range(10):
                pixels = make_scene(rng, 64, 64, kind).pixels
                Image.fromarray(pixels).save(place / folder / label / f"{label[0]}{k}.png")
    shutil.copytree(place / "labelled" / "Positive", place / "photos")
    (place / "photos" / "broken.jpg").write_bytes(b"")
    (place / "photos" / "notes.txt").write_text("no photo")
    names = [path for path in sorted((place / "other walls").rglob("*.png"))]
    (place / "cover.toml").write_text(
        'client = "Gemeinde Großraming"\ndate = 2026-11-28\n', encoding="utf-8"
    )
    lines = [f"{path.relative_to(place / 'other walls')},{path.stem[1]}" for path in names]
    (place / "groups.csv").write_text("\n".join(["file,group", *lines]))
    return place


@pytest.fixture(scope="module")
def room(walls, tiny_bundle_dir, tmp_path_factory) -> Path:
    """A working directory of its own for each file of journeys."""
    place = tmp_path_factory.mktemp("room") / "a room: [x] ü"
    shutil.copytree(walls, place)
    shutil.copytree(tiny_bundle_dir, place / "tiny")
    return place
