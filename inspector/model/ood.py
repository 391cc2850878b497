"""Out-of-distribution score: how much an image differs from the training images.

The score is linear in features that say how uneven an image is; `fit_ood_head` fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from inspector.errors import DataError

GRID = 4
"""Cells along a side in which a stage is averaged before its statistics are taken."""
FEATURES = 64 + 128 + 256
"""Number of features: channels of ResNet18's layer1 to layer3."""
RIDGE = 5.0
"""Weight of the penalty on the direction, in units of the standardised features' variance; chosen
on validation images among 0.3 to 100. With less, the fit memorises the synthetic outliers."""
MIN_TRAINING = 64
"""Training images below which nothing is fitted."""
_LEAST_SPREAD = 0.01
_TAIL = 0.99
STRIDES = (4, 8, 16, 32)
"""Pixels between neighbouring positions in layer1 to layer4."""


def pool_for_ood(stages: Sequence[Tensor]) -> Tensor:
    """Pool the features of the score from the outputs of layer1 to layer4: the deviation of every
    channel of the first three between `GRID` x `GRID` cells of the image, float32 (N, F).

    Layer 4 is left out: it calls everything crack or clear. Concrete hardly differs from cell to
    cell, an even colour not at all, and most other things more. Few cells also keep the score
    cheap: ONNX Runtime averages in the memory layout of its convolutions, and only the cells have
    to be converted.
    """
    return torch.cat([_deviation(_cells(stage).float()) for stage in stages[:3]], dim=1)


def _cells(stage_NCHW: Tensor) -> Tensor:
    """Average over `GRID` x `GRID` cells."""
    (high, down), (wide, across) = map(cells_along, stage_NCHW.shape[2:])
    return nn.functional.avg_pool2d(stage_NCHW, (high, wide), (down, across))


def cells_along(side: int) -> tuple[int, int]:
    """Size and distance of the cells along a side, in positions: they overlap where the side is no
    multiple of `GRID`; along a shorter side, each position is a cell."""
    # In arithmetic alone: torch.jit.trace gives sides as tensors, and would warn of `max`.
    short = side < GRID
    apart = side // GRID + short
    return side - (GRID - 1) * apart + (GRID - side) * short, apart


def _deviation(x_NCHW: Tensor) -> Tensor:
    """Standard deviation over each map (N, C)."""
    mean_NC11 = x_NCHW.mean(dim=(2, 3), keepdim=True)
    return ((x_NCHW - mean_NC11) ** 2).mean(dim=(2, 3)).sqrt()


def pool_moving(stages: Sequence[Tensor], size: int) -> Tensor:
    """Pool the same features for every window of `size` px of a larger image: from the outputs of
    layer1 to layer3, float32 (N, F, rows, columns). The windows are as far apart as the positions
    of layer 4's grid, and the cells of each are those of an image of its size."""
    moving = moving_cells(size)
    return torch.cat(
        [
            _moving_deviation(stage.float(), *cells)
            for stage, cells in zip(stages[:3], moving, strict=True)
        ],
        dim=1,
    )


def moving_cells(size: int) -> tuple[tuple[int, int, int], ...]:
    """Of layer1 to layer3, in their positions: the side of a cell, the distance of the cells of a
    window, and that of windows. What `_cells` comes to for images of `size` px, a multiple of 32
    and at least 64."""
    *strides, last = STRIDES
    return tuple((*cells_along(size // stride), last // stride) for stride in strides)


def _moving_deviation(stage_NCHW: Tensor, side: int, step: int, stride: int) -> Tensor:
    """`_deviation` between `GRID` x `GRID` cells, for windows `stride` positions apart."""
    pooled = nn.functional.avg_pool2d(stage_NCHW, side, 1)
    last = (GRID - 1) * step
    starts = [step * place for place in range(GRID)]
    cells = torch.stack(
        [
            pooled[:, :, y : y - last or None : stride, x : x - last or None : stride]
            for y in starts
            for x in starts
        ]
    )
    mean = cells.mean(dim=0, keepdim=True)
    return ((cells - mean) ** 2).mean(dim=0).sqrt()


class OodHead(nn.Module):
    """Out-of-distribution score: 1 is the median of the training images, 2 their 99th percentile.

    It is a linear direction in the features of `pool_for_ood`, from training images to synthetic
    outliers.
    """

    weight: Tensor
    offset: Tensor

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(features))
        self.register_buffer("offset", torch.zeros(()))

    @classmethod
    def like(cls, state: Mapping[str, Tensor], prefix: str = "domain.") -> Self:
        """Restore the head that `state` holds under `prefix`. Raises KeyError if there is none."""
        own = {k.removeprefix(prefix): v.float() for k, v in state.items() if k.startswith(prefix)}
        head = cls(len(own["weight"]))
        head.load_state_dict(own)
        return head

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Score the outputs of the network's layer1 to layer4 (N, C, h, w): float32 (N,)."""
        return self.score(pool_for_ood(stages))

    def moving(self, stages: Sequence[Tensor], size: int) -> Tensor:
        """Score every window of larger images: float32 (N, rows, columns), as `pool_moving`."""
        pooled_NFHW = pool_moving(stages, size)
        return torch.einsum("nfhw,f->nhw", pooled_NFHW, self.weight) + self.offset

    def score(self, pooled_NF: Tensor) -> Tensor:
        """Score pooled features (N, F): float32 (N,)."""
        return (pooled_NF * self.weight).sum(dim=1) + self.offset


def fit_ood_head(training_NF: Tensor, outliers_MF: Tensor, *, least: int = MIN_TRAINING) -> OodHead:
    """Fit the head to the pooled features of training images and of synthetic outliers.

    Deterministic. Raises DataError with fewer than `least` training images, or without outliers.
    """
    if len(training_NF) < least or not len(outliers_MF):
        raise DataError(
            f"{len(training_NF)} training images and {len(outliers_MF)} outliers are too few to "
            f"fit the out-of-distribution score; at least {least} training images are needed"
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
    # A channel that never varies would give any other image an infinite score.
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
