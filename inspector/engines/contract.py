"""Checks that every engine makes, and the base of those that run ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.errors import BackendError, BundleError
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME, OUTPUT_NAMES, OUTPUT_RANKS
from inspector.model.stamp import check_metadata
from inspector.types import Scores, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.model.bundle import ModelBundle

    Outputs = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    """Outputs of a graph for N images, in the order of `OUTPUT_NAMES`: probabilities (N, 2),
    activation maps (N, h, w), out-of-distribution scores (N,)."""
    RunOnce = Callable[[NDArray[np.uint8]], Outputs]
    """Runs a graph on uint8 (N, size, size, 3)."""

ON_THE_CPU = "photos are judged on the CPU"
"""Beginning of the note where that is not what an NVIDIA driver promises."""
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
    view: View = View.WHOLE,
) -> None:
    """Raises BundleError unless the graph in `file` takes and gives what the bundle says for `view`
    and was exported from this bundle's model. `inputs` are name, data type and shape (as
    `[?,H,W,C]`), `outputs` name, data type and rank, in the engine's words, which are `dtypes` for
    uint8 and float32."""
    size = bundle.preprocess.size
    sides, named = f"{size},{size}", dict(zip(OUTPUT_NAMES, OUTPUT_RANKS, strict=True))
    if view == View.DENSE:
        sides, named = "height,width", dict.fromkeys(DENSE_OUTPUTS, 3)
    if list(inputs) != [(INPUT_NAME, dtypes[0], f"[?,{sides},3]")]:
        raise BundleError(
            f"{file} takes {inputs}, not {INPUT_NAME!r} as uint8 [?,{sides},3]; export it again"
        )
    if list(outputs) != [(name, dtypes[1], rank) for name, rank in named.items()]:
        raise BundleError(
            f"{file} answers {outputs}, not float32 of ranks {named}; export it again"
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
    cams = [part.cam_NHW for part in parts]
    if len({cam.shape[1:] for cam in cams}) > 1:  # some photos were judged at their own scale
        cams = [ragged(cam) for cam in cams]
    stages = found = None
    if any(part.stage_N is not None for part in parts):
        stages = np.concatenate(
            [
                np.zeros_like(p.p_crack_N, np.uint8) if p.stage_N is None else p.stage_N
                for p in parts
            ]
        )
    if any(part.found_N is not None for part in parts):
        found = tuple(f for part in parts for f in part.found_N or (None,) * len(part.p_crack_N))
    return Scores(
        np.concatenate([part.p_crack_N for part in parts]),
        np.concatenate(cams),
        np.concatenate([part.ood_N for part in parts]),
        stages,
        found,
    )


def ragged(maps: Iterable[NDArray[np.float32]]) -> NDArray[Any]:
    """Activation maps of different grids as one array of objects (N,)."""
    found = list(maps)
    cam_N = np.empty(len(found), object)
    for k, cam_HW in enumerate(found):
        cam_N[k] = cam_HW
    return cam_N


def in_one_line(error: BaseException) -> str:
    """Join the lines of an engine's error message into one."""
    return " ".join(str(error).split()) or type(error).__name__


_SIGNS = (
    "out of memory",
    "outofmemory",
    "failed to allocate",
    "smaller than requested bytes",
    "alloc_failed",
    "bad_alloc",
    "bad allocation",
    "cannot allocate memory",
)
"""Words of ONNX Runtime's arenas, OpenVINO, CUDA and its libraries, the C++ library and the
operating system when memory is short; their exceptions have no class of their own for it."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an engine failed for want of memory, by what it says."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS)


class FittingBatches:
    """Runs batches of any size on an engine that can hold only so many images at once.

    When memory runs out the batch is halved, again if need be, down to one image, and the size
    that was found is kept for the rest. `most` bounds it from the start.
    """

    def __init__(self, run_once: RunOnce, *, most: int | None = None) -> None:
        self._run_once = run_once
        self._most = most
        self.notes: tuple[str, ...] = ()
        """One sentence when the size was cut down, with the size that fits."""

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Outputs:
        """The outputs for N >= 1 images, in their order. Raises what the engine raises, unless
        smaller batches help."""
        n = len(pixels_NHWC)
        if self._most is None or n <= self._most:
            try:
                return self._run_once(pixels_NHWC)
            except Exception as error:  # engines' classes share no base but Exception
                if n == 1 or not is_out_of_memory(error):
                    raise
            # Only here, where the exception is gone: its traceback keeps the failed run's buffers.
            self._most = (n + 1) // 2
            self.notes = (
                f"memory did not hold {n} images at once: the engine gets at most {self._most}",
            )
        most = self._most
        return as_one([self.run(pixels_NHWC[k : k + most]) for k in range(0, n, most)])


class GraphEngine:
    """A graph of the bundle, opened by some engine; a `Backend`."""

    name: str
    title: str
    """The engine's name in prose."""
    device: str
    providers: tuple[str, ...]

    def __init__(
        self,
        bundle: ModelBundle,
        precision: str,
        run_once: RunOnce,
        most: int | None = None,
        note: str | None = None,
    ) -> None:
        """`run_once` is the graph, which takes `most` images at once (None: any number); `note` is
        what a user should know of how it came up."""
        self._bundle = bundle
        self._begun = () if note is None else (note,)
        self._batches = FittingBatches(run_once, most=most)
        self.stages: tuple[str, ...] = (f"{precision}@{bundle.preprocess.size}",)

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts that a user should know, also about the runs so far; each said once."""
        return self._begun + self._batches.notes

    def run(self, pixels_NHWC: NDArray[np.uint8]) -> Scores:
        """Judge N >= 1 images, uint8 (N, size, size, 3). Raises BackendError."""
        check_pixels(pixels_NHWC, self._bundle.preprocess.size)
        try:
            outputs = self._batches.run(pixels_NHWC)
        except Exception as error:  # engines' classes share no base but Exception
            raise BackendError(
                f"{self.title} failed on {self.device} with {len(pixels_NHWC)} images "
                f"({self.cause(error)}); if memory ran out, use a smaller --batch-size"
            ) from error
        return to_scores(self._bundle, outputs)

    def close(self) -> None:
        """Give back memory and threads; the engine cannot run afterwards."""
        del self._batches

    @staticmethod
    def cause(error: BaseException) -> str:
        """The engine's words about a failure, in one line."""
        return in_one_line(error)
