"""The checks that every engine makes on what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import BackendError, BundleError
from inspector.model.bundle import INPUT_NAME, OUTPUT_NAMES, OUTPUT_RANKS
from inspector.model.metadata import check_metadata
from inspector.types import Scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.model.bundle import ModelBundle

    Outputs = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """Outputs of a graph for N images, in the order of `OUTPUT_NAMES`: probabilities (N, 2),
    activation maps (N, h, w), out-of-distribution scores (N,)."""
    RunOnce = Callable[[NDArray[np.uint8]], Outputs]
    """Runs a graph on uint8 (N, size, size, 3)."""

VARIANTS = "onnxruntime"
"""The name under which bundles list their ONNX files, whichever engine reads them."""


def check_graph(
    bundle: ModelBundle,
    file: Path,
    *,
    inputs: Sequence[tuple[str, str, str]],
    outputs: Sequence[tuple[str, str, int]],
    dtypes: tuple[str, str],
    metadata: Mapping[str, str],
) -> None:
    """Raises BundleError unless the graph in `file` takes and gives what the bundle says and was
    exported from this bundle's model.

    Args:
        bundle: The model.
        file: The ONNX file.
        inputs: Name, data type and shape (as `[?,H,W,C]`) of each input, in the engine's words.
        outputs: Name, data type and rank of each output.
        dtypes: The engine's words for uint8 and float32.
        metadata: What the file says about itself.
    """
    size = bundle.preprocess.size
    if list(inputs) != [(INPUT_NAME, dtypes[0], f"[?,{size},{size},3]")]:
        raise BundleError(
            f"{file} takes {inputs}, not {INPUT_NAME!r} as uint8 (N, {size}, {size}, 3); "
            "export it again"
        )
    ranks = zip(OUTPUT_NAMES, OUTPUT_RANKS, strict=True)
    if list(outputs) != [(name, dtypes[1], rank) for name, rank in ranks]:
        raise BundleError(
            f"{file} answers {outputs}, not float32 {OUTPUT_NAMES} of ranks {OUTPUT_RANKS}; "
            "export it again"
        )
    check_metadata(bundle, file.name, metadata)


def check_pixels(pixels_NHWC: NDArray[np.uint8], size: int) -> None:
    """Raises ValueError unless uint8 (N >= 1, size, size, 3): a mistake in the caller's code."""
    if pixels_NHWC.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8, not {pixels_NHWC.dtype}")
    if pixels_NHWC.ndim != 4 or pixels_NHWC.shape[1:] != (size, size, 3) or not len(pixels_NHWC):
        raise ValueError(f"pixels must be (N >= 1, {size}, {size}, 3), not {pixels_NHWC.shape}")


def to_scores(bundle: ModelBundle, outputs: Outputs) -> Scores:
    """The crack class's column and the rest. Raises BackendError when an output is not a number."""
    probabilities_NC, cam_NHW, ood_N = outputs
    p_crack_N = np.ascontiguousarray(probabilities_NC[:, bundle.positive_index], dtype=np.float32)
    broken = int((~np.isfinite(p_crack_N) | ~np.isfinite(ood_N)).sum())
    if broken:
        raise BackendError(
            f"the engine answered no number for {broken} of {len(p_crack_N)} images; "
            "check this machine with: inspector doctor"
        )
    return Scores(
        p_crack_N,
        np.ascontiguousarray(cam_NHW, dtype=np.float32),
        np.ascontiguousarray(ood_N, dtype=np.float32),
    )


def as_one(parts: Sequence[Outputs]) -> Outputs:
    """The graph's outputs for parts of one batch as one, in their order."""
    probabilities, cams, oods = zip(*parts, strict=True)
    return np.concatenate(probabilities), np.concatenate(cams), np.concatenate(oods)


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of parts of one batch as one, in their order."""
    stages = [part.stage_N for part in parts if part.stage_N is not None]
    return Scores(
        np.concatenate([part.p_crack_N for part in parts]),
        np.concatenate([part.cam_NHW for part in parts]),
        np.concatenate([part.ood_N for part in parts]),
        np.concatenate(stages) if stages else None,
    )


def in_one_line(error: BaseException) -> str:
    """Join the lines of an engine's error message into one."""
    return " ".join(str(error).split()) or type(error).__name__
