"""Daft as its users judge a folder: a frame of paths, a function that decodes each, a class that
holds the bundle's ONNX file in ONNX Runtime with default threads and judges batches, and one table
at the end. Pixels are those of the plain loop, so that the answers can be checked: Daft's own
decoder and its resizing would give the model others."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers.common import BATCH, finish, peer_arguments
from bench.peers.plain_loop import judge_some, load, open_session, run
from inspector.model.bundle import ModelBundle
from inspector.model.preprocess import PreprocessSpec
from inspector.photos.source import Discovery


class Judge:
    """Model that Daft opens once; takes batches of decoded photos, None for unreadable ones."""

    def __init__(self, bundle: str, device: str) -> None:
        opened = ModelBundle.load(Path(bundle), verify=False)
        self.judge = partial(run, open_session(opened, device), opened)

    def p_crack(self, pixels: Any) -> list[float | None]:
        return judge_some(self.judge, pixels.to_pylist())


def judged(df: Any, source: Path, bundle: Path, device: str) -> dict[str, list[Any]]:
    """`path` and `p_crack` (None where it could not be read) of every photo; `df` is Daft."""
    spec = ModelBundle.load(bundle, verify=False).preprocess
    # Not tensors: Daft 0.6 fails on a batch of them in which no photo could be read.
    decode = df.func(_decoder(spec), return_dtype=df.DataType.python())
    batched = df.method.batch(return_dtype=df.DataType.float32(), batch_size=BATCH)
    model = df.cls(type("Judge", (Judge,), {"p_crack": batched(Judge.p_crack)}))
    photos = df.from_pydict({"path": [ref.path for ref in Discovery([str(source)])]})
    frame = photos.with_column("pixels", decode(df.col("path")))
    answers = model(str(bundle), device).p_crack(df.col("pixels"))
    return dict(frame.select("path", answers.alias("p_crack")).to_pydict())


def _decoder(spec: PreprocessSpec) -> Any:
    def decode(path: str) -> NDArray[np.uint8] | None:
        return load(Path(path), spec)

    return decode


def main() -> None:
    """`python -m bench.peers.daft_loop SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    args = peer_arguments().parse_args()
    # It would tell its makers of every import and run.
    os.environ |= {"DAFT_ANALYTICS_ENABLED": "0", "DAFT_PROGRESS_BAR": "0"}
    import daft

    started = time.perf_counter()
    found = judged(daft, args.source, args.bundle, args.device)
    finish(args.table, found["path"], found["p_crack"], started=started, device=args.device)


if __name__ == "__main__":
    main()
