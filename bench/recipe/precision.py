"""The precision that the recipe's trainings compute in."""

from __future__ import annotations

import torch

_CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Instructions of x86 and Arm CPUs; without them bfloat16 takes seven times as long as float32."""


def mixed_precision(device: str) -> torch.autocast:
    """Autocast to bfloat16 on `cuda`, and on a `cpu` that has instructions for it."""
    able = torch.cpu.get_capabilities()
    enabled = device != "cpu" or any(able.get(name) for name in _CPU_BFLOAT16)
    return torch.autocast(device, torch.bfloat16, enabled=enabled)
