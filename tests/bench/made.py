"""Made-up results, as a run on two cores could have written them, for tests only."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.recommend import recommend
from bench.results import (
    ENGINE,
    FAILED,
    PEER,
    SCAN,
    UNAVAILABLE,
    Case,
    Ceiling,
    Compared,
    Images,
    Results,
    Usage,
)
from bench.run import finish

SIZES = (1, 8, 32)
ENGINES = {
    # name: images/s at its best, 1 where batches bring nothing, seconds of import and opening
    "onnxruntime int8": (420.0, 0.97, 0.3, 0.2),
    "onnxruntime fp32": (61.0, 0.98, 0.3, 0.3),
    "openvino int8": (149.0, 0.95, 0.4, 1.3),
    "openvino fp32": (66.0, 0.97, 0.4, 1.1),
    "torchscript fp32": (48.0, 0.8, 3.1, 0.6),
    "eager fp32": (41.0, 0.7, 3.0, 0.2),
    "channels-last fp32": (50.0, 0.75, 3.0, 0.2),
}
SCANS = {"tiles": 0.8, "photos": 0.11}
"""Share of the engine's rate that a scan reaches."""
HOSTILE = "<img src=x onerror=document.title='owned'>|`x`"


def made_results(
    *,
    seed: int = 0,
    rounds: int = 5,
    noise: float = 0.015,
    times: float = 1.0,
    broken: bool = False,
) -> Results:
    """Results whose rates scatter by `noise` and are all `times` as fast; if `broken`, one engine
    failed with a reason that means harm."""
    rng = np.random.default_rng(seed)

    def rates(around: float) -> list[float]:
        return [float(times * around * np.exp(rng.normal(0, noise))) for _ in range(rounds)]

    cases = [_engine(rng, name, size, rates) for name in ENGINES for size in SIZES]
    for images, share in SCANS.items():
        scans = [name for name in ENGINES if name.split()[0] in ("onnxruntime", "openvino")]
        cases += [_path(SCAN, name, images, rates(share * ENGINES[name][0])) for name in scans]
        fastest = "onnxruntime int8"
        cases += [_path(SCAN, fastest, images, rates(share * by * ENGINES[fastest][0]), setting)
                  for by, setting in ((1.001, "batch 8"), (0.7, "1 workers"),
                                      (0.8, "torch loader"))]  # fmt: skip
        cases += [_path(PEER, name, images, rates(share * by * ENGINES["onnxruntime fp32"][0]))
                  for name, by in (("plain", 0.7), ("timm", 0.5))]  # fmt: skip
        cases.append(_missing(PEER, "ray", images, "ray is not installed; see the bench extra"))
    cases.append(_missing(ENGINE, "tensorrt fp16 on cuda", "pixels",
                          "this machine has no NVIDIA driver"))  # fmt: skip
    if broken:
        cases.append(_missing(ENGINE, "compile fp32", "pixels", f"cracks missed {HOSTILE}",
                              status=FAILED))  # fmt: skip
    return _finished(cases, times)


def _finished(cases: list[Case], times: float) -> Results:
    finish(cases, [])
    return Results(
        began="2024-05-01T10:00:00+02:00",
        seconds=271.3,
        mode="quick",
        method=["Every round is a process of its own.", "Intervals: 95 %."],
        settings={"images": "generated", "device": "auto", "seed": 0},
        system={
            "cpu": "Example CPU @ 2.70GHz", "cpu_flags": ["avx2", "avx512_vnni"],
            "usable_cores": 2, "container_cores": 2.0, "container_memory_gib": None,
            "memory_gib": 15.6, "gpus": [], "platform": "Linux-6.1", "python": "3.11.2",
            "crack-inspector": "0.5.0", "load_average": 0.1,
            "packages": {"onnxruntime": "1.31.0", "numpy": "2.3.0"},
        },
        model={"name": "default", "digest": "ab" * 32, "size": 224},
        inputs={
            "tiles": Images(files=192, width=227, height=227, megabytes=1.9,
                            origin="192 scenes made by inspector.synthesis, no photos"),
            "photos": Images(files=8, width=4000, height=3000, megabytes=30.1,
                             origin="8 mosaics of 192 scenes"),
        },
        ceilings=_ceilings(times),
        taken_by_others=0.01,
        busy="",
        cases=cases,
        recommendation=recommend(cases, "Example CPU @ 2.70GHz"),
    )  # fmt: skip


