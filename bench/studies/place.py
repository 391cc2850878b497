"""Where evidence lies: `python -m bench.studies.place PHOTOS`.

Cracks are drawn at known places on photos that have none, and the evidence that each adds is
compared with its place: how far the crack lies from the middle of the cells that it lights up. The
dense view's `offset_x` and `offset_y` are these figures, and so is what `inspector.model.verdict`
adds to the peak of a photo that is judged whole.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from PIL import Image

from inspector.engines import open_backend
from inspector.engines.dense import open_dense
from inspector.labelled.folder import image_paths
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.synthesis.crack import CrackStyle, add_crack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from inspector.synthesis.noise import Pixels, Rng

SIDE = 640
"""Pixels of a photo around a crack that the dense view looks at."""
CRACK = 96
"""Pixels along a side of the square in which a crack lies."""
LEAST = 2.0
"""Log odds of the strongest cell by which a crack must move it; fainter ones say nothing."""


def _draw(rng: Rng, photo: Pixels, side: int) -> tuple[Pixels, Pixels, float, float]:
    """A square of a photo without and with a crack, and the place of the crack in it: anywhere but
    near the border."""
    top, left = (int(rng.integers(0, length - side + 1)) for length in photo.shape[:2])
    plain = photo[top : top + side, left : left + side]
    middle = (side - CRACK) // 2
    y, x = (middle + int(rng.integers(-32, 32)) for _ in range(2))
    style = CrackStyle(
        width_px=float(rng.uniform(2, 4)), contrast=float(rng.uniform(0.5, 0.8)), through=False
    )
    cracked = plain.copy()
    patch, mask = add_crack(plain[y : y + CRACK, x : x + CRACK], rng, style)
    cracked[y : y + CRACK, x : x + CRACK] = patch
    down, across = np.nonzero(mask)
    return plain, cracked, y + down.mean() + 0.5, x + across.mean() + 0.5


def _measure(
    photos: list[Pixels],
    count: int,
    side: int,
    cells: Callable[[Pixels], tuple[NDArray[np.float32], float, float, float]],
) -> NDArray[np.float64]:
    """Offsets (x, y) in pixels of cracks from the evidence for them, (n, 2). `cells` gives log odds
    of the cells, the left and top of the first, and their side."""
    rng = np.random.default_rng(5)
    offsets = []
    for k in range(count):
        plain, cracked, y, x = _draw(rng, photos[k % len(photos)], side)
        before_HW, left, top, step = cells(plain)
        added_HW = np.maximum(cells(cracked)[0] - before_HW, 0)
        if added_HW.max() < LEAST:
            continue
        added_HW[added_HW < added_HW.max() / 4] = 0
        rows, columns = (np.arange(length) + 0.5 for length in added_HW.shape)
        evidence_y = top + step * (added_HW.sum(axis=1) @ rows) / added_HW.sum()
        evidence_x = left + step * (added_HW.sum(axis=0) @ columns) / added_HW.sum()
        offsets.append((x - evidence_x, y - evidence_y))
    return np.array(offsets)


def _told(title: str, offsets: NDArray[np.float64]) -> str:
    mean, error = offsets.mean(axis=0), offsets.std(axis=0) / len(offsets) ** 0.5
    return (
        f"{title}: {len(offsets)} cracks, {mean[0]:+.1f} px across (standard error {error[0]:.1f}),"
        f" {mean[1]:+.1f} px down ({error[1]:.1f})"
    )


def main(
    photos: Annotated[Path, typer.Argument(help="Folder with photos without cracks.")],
    model: Annotated[Path, typer.Option(help="Model bundle.")] = DEFAULT_PATH,
    count: Annotated[int, typer.Option(help="Cracks to draw.")] = 200,
) -> None:
    """Measure where cracks lie from the evidence for them."""
    bundle = ModelBundle.load(model)
    size = bundle.preprocess.size
    found = [np.asarray(Image.open(file).convert("RGB")) for file in image_paths(photos)]
    usable = [pixels for pixels in found if min(pixels.shape[:2]) >= SIDE]
    with closing(open_dense(bundle, device="cpu")) as dense:

        def windows(pixels: Pixels) -> tuple[NDArray[np.float32], float, float, float]:
            seen = dense.run(pixels)
            assert seen.cells_HW is not None
            return seen.cells_HW, seen.left, seen.top, seen.stride

        print(_told("photos at their own scale", _measure(usable, count, SIDE, windows)))
    with closing(open_backend(bundle, device="cpu")) as tiles:

        def whole(pixels: Pixels) -> tuple[NDArray[np.float32], float, float, float]:
            cam_HW = tiles.run(np.ascontiguousarray(pixels)[None]).cam_NHW[0]
            return cam_HW, 0.0, 0.0, size / len(cam_HW)

        print(_told("photos judged whole", _measure(usable, count, size, whole)))


if __name__ == "__main__":
    typer.run(main)
