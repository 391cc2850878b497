"""The plain loop that one would write in an afternoon, which `inspector.scan` is measured against.

One process: Pillow opens a photo at full size and resizes it; 32 at a time go through the bundle's
own ONNX file, in fp32, in an ONNX Runtime session with default threads; one Parquet table is
written at the end. Resizing is `preprocess.fit` and EXIF orientation is applied: with other pixels
its answers could not be checked. With `--tiles` photos are not resized but cut.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.peers.common import BATCH, finish, judge_photo, peer_arguments, photos_in
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES, ModelBundle
from inspector.model.preprocess import PreprocessSpec, fit


def main() -> None:
    """`python -m bench.peers.plain_loop SOURCE BUNDLE TABLE [--device cpu|cuda] [--tiles]`."""
    args = peer_arguments().parse_args()
    bundle = ModelBundle.load(args.bundle, verify=False)
    spec, judge = bundle.preprocess, partial(run, open_session(bundle, args.device), bundle)
    started = time.perf_counter()
    paths = photos_in(args.source)
    found: list[float | None] = []
    if args.tiles:
        found += [judge_photo(path, spec.size, judge) for path in paths]
    else:
        for start in range(0, len(paths), BATCH):
            found += judge_some(judge, [load(path, spec) for path in paths[start : start + BATCH]])
    finish(args.table, paths, found, started=started, device=args.device)


def open_session(bundle: ModelBundle, device: str) -> Any:
    """On a GPU without TF32, which the scan does not use either. Exits where ONNX Runtime would
    fall back to the CPU, which would not be the same comparison."""
    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        onnxruntime.preload_dlls()
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    file = bundle.file(bundle.variant("onnxruntime", "fp32").file)
    session = onnxruntime.InferenceSession(file, providers=providers)
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise SystemExit("ONNX Runtime came up without CUDA; use --device cpu")
    return session


def run(session: Any, bundle: ModelBundle, pixels_NHWC: NDArray[np.uint8]) -> list[float]:
    """Crack probabilities of N images, uint8 (N, size, size, 3)."""
    (found_NC,) = session.run([OUTPUT_NAMES[0]], {INPUT_NAME: pixels_NHWC})
    found: list[float] = found_NC[:, bundle.positive_index].tolist()
    return found


def judge_some(
    judge: Callable[[NDArray[np.uint8]], list[float]], photos: list[NDArray[np.uint8] | None]
) -> list[float | None]:
    """Crack probabilities of a batch, None for photos that could not be read."""
    readable = [photo for photo in photos if photo is not None]
    answers = iter(judge(np.stack(readable)) if readable else ())
    return [None if photo is None else next(answers) for photo in photos]


def load(path: Path, spec: PreprocessSpec) -> NDArray[np.uint8] | None:
    """uint8 (size, size, 3), or None for a file that cannot be read."""
    try:
        with Image.open(path) as photo:
            return np.asarray(ImageOps.exif_transpose(fit(photo.convert("RGB"), spec)))
    except Exception:  # Pillow raises many types on damaged files
        return None


if __name__ == "__main__":
    main()
