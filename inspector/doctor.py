"""Checks of this machine and of a model bundle: the command `inspector doctor`."""

from __future__ import annotations

import os
import platform
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.core import machine
from inspector.core.machine import CACHE_VARIABLE, installed_version, private_folder
from inspector.core.spare import spare_folder
from inspector.core.text import quantity, wrapped
from inspector.engines import has_nvidia_driver
from inspector.errors import InspectorError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.types import Scores, View
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.engines.parity import ParityReport
    from inspector.model.bundle import Variant
    from inspector.model.golden import Golden

SMALLEST_SHARED_MEMORY = 256 << 20
"""Bytes. Workers hand batches over through /dev/shm: a batch of 64 photos of 224 px is 10 MB, a few
wait per process, and Docker's default of 64 MB ends in a bus error."""

SMALLEST_MEMORY = 2 << 30
"""Bytes: 512 MiB of large photos on their way, decoders, the model and what it computes."""

_NEEDED = ("onnxruntime", "pyarrow", "duckdb", "pillow", "numpy")
_OPTIONAL = ("torch", "torchvision", "openvino", "pillow-heif", "rawpy", "obstore", "deltalake")
_ORT_BUILDS = ("onnxruntime", "onnxruntime-gpu")


class Health(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its name, outcome, finding, and the remedy if there is something to do."""

    name: str
    health: Health
    finding: str
    remedy: str = ""


def examine(bundle_path: Path | str | None = None) -> list[Check]:
    """Check the installation, the machine and a bundle (None: the shipped one), whose golden images
    are predicted again with every engine that runs here. Problems are reported, never raised."""
    model = _model(Path(bundle_path or DEFAULT_PATH))
    return [*_installation(), _formats(), _places(), _providers(), *_hardware(), *model]


def exit_code(checks: Sequence[Check]) -> int:
    """1 if a check failed; warnings do not count."""
    return int(any(check.health is Health.FAIL for check in checks))


def render(checks: Sequence[Check]) -> list[str]:
    """Format checks as lines of at most 80 columns, remedies below their problems."""
    lines = [line for check in checks for line in _lines(check)]
    count = Counter(check.health for check in checks)
    end = "Everything is in order."
    if count[Health.FAIL] or count[Health.WARN]:
        end = f"{count[Health.FAIL]} failed, {count[Health.WARN]} to be looked at (see above)."
    return [*lines, "", end]


def _lines(check: Check) -> list[str]:
    head = f"{check.health:<5} {check.name:<14} "
    lines = wrapped(head, check.finding, len(head))
    return lines + (wrapped("", f"-> {check.remedy}", len(head)) if check.remedy else [])


def _installation() -> Iterator[Check]:
    runtimes = [name for name in _ORT_BUILDS if installed_version(name)]
    versions = {name: installed_version(name) for name in (*_NEEDED, *_OPTIONAL)}
    versions["onnxruntime"] = next(map(installed_version, runtimes), None)
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    finding = f"inspector {__version__}, python {platform.python_version()}, {known}"
    yield Check("versions", Health.OK, finding)
    missing = [name for name in _NEEDED if not versions[name]]
    if missing:
        remedy = "install crack-inspector again; its requirements are incomplete"
        yield Check("packages", Health.FAIL, f"missing: {', '.join(missing)}", remedy)
    if len(runtimes) > 1:
        yield Check(
            "onnxruntime",
            Health.WARN,
            "onnxruntime and onnxruntime-gpu are both installed; they share one folder, and the "
            "one installed last has overwritten the other",
            "uninstall both, then install crack-inspector again",
        )


def _formats() -> Check:
    """The kinds of photos that can be read here, and what to install for the others."""
    from inspector.photos.formats import EXTRAS, decodable

    finding = f"photos are read from {', '.join(decodable())}"
    absent = {form: extra for form, (extra, module) in EXTRAS.items() if find_spec(module) is None}
    remedy = "; ".join(
        f'for {form}: pip install "crack-inspector[{extra}]"' for form, extra in absent.items()
    )
    return Check("formats", Health.OK, finding, remedy)


def _places() -> Check:
    """The places that photos are read from; nobody is asked for anything."""
    finding = "photos are read from directories, files and lists"
    if find_spec("obstore") is None:
        remedy = 'for buckets and web servers: pip install "crack-inspector[buckets]"'
        return Check("places", Health.OK, finding, remedy)
    return Check("places", Health.OK, f"{finding}, s3://, gs://, az:// and https://")


def _providers() -> Check:
    """Providers that ONNX Runtime was built with; the replays show which ones work."""
    try:
        import onnxruntime

        from inspector.engines.onnxruntime import built_for_cuda
    except ImportError as error:
        remedy = "install it again: pip install --force-reinstall crack-inspector"
        return Check("providers", Health.FAIL, f"onnxruntime does not load: {error}", remedy)
    built_in = onnxruntime.get_available_providers()
    finding = f"ONNX Runtime has {', '.join(built_in)}"
    if has_nvidia_driver() and not built_for_cuda():
        remedy = 'pip uninstall onnxruntime, then pip install "crack-inspector[gpu]"'
        return Check("providers", Health.WARN, f"{finding}: the GPU stays unused", remedy)
    if not has_nvidia_driver():
        finding += "; usable without an NVIDIA driver: CPUExecutionProvider"
    return Check("providers", Health.OK, finding)


def _hardware() -> Iterator[Check]:
    cores = quantity(os.cpu_count() or 1, "core")
    cores += f", {machine.usable_cores()} of them usable by this process"
    if quota := machine.cpu_quota():
        cores += f", which may use {quota:g} cores' time"
    yield Check("processor", Health.OK, f"{machine.cpu_model()}, {cores}")
    if (memory := machine.memory_bytes()) is not None:
        yield _memory(memory, machine.memory_limit())
    if (free := machine.shared_memory_free()) is not None:
        yield _shared_memory(free)
    yield _gpu()
    yield from _folders()


def _memory(physical: int, limit: int | None) -> Check:
    """What a scan may use; below `SMALLEST_MEMORY` its decoders may be killed at large photos."""
    finding = f"{physical / 2**30:.1f} GiB"
    if limit is not None:
        finding += f", of which {limit / 2**30:.1f} GiB may be used here"
    if min(physical, limit or physical) >= SMALLEST_MEMORY:
        return Check("memory", Health.OK, finding)
    remedy = "give it 2 GiB, or scan with --workers 1"
    return Check("memory", Health.WARN, f"{finding}: little for large photos", remedy)


def _shared_memory(free: int) -> Check:
    """Only a `DataLoader` needs it, which a GPU asks for; else photos come through pipes."""
    finding = f"{free / 2**20:,.0f} MiB free in /dev/shm"
    if not has_nvidia_driver() or find_spec("torch") is None:
        return Check("shared memory", Health.OK, f"{finding}; scans here need none")
    little = free < SMALLEST_SHARED_MEMORY
    remedy = "start the container with --shm-size=1g, or scan with fewer --workers"
    health = Health.WARN if little else Health.OK
    return Check("shared memory", health, finding, remedy if little else "")


def _folders() -> Iterator[Check]:
    """Where scans write: results, what is remembered between them, temporary files."""
    if not os.access(".", os.W_OK):
        finding = f"nothing can be written into {os.getcwd()}, where a scan puts them by itself"
        remedy = "name another folder: inspector scan PHOTOS --out DIR"
        yield Check("results", Health.WARN, finding, remedy)
    if private_folder() is None:
        finding = "every scan measures again: no cache folder that only you can write to"
        remedy = f"set {CACHE_VARIABLE} to a folder of yours (chmod go-w)"
        yield Check("cache", Health.WARN, finding, remedy)
    folder = spare_folder()
    if folder is None:
        yield Check("temporary", Health.OK, "no folder takes temporary files; memory holds them")
    else:
        os.rmdir(folder)


def _gpu() -> Check:
    gpus = machine.nvidia_gpus()
    if gpus:
        names = "; ".join(f"{gpu.name}, {gpu.memory}, driver {gpu.driver}" for gpu in gpus)
        return Check("gpu", Health.OK, names)
    if has_nvidia_driver():
        finding = "the NVIDIA driver is installed, but nvidia-smi lists no GPU"
        remedy = "check that the GPU is passed into this container or virtual machine"
        return Check("gpu", Health.WARN, finding, remedy)
    return Check("gpu", Health.OK, "no NVIDIA GPU; scans run on the CPU")


def _model(path: Path) -> Iterator[Check]:
    from inspector.model.golden import read_golden

    try:
        bundle = ModelBundle.load(path)
        yield Check("model", Health.OK, _about(bundle))
        golden = read_golden(bundle)
    except InspectorError as error:
        yield Check("model", Health.FAIL, str(error))
        return
    if not any(variant.backend == "onnxruntime" for variant in bundle.whole.values()):
        remedy = f"make it with: inspector export {path} --onnx"
        yield Check("model", Health.FAIL, "no ONNX variant, so a scan cannot run it", remedy)
    for variant in bundle.variants.values():
        if variant.view == View.WHOLE:
            yield from _replays(bundle, variant, golden)
        elif bundle.dense is not None:
            yield _replay_dense(bundle, variant, golden)
    with suppress(InspectorError):  # the replays have said what is wrong
        yield _speed(bundle)


def _speed(bundle: ModelBundle) -> Check:
    """The engine that a scan on the CPU would choose: by the last benchmark, or else measured."""
    from inspector.engines.tuned import fastest_precision, find_recommendation

    if advice := find_recommendation(bundle, "cpu"):
        tiles, photos = advice.tiles.backend, advice.photos.backend
        engine = tiles if tiles == photos else f"{tiles} (for large photos {photos})"
        taken = f"{engine} {advice.precision}"
        return Check("speed", Health.OK, f"a scan on the CPU takes {taken}, by inspector bench")
    precision, why = fastest_precision(bundle)
    return Check("speed", Health.OK, f"a scan on the CPU takes {precision}; {why}")


def _about(bundle: ModelBundle) -> str:
    size, thresholds = bundle.preprocess.size, bundle.thresholds
    return (
        f"{bundle.path}: all {len(bundle.files)} files as saved, {' / '.join(bundle.labels)}, "
        f"{size} x {size} px, clear below {thresholds.clear_below:g}, crack from "
        f"{thresholds.crack_from:g}, digest {bundle.digest[:12]}"
    )


def _replays(bundle: ModelBundle, variant: Variant, golden: Golden) -> Iterator[Check]:
    """Predict the golden images with a variant on the CPU and, if there is one, on the GPU."""
    from inspector.engines.onnxruntime import built_for_cuda

    if variant.backend != "onnxruntime":
        finding = f"{variant.file} was not run: it is a program, and runs only on demand"
        yield Check(variant.backend, Health.OK, finding)
        return
    yield _replay(bundle, variant, golden, variant.backend, "cpu")
    if installed_version("openvino"):
        yield _replay(bundle, variant, golden, "openvino", "cpu")
    if has_nvidia_driver() and built_for_cuda():
        yield _replay(bundle, variant, golden, variant.backend, "cuda")


def _replay(
    bundle: ModelBundle, variant: Variant, golden: Golden, engine: str, device: str
) -> Check:
    from inspector.engines import open_backend
    from inspector.engines.parity import parity

    try:
        opened = open_backend(bundle, engine, device=device, precision=variant.precision)
        with closing(opened) as backend:
            found = backend.run(golden.pixels_NHWC)
            where = f"{variant.precision} on {backend.device} ({', '.join(backend.providers)})"
    except (InspectorError, ImportError) as error:
        remedy = "choose another --device or --backend, or install this one again"
        if device == "cuda":
            remedy = 'pip install "crack-inspector[gpu]", or scan with --device cpu'
        return Check(engine, Health.FAIL, str(error), remedy)
    report = parity(golden.names, golden.scores, found, bundle.thresholds)
    return _judge_replay(engine, where, report, exact=variant.precision == "fp32")


def _replay_dense(bundle: ModelBundle, variant: Variant, golden: Golden) -> Check:
    """Predict the golden images, each alone, with a variant for photos at their own scale."""
    from inspector.engines.combined import chain
    from inspector.engines.dense import open_dense
    from inspector.engines.parity import parity, settled
    from inspector.model.verdict import probability

    name = "dense view"
    try:
        with closing(open_dense(bundle, device="cpu", precision=variant.precision)) as engine:
            log_odds_N, ood_N = engine.judge_lone(golden.pixels_NHWC)
    except (InspectorError, ImportError) as error:
        return Check(name, Health.FAIL, str(error), "install crack-inspector again")
    p_N = probability(log_odds_N / bundle.temperature).astype(np.float32)
    found = Scores(p_N, golden.scores.cam_NHW, ood_N)
    # It decides no more than its variant for tiles.
    band = chain(bundle, variant.precision, bundle.thresholds)[variant.precision]
    found = settled(found, golden.scores, band.contains(found))
    report = parity(golden.names, golden.scores, found, bundle.thresholds)
    where = f"{variant.precision} on {engine.device}"
    return _judge_replay(name, where, report, exact=variant.precision == "fp32")


def _judge_replay(engine: str, where: str, report: ParityReport, *, exact: bool) -> Check:
    """Require equal verdicts and, if `exact`, equal probabilities up to rounding."""
    from inspector.engines.parity import PROBABILITY_TOLERANCE

    finding = (
        f"{where}: {report.images} golden images, largest difference "
        f"{report.max_difference:.1e}, {len(report.verdict_flips)} other verdicts"
    )
    close = report.max_difference <= PROBABILITY_TOLERANCE or not exact
    if not report.verdict_flips and close:
        return Check(engine, Health.OK, finding)
    return Check(
        engine,
        Health.FAIL,
        f"{finding}; {report.worst}",
        "do not trust verdicts from this engine on this machine; use another --device or "
        "--backend, and report this",
    )
