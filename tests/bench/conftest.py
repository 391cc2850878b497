"""The repository's small samples as a folder of tiles that can all be decoded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture(scope="session")
def sample_tiles(tmp_path_factory) -> Path:
    """JPEG and PNG of a few hundred pixels, none rotated: programs differ on those."""
    folder = tmp_path_factory.mktemp("samples") / "tiles"
    folder.mkdir()
    for file in [*SAMPLES.glob("c*.jpg"), *SAMPLES.glob("c*.png")]:
        if "12mp" not in file.name and "exif" not in file.name:
            shutil.copyfile(file, folder / file.name)
    return folder
