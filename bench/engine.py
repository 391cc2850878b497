"""Engines alone: the same preloaded images through every backend, and the answers compared."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np

from bench.report import figure, figures
from bench.stats import pairwise_ratios, percentile, shuffled_rounds, spread
from bench.system import describe_system, without_folders
from inspector.backends import BACKENDS, open_backend
from inspector.backends.agreement import CAM_TOLERANCE, PROBABILITY_TOLERANCE, ParityMeter
from inspector.bundle import DEFAULT_PATH, ModelBundle
from inspector.data.decode import decode
from inspector.data.source import Discovery
from inspector.data.synthesis import Kind, make_scene
from inspector.errors import InspectorError, SourceError, UsageError
from inspector.machine import usable_cores
from inspector.types import Decoded, Scores

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.report import Columns
    from inspector.backends import Backend
    from inspector.backends.agreement import ParityReport
    from inspector.preprocess import PreprocessSpec
    from inspector.types import JsonObject

ROUNDS = 6
SEED = 0
LEAST_IMAGES = 32
"""Small batches must not all be the same image, whose data a cache would keep."""

METHOD = (
    "Time from uint8 pixels in memory to probabilities in memory, copies to and from a GPU "
    "included; decoding is not. All engines get the same batches and as many CPU threads as there "
    f"are usable cores. The cases take turns in {ROUNDS} rounds, in a new order each round; a turn "
    "begins with one run that is not counted. Range: slowest to fastest round.",
    "ms: of one run, the median (p50) and the 95th percentile (p95) of all counted runs.",
    "ratio: images/s against onnxruntime at the same batch size, round by round; the median.",
    "answers: the answers of the counted runs themselves, compared with the weights in eager torch "
    f"on the CPU (tolerance {PROBABILITY_TOLERANCE:g} in the probability, {CAM_TOLERANCE:g} of "
    "its magnitude in the activation map).",
)

COLUMNS: Columns = {
    "case": lambda case: str(case["name"]),
    "images/s (range)": lambda case: figures(case["images_per_second"]),
    "ms p50": lambda case: figure(case["run_ms"] and case["run_ms"]["p50"]),
    "p95": lambda case: figure(case["run_ms"] and case["run_ms"]["p95"]),
    "ratio": lambda case: figure(case["ratio"] and case["ratio"]["median"]),
    "answers": lambda case: str(case["status"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Raises UsageError when a value cannot be right."""

    images: Path | None = None
    """A folder of photos; None: synthetic scenes."""
    model: Path | None = None
    backends: tuple[str, ...] = BACKENDS
    batch_sizes: tuple[int, ...] = (1, 32)
    seconds: float = 10.0
    """Of counted running time per case, over all rounds."""
    device: str = "auto"

    def __post_init__(self) -> None:
        unknown = set(self.backends) - set(BACKENDS)
        if unknown or not self.backends:
            raise UsageError(f"--backends takes some of {','.join(BACKENDS)}; not {unknown or ''}")
        if not self.batch_sizes or min(self.batch_sizes) < 1 or self.seconds <= 0:
            raise UsageError("--batch-sizes and --seconds must be greater than 0")


@dataclass(slots=True)
class Case:
    """One engine at one batch size, and what was measured: `rounds_ms[r]` are the times of round
    r's counted runs. Without a backend it cannot run, for the `trouble` named."""

    engine: str
    batch_size: int
    meter: ParityMeter
    backend: Backend | None = None
    trouble: str = ""
    rounds_ms: list[list[float]] = field(default_factory=list)

    @property
    def images_per_second(self) -> list[float]:
        """By round."""
        return [1e3 * self.batch_size * len(times) / sum(times) for times in self.rounds_ms]


@dataclass(frozen=True, slots=True)
class Pool:
    """Images in memory, uint8 (N, size, size, 3), and the right answers to them."""

    pixels_NHWC: NDArray[np.uint8]
    expected: Scores

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.uint8], Scores]]:
        """Full batches only, so that every run of a case costs the same."""
        for start in range(0, len(self.pixels_NHWC) - size + 1, size):
            part = slice(start, start + size)
            right = Scores(self.expected.p_crack_N[part], self.expected.cam_NHW[part])
            yield self.pixels_NHWC[part], right


def bench_engine(config: EngineConfig) -> JsonObject:
    """Measure and compare; raises an InspectorError when there is nothing to measure."""
    system = describe_system()
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    count = max(LEAST_IMAGES, *config.batch_sizes)
    pixels_NHWC, origin = load_images(config.images, bundle.preprocess, count)
    pool = Pool(pixels_NHWC, right_answers(bundle, pixels_NHWC))
    with ExitStack() as stack:
        cases = _open_cases(config, bundle, stack)
        for number, turns in enumerate(shuffled_rounds(cases, ROUNDS, seed=SEED), 1):
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
            for case in turns:
                _take_turn(case, pool, config.seconds / ROUNDS)
        results = [_result_of(case, cases) for case in cases]
    settings = {
        "images": origin,
        "model": f"{config.model or 'default'}, {bundle.digest[:12]}",
        "input": f"{bundle.preprocess.size} px, fp32",
        "device asked for": config.device,
        "seconds per case": config.seconds,
        "seed": SEED,
    }
    return {
        "benchmark": "engine",
        "method": METHOD,
        "settings": settings,
        "system": system,
        "cases": results,
    }


