"""The plain loop that one would write in an afternoon: it is what `inspector.scan` is measured
against. One process: Pillow opens a photo at full size, converts it to RGB and resizes it; 32 at a
time go through the bundle's own ONNX file in an ONNX Runtime session with default threads; one
Parquet table of paths and probabilities is written at the end. A photo that cannot be read gets no
probability. There is no decoding ahead, no scaled JPEG decoding, no resuming and no record of why a
photo failed. The graph takes uint8 pixels and scales them itself, so NumPy normalises nothing here.
Resizing is `preprocess.fit` (a crop within 2 %, else Pillow's bilinear filter) and EXIF
orientation is applied, because a loop that gives the model other pixels would not do the same work
and its answers could not be checked.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench.peers.common import finish, peer_arguments
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES, ModelBundle
from inspector.model.preprocess import PreprocessSpec, fit
from inspector.photos.formats import named_like_an_image

BATCH = 32


def main() -> None:
    """`python -m bench.peers.plain_loop SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    args = peer_arguments().parse_args()
    bundle = ModelBundle.load(args.bundle, verify=False)
    session = open_session(bundle, args.device)
    started = time.perf_counter()
    paths = photos_in(args.source)
    probabilities: list[float | None] = []
    for start in range(0, len(paths), BATCH):
        photos = [load(path, bundle.preprocess) for path in paths[start : start + BATCH]]
        probabilities += judge(session, bundle, photos)
    names = [str(path) for path in paths]
    finish(args.table, names, probabilities, started=started, device=args.device)


def photos_in(folder: Path) -> list[Path]:
    """Files named like images, at any depth, sorted."""
    files = (f for f in folder.rglob("*") if f.is_file() and named_like_an_image(f.name))
    return sorted(files)


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


def judge(
    session: Any, bundle: ModelBundle, photos: list[NDArray[np.uint8] | None]
) -> list[float | None]:
    """Crack probabilities of a batch, None for photos that could not be read."""
    readable = [photo for photo in photos if photo is not None]
    answers = iter(())
    if readable:
        (found_NC,) = session.run([OUTPUT_NAMES[0]], {INPUT_NAME: np.stack(readable)})
        answers = iter(found_NC[:, bundle.positive_index].tolist())
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
