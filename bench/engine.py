"""Engines alone: the same preloaded images through every backend, and the answers compared."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from bench.checks import Rule
from bench.engine_answers import EngineAnswers
from bench.pool import SEED, Pool, load_images, make_pool
from bench.report import figure, figures
from bench.stats import pairwise_ratios, percentile, shuffled_rounds, spread
from bench.system import describe_system, without_folders
from inspector.backends import BACKENDS, open_backend
from inspector.backends.agreement import CAM_TOLERANCE, PROBABILITY_TOLERANCE
from inspector.bundle import DEFAULT_PATH, ModelBundle
from inspector.errors import InspectorError, UsageError
from inspector.machine import usable_cores
from inspector.scan.config import PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.report import Columns
    from inspector.backends import Backend
    from inspector.types import JsonObject

ROUNDS = 6
LEAST_IMAGES = 64
"""Small batches must not all be the same image, whose data a cache would keep, and a cascade's
speed is that on a mixture."""
KNOWN_BACKENDS = tuple(dict.fromkeys((*BACKENDS, "openvino", "tensorrt")))
REFERENCE = ("onnxruntime", "fp32", False)
CASCADES = {"off": (False,), "on": (True,), "both": (False, True)}

METHOD = (
    "Time from uint8 pixels in memory to probabilities in memory, copies to and from a GPU "
    "included; decoding is not. All engines get the same batches and as many CPU threads as there "
    f"are usable cores. The cases take turns in {ROUNDS} rounds, in a new order each round; a turn "
    "begins with one run that is not counted and goes over all images at least once. Range: "
    "slowest to fastest round.",
    "ms: of one run, the median (p50) and the 95th percentile (p95) of all counted runs.",
    "ratio: images/s against onnxruntime fp32 at the same batch size, round by round; the median.",
    "answers: the answers of the counted runs themselves, compared with the weights in eager torch "
    f"on the CPU. fp32: tolerance {PROBABILITY_TOLERANCE:g} in the probability, {CAM_TOLERANCE:g} "
    "of its magnitude in the activation map. Other precisions and cascades: by verdict, at most 1 "
    "in 1,000 differs (one may, below that many images) and no crack is called clear.",
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
    """Raises UsageError when a value cannot be right; what this machine or model lacks is no
    mistake but a case that is listed as unavailable."""

    images: Path | None = None
    """A folder of photos; None: synthetic scenes."""
    model: Path | None = None
    backends: tuple[str, ...] = ("onnxruntime", "openvino", "eager")
    precisions: tuple[str, ...] = ("fp32", "int8")
    cascade: str = "both"
    """Without, with, or both."""
    batch_sizes: tuple[int, ...] = (1, 32)
    seconds: float = 5.0
    """Of counted running time per case, over all rounds."""
    device: str = "auto"

    def __post_init__(self) -> None:
        for option, given, known in (
            ("--backends", self.backends, KNOWN_BACKENDS),
            ("--precisions", self.precisions, PRECISIONS),
        ):
            unknown = ", ".join(word for word in given if word not in known)
            if unknown or not given:
                raise UsageError(f"{option} takes some of {', '.join(known)}; not {unknown}")
        if self.cascade not in CASCADES:
            raise UsageError(f"--cascade {self.cascade!r} is none of {', '.join(CASCADES)}")
        if not self.batch_sizes or min(self.batch_sizes) < 1 or self.seconds <= 0:
            raise UsageError("--batch-sizes and --seconds must be greater than 0")


@dataclass(slots=True)
class Case:
    """One engine at one batch size, and what was measured: `rounds_ms[r]` are the times of round
    r's counted runs. Without a backend it cannot run, for the `trouble` named."""

    engine: str
    precision: str
    cascade: bool
    batch_size: int | None
    """None where it cannot run at any."""
    answers: EngineAnswers
    backend: Backend | None = None
    trouble: str = ""
    rounds_ms: list[list[float]] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, bool]:
        return self.engine, self.precision, self.cascade

    @property
    def name(self) -> str:
        words = [self.engine, self.precision, "cascade" if self.cascade else ""]
        size = f"x{self.batch_size}" if self.batch_size else ""
        return " ".join(word for word in (*words, size) if word)

    @property
    def images_per_second(self) -> list[float]:
        """By round."""
        size = self.batch_size or 0
        return [1e3 * size * len(times) / sum(times) for times in self.rounds_ms]


