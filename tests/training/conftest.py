"""Small labelled folders of synthetic concrete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inspector.synthesis import CrackStyle, Kind, make_scene


def save_scene(file: Path, *, crack: bool, seed: int, side: int = 64) -> None:
    rng = np.random.default_rng(seed)
    style = CrackStyle(width_px=4, contrast=0.9, direction_deg=None, branches=0) if crack else None
    scene = make_scene(rng, side, side, Kind.CRACK if crack else Kind.CLEAN, crack=style)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene.pixels).save(file, quality=92)


@pytest.fixture(scope="session")
def walls(tmp_path_factory) -> Path:
    """Two sources with 14 cracked and 10 clear images each, and one broken file."""
    root = tmp_path_factory.mktemp("walls")
    for source in ("north", "south"):
        for k in range(14):
            seed = k + 100 * len(source) + (source == "south") * 50
            save_scene(root / source / "Positive" / f"{k:02}.jpg", crack=True, seed=seed)
            if k < 10:
                save_scene(root / source / "Negative" / f"{k:02}.jpg", crack=False, seed=seed)
    (root / "north" / "Negative" / "broken.jpg").write_bytes(b"not a photo")
    return root
