"""The student learns the teacher's verdicts, and calls nothing clear that is strange to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from inspector.errors import BundleError, DataError, UsageError
from inspector.model.bundle import Thresholds
from inspector.model.student import (
    TEXTURES,
    Strangeness,
    StudentModel,
    load_student,
    new_student,
    textures_of,
)
from inspector.training.distil import DistilConfig, distil, verdict_loss

LIMITS = Thresholds(clear_below=0.2, crack_from=0.7)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos" / "wall"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(6):
        pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return tmp_path / "photos"


@pytest.fixture
def student(tiny_bundle) -> StudentModel:
    return new_student(tiny_bundle, 32).eval()


def test_it_is_written_and_read_back_to_the_bit(tiny_bundle_copy, photos):
    seen = []
    config = DistilConfig(
        bundle=tiny_bundle_copy.path, photos=photos, size=32, lessons=80, epochs=1, batch_size=8,
        workers=0, device="cpu",
    )  # fmt: skip
    file = distil(config, lambda phase, done, total, loss: seen.append((phase, done, total)))
    assert ("teaching", 80, 80) in seen and ("learning", 10, 10) in seen
    model, size = load_student(file, tiny_bundle_copy)
    assert size == 32
    pixels = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        probabilities, cam, domain = model(pixels)
    assert probabilities.shape == (3, 2) and cam.shape == (3, 1, 1) and domain.shape == (3,)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(3))
    first = file.read_bytes()
    assert distil(config).read_bytes() == first, "same seed, same student"


def test_what_is_far_from_the_familiar_is_strange():
    torch.manual_seed(0)
    layer2 = torch.rand(200, TEXTURES // 2, 4, 4)
    head = Strangeness()
    familiar = textures_of([layer2, layer2])
    head.learn(familiar, familiar)
    scores = head.score(head([layer2, layer2]))
    assert float(scores.median()) == pytest.approx(1) and float(scores.max()) < 3
    usual = head([layer2, layer2])
    assert float((usual**2).mean()) == pytest.approx(1.0, rel=0.1)
    assert float(head([layer2, layer2[:1] + 5])) > 3 * float(usual.max())


def test_a_crack_stays_a_crack_however_strange(student, monkeypatch):
    odds = torch.tensor([-8.0, -1.0, 0.5, 8.0])
    monkeypatch.setattr(student, "log_odds", lambda _: odds)
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    found = []
    for strangeness in (1.0, 3.0**0.5, 1e4):
        monkeypatch.setattr(student.domain, "forward", lambda _, s=strangeness: torch.full((4,), s))
        with torch.inference_mode():
            found.append(student(images)[0][:, student.positive_index])
    plain, some, much = found
    torch.testing.assert_close(plain, torch.sigmoid(odds))
    torch.testing.assert_close(some[2:], plain[2:])
    torch.testing.assert_close(much, torch.tensor([0.5, 0.5, *plain[2:]]))
    assert plain[0] < some[0] < 0.5


def test_the_loss_weighs_what_the_cascade_must_not_get_wrong():
    def loss(odds: float, p: float) -> float:
        return float(verdict_loss(torch.tensor([odds]), torch.tensor([p]), LIMITS))

    assert loss(-3, 0.9) > loss(0, 0.9) and loss(3, 0.05) > loss(0, 0.05)
    assert loss(-4, 0.5) > loss(-1.4, 0.5) and loss(4, 0.5) > loss(0.9, 0.5)
    assert loss(-6, 0.05) < loss(-1, 0.05) < loss(3, 0.05)
    assert loss(6, 0.95) < loss(1, 0.95) < loss(-3, 0.95)
    best = min(np.linspace(-5, 5, 201), key=lambda odds: loss(float(odds), 0.5))
    assert np.log(0.2 / 0.8) < best < np.log(0.7 / 0.3), "review lies between the thresholds"


def test_what_cannot_work_is_said(tiny_bundle_copy, photos, tmp_path):
    with pytest.raises(UsageError, match="low resolution of 8 px"):
        DistilConfig(bundle=tiny_bundle_copy.path, photos=photos, size=8)
    with pytest.raises(UsageError, match="not below the model's 64 px"):
        distil(DistilConfig(bundle=tiny_bundle_copy.path, photos=photos, size=64))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no photos"):
        distil(DistilConfig(bundle=tiny_bundle_copy.path, photos=tmp_path / "none", size=32))
    with pytest.raises(BundleError, match="no weights"):
        load_student(tmp_path / "none.safetensors", tiny_bundle_copy)
