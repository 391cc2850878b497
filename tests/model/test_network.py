"""The network: where its weights may come from, and that its deployed form computes the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import ResNet, resnet18
from torchvision.transforms import functional as F

from inspector.errors import BundleError, DownloadError
from inspector.model.bundle import WEIGHTS, ModelBundle, Thresholds
from inspector.model.network import (
    DeployedModel,
    build_network,
    describe,
    from_storage,
    initial_bundle,
    load_deployed,
    outline,
    read_weights,
    to_storage,
)
from inspector.model.preprocess import PreprocessSpec
from tests.sandbox import as_nobody

SPEC = PreprocessSpec(size=64)


@pytest.fixture(scope="module")
def network() -> ResNet:
    """Random, but with batch norms that are not the identity and a head that has an opinion."""
    torch.manual_seed(0)
    made = build_network("random")
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.7, 1.3)
                module.weight.uniform_(0.7, 1.3)
                module.bias.normal_(0, 0.1)
        made.fc.bias.normal_()
    return from_storage(to_storage(made))


@pytest.fixture(scope="module")
def images_NHWC() -> torch.Tensor:
    return torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.manual_seed(1))


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_head_has_two_outputs():
    network = build_network("random")
    assert tuple(network.fc.weight.shape) == (2, 512)
    assert "Linear(in_features=512, out_features=2, bias=True)" in describe(network)
    assert any("layer1" in line and "2 x BasicBlock" in line for line in outline(network))
    assert outline(network)[-1].split() == ["all", "11,177,538", "11,177,538"]
    assert "11,177,538 parameters, 11,177,538 of them trained" in describe(network)


def test_describe_counts_what_is_frozen():
    network = build_network("random")
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    network.fc.requires_grad_(True)
    assert "1,026 of them trained" in describe(network)


# --- where weights come from ------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_imagenet_weights_from_a_file_keep_the_new_head(suffix, tmp_path):
    foreign = resnet18(weights=None).state_dict()  # 1000 classes
    path = tmp_path / f"resnet18.{suffix}"
    save_file(foreign, path) if suffix == "safetensors" else torch.save(foreign, path)
    state = build_network(str(path)).state_dict()
    assert state["fc.weight"].shape == (2, 512)
    for name in foreign.keys() - {"fc.weight", "fc.bias"}:
        assert torch.equal(state[name], foreign[name]), name


@pytest.mark.parametrize("as_bundle", [True, False])
def test_a_two_class_head_is_taken_over(as_bundle, network, tmp_path):
    save_file(to_storage(network), tmp_path / WEIGHTS)
    path = tmp_path if as_bundle else tmp_path / WEIGHTS
    assert equal(build_network(str(path)).state_dict(), network.state_dict())


def test_a_pickle_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"conv1.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(BundleError, match="weights_only"):
        build_network(str(tmp_path / "bomb.pth"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_files_that_hold_something_else(suffix, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    with pytest.raises(BundleError, match="no weights at"):
        build_network(str(path))
    for content in (b"", b"hello", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="does not hold plain ResNet18 weights"):
            build_network(str(path))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"epoch": 3, "state_dict": {}},
        {"fc.weight": 3},
        {"conv1.weight": torch.zeros(64, 1, 7, 7)},
    ],
    ids=["empty", "checkpoint", "no tensors", "grey input"],
)
def test_weights_of_another_network(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(BundleError, match="do not fit torchvision's resnet18"):
        build_network(str(tmp_path / "other.pth"))


def test_a_missing_layer_is_named(network, tmp_path):
    state = to_storage(network)
    del state["layer2.0.conv1.weight"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(BundleError, match=r"first: layer2\.0\.conv1\.weight"):
        build_network(str(tmp_path / "w.safetensors"))


def test_imagenet_without_a_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(DownloadError, match=r"--init default, or .*--init PATH") as caught:
        build_network("imagenet")
    assert "\n" not in str(caught.value)


# --- storage and deployment -------------------------------------------------------------------


def test_storage_round_trip_through_a_file(network, tmp_path):
    stored = to_storage(network)
    save_file(stored, tmp_path / WEIGHTS)
    again = from_storage(load_file(tmp_path / WEIGHTS))
    assert equal(again.state_dict(), network.state_dict())
    assert all(p.dtype == torch.float32 for p in again.parameters())
    assert not again.training
    assert equal(to_storage(again), stored)
    assert (tmp_path / WEIGHTS).stat().st_size < 23_000_000


def test_storage_keeps_small_variances(network):
    changed = from_storage(to_storage(network))
    changed.bn1.running_var.fill_(1e-9)  # 0 in half precision
    assert from_storage(to_storage(changed)).bn1.running_var.min() == np.float32(1e-9)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("fc.bias"),
        lambda weights: weights.update({"fc.bias": torch.zeros(7)}),
        lambda weights: weights.update({"more": torch.zeros(1)}),
        lambda weights: weights.update({"domain.weight": torch.zeros(3)}),
        lambda weights: weights.update(
            {"domain.weight": torch.zeros(()), "domain.offset": torch.zeros(1)}
        ),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(change, network, tiny_bundle_copy):
    weights = to_storage(network)
    change(weights)
    save_file(weights, tiny_bundle_copy.file(WEIGHTS))
    with pytest.raises(BundleError, match="weights of another network") as caught:
        load_deployed(tiny_bundle_copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_deployed_model_is_torchvisions(temperature, network, images_NHWC):
    model = DeployedModel(network, SPEC, temperature, positive_index=1).eval()
    probabilities, _, _ = model(images_NHWC)
    x = torch.stack([F.to_tensor(image.numpy()) for image in images_NHWC])
    logits = network(F.normalize(x, list(SPEC.mean), list(SPEC.std)))
    torch.testing.assert_close(probabilities, torch.softmax(logits / temperature, dim=1))
    assert probabilities.dtype == torch.float32


@pytest.mark.parametrize("positive_index", [0, 1])
def test_the_activation_map_adds_up_to_the_logit(positive_index, network, images_NHWC):
    model = DeployedModel(network, SPEC, 2.0, positive_index)
    _, cam, _ = model(images_NHWC)
    assert cam.shape == (3, 2, 2)
    logits = network(model.normalise(images_NHWC))[:, positive_index]
    assert torch.allclose(cam.mean(dim=(1, 2)) + network.fc.bias[positive_index], logits, atol=1e-5)


def test_the_map_shows_where(network, images_NHWC):
    """A change at the lower left moves that quarter of the map most."""
    model = DeployedModel(network, PreprocessSpec(size=256), 1.0, 1)
    plain = torch.full((1, 256, 256, 3), 128, dtype=torch.uint8)
    spot = plain.clone()
    spot[:, 176:240, 16:80] = images_NHWC[0]
    moved = (model(spot)[1] - model(plain)[1]).abs()[0]
    quarters = torch.stack([half.sum() for row in moved.chunk(2, 0) for half in row.chunk(2, 1)])
    assert int(quarters.argmax()) == 2


def test_each_image_is_judged_alone(network, images_NHWC):
    model = DeployedModel(network, SPEC, 1.0, 1).eval()
    together, _, _ = model(images_NHWC)
    alone = torch.cat([model(images_NHWC[i : i + 1])[0] for i in range(3)])
    torch.testing.assert_close(together, alone)


def test_a_bundle_is_deployed_as_it_says(network, images_NHWC, tmp_path):
    save_file(to_storage(network), tmp_path / WEIGHTS)
    bundle = ModelBundle(
        path=tmp_path,
        labels=("Positive", "Negative"),
        positive="Positive",
        preprocess=SPEC,
        temperature=0.7,
        thresholds=Thresholds(),
        files={},
    ).with_files(WEIGHTS)
    expected = DeployedModel(network, SPEC, 0.7, positive_index=0)(images_NHWC)
    model = load_deployed(bundle)
    assert not model.training
    for got, wanted in zip(model(images_NHWC), expected, strict=True):
        assert torch.equal(got, wanted)


def test_weights_are_read_by_name(network, tmp_path):
    save_file(to_storage(network), tmp_path / WEIGHTS)
    assert equal(read_weights(tmp_path / WEIGHTS), to_storage(network))


def test_initial_bundle_of_what_may_not_be_looked_at_is_refused_in_one_line(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    init = str(tmp_path / "locked" / "model")
    with as_nobody():
        assert initial_bundle(init) is None
        with pytest.raises(BundleError, match="does not hold plain ResNet18 weights"):
            build_network(init)
