"""The low-resolution student: what the first stage of a cascade computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from safetensors import safe_open
from torch import Tensor, nn

from inspector.bundle import WEIGHTS
from inspector.errors import BundleError
from inspector.network import DeployedModel, from_storage, read_weights
from inspector.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from pathlib import Path

    from torchvision.models import ResNet

    from inspector.bundle import ModelBundle

TEXTURES = 256
"""Texture statistics: mean and standard deviation of each of layer2's 128 channels."""
COMPONENTS = 16
"""Principal components of them in which strangeness is measured; with more of them, surfaces it
has learned from look strange too."""
_LEAST_SPREAD = 0.01
_LIFT = 3.0
"""Log odds by which an image that is e times as far from the familiar as usual is less clear;
chosen among 0 to 5 on validation images, where it almost halved what is wrongly called clear."""


class StudentModel(DeployedModel):
    """A `DeployedModel` that calls nothing clear whose surface is strange to it.

    Strangeness is the mean squared Mahalanobis distance, over `COMPONENTS` principal components,
    of the image's texture statistics from those of the clear images it learned from (Lee et al.
    2018, "A simple unified framework for detecting out-of-distribution samples", with texture
    statistics instead of class means). It moves the log odds of a clear-looking image towards 0,
    which no cascade decides, and never beyond. `probabilities` then follow from
    `slope` x log odds + `offset`, fitted to the teacher's probabilities.
    """

    def __init__(
        self, network: ResNet, spec: PreprocessSpec, temperature: float, positive_index: int
    ) -> None:
        super().__init__(network, spec, temperature, positive_index)
        self.register_buffer("whitening", torch.zeros(TEXTURES, COMPONENTS))
        self.register_buffer("centre", torch.zeros(COMPONENTS))
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    def stages(self, images_NHWC: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 (N, H, W, 3) -> texture statistics (N, `TEXTURES`), last features (N, 512, h, w).

        Textures are statistics of layer2: deeper layers have unlearned what does not matter to
        cracks, and call every concrete the same.
        """
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(self.normalise(images_NHWC)))))
        x = net.layer2(net.layer1(x))
        mean_NC = x.mean(dim=(2, 3))
        spread_NC = ((x - mean_NC[:, :, None, None]) ** 2).mean(dim=(2, 3)).sqrt()
        return torch.cat([mean_NC, spread_NC], dim=1), cast(Tensor, net.layer4(net.layer3(x)))

    def log_odds(self, features: Tensor) -> Tensor:
        """Last features -> log odds of a crack (N,), before strangeness, slope and offset."""
        logits = self.network.fc(features.mean(dim=(2, 3)))
        return cast(Tensor, logits[:, self.positive_index] - logits[:, 1 - self.positive_index])

    def strangeness(self, textures_NT: Tensor) -> Tensor:
        """About 1 for what it learned from, more for other surfaces (N,)."""
        placed_NK = textures_NT @ cast(Tensor, self.whitening) - cast(Tensor, self.centre)
        return (placed_NK**2).mean(dim=1)

    def learn_textures(self, textures_NT: Tensor) -> None:
        """Take the textures of N > `COMPONENTS` clear images for the familiar ones."""
        mean_T, spread_T = textures_NT.mean(dim=0), textures_NT.std(dim=0)
        # A channel or component that never varies would make any other image infinitely strange.
        spread_T = spread_T.clamp(min=_LEAST_SPREAD * float(spread_T.mean()) + 1e-6)
        _, singular, axes = torch.linalg.svd((textures_NT - mean_T) / spread_T, full_matrices=False)
        sizes_K = singular[:COMPONENTS] / len(textures_NT) ** 0.5
        sizes_K = sizes_K.clamp(min=_LEAST_SPREAD * float(sizes_K[0]))
        whitening = axes[:COMPONENTS].T / sizes_K / spread_T[:, None]
        # In half precision from the start, as it is stored: what is measured is what is shipped.
        self.whitening = whitening.half().float()
        self.centre = mean_T @ self.whitening

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        textures_NT, features = self.stages(images)
        seen_N = self.log_odds(features)
        lift_N = _LIFT * torch.relu(torch.log(self.strangeness(textures_NT) + 1e-6))
        doubted_N = torch.minimum(seen_N + lift_N, seen_N.clamp(min=0))
        odds_N = cast(Tensor, self.slope) * doubted_N + cast(Tensor, self.offset)
        pair = [torch.zeros_like(odds_N), odds_N]
        probabilities = torch.softmax(
            torch.stack(pair if self.positive_index else pair[::-1], dim=1), dim=1
        )
        kernel = self.network.fc.weight[self.positive_index].view(1, -1, 1, 1)
        return probabilities, nn.functional.conv2d(features, kernel).squeeze(1)


def new_student(bundle: ModelBundle, size: int) -> StudentModel:
    """One that has not learned yet. It starts from the teacher's weights: cracks look alike at
    both resolutions."""
    network = from_storage(read_weights(bundle.file(WEIGHTS)))
    spec = PreprocessSpec(size=size, mean=bundle.preprocess.mean, std=bundle.preprocess.std)
    return StudentModel(network, spec, 1.0, bundle.positive_index)


def load_student(file: Path, bundle: ModelBundle) -> tuple[StudentModel, int]:
    """The student that `inspector.train.distil` wrote, in evaluation mode, and its input side.
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
