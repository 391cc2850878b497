"""Other ways to look with the model that comes along, without any training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.studies.training.measures import logits_of
from bench.studies.training.variations import SHIPPED
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.network import load_deployed
from inspector.model.preprocess import PreprocessSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.studies.training.measures import Development
    from inspector.model.network import DeployedModel

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    name: str
    what: str
    versions: Callable[[Tensor], tuple[Tensor, ...]] = lambda pixels_NHWC: (pixels_NHWC,)
    """Views of pixels (N, H, W, 3); each costs a pass, and their logits are averaged."""
    size: int = 224
    base: str = SHIPPED


def _mirrored(pixels_NHWC: Tensor) -> tuple[Tensor, ...]:
    return pixels_NHWC, pixels_NHWC.flip(2)


def _flipped(pixels_NHWC: Tensor) -> tuple[Tensor, ...]:
    return (*_mirrored(pixels_NHWC), *_mirrored(pixels_NHWC.flip(1)))


def _grey(pixels_NHWC: Tensor) -> tuple[Tensor, ...]:
    grey = (pixels_NHWC.float() @ torch.tensor(_LUMA)).round().to(torch.uint8)
    return (grey.unsqueeze(-1).expand(-1, -1, -1, 3),)


VIEWS = (
    View(name=SHIPPED, what="the shipped model as a scan uses it"),
    View(name="mirrored", what="mean of two views, 2 x the cost", versions=_mirrored),
    View(name="flipped", what="mean of four views, 4 x the cost", versions=_flipped),
    View(name="at-256", what="enlarged to 256 px, 1.3 x the cost", size=256),
    View(name="at-288", what="enlarged to 288 px, 1.7 x the cost", size=288),
    View(name="grey", what="colour taken away", versions=_grey),
)


def look(view: View, held: Development) -> NDArray[np.float32]:
    """Logits (N, 2) of the shipped model."""
    model = load_deployed(ModelBundle.load(DEFAULT_PATH))

    def judge(pixels_NHWC: Tensor) -> Tensor:
        said = [logits(model, pixels) for pixels in view.versions(pixels_NHWC)]
        return torch.stack(said).mean(dim=0)

    return logits_of(judge, held, PreprocessSpec(size=view.size))


def logits(model: DeployedModel, pixels_NHWC: Tensor) -> Tensor:
    """Before the temperature, (N, 2)."""
    features = model.features(model.normalise(pixels_NHWC))
    said: Tensor = model.network.fc(features.mean(dim=(2, 3)))
    return said
