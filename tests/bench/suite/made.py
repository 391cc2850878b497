"""Made-up results of the suite, as a run on two cores could have written them, for tests only."""

from __future__ import annotations

import numpy as np

from bench.stats import percentile
from bench.suite.advice import mark_best, recommend
from bench.suite.noise import add_rates
from bench.suite.shares import limited_by
from inspector.types import JsonObject

SIZES = (1, 8, 32)
ENGINES = {
    # name: images/s at its best, 1 where batches bring nothing, seconds of import and opening
    "onnxruntime int8": (420.0, 0.93, 0.3, 0.4),
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
) -> JsonObject:
    """results.json whose rates scatter by `noise` and are all `times` as fast; if `broken`, one
    engine failed with a reason that means harm."""
    rng = np.random.default_rng(seed)

    def rates(around: float) -> list[float]:
        return [float(times * around * np.exp(rng.normal(0, noise))) for _ in range(rounds)]

    cases = [_engine(rng, name, size, rates) for name in ENGINES for size in SIZES]
    for images, share in SCANS.items():
        scans = [name for name in ENGINES if name.split()[0] in ("onnxruntime", "openvino")]
        cases += [_path("scan", name, images, rates(share * ENGINES[name][0])) for name in scans]
        fastest = "onnxruntime int8"
        cases += [_path("scan", fastest, images, rates(share * by * ENGINES[fastest][0]), setting)
                  for by, setting in ((1.001, "batch 8"), (0.7, "1 workers"))]  # fmt: skip
        cases += [_path("peer", name, images, rates(share * by * ENGINES["onnxruntime fp32"][0]))
                  for name, by in (("afternoon", 0.7), ("timm", 0.5))]  # fmt: skip
        cases.append(_missing("peer", "ray", images, "ray is not installed; see the bench extra"))
    cases.append(_missing("engine", "tensorrt fp16 on cuda", "pixels",
                          "this machine has no NVIDIA driver"))  # fmt: skip
    if broken:
        cases.append(_missing("engine", "compile fp32", "pixels", f"cracks missed {HOSTILE}",
                              status="failed"))  # fmt: skip
    return _finished(cases, times)


def _finished(cases: list[JsonObject], times: float) -> JsonObject:
    add_rates(cases)
    mark_best(cases)
    system = _system()
    return {
        "format": 1, "benchmark": "suite", "began": "2024-05-01T10:00:00+02:00", "seconds": 271.3,
        "mode": "quick", "method": ["Every round is a process of its own.", "Intervals: 95 %."],
        "settings": {"images": "generated", "device": "auto", "seed": 0}, "system": system,
        "model": {"name": "default", "digest": "ab" * 32, "size": 224},
        "inputs": {
            "tiles": {"files": 192, "width": 227, "height": 227, "megabytes": 1.9,
                      "origin": "192 scenes made by inspector.synthesis, no photos"},
            "photos": {"files": 8, "width": 4000, "height": 3000, "megabytes": 30.1,
                       "origin": "8 mosaics of 4000 x 3000 px"},
        },
        "limits": _limits(times), "disturbance": {"others": 0.01, "samples": 60, "spread": 0.02,
        "busy": ""}, "cases": cases, "recommendation": recommend(cases, system),
    }  # fmt: skip


def _system() -> JsonObject:
    return {
        "cpu": "Example CPU @ 2.70GHz", "cpu_flags": ["avx2", "avx512_vnni"], "usable_cores": 2,
        "container_cores": 2.0, "container_memory_gib": None, "memory_gib": 15.6, "gpus": [],
        "platform": "Linux-6.1", "python": "3.11.2", "crack-inspector": "0.5.0",
        "packages": {"onnxruntime": "1.31.0", "numpy": "2.3.0"}, "load_average": 0.1,
    }  # fmt: skip


def _limits(times: float) -> JsonObject:
    found = {
        "memory_copy": ("copying memory", "GB/s", 11.2), "fp32": ("fp32 products", "Gop/s", 290.0),
        "bf16": ("bf16 products", "Gop/s", None), "int8": ("int8 products", "Gop/s", 780.0),
        "jpeg_tiles": ("decoding tiles on one core", "images/s", 1450.0),
        "jpeg_photos": ("decoding photos on one core", "images/s", 21.0),
        "disk_read": ("reading files", "MB/s", 900.0),
    }  # fmt: skip
    return {
        name: {"what": what, "unit": unit, "samples": [times * middle] * 3 if middle else [],
               "median": times * middle if middle else None, "how": "the best of many",
               "reason": "" if middle else "the processor has no bf16 products"}
        for name, (what, unit, middle) in found.items()
    }  # fmt: skip


def _case(level, name, images, rates, **given) -> JsonObject:
    words = name.split()
    shares = {"int8 arithmetic" if "int8" in words else "fp32 arithmetic": 0.76}
    found: JsonObject = {
        "id": f"{level}/{name}/{images}", "level": level, "name": name, "input": images,
        "batch_size": 32, "workers": 2, "device": "cpu", "engine": words[0],
        "precision": "int8" if "int8" in words else "fp32",
        "stages": [], "status": "ok", "reason": "", "about": "made up", "rates": rates,
        "runs_ms": [], "latency_ms": None,
        "start_up": {}, "stage_seconds": {}, "answers": None, "against": {},
        "usage": {"cpu_percent": None, "peak_mib": 410.0, "gpu_percent": None, "gpu_mib": None},
        "shares": shares if rates else {}, "best": False, "tied": False,
    } | given  # fmt: skip
    return found | {"limited_by": limited_by(found["shares"])}


def _answers(images: int, difference: float) -> JsonObject:
    return {"images": images, "largest_difference": difference, "other_verdicts": 0,
            "missed_cracks": 0, "roc_auc": 0.9973, "reference_roc_auc": 0.9974}  # fmt: skip


def _engine(rng, name, size, rates) -> JsonObject:
    best, flat, import_s, open_s = ENGINES[name]
    of_rounds = rates(best * flat ** (2 * abs(np.log2(size / 8)) / 3))
    runs_ms = [[float(1e3 * size / rate * np.exp(abs(rng.normal(0, 0.02)))) for _ in range(6)]
               for rate in of_rounds]  # fmt: skip
    every = [ms for times in runs_ms for ms in times]
    return _case(
        "engine", name, "pixels", of_rounds, id=f"engine/{name}/{size}", batch_size=size,
        workers=None, runs_ms=runs_ms, answers=_answers(128, 2e-7 if "fp32" in name else 0.021),
        latency_ms={f"p{p}": percentile(every, p) for p in (50, 90, 95, 99)} | {"runs": len(every)},
        start_up={"import_s": import_s, "open_s": open_s, "first_run_s": 0.05},
    )  # fmt: skip


def _path(level, name, images, rates, setting="") -> JsonObject:
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
        stage_seconds={k: v * whole for k, v in parts.items()} if level == "scan" else {},
        usage={"cpu_percent": 91.0, "peak_mib": 410.0, "gpu_percent": None, "gpu_mib": None},
        answers=_answers(files, 0.021),
    )  # fmt: skip


def _missing(level, name, images, reason, status="unavailable") -> JsonObject:
    identity = f"{level}/{name}" if level == "engine" else f"{level}/{name}/{images}"
    return _case(level, name, images, [], id=identity, status=status, reason=reason,
                 batch_size=None, workers=None)  # fmt: skip