def _ceilings(times: float) -> dict[str, Ceiling]:
    found = {
        "fp32": ("fp32 products", "Gop/s", 290.0), "bf16": ("bf16 products", "Gop/s", None),
        "int8": ("int8 products", "Gop/s", 780.0),
        "jpeg_tiles": ("decoding tiles on one core", "images/s", 1450.0),
        "jpeg_photos": ("decoding photos on one core", "images/s", 21.0),
    }  # fmt: skip
    return {
        name: Ceiling(what=what, unit=unit, samples=[times * middle] * 3 if middle else [],
                      how="the best of many",
                      reason="" if middle else "the processor has no bf16 products")
        for name, (what, unit, middle) in found.items()
    }  # fmt: skip


def _case(level, name, images, rates, **given) -> Case:
    words = name.split()
    precision = "int8" if "int8" in words else "fp32"
    shares = {f"{precision} arithmetic": 0.76} if level == ENGINE else {"JPEG decoding": 0.62}
    facts: dict[str, Any] = {"id": f"{level}/{name}/{images}", "device": "cpu", "about": "made up",
             "batch_size": 32, "shares": shares if rates else {},
             "usage": Usage(peak_mib=410.0)} | given  # fmt: skip
    return Case(level=level, name=name, input=images, engine=words[0], precision=precision,
                rates=rates, **facts)  # fmt: skip


def _answers(images: int, difference: float) -> Compared:
    return Compared(images=images, largest_difference=difference, other_verdicts=0,
                    missed_cracks=0, roc_auc=0.9973, reference_roc_auc=0.9974)  # fmt: skip


def _engine(rng, name, size, rates) -> Case:
    best, flat, import_s, open_s = ENGINES[name]
    of_rounds = rates(best * flat ** (2 * abs(np.log2(size / 8)) / 3))
    runs_ms = [[float(1e3 * size / rate * np.exp(abs(rng.normal(0, 0.02)))) for _ in range(6)]
               for rate in of_rounds]  # fmt: skip
    return _case(
        ENGINE, name, "pixels", of_rounds, id=f"engine/{name}/{size}", batch_size=size,
        runs_ms=runs_ms, answers=_answers(128, 2e-7 if "fp32" in name else 0.021),
        start_up={"import_s": import_s, "open_s": open_s, "first_run_s": 0.05},
    )  # fmt: skip


def _path(level, name, images, rates, setting="") -> Case:
    files = 192 if images == "tiles" else 8
    whole = files / float(np.median(rates))
    parts = {"start": 0.3, "load": 0.25, "engine": 0.4, "judge": 0.02, "write": 0.03}
    shares = {"engine alone": 0.92, "JPEG decoding": 0.33}
    if images == "photos":
        shares = {"JPEG decoding": 0.95, "engine alone": 0.2}
    return _case(
        level, name, images, rates, start_up={"start_s": 0.3 * whole}, shares=shares,
        id="/".join(filter(None, (level, name, images, setting))),
        batch_size=8 if setting == "batch 8" else 32, workers=1 if "workers" in setting else 2,
        stage_seconds={k: v * whole for k, v in parts.items()} if level == SCAN else {},
        usage=Usage(cpu_percent=91.0, peak_mib=410.0), answers=_answers(files, 0.021),
    )  # fmt: skip


def _missing(level, name, images, reason, status=UNAVAILABLE) -> Case:
    identity = f"{level}/{name}" if level == ENGINE else f"{level}/{name}/{images}"
    return _case(level, name, images, [], id=identity, status=status, reason=reason,
                 batch_size=None)  # fmt: skip
