"""The score itself: what it reads, how it is fitted, and what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from inspector.errors import DataError

GRID = 4
"""Cells along a side in which a stage is averaged before its statistics are taken."""
FEATURES = 64 + 128 + 256
"""Deviation over the cells of ResNet18's layer1 to layer3 channels."""
RIDGE = 5.0
"""Weight of the penalty on the direction, in units of the standardised features' variance; chosen
on validation images among 0.3 to 100. Less of it learns the synthetic pictures by heart."""
LEAST_FAMILIAR = 64
"""Training images without which there is no saying what is familiar."""
_LEAST_SPREAD = 0.01
_TAIL = 0.99


def pool_stages(stages: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation of every channel: (N, C, h, w) each -> (N, 2 x all channels),
    float32."""
    pooled = []
    for stage_NCHW in stages:
        x = stage_NCHW.float()
        pooled += [x.mean(dim=(2, 3)), _deviation(x)]
    return torch.cat(pooled, dim=1)


def pool_for_ood(stages: Sequence[Tensor]) -> Tensor:
    """What the score reads of the outputs of layer1 to layer4: how much every channel of the first
    three differs between `GRID` x `GRID` cells of the picture, (N, F), float32. Layer 4 calls
    everything crack or clear.

    Concrete hardly differs from cell to cell, an even colour not at all, and most things more. Few
    cells also keep the score cheap: ONNX Runtime averages in the memory layout of its
    convolutions, and only the cells have to be converted.
    """
    return torch.cat([_deviation(_cells(stage).float()) for stage in stages[:3]], dim=1)


def _cells(stage_NCHW: Tensor) -> Tensor:
    """Averages over `GRID` x `GRID` cells, which overlap where the side is no multiple; a map with
    a shorter side is its own cells there."""
    strides, sizes = [], []
    for side in stage_NCHW.shape[2:]:
        # In arithmetic alone: torch.jit.trace gives sides as tensors, and would warn of `max`.
        short = side < GRID
        strides.append(side // GRID + short)
        sizes.append(side - (GRID - 1) * (side // GRID + short) + (GRID - side) * short)
    return nn.functional.avg_pool2d(stage_NCHW, sizes, strides)


def _deviation(x_NCHW: Tensor) -> Tensor:
    """Standard deviation over each map (N, C)."""
    mean_NC11 = x_NCHW.mean(dim=(2, 3), keepdim=True)
    return ((x_NCHW - mean_NC11) ** 2).mean(dim=(2, 3)).sqrt()


class OodHead(nn.Module):
    """How foreign a picture is: 1 is usual among the training images, 2 is as odd as the oddest
    hundredth of them.

    A linear direction in the unevenness of layers 1 to 3, from training images to synthetic
    pictures of no concrete.
    """

    weight: Tensor
    offset: Tensor

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(features))
        self.register_buffer("offset", torch.zeros(()))

    @classmethod
    def like(cls, state: Mapping[str, Tensor], prefix: str = "domain.") -> Self:
        """The head that `state` holds under `prefix`. Raises KeyError if it holds none."""
        own = {k.removeprefix(prefix): v.float() for k, v in state.items() if k.startswith(prefix)}
        head = cls(len(own["weight"]))
        head.load_state_dict(own)
        return head

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Outputs of the network's layer1 to layer4 (N, C, h, w) -> scores (N,), float32."""
        return self.score(pool_for_ood(stages))

    def score(self, pooled_NF: Tensor) -> Tensor:
        """The same from pooled features."""
        return (pooled_NF * self.weight).sum(dim=1) + self.offset


def fit_ood_head(
    training_NF: Tensor, outliers_MF: Tensor, *, least: int = LEAST_FAMILIAR
) -> OodHead:
    """Pooled features of training images and of synthetic pictures of no concrete -> the head.

    Deterministic. Raises DataError with fewer than `least` training images, or without foreign
    ones.
    """
    if len(training_NF) < least or not len(outliers_MF):
        raise DataError(
            f"{len(training_NF)} training images and {len(outliers_MF)} others are too few to tell "
            f"foreign photos from them; at least {least} are needed"
        )
    weight_F = _direction(training_NF.double(), outliers_MF.double())
    scores_N = training_NF.double() @ weight_F
    usual = scores_N.median()
    unit = (scores_N.quantile(_TAIL) - usual).clamp(min=1e-6)
    head = OodHead(training_NF.shape[1])
    head.weight = (weight_F / unit).float()
    head.offset = (1 - usual / unit).float()
    return head


def _direction(training_NF: Tensor, outliers_MF: Tensor) -> Tensor:
    """Ridge regression of the label on standardised features, both kinds weighing the same."""
    both = torch.cat([training_NF, outliers_MF])
    spread_F = both.std(dim=0)
    # A channel that never varies would make any other image infinitely foreign.
    spread_F = spread_F.clamp(min=_LEAST_SPREAD * float(spread_F.mean()) + 1e-6)
    near, far = ((part - both.mean(dim=0)) / spread_F for part in (training_NF, outliers_MF))
    middle_F = (near.mean(dim=0) + far.mean(dim=0)) / 2
    moment_FF = sum(
        ((part - middle_F).T @ (part - middle_F) / len(part) / 2 for part in (near, far)),
        start=RIDGE * torch.eye(len(spread_F), dtype=both.dtype),
    )
    # Half the gap between the means is the moment of labels -1 and +1 about the middle.
    half_gap_F = (far.mean(dim=0) - near.mean(dim=0)) / 2
    return cast("Tensor", torch.linalg.solve(moment_FF, half_gap_F) / spread_F)