def load_images(
    folder: Path | None, spec: PreprocessSpec, count: int
) -> tuple[NDArray[np.uint8], str]:
    """`count` model inputs, repeated where there are fewer, and a sentence on their origin. Raises
    SourceError when the folder holds no photo that can be decoded."""
    if folder is None:
        rng = np.random.default_rng(SEED)
        scenes = islice(cycle(Kind), count)
        made = [make_scene(rng, spec.size, spec.size, kind).pixels for kind in scenes]
        return np.stack(made), f"{count} made by inspector.data.synthesis, no photos"
    outcomes = (decode(ref, spec) for ref in Discovery([str(folder)]))
    found = list(islice((o.pixels_HWC for o in outcomes if isinstance(o, Decoded)), count))
    if not found:
        raise SourceError(f"{folder} holds no photo that can be decoded; name a folder with photos")
    pixels_NHWC = np.stack(found)[np.arange(count) % len(found)]
    repeated = f", repeated to {count}" if len(found) < count else ""
    return pixels_NHWC, f"{len(found)} photos from {folder}{repeated}"


def right_answers(bundle: ModelBundle, pixels_NHWC: NDArray[np.uint8]) -> Scores:
    """What the weights say in eager torch on the CPU."""
    with closing(open_backend(bundle, "eager", device="cpu", threads=usable_cores())) as eager:
        parts = [eager.run(pixels_NHWC[i : i + 32]) for i in range(0, len(pixels_NHWC), 32)]
    return Scores(
        np.concatenate([part.p_crack_N for part in parts]),
        np.concatenate([part.cam_NHW for part in parts]),
    )


def _open_cases(config: EngineConfig, bundle: ModelBundle, stack: ExitStack) -> list[Case]:
    """Every case asked for; those that cannot run say why."""
    cases = []
    for name in config.backends:
        backend, trouble = None, ""
        try:
            backend = open_backend(bundle, name, device=config.device, threads=usable_cores())
            stack.enter_context(closing(backend))
        except InspectorError as error:
            trouble = without_folders(str(error))
        for size in config.batch_sizes:
            cases.append(Case(name, size, ParityMeter(bundle.thresholds), backend, trouble))
    return cases


def _take_turn(case: Case, pool: Pool, seconds: float) -> None:
    """Run the case for `seconds` and keep times; its answers are checked after the clock."""
    if case.backend is None or case.trouble:
        return
    times_ms: list[float] = []
    answers = []
    spent_ms = 0.0
    batches = list(pool.batches(case.batch_size))
    try:
        # Threads of the engine before may still spin, and a new batch size is planned anew.
        case.backend.run(batches[0][0])
        for pixels_NHWC, right in cycle(batches):
            started = time.perf_counter()
            scores = case.backend.run(pixels_NHWC)
            times_ms.append(1e3 * (time.perf_counter() - started))
            spent_ms += times_ms[-1]
            answers.append((right, scores))
            if spent_ms >= 1e3 * seconds:
                break
    except InspectorError as error:
        case.trouble = without_folders(str(error))
        return
    case.rounds_ms.append(times_ms)
    for right, scores in answers:
        case.meter.add([case.engine] * case.batch_size, right, scores)


def _result_of(case: Case, cases: list[Case]) -> JsonObject:
    """The case as it stands in results.json, with its raw times."""
    result: JsonObject = {
        "name": f"{case.engine} x{case.batch_size}",
        "status": "not run",
        "reason": case.trouble,
        "device": case.backend.device if case.backend else None,
        "providers": case.backend.providers if case.backend else (),
        "batch_size": case.batch_size,
        "images_per_second": None,
        "run_ms": None,
        "ratio": None,
        "rounds_run_ms": case.rounds_ms,
    }
    if case.trouble:
        return result
    times = [ms for of_round in case.rounds_ms for ms in of_round]
    agreement = case.meter.report()
    wrong = not (
        agreement.max_difference <= PROBABILITY_TOLERANCE
        and agreement.max_cam_difference <= CAM_TOLERANCE
    )
    reference = next(
        (c for c in cases if (c.engine, c.batch_size) == (BACKENDS[0], case.batch_size)), None
    )
    if reference is not None and not reference.trouble:
        ratios = pairwise_ratios(case.images_per_second, reference.images_per_second)
        result["ratio"] = spread(ratios)
    return result | {
        "status": "failed" if wrong else "ok",
        "reason": _wrongness(agreement) if wrong else "",
        "images_per_second": spread(case.images_per_second),
        "run_ms": {"p50": percentile(times, 50), "p95": percentile(times, 95)},
        "largest_difference": agreement.max_difference,
        "largest_cam_difference": agreement.max_cam_difference,
    }


def _wrongness(agreement: ParityReport) -> str:
    return (
        f"its answers are wrong, probabilities by up to {agreement.max_difference:.2g}, "
        f"activation maps by up to {agreement.max_cam_difference:.2g} of their magnitude"
    )
