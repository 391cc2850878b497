"""The loop that one would write in an afternoon for photos that are too large for the model: Pillow
opens a photo at full size, NumPy cuts it into tiles that overlap by a fifth, and 32 at a time go
through the bundle's own ONNX file, in fp32, in an ONNX Runtime session with default threads. A
photo's probability is the mean over its tiles, which is Ultralytics' documented rule for
classification; a photo that cannot be read gets none."""

from __future__ import annotations

import time
from statistics import fmean
from typing import TYPE_CHECKING

from bench.peers.common import finish, peer_arguments
from bench.peers.plain_loop import BATCH, judge, open_session, photos_in
from bench.peers.tiles import cut, read_photo
from inspector.model.bundle import ModelBundle

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any


def main() -> None:
    """`python -m bench.peers.tiles_loop SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    args = peer_arguments().parse_args()
    bundle = ModelBundle.load(args.bundle, verify=False)
    session = open_session(bundle, args.device)
    started = time.perf_counter()
    paths = photos_in(args.source)
    probabilities = [judge_photo(session, bundle, path) for path in paths]
    names = [str(path) for path in paths]
    finish(args.table, names, probabilities, started=started, device=args.device)


def judge_photo(session: Any, bundle: ModelBundle, path: Path) -> float | None:
    """Mean probability of a crack over a photo's tiles."""
    size = bundle.preprocess.size
    photo_HWC = read_photo(path, size)
    if photo_HWC is None:
        return None
    tiles_NHWC = cut(photo_HWC, size)
    found: list[float | None] = []
    for start in range(0, len(tiles_NHWC), BATCH):
        found += judge(session, bundle, list(tiles_NHWC[start : start + BATCH]))
    return fmean(p for p in found if p is not None)


if __name__ == "__main__":
    main()
