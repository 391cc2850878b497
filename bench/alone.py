"""`python -m bench.alone`: one engine alone, on decoded images in memory, in a process of its own;
what the whole way from files to a table is held against."""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.backends import open_backend
from inspector.bundle import ModelBundle
from inspector.machine import usable_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.backends import Backend


def measure(
    backend: Backend, pixels_NHWC: NDArray[np.uint8], sizes: list[int], seconds: float
) -> dict[int, float]:
    """Images per second by batch size. Every pass covers all images once, because a cascade's
    speed depends on which they are; passes repeat until `seconds` are over."""
    rates = {}
    for size in sizes:
        backend.run(pixels_NHWC[:size])  # a new batch size is planned anew
        started, done = time.perf_counter(), 0
        while True:
            for start in range(0, len(pixels_NHWC), size):
                backend.run(pixels_NHWC[start : start + size])
            done += len(pixels_NHWC)
            spent = time.perf_counter() - started
            if spent >= seconds:
                break
        rates[size] = done / spent
    return rates


def main() -> None:
    """Prints the rates by batch size and the best size as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pixels", type=Path, help="uint8 (N, size, size, 3) as .npy")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--cascade", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-sizes", type=json.loads, default=[8, 32, 64])
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    backend = open_backend(
        ModelBundle.load(args.bundle, verify=False),
        args.backend,
        device=args.device,
        precision=args.precision,
        threads=usable_cores(),
        cascade=args.cascade,
    )
    pixels_NHWC = np.load(args.pixels)
    with closing(backend):
        rates = measure(backend, pixels_NHWC, args.batch_sizes, args.seconds)
    print(json.dumps({"images_per_second": rates, "best": max(rates, key=lambda n: rates[n])}))


if __name__ == "__main__":
    main()
