"""Engines that are compared, and how each of them is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.answers import Rule
from inspector.core.machine import usable_cores
from inspector.engines import Backend, has_nvidia_driver
from inspector.model.bundle import NARROW, ModelBundle

PRECISIONS = ("fp32", "bf16", "fp16", "int8", NARROW)
CPU, CUDA = "cpu", "cuda"
USUAL = "onnxruntime"
"""The engine of a scan where nothing is recommended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to run the network. `cpu` and `cuda`: the precisions worth trying there."""

    module: str
    """The module that is imported to run it."""
    about: str
    cpu: tuple[str, ...] = ()
    cuda: tuple[str, ...] = ()
    scans: bool = True
    """`inspector scan` can use it."""
    slow: bool = False
    """It compiles for a minute before its first answer."""


_TORCH = "bench.torch_variants"
KINDS: Mapping[str, Kind] = {
    "onnxruntime": Kind(
        module="inspector.engines.onnxruntime", cpu=("fp32", "int8", NARROW),
        cuda=("fp32", "fp16"), about="ONNX Runtime",
    ),
    "openvino": Kind(
        module="inspector.engines.openvino", cpu=("fp32", "bf16", "int8"),
        about="OpenVINO on the bundle's ONNX files",
    ),
    "tensorrt": Kind(
        module="inspector.engines.tensorrt", cuda=("fp32", "fp16"),
        about="ONNX Runtime's TensorRT provider",
    ),
    "torchscript": Kind(
        module="inspector.engines.torch", cpu=("fp32",), cuda=("fp32",), scans=False,
        about="the exported TorchScript file",
    ),
    "eager": Kind(
        module=_TORCH, cpu=("fp32", "bf16"), cuda=("fp32", "bf16"), scans=False,
        about="the weights in PyTorch, operator by operator",
    ),
    "channels-last": Kind(
        module=_TORCH, cpu=("fp32", "bf16"), cuda=("fp32", "bf16"), scans=False,
        about="eager PyTorch with channels_last memory",
    ),
    "compile": Kind(
        module=_TORCH, cpu=("fp32",), cuda=("fp32",), scans=False, slow=True,
        about="torch.compile",
    ),
}  # fmt: skip
ENGINES = tuple(KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """An engine in one precision, on `cpu` or `cuda`."""

    engine: str
    precision: str
    device: str = CPU

    @property
    def name(self) -> str:
        return f"{self.engine} {self.precision}" + (f" on {CUDA}" if self.device == CUDA else "")

    @property
    def usual(self) -> bool:
        """Whether scans take this engine where nothing is recommended."""
        return self.engine == USUAL

    @property
    def scans(self) -> bool:
        """Whether a scan may be advised to use it: no gate has seen verdicts in bf16."""
        return KINDS[self.engine].scans and self.precision != "bf16"

    @property
    def rule(self) -> Rule:
        """Rule by which its answers are compared with the reference's."""
        return Rule.PROBABILITIES if self.precision == "fp32" else Rule.VERDICTS


def candidates(
    engines: tuple[str, ...] | None, precisions: tuple[str, ...] | None, device: str
) -> Iterator[EngineSpec]:
    """Every engine asked for (None: all, of all precisions), whether this machine can run it or
    not; `device` is `cpu`, `cuda`, or `auto` for both."""
    for engine in engines or ENGINES:
        for where, known in ((CPU, KINDS[engine].cpu), (CUDA, KINDS[engine].cuda)):
            for precision in known if device in ("auto", where) else ():
                if precision in (precisions or PRECISIONS):
                    yield EngineSpec(engine=engine, precision=precision, device=where)


def missing(spec: EngineSpec, *, slow: bool) -> str:
    """Why it is not even tried, in one sentence; empty when it is."""
    if spec.device == CUDA and not has_nvidia_driver():
        return "this machine has no NVIDIA driver"
    if KINDS[spec.engine].slow and not slow:
        return "it compiles for minutes; --full measures it, or naming it in --backends"
    return ""


def open_spec(bundle: ModelBundle, spec: EngineSpec) -> Backend:
    """The engine, with all usable cores on a CPU. Raises an InspectorError where it cannot run."""
    threads = usable_cores()
    if KINDS[spec.engine].module == _TORCH:
        from bench.torch_variants import TorchVariant

        return TorchVariant(bundle, spec, threads=threads)
    if (spec.engine, spec.precision) == ("openvino", "bf16"):
        from inspector.engines.openvino import OpenVinoBackend

        return OpenVinoBackend(bundle, device=spec.device, threads=threads, arithmetic="bf16")
    from inspector.engines import open_backend

    return open_backend(
        bundle, spec.engine, device=spec.device, precision=spec.precision, threads=threads
    )
