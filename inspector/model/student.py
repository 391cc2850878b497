"""The low-resolution student: what the first stage of a cascade computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn

from inspector.errors import BundleError
from inspector.model.bundle import WEIGHTS
from inspector.model.network import DeployedModel, from_storage, read_weights
from inspector.model.ood import pool_stages
from inspector.model.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torchvision.models import ResNet

    from inspector.model.bundle import ModelBundle

TEXTURES = 256
"""Texture statistics: mean and standard deviation of each of layer2's 128 channels."""
COMPONENTS = 16
"""Principal components of them in which strangeness is measured; with more of them, surfaces it
has learned from look strange too."""
_LEAST_SPREAD = 0.01
_TAIL = 0.99
_LIFT = 3.0
"""Log odds by which an image whose squared strangeness is e is less clear; chosen among 0 to 5 on
validation images, where it almost halved what is wrongly called clear."""


class Strangeness(nn.Module):
    """How strange a surface is to the student: about 1 for the clear images it learned from.

    Root mean squared Mahalanobis distance, over `COMPONENTS` principal components, of the image's
    texture statistics from theirs (Lee et al. 2018, "A simple unified framework for detecting
    out-of-distribution samples", with texture statistics instead of class means).
    """

    whitening: Tensor
    centre: Tensor
    usual: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("whitening", torch.zeros(TEXTURES, COMPONENTS))
        self.register_buffer("centre", torch.zeros(COMPONENTS))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Outputs of layer1 to layer4 (N, C, h, w) -> strangeness (N,)."""
        return self._distance(textures_of(stages))

    def score(self, strange_N: Tensor) -> Tensor:
        """Strangeness on the scale of `OodHead`: 1 is usual among the images it learned from, 2
        is as odd as the oddest hundredth of them, cracks included."""
        return 1 + (strange_N - self.usual) / self.spread

    def _distance(self, textures_NT: Tensor) -> Tensor:
        placed_NK = textures_NT @ self.whitening - self.centre
        return (placed_NK**2).mean(dim=1).sqrt()

    def learn(self, clear_NT: Tensor, textures_MT: Tensor) -> None:
        """Take the textures of N > `COMPONENTS` clear images for the familiar ones, and those of
        all M images, with cracks and without, for the scale of `score`."""
        mean_T, spread_T = clear_NT.mean(dim=0), clear_NT.std(dim=0)
        # A channel or component that never varies would make any other image infinitely strange.
        spread_T = spread_T.clamp(min=_LEAST_SPREAD * float(spread_T.mean()) + 1e-6)
        _, singular, axes = torch.linalg.svd((clear_NT - mean_T) / spread_T, full_matrices=False)
        sizes_K = singular[:COMPONENTS] / len(clear_NT) ** 0.5
        sizes_K = sizes_K.clamp(min=_LEAST_SPREAD * float(sizes_K[0]))
        whitening = axes[:COMPONENTS].T / sizes_K / spread_T[:, None]
        # In half precision from the start, as it is stored: what is measured is what is shipped.
        self.whitening = whitening.half().float()
        self.centre = mean_T @ self.whitening
        distance_M = self._distance(textures_MT)
        self.usual = distance_M.median()
        self.spread = (distance_M.quantile(_TAIL) - self.usual).clamp(min=_LEAST_SPREAD)


def textures_of(stages: Sequence[Tensor]) -> Tensor:
    """Texture statistics (N, `TEXTURES`). Those of layer2: deeper layers have unlearned what does
    not matter to cracks, and call every concrete the same."""
    return pool_stages(stages[1:2])


class StudentModel(DeployedModel):
    """A `DeployedModel` that calls nothing clear whose surface is strange to it.

    Strangeness, which is also its OOD score, moves the log odds of a clear-looking image
    towards 0, which no cascade decides, and never beyond. `probabilities` then follow from
    `slope` x log odds + `offset`, fitted to the teacher's probabilities.
    """

    def __init__(
        self, network: ResNet, spec: PreprocessSpec, temperature: float, positive_index: int
    ) -> None:
        super().__init__(network, spec, temperature, positive_index, Strangeness())
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    def log_odds(self, features: Tensor) -> Tensor:
        """Last features -> log odds of a crack (N,), before strangeness, slope and offset."""
        logits = self.network.fc(features.mean(dim=(2, 3)))
        return cast(Tensor, logits[:, self.positive_index] - logits[:, 1 - self.positive_index])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stages = self.stages(self.normalise(images))
        seen_N, strange_N = self.log_odds(stages[-1]), self.domain(stages)
        lift_N = _LIFT * torch.relu(torch.log(strange_N**2 + 1e-6))
        doubted_N = torch.minimum(seen_N + lift_N, seen_N.clamp(min=0))
        odds_N = cast(Tensor, self.slope) * doubted_N + cast(Tensor, self.offset)
        pair = [torch.zeros_like(odds_N), odds_N]
        probabilities = torch.softmax(
            torch.stack(pair if self.positive_index else pair[::-1], dim=1), dim=1
        )
        score_N = cast(Strangeness, self.domain).score(strange_N)
        return probabilities, self.activation_map(stages[-1]), score_N


def new_student(bundle: ModelBundle, size: int) -> StudentModel:
    """One that has not learned yet. It starts from the teacher's weights: cracks look alike at
    both resolutions."""
    network = from_storage(read_weights(bundle.file(WEIGHTS)))
    spec = PreprocessSpec(size=size, mean=bundle.preprocess.mean, std=bundle.preprocess.std)
    return StudentModel(network, spec, 1.0, bundle.positive_index)


def load_student(file: Path, bundle: ModelBundle) -> tuple[StudentModel, int]:
    """The student that `inspector.training.distil` wrote, in evaluation mode, and its input side.
    Raises BundleError when it is not there or another model's."""
    state = read_weights(file)
    with safe_open(file, "pt") as opened:
        size = int((opened.metadata() or {}).get("size", 0))
    student = new_student(bundle, size or bundle.preprocess.size)
    try:
        student.load_state_dict(state)
    except RuntimeError as error:
        raise BundleError(f"{file} holds no student of this model; distil it again") from error
    return student.eval(), size
