"""PyTorch's own ways to run the weights, which scans do not offer."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.engines import EngineSpec
from inspector.engines.torch import EagerBackend
from inspector.model.bundle import ModelBundle


class TorchVariant(EagerBackend):
    """Eager PyTorch, in the spec's precision (by autocast), memory layout, compiled or not."""

    def __init__(self, bundle: ModelBundle, spec: EngineSpec, *, threads: int) -> None:
        super().__init__(bundle, device=spec.device, threads=threads)
        self.name = spec.engine
        self.stages = (f"{spec.precision}@{bundle.preprocess.size}",)
        if spec.engine == "channels-last":
            self._model = self._model.to(memory_format=torch.channels_last)
        if spec.engine == "compile":
            self._model = torch.compile(self._model)
        if spec.precision == "bf16":
            self._model = _in_bfloat16(self._model, self._device.type)


def _in_bfloat16(model: torch.nn.Module, device: str) -> torch.nn.Module:
    class Mixed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            with torch.autocast(device, torch.bfloat16):
                answers = self.model(images)
            return tuple(answer.float() for answer in answers)

    return Mixed()