def bench_engine(config: EngineConfig) -> JsonObject:
    """Measure and compare; raises an InspectorError when there is nothing to measure."""
    system = describe_system()
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    count = max(LEAST_IMAGES, *config.batch_sizes)
    pixels_NHWC, origin = load_images(config.images, bundle.preprocess, count)
    pool = make_pool(bundle, pixels_NHWC)
    with ExitStack() as stack:
        cases = _open_cases(config, bundle, pool, stack)
        for number, turns in enumerate(shuffled_rounds(cases, ROUNDS, seed=SEED), 1):
            print(f"round {number} of {ROUNDS}", file=sys.stderr)
            for case in turns:
                _take_turn(case, pool, config.seconds / ROUNDS)
        results = [_result_of(case, cases) for case in cases]
    settings = {
        "images": origin,
        "model": f"{config.model or 'default'}, {bundle.digest[:12]}",
        "input": f"{bundle.preprocess.size} px",
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


def _open_cases(
    config: EngineConfig, bundle: ModelBundle, pool: Pool, stack: ExitStack
) -> list[Case]:
    """Every case asked for; what cannot run is listed once, and says why."""
    cases = []
    for engine, precision, cascade in product(
        config.backends, config.precisions, CASCADES[config.cascade]
    ):
        rule = Rule.PROBABILITIES if precision == "fp32" and not cascade else Rule.VERDICTS
        backend, trouble = None, ""
        sizes: tuple[int | None, ...] = config.batch_sizes
        try:
            backend = open_backend(
                bundle,
                engine,
                device=config.device,
                precision=precision,
                threads=usable_cores(),
                cascade=cascade,
            )
            stack.enter_context(closing(backend))
        except InspectorError as error:
            trouble, sizes = without_folders(str(error)), (None,)
        for size in sizes:
            answers = EngineAnswers(pool, bundle.thresholds, rule)
            cases.append(Case(engine, precision, cascade, size, answers, backend, trouble))
    return cases


def _take_turn(case: Case, pool: Pool, seconds: float) -> None:
    """Run the case for `seconds` and keep times; its answers are checked after the clock."""
    if case.backend is None or case.trouble or case.batch_size is None:
        return
    times_ms: list[float] = []
    answers = []
    batches = list(pool.batches(case.batch_size))
    try:
        # Threads of the engine before may still spin, and a new batch size is planned anew.
        case.backend.run(batches[0][1])
        while sum(times_ms) < 1e3 * seconds:
            for place, pixels_NHWC in batches:
                started = time.perf_counter()
                scores = case.backend.run(pixels_NHWC)
                times_ms.append(1e3 * (time.perf_counter() - started))
                answers.append((place, scores))
    except InspectorError as error:
        case.trouble = without_folders(str(error))
        return
    case.rounds_ms.append(times_ms)
    for place, scores in answers:
        case.answers.add(place, scores)


def _result_of(case: Case, cases: list[Case]) -> JsonObject:
    """The case as it stands in results.json, with its raw times."""
    result: JsonObject = {
        "name": case.name,
        "status": "failed" if case.backend else "unavailable",
        "reason": case.trouble,
        "device": case.backend.device if case.backend else None,
        "providers": case.backend.providers if case.backend else (),
        "stages": case.backend.stages if case.backend else (),
        "batch_size": case.batch_size,
        "images_per_second": None,
        "run_ms": None,
        "ratio": None,
        "rounds_run_ms": case.rounds_ms,
    }
    if case.trouble:
        return result
    times = [ms for of_round in case.rounds_ms for ms in of_round]
    answers, trouble = case.answers.report()
    reference = next(
        (c for c in cases if (c.key, c.batch_size) == (REFERENCE, case.batch_size)), None
    )
    if reference is not None and not reference.trouble:
        ratios = pairwise_ratios(case.images_per_second, reference.images_per_second)
        result["ratio"] = spread(ratios)
    return result | {
        "status": "failed" if trouble else "ok",
        "reason": trouble,
        "images_per_second": spread(case.images_per_second),
        "run_ms": {"p50": percentile(times, 50), "p95": percentile(times, 95)},
        "answers": answers,
    }
