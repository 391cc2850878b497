"""The narrow pair of the shipped model, gated and attached: `python -m bench.recipe.attach PAIR
DATA IMAGES`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from bench.recipe.share import share_bytes
from bench.studies.photos.scenes import Scenes
from bench.studies.photos.sources import PARTS
from export.narrow import PHOTOS, TILES, attach_narrow
from inspector.model.bundle import DEFAULT_PATH, NARROW, ModelBundle

COUNTS = {
    "boards": 16, "tiles": 16, "walls": 16, "patches": 12, "slabs": 6, "large": 2, "sheets": 4,
}  # fmt: skip
"""Composed photos of each family in each part, half of them cracked."""


def write_scenes(data: Path, images: Path, out: Path) -> Path:
    """Photos with and without cracks that the network has not learned from, below folders of their
    families; written once."""
    for name, make in Scenes(data, images).all(COUNTS, PARTS):
        family, _, _ = name.partition("-")
        file = out / family / f"{name}.png"
        if file.exists() or (made := make()) is None:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made.pixels).save(file, compress_level=1)
    return out


def attach(pair: Path, data: Path, images: Path, work: Path, out: Path) -> ModelBundle:
    """The bundle at `out` with the narrow pair in the folder `pair`, gated on what was held back.
    `data` and `images` as for the recipe; `work` keeps photos. Raises ExportError."""
    photos = write_scenes(data, images, work / "scenes")
    bundle = attach_narrow(out, pair, images=images / "held_back", photos=photos, say=print)
    if "dense-narrow" in bundle.variants:
        share_bytes(bundle.file(PHOTOS.file), bundle.file(TILES.file))
        bundle.with_files(PHOTOS.file).save()
    return ModelBundle.load(out)


def main(
    pair: Annotated[Path, typer.Argument(help="Folder with the narrow network's ONNX files.")],
    data: Annotated[Path, typer.Argument(help="Folder with photos/.")],
    images: Annotated[Path, typer.Argument(help="Tiles, as the recipe lays them out.")],
    work: Annotated[Path, typer.Option(help="Where photos are kept.")] = Path("runs/narrow"),
    out: Annotated[Path, typer.Option(help="Bundle that the pair joins.")] = DEFAULT_PATH,
) -> None:
    """Gate the narrow pair on what was held back, and attach it."""
    bundle = attach(pair, data, images, work, out)
    for name, variant in bundle.variants.items():
        if variant.precision == NARROW:
            print(name, variant.margin, variant.crack_margin, variant.ood_margin, variant.parity)


if __name__ == "__main__":
    typer.run(main)
