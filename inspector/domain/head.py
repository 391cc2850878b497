"""The score itself: what it reads, how it is fitted, and what is stored of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

import torch
from torch import Tensor, nn

from inspector.errors import DataError

TEXTURES = 256
"""Mean and standard deviation of ResNet18's 128 layer2 channels."""
SHAPES = 512
"""The same of its 256 layer3 channels."""
COMPONENTS = 16
"""Directions in which the textures of concrete may vary freely."""
RIDGE = 3.0
"""Weight of the penalty on the linear part, in units of the standardised features' variance; chosen
on validation images among 0.1 to 10. Less of it learns the synthetic pictures by heart."""
LINEAR_WEIGHT = 2.0
"""Of the linear part against the texture part, each in units of its own spread."""
_LEAST_SPREAD = 0.01
_TAIL = 0.99


def pool_stages(stages: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation of every channel: (N, C, h, w) each -> (N, 2 x all channels),
    float32."""
    pooled = []
    for stage_NCHW in stages:
        x = stage_NCHW.float()
        mean_NC = x.mean(dim=(2, 3))
        spread_NC = ((x - mean_NC[:, :, None, None]) ** 2).mean(dim=(2, 3)).sqrt()
        pooled += [mean_NC, spread_NC]
    return torch.cat(pooled, dim=1)


def pool_for_domain(stages: Sequence[Tensor]) -> Tensor:
    """What the score reads of the outputs of layer1 to layer4: layer2's statistics, then layer3's,
    (N, F). Layer 1 sees pixels, and layer 4 calls everything crack or clear."""
    return pool_stages(stages[1:3])


class DomainHead(nn.Module):
    """How foreign a picture is: 1 is usual among the training images, 2 is as odd as the oddest
    hundredth of them.

    The sum of two parts. *Textures*: how far layer2's statistics lie off the `COMPONENTS`
    directions in which those of the training images vary most (the residual of ViM, Wang et al.
    2022, on earlier features). *Shapes*: a linear direction in layer3's statistics, from training
    images to synthetic pictures of no concrete. Neither part is enough: the first calls another
    camera foreign, the second knows only its synthetic pictures.
    """

    texture_centre: Tensor
    texture_scale: Tensor
    axes: Tensor
    shape_weight: Tensor
    texture_weight: Tensor
    offset: Tensor

    def __init__(
        self, textures: int = TEXTURES, shapes: int = SHAPES, components: int = COMPONENTS
    ) -> None:
        super().__init__()
        self.textures = textures
        self.register_buffer("texture_centre", torch.zeros(textures))
        self.register_buffer("texture_scale", torch.ones(textures))
        self.register_buffer("axes", torch.zeros(textures, components))
        self.register_buffer("shape_weight", torch.zeros(shapes))
        self.register_buffer("texture_weight", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    @classmethod
    def like(cls, state: Mapping[str, Tensor], prefix: str = "domain.") -> Self:
        """The head that `state` holds under `prefix`. Raises KeyError if it holds none."""
        own = {k.removeprefix(prefix): v.float() for k, v in state.items() if k.startswith(prefix)}
        head = cls(len(own["texture_centre"]), len(own["shape_weight"]), own["axes"].shape[1])
        head.load_state_dict(own)
        return head

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Outputs of the network's layer1 to layer4 (N, C, h, w) -> scores (N,), float32."""
        return self.score(pool_for_domain(stages))

    def score(self, pooled_NF: Tensor) -> Tensor:
        """The same from pooled features."""
        textures_NT, shapes_NS = pooled_NF[:, : self.textures], pooled_NF[:, self.textures :]
        linear_N = (shapes_NS * self.shape_weight).sum(dim=1)
        return linear_N + self.texture_weight * self.off_axes(textures_NT) + self.offset

    def off_axes(self, textures_NT: Tensor) -> Tensor:
        """Length of what the axes leave of the standardised textures (N,)."""
        placed_NT = (textures_NT - self.texture_centre) * self.texture_scale
        left_NT = placed_NT - (placed_NT @ self.axes) @ self.axes.T
        return (left_NT**2).sum(dim=1).sqrt()


def fit_domain(
    familiar_NF: Tensor,
    foreign_MF: Tensor,
    *,
    textures: int = TEXTURES,
    components: int = COMPONENTS,
) -> DomainHead:
    """Pooled features of training images and of synthetic pictures of no concrete -> the head.

    The first `textures` of the F features are layer2's. Deterministic. Raises DataError with fewer
    than four training images per component, or without foreign ones.
    """
    if len(familiar_NF) < 4 * components or not len(foreign_MF):
        raise DataError(
            f"{len(familiar_NF)} training images and {len(foreign_MF)} others are too few to tell "
            f"foreign photos from them; at least {4 * components} are needed"
        )
    head = DomainHead(textures, familiar_NF.shape[1] - textures, components)
    _fit_textures(head, familiar_NF[:, :textures].double())
    off_N = head.off_axes(familiar_NF[:, :textures])
    weight_S = _fit_shapes(familiar_NF[:, textures:].double(), foreign_MF[:, textures:].double())
    linear_N = (familiar_NF[:, textures:] * weight_S).sum(dim=1)
    head.shape_weight = weight_S * (LINEAR_WEIGHT / _spread(linear_N))
    head.texture_weight = 1 / _spread(off_N)
    return _in_units_of_the_familiar(head, familiar_NF)


def _fit_textures(head: DomainHead, textures_NT: Tensor) -> None:
    spread_T = textures_NT.std(dim=0)
    # A channel that never varies would make any other image infinitely foreign.
    spread_T = spread_T.clamp(min=_LEAST_SPREAD * float(spread_T.mean()) + 1e-6)
    mean_T = textures_NT.mean(dim=0)
    _, _, axes_RT = torch.linalg.svd((textures_NT - mean_T) / spread_T, full_matrices=False)
    head.texture_centre, head.texture_scale = mean_T.float(), (1 / spread_T).float()
    # In half precision from the start, as it is stored: what is measured is what is shipped.
    head.axes = axes_RT[: head.axes.shape[1]].T.half().float().contiguous()


def _fit_shapes(familiar_NS: Tensor, foreign_MS: Tensor) -> Tensor:
    """Ridge regression of the label on standardised features, both kinds weighing the same."""
    both = torch.cat([familiar_NS, foreign_MS])
    spread_S = both.std(dim=0)
    spread_S = spread_S.clamp(min=_LEAST_SPREAD * float(spread_S.mean()) + 1e-6)
    near, far = ((part - both.mean(dim=0)) / spread_S for part in (familiar_NS, foreign_MS))
    middle_S = (near.mean(dim=0) + far.mean(dim=0)) / 2
    moment_SS = sum(
        ((part - middle_S).T @ (part - middle_S) / len(part) / 2 for part in (near, far)),
        start=RIDGE * torch.eye(len(spread_S), dtype=both.dtype),
    )
    # Half the gap between the means is the moment of labels -1 and +1 about the middle.
    half_gap_S = (far.mean(dim=0) - near.mean(dim=0)) / 2
    return cast("Tensor", torch.linalg.solve(moment_SS, half_gap_S) / spread_S).float()


def _in_units_of_the_familiar(head: DomainHead, familiar_NF: Tensor) -> DomainHead:
    scores_N = head.score(familiar_NF)
    unit = _spread(scores_N)
    head.shape_weight = head.shape_weight / unit
    head.texture_weight = head.texture_weight / unit
    head.offset = 1 - scores_N.median() / unit
    return head


def _spread(values_N: Tensor) -> Tensor:
    """From the median to the 99th percentile."""
    return (values_N.quantile(_TAIL) - values_N.median()).clamp(min=1e-6)
