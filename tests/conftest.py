"""A small model bundle that every suite may use: a real ResNet18, really exported."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pages import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.model.bundle import ModelBundle
    from inspector.model.ood import OodHead

# Before torch is loaded: on images this small its threads only wait for each other, which is five
# times slower where other work runs on the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hundreds of processes are started here; without it, each would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

TINY_SIZE = 64


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """What is measured in tests is not remembered for real scans, nor the other way round."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


LONG_FILES = (
    "journeys/test_learning.py", "journeys/test_scans.py", "bench/test_run.py",
    "bench/faults/test_run.py", "export/test_reduced.py", "training/test_train.py",
    "journeys/test_streams.py", "export/test_narrow.py", "bench/test_context.py",
    "scanning/test_big_photos.py", "export/test_run.py", "reviewing/test_browser.py",
)  # fmt: skip
"""Files that take half a minute or more, the longest first: begun last, one process would wait for
them alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first."""
    places = {str(Path(__file__).parent / name): at for at, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(str(item.path), len(places)))


@pytest.fixture(scope="session")
def tiny_bundle_dir(request, tmp_path_factory) -> Path:
    """A complete bundle with 64 px input, one for all processes of a run; copy it before changing
    anything in it."""
    from export import ExportConfig, export_bundle

    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # pytest-xdist
        shared = shared.parent
    path = shared / "tiny" / "bundle"
    with waited_for(shared / "tiny.lock"):
        if not path.exists():
            save_untrained_bundle(shared / "made")
            export_bundle(ExportConfig(bundle=shared / "made"))
            path.parent.mkdir()
            (shared / "made").rename(path)
    return path


@contextmanager
def waited_for(file: Path) -> Iterator[None]:
    """Hold the lock of a file, once nobody else does."""
    from inspector.core.durable import locked
    from inspector.errors import BusyError

    while True:
        with suppress(BusyError), locked(file):
            yield
            return
        time.sleep(0.1)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_bundle_dir) -> ModelBundle:
    """Its probabilities spread over both sides of both thresholds."""
    from inspector.model.bundle import ModelBundle

    return ModelBundle.load(tiny_bundle_dir, trust=True)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium. For a module, because its event loop must not outlive it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page was not opened")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def tiny_bundle_copy(tiny_bundle_dir, tmp_path) -> ModelBundle:
    """The same, to be changed."""
    import shutil

    from inspector.model.bundle import ModelBundle

    shutil.copytree(tiny_bundle_dir, tmp_path / "bundle")
    return ModelBundle.load(tmp_path / "bundle")


def save_untrained_bundle(path: Path, *, size: int = TINY_SIZE, seed: int = 0) -> ModelBundle:
    """A bundle without variants, around a random network whose logits are stretched over the
    golden images so that verdicts differ, with batch norms that do something."""
    import torch
    from safetensors.torch import save_file

    from inspector.model.bundle import WEIGHTS, ModelBundle, Thresholds
    from inspector.model.network import build_network, to_storage
    from inspector.model.preprocess import PreprocessSpec

    path.mkdir(parents=True)
    spec = PreprocessSpec(size=size)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = build_network("random").eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.05)
                module.running_var.uniform_(0.8, 1.2)
                module.weight.uniform_(0.8, 1.2)
                module.bias.normal_(0, 0.05)
        _stretch(network, spec)
        domain = _familiar_with_golden_images(network, spec)
    save_file(to_storage(network, domain), path / WEIGHTS)
    bundle = ModelBundle(
        path=path,
        labels=("Negative", "Positive"),
        positive="Positive",
        preprocess=spec,
        temperature=1.25,
        thresholds=Thresholds(clear_below=0.3, crack_from=0.7, chosen="for tests"),
        files={},
    ).with_files(WEIGHTS)
    bundle.save()
    return bundle


def _familiar_with_golden_images(network, spec) -> OodHead:
    import torch

    from export.photos import golden_inputs
    from inspector.model.network import DeployedModel
    from inspector.model.ood import fit_ood_head, pool_for_ood

    model = DeployedModel(network, spec, temperature=1.0, positive_index=1).eval()
    seen = model.stages(model.normalise(torch.from_numpy(golden_inputs(spec.size)[1])))
    pooled_NF = pool_for_ood(seen)
    return fit_ood_head(pooled_NF, pooled_NF[3:6], least=1)


def _stretch(network, spec) -> None:
    """Scale and shift the head until the golden images' log odds have mean 0 and spread 2."""
    import torch

    from export.photos import golden_inputs
    from inspector.model.network import DeployedModel

    model = DeployedModel(network, spec, temperature=1.0, positive_index=1).eval()
    pooled = model.features(model.normalise(torch.from_numpy(golden_inputs(spec.size)[1])))
    network.fc.bias.zero_()
    logits = network.fc(pooled.mean(dim=(2, 3)))
    odds = logits[:, 1] - logits[:, 0]
    gain = 2 / odds.std()
    network.fc.weight.mul_(gain)
    network.fc.bias[1] = -gain * odds.mean()
