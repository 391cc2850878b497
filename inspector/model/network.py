"""Network: torchvision's ResNet18 with two outputs, and the form in which it is deployed.

It is the only definition of what the model computes; train, export and the torch engines use it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet, ResNet18_Weights, resnet18

from inspector.core.text import plain_table
from inspector.errors import BundleError, DownloadError
from inspector.model.bundle import BUNDLE_JSON, DEFAULT_PATH, WEIGHTS, ModelBundle
from inspector.model.ood import OodHead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.model.preprocess import PreprocessSpec

FEATURES = 512
"""Channels of ResNet18's last block."""
CLASSES = 2
_DOMAIN = "domain."
"""Prefix of the out-of-distribution head's tensors, beside torchvision's names."""


def build_network(init: str) -> ResNet:
    """Build ResNet18 with `fc` as `Linear(512, 2)`.

    Args:
        init: `imagenet` (torchvision's download), `default` (the shipped bundle's weights),
            `random`, or a path to a bundle or to a checkpoint (`.safetensors`, `.pth`) with
            torchvision's key names, whose `fc` is used only if it has two outputs.

    Raises:
        DownloadError, BundleError: The weights cannot be had; the message says what else to do.
    """
    network = resnet18(weights=None)
    network.fc = nn.Linear(FEATURES, CLASSES)
    if init == "imagenet":
        _load_backbone(network, _download_imagenet())
    elif init != "random":
        path = _initial_path(init)
        _load_backbone(network, read_weights(path / WEIGHTS if os.path.isdir(path) else path))
    return network


def initial_bundle(init: str) -> ModelBundle | None:
    """The bundle that `init` names, as for `build_network`; None where it names something else.
    Raises BundleError."""
    path = None if init in ("imagenet", "random") else _initial_path(init)
    return ModelBundle.load(path) if path and os.path.isfile(path / BUNDLE_JSON) else None


def _initial_path(init: str) -> Path:
    return DEFAULT_PATH if init == "default" else Path(init)


def _download_imagenet() -> dict[str, Tensor]:
    try:
        return dict(ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True))
    except Exception as error:  # torch.hub lets urllib, socket, ssl and hash errors through
        raise DownloadError(
            f"the ImageNet weights could not be downloaded ({error}); start from the shipped model "
            "with --init default, or from a file you have with --init PATH"
        ) from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read tensors by torchvision's names. Raises BundleError; never unpickles code."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except FileNotFoundError as error:
        raise BundleError(f"no weights at {file}") from error
    except Exception as error:  # torch and safetensors raise many types on other files
        raise BundleError(
            f"{file} does not hold plain ResNet18 weights (safetensors, or a .pth that loads with "
            f"weights_only=True): {error}"
        ) from error


def _load_backbone(network: ResNet, weights: dict[str, Tensor]) -> None:
    usable = {name: w for name, w in weights.items() if not name.startswith(_DOMAIN)}
    head = usable.get("fc.weight")
    if getattr(head, "shape", None) != (CLASSES, FEATURES):
        usable.pop("fc.weight", None)
        usable.pop("fc.bias", None)
    try:
        outcome = network.load_state_dict(usable, strict=False)
    except RuntimeError as error:
        raise BundleError(f"these weights do not fit torchvision's resnet18: {error}") from error
    missing = [name for name in outcome.missing_keys if not name.startswith("fc.")]
    if missing or outcome.unexpected_keys:
        wrong = ", ".join([*missing, *outcome.unexpected_keys][:3])
        raise BundleError(f"these weights do not fit torchvision's resnet18 (first: {wrong})")


def to_storage(network: nn.Module, domain: OodHead | None = None) -> dict[str, Tensor]:
    """Make the tensors to save: matrices and kernels in half precision, the rest as it is.

    Batch-norm variances can be below half precision's smallest normal number. After saving, go on
    with `from_storage` of the result, so that what is measured is what is shipped.
    """
    state = dict(network.state_dict())
    if domain is not None:
        state |= {f"{_DOMAIN}{name}": tensor for name, tensor in domain.state_dict().items()}
    return {
        name: tensor.half().contiguous() if tensor.dim() > 1 else tensor.contiguous()
        for name, tensor in state.items()
    }


def from_storage(weights: dict[str, Tensor]) -> ResNet:
    """Restore the float32 network, in evaluation mode, from `to_storage`. Raises BundleError."""
    network = build_network("random")
    with _fitting():
        network.load_state_dict({n: w for n, w in weights.items() if not n.startswith(_DOMAIN)})
    return network.eval()


def ood_from_storage(weights: dict[str, Tensor]) -> OodHead:
    """Restore the out-of-distribution head from `to_storage`; where none was saved, one that scores
    everything 0. Raises BundleError."""
    if not any(name.startswith(_DOMAIN) for name in weights):
        return OodHead()
    with _fitting():
        return OodHead.like(weights, _DOMAIN)


@contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, KeyError, TypeError) as error:  # a tensor more or less, or of other sides
        what = f"{error}".replace("\n", " ")
        raise BundleError(f"weights of another network ({what:.200}); export it again") from error


class DeployedModel(nn.Module):
    """Network as it is exported: from pixels to calibrated probabilities, activation map and
    out-of-distribution score.

    `forward(images)`: uint8 (N, H, W, 3) RGB -> `probabilities` float32 (N, 2) in the bundle's
    label order, `cam` float32 (N, h, w), the activation map of the crack class, and `domain`
    float32 (N,), the out-of-distribution score (`OodHead`). Global average pooling and the linear
    layer commute, so the map's mean plus the bias is exactly the crack logit before the
    temperature (Zhou et al. 2016).
    """

    def __init__(
        self,
        network: ResNet,
        spec: PreprocessSpec,
        temperature: float,
        positive_index: int,
        domain: OodHead | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.domain = domain or OodHead()
        self.positive_index = positive_index
        self.temperature = temperature
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        self.register_buffer("scale", (1 / (255 * std)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, images_NHWC: Tensor) -> Tensor:
        """Normalise as for ImageNet: uint8 (N, H, W, 3) -> float32 (N, 3, H, W)."""
        pixels = images_NHWC.permute(0, 3, 1, 2).float()
        return pixels * cast(Tensor, self.scale) + cast(Tensor, self.shift)

    def stages(self, x_NCHW: Tensor) -> list[Tensor]:
        """Compute the outputs of layer1 to layer4, (N, 64 to 512, h, w), from normalised pixels."""
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(x_NCHW))))
        outputs = []
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = layer(x)
            outputs.append(x)
        return outputs

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Compute the last block's features (N, 512, h, w) from normalised pixels."""
        return self.stages(x_NCHW)[-1]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stages = self.stages(self.normalise(images))
        features = stages[-1]
        logits = self.network.fc(features.mean(dim=(2, 3)))
        probabilities = torch.softmax(logits / self.temperature, dim=1)
        return probabilities, self.activation_map(features), cast(Tensor, self.domain(stages))

    def activation_map(self, features: Tensor) -> Tensor:
        """Compute the crack class's activation map (N, h, w) from the last features."""
        kernel = self.network.fc.weight[self.positive_index].view(1, FEATURES, 1, 1)
        return nn.functional.conv2d(features, kernel).squeeze(1)


class DenseModel(nn.Module):
    """Network as it looks at a photo at its own scale: every window's answer from one pass.

    `forward(images)`: uint8 (N, H, W, 3) RGB, sides of multiples of 32 and at least `size` px ->
    `log_odds` float32 (N, h, w), the evidence of each position of the last features' grid (its mean
    over the positions of a window is the log odds of that window, before any temperature), and
    `window_domain` float32 (N, rows, columns), the out-of-distribution score of each window. Inside
    a larger image a window sees its neighbours where a tile's border is padded with zeros.
    """

    def __init__(self, model: DeployedModel, size: int) -> None:
        """`size` is the side of a window, that of the model's input."""
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        stages = self.model.stages(self.model.normalise(images))
        layer, crack = self.model.network.fc, self.model.positive_index
        kernel = (layer.weight[crack] - layer.weight[1 - crack]).view(1, FEATURES, 1, 1)
        bias = (layer.bias[crack] - layer.bias[1 - crack]).view(1)
        log_odds = nn.functional.conv2d(stages[-1], kernel, bias).squeeze(1)
        return log_odds, self.model.domain.moving(stages, self.size)


def load_deployed(bundle: ModelBundle) -> DeployedModel:
    """Load a bundle's model as eager torch, in evaluation mode: the reference for every export."""
    weights = read_weights(bundle.file(WEIGHTS))
    model = DeployedModel(
        from_storage(weights),
        bundle.preprocess,
        bundle.temperature,
        bundle.positive_index,
        ood_from_storage(weights),
    )
    return model.eval()


def outline(network: nn.Module) -> list[str]:
    """A network as a table: its parts, what they are, their parameters and how many are trained."""
    parts = [*network.named_children(), ("all", network)]
    rows = [
        [name, _kind(part) if name != "all" else "", f"{_count(part):,}", f"{_trained(part):,}"]
        for name, part in parts
    ]
    return plain_table((type(network).__name__, "layers", "parameters", "trained"), rows)


def _kind(part: nn.Module) -> str:
    if isinstance(part, nn.Sequential):
        return f"{len(part)} x {type(part[0]).__name__}"
    sizes = part.weight.shape[1::-1] if isinstance(part, nn.Conv2d | nn.Linear) else ()
    return " ".join([type(part).__name__, " to ".join(map(str, sizes))]).strip()


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _trained(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def describe(network: nn.Module) -> str:
    """Describe a network: layers as torch prints them, and the number of parameters."""
    return f"{network}\n{_count(network):,} parameters, {_trained(network):,} of them trained"
