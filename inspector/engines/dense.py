"""The dense view's engine: a photo at its own scale in, an answer for every window of it out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.engines import Device
from inspector.engines.contract import VARIANTS, in_one_line, is_out_of_memory
from inspector.engines.onnxruntime import check_session, obtained, open_session
from inspector.errors import BackendError, BundleError
from inspector.model.bundle import DENSE_OUTPUTS, INPUT_NAME, NARROW
from inspector.model.windows import MOST_PIXELS, STRIDE, WindowMap, plan_blocks, plan_parts
from inspector.types import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.model.bundle import DenseView, ModelBundle
    from inspector.model.windows import Block, Plan

_FEWEST_PIXELS = 1_000_000
"""Pixels of a block that are not halved when memory runs out."""


def open_dense(
    bundle: ModelBundle,
    backend: str = "onnxruntime",
    *,
    device: str = "auto",
    precision: str = "fp32",
    threads: int | None = None,
) -> DenseEngine:
    """Load a bundle's dense variant.

    Args:
        bundle: The model.
        backend: The engine that judges tiles beside it; the dense view itself runs in ONNX Runtime,
            and a note says so where that is another.
        device: `auto`, `cpu` or `cuda[:i]`; anything but `auto` is a demand. Of `cuda:all` the
            first GPU is taken.
        precision: `fp32`, `int8`, `fp16` or `narrow`.
        threads: CPU threads of one run; None: all cores.

    Raises:
        BackendError: The engine does not come up, or would run elsewhere than demanded.
        BundleError: The bundle has no dense view, or lacks the variant.
    """
    if bundle.dense is None:
        raise BundleError(f"{bundle.path} has no dense view; its photos are judged in tiles")
    place = Device.parse(device)
    notes: tuple[str, ...] = ()
    if backend != VARIANTS:
        notes += (f"photos at their own scale are judged by ONNX Runtime, not {backend}",)
    if place.every:
        place = Device(place.kind)
        notes += (f"photos at their own scale are judged on {place} only",)
    file = bundle.file(bundle.variant(VARIANTS, precision, View.DENSE).file)
    session, note = open_session(file, place, threads)
    notes += () if note is None else (note,)
    check_session(bundle, file, session, View.DENSE)
    size = bundle.preprocess.size
    # On a CPU a narrow network spends a fifth of its time in operators that one core runs, and
    # needs little memory: two blocks side by side take a fifth less. On a GPU each new thread
    # would make handles of its own.
    on_cpu = obtained(session).kind == "cpu"
    at_once = 2 if precision == NARROW and on_cpu and threads != 1 else 1
    return DenseEngine(session, bundle.dense, precision, size, notes=notes, at_once=at_once)


class DenseEngine:
    """A loaded dense variant. One caller at a time."""

    name = VARIANTS

    def __init__(
        self,
        session: Any,
        dense: DenseView,
        precision: str,
        size: int,
        *,
        notes: tuple[str, ...] = (),
        at_once: int = 1,
    ) -> None:
        """`size` is the side of a window, in pixels, `at_once` how many blocks are judged side by
        side."""
        self._session = session
        self._size = size
        self._dense = dense
        self._most = MOST_PIXELS
        """Pixels of a block at most."""
        self._at_once = at_once
        self._smaller: tuple[str, ...] = ()
        self._notes = notes
        self.device = str(obtained(session))
        self.stage = f"{precision}@{View.DENSE}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Deviations from what was asked for, such as smaller blocks."""
        return self._notes + self._smaller

    def run(
        self,
        pixels_HWC: NDArray[np.uint8],
        first: WindowMap | None = None,
        wanted_HW: NDArray[np.bool_] | None = None,
    ) -> WindowMap:
        """Judge every window of a photo, upright uint8 (H, W, 3); or, after another engine's answer
        `first`, those parts of it in which cells are `wanted_HW`, whose answers are the same then.
        Raises BackendError."""
        if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3:
            raise ValueError(f"not uint8 (H, W, 3): {pixels_HWC.dtype} {pixels_HWC.shape}")
        filled = False
        while not filled:
            plan = plan_blocks(*pixels_HWC.shape[:2], self._size, self._most)
            parts = [plan] if wanted_HW is None else plan_parts(plan, wanted_HW, self._most)
            cells_HW, ood_HW = self._begun(plan, first)
            try:
                for part in parts:
                    self._fill(pixels_HWC, part, cells_HW, ood_HW)
                filled = True
            except Exception as error:  # the engine's classes share no base but Exception
                self._halve(max((part.shape for part in parts), key=prod), error)
        if not (np.isfinite(cells_HW).all() and np.isfinite(ood_HW).all()):
            raise BackendError(
                "the engine answered no number for a window; check this machine with: "
                "inspector doctor"
            )
        left, top = plan.columns.first, plan.rows.first
        return WindowMap.of_cells(cells_HW, ood_HW, left=left, top=top, size=self._size)

    def judge_block(
        self, pixels_HWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The graph's answers for pixels whose sides are multiples of 32, padded with zeros at
        their border: uncalibrated log odds of each cell, and out-of-distribution scores of each
        window. Raises what ONNX Runtime raises."""
        (log_odds_HW,), (ood_HW,) = self._session.run(
            list(DENSE_OUTPUTS), {INPUT_NAME: np.ascontiguousarray(pixels_HWC)[None]}
        )
        return log_odds_HW, ood_HW

    def judge_lone(
        self, pixels_NHWC: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Uncalibrated log odds and out-of-distribution scores of N tiles, each judged without
        anything around it: as the variant for tiles judges them."""
        answers = [self.judge_block(pixels_HWC) for pixels_HWC in pixels_NHWC]
        log_odds_N = [log_odds_HW.mean(dtype=np.float64) for log_odds_HW, _ in answers]
        return np.array(log_odds_N), np.array([ood_HW[0, 0] for _, ood_HW in answers])

    def _begun(
        self, plan: Plan, first: WindowMap | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cells and scores to be filled, or those of another engine's answer to be changed."""
        if first is not None and first.cells_HW is not None:
            return first.cells_HW.copy(), first.ood_HW.copy()
        cells_HW = np.empty((plan.rows.cells, plan.columns.cells), np.float32)
        window = self._size // STRIDE
        return cells_HW, np.empty_like(cells_HW[window - 1 :, window - 1 :])

    def _halve(self, shape: tuple[int, int], error: Exception) -> None:
        """Make blocks smaller when memory ran out; raise BackendError for any other `error`."""
        height, width = shape
        if not is_out_of_memory(error) or height * width <= _FEWEST_PIXELS:
            raise BackendError(
                f"ONNX Runtime failed on {self.device} with a block of {width} x {height} "
                f"pixels ({in_one_line(error)})"
            ) from error
        self._most = height * width // 2
        self._smaller = (
            f"memory did not hold blocks of {width} x {height} pixels: photos are judged in "
            "smaller ones, which moves log odds by less than 0.01",
        )

    def _fill(
        self,
        pixels_HWC: NDArray[np.uint8],
        plan: Plan,
        cells_HW: NDArray[np.float32],
        ood_HW: NDArray[np.float32],
    ) -> None:
        """Calibrated log odds of cells and out-of-distribution scores of windows, by blocks."""
        dense = self._dense

        def judge(block: tuple[Block, Block]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            down, across = block
            seen_HWC = take_places(pixels_HWC, plan.rows.seen(down), axis=0)
            return self.judge_block(take_places(seen_HWC, plan.columns.seen(across), axis=1))

        with ThreadPoolExecutor(self._at_once) as pool:
            answers = pool.map(judge, plan) if self._at_once > 1 else map(judge, plan)
            for (down, across), (odds_HW, scores_HW) in zip(plan, answers, strict=True):
                odds_HW = (odds_HW / dense.temperature + dense.shift).astype(np.float32)
                for target_HW, answer_HW, several in (
                    (cells_HW, odds_HW, 1),
                    (ood_HW, scores_HW, self._size // STRIDE),
                ):
                    place, wanted = plan.counted(down, across, several)
                    target_HW[place] = answer_HW[wanted]

    def close(self) -> None:
        """Give back memory and threads; the engine cannot run afterwards."""
        del self._session


def take_places(
    pixels_HWC: NDArray[np.uint8], places: NDArray[np.intp], axis: int
) -> NDArray[np.uint8]:
    """`pixels_HWC.take(places, axis)` in a third of the time: the longest run of neighbours, which
    is all that lies within the photo, in one piece. May be a view."""
    ends = [0, *np.flatnonzero(np.diff(places) != 1) + 1, len(places)]
    longest = int(np.diff(ends).argmax())
    begin, end = ends[longest], ends[longest + 1]
    run = slice(places[begin], places[end - 1] + 1)
    inner_HWC = pixels_HWC[run] if axis == 0 else pixels_HWC[:, run]
    if end - begin == len(places):
        return inner_HWC
    before, after = (pixels_HWC.take(some, axis) for some in (places[:begin], places[end:]))
    return np.concatenate([before, inner_HWC, after], axis=axis)
