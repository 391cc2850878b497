"""What the model says of photos with known cracks: raw log odds of every window, and of the exact
tiles of candidates. Kept on disk, so that rules are fitted and compared without the model."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.engines import open_backend
from inspector.engines.dense import open_dense
from inspector.engines.photo import cut_tile, dense_variant
from inspector.engines.screened import open_screened
from inspector.model.bundle import NARROW, WEIGHTS, DenseView, ModelBundle
from inspector.model.evidence import MOST_TILES, find_candidates
from inspector.model.verdict import log_odds
from inspector.model.windows import STRIDE, USUAL, WindowMap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.studies.photos.scenes import Made
    from inspector.engines.photo import Mapper
    from inspector.model.evidence import Candidate

SIZE = USUAL * STRIDE
"""Side of the model's input, pixels."""
FIRST = DenseView(temperature=1.0, shift=1.6, offset_x=-8.0, offset_y=-10.0)
"""A view by which candidates are found before one is fitted."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A photo with known cracks and the model's answers."""

    name: str
    family: str
    part: str
    group: str
    is_crack: bool
    facts: Mapping[str, Any]
    mask_HW: NDArray[np.bool_]
    raw: WindowMap
    """Its windows' log odds before temperature and shift."""
    tiles: dict[tuple[int, int], float] = field(default_factory=dict)
    """Calibrated log odds of exact tiles by their corners (x, y)."""

    @property
    def sides(self) -> tuple[int, int]:
        height, width = self.mask_HW.shape
        return height, width

    @property
    def is_placed(self) -> bool:
        """Whether it is known where its cracks are, and where there are none."""
        return not self.is_crack or bool(self.mask_HW.any())

    def windows(self, dense: DenseView) -> WindowMap:
        """Its windows, calibrated."""
        assert self.raw.cells_HW is not None
        return _recalibrated(self.raw, self.raw.cells_HW / dense.temperature + dense.shift)

    def candidates(self, dense: DenseView) -> tuple[Candidate, ...]:
        return find_candidates(self.windows(dense), self.sides, dense)

    def tile_odds(self, candidates: Iterable[Candidate]) -> list[float]:
        """Log odds of the exact tiles of the first candidates, as far as they were judged."""
        wanted = [(c.tile_x, c.tile_y) for c in candidates][:MOST_TILES]
        found = [self.tiles.get(place) for place in wanted]
        return [
            odds for odds in takewhile(lambda odds: odds is not None, found) if odds is not None
        ]


def measure(
    scenes: Iterable[tuple[str, Callable[[], Made | None]]],
    bundle: ModelBundle,
    folder: Path,
    dense: DenseView | None = None,
    threads: int | None = None,
    precision: str = "fp32",
) -> list[Measured]:
    """The answers of a bundle's engines for photos, from `folder` where they are there, with the
    exact tiles that the candidates of the view `dense` (None: `FIRST`) want. Windows are judged in
    `precision`, as a scan takes it, tiles in fp32."""
    dense = dense or FIRST
    folder /= bundle.files[WEIGHTS][:12] + f"-{precision}" * (precision != "fp32")
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with (
        closing(_opened(bundle, precision, threads)) as engine,
        closing(open_backend(bundle, "onnxruntime", device="cpu", threads=threads)) as exact,
    ):
        for name, make in scenes:
            file = folder / f"{name}.npz"
            photo = load(file) if file.exists() else None
            made = None
            if photo is None:
                made = make()
                if made is None:
                    continue
                photo = Measured(
                    made.name, made.family, made.part, made.group, made.is_crack, made.facts,
                    made.mask, _raw(engine.run(made.pixels), bundle.dense),
                )  # fmt: skip
            wanted = [(c.tile_x, c.tile_y) for c in photo.candidates(dense)[:MOST_TILES]]
            missing = [place for place in wanted if place not in photo.tiles]
            if missing:
                made = made or make()
                assert made is not None
                tiles_NHWC = np.stack([cut_tile(made.pixels, x, y, SIZE) for x, y in missing])
                odds_N = log_odds(exact.run(tiles_NHWC).p_crack_N)
                photo.tiles.update(zip(missing, odds_N.tolist(), strict=True))
                save(photo, file)
            found.append(photo)
    return found


def _opened(bundle: ModelBundle, precision: str, threads: int | None) -> Mapper:
    open_one = partial(open_dense, bundle, device="cpu", threads=threads)
    if precision != NARROW:
        return open_one(precision=precision)
    return open_screened(bundle, open_one, dense_variant(bundle, precision).precision)


def _raw(found: WindowMap, own: DenseView | None) -> WindowMap:
    """A map without the calibration of the bundle's own view."""
    assert own is not None and found.cells_HW is not None
    return _recalibrated(found, (found.cells_HW - own.shift) * own.temperature)


def _recalibrated(found: WindowMap, cells_HW: NDArray[np.float32]) -> WindowMap:
    cells_HW = cells_HW.astype(np.float32)
    return WindowMap.of_cells(cells_HW, found.ood_HW, left=found.left, top=found.top)


def save(photo: Measured, file: Path) -> None:
    """Keep a photo's answers in one step."""
    about = {
        name: getattr(photo, name) for name in ("name", "family", "part", "group", "is_crack")
    } | {
        "facts": dict(photo.facts), "sides": photo.sides, "left": photo.raw.left,
        "top": photo.raw.top, "tiles": [[*place, odds] for place, odds in photo.tiles.items()],
    }  # fmt: skip
    assert photo.raw.cells_HW is not None
    np.savez_compressed(
        file,
        about=json.dumps(about),
        cells=photo.raw.cells_HW,
        ood=photo.raw.ood_HW,
        mask=np.packbits(photo.mask_HW),
    )


def load(file: Path) -> Measured:
    """A photo that `measure` has kept."""
    with np.load(file) as kept:
        about = json.loads(str(kept["about"]))
        height, width = about.pop("sides")
        left, top = about.pop("left"), about.pop("top")
        raw = WindowMap.of_cells(kept["cells"], kept["ood"], left=left, top=top)
        mask_HW = np.unpackbits(kept["mask"], count=height * width).reshape(height, width)
    tiles = {(int(x), int(y)): odds for x, y, odds in about.pop("tiles")}
    return Measured(**about, mask_HW=mask_HW.astype(np.bool_), raw=raw, tiles=tiles)
