"""The band lets no choosing photo through to another verdict, and the gate refuses the rest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export import ExportConfig, export_bundle
from export.cascade import (
    FAMILIAR_SHARE,
    GUARD,
    _by_source,
    choose_band,
    choose_familiar,
    gate_cascade,
)
from inspector.engines import open_backend
from inspector.engines.cascade import Doubt
from inspector.engines.parity import differing, log_odds, settled
from inspector.errors import BundleError, ExportError, UsageError
from inspector.model.bundle import Cascade, ModelBundle, Thresholds
from inspector.scanning import ScanConfig, scan
from inspector.training.distil import DistilConfig, distil
from inspector.types import Scores

LIMITS = Thresholds(clear_below=0.2, crack_from=0.7)
FAMILIAR = 1.2
shares = st.floats(2**-10, 1 - 2**-10, width=32)
PASSED = {
    "images": 4000,
    "cracks": 2000,
    "sent_on": 0.3,
    "verdict_flips": [],
    "cracks_called_clear": 0,
}


def as_cascade(low: float, high: float) -> Cascade:
    return Cascade(
        file="m.onnx", backend="onnxruntime", precision="int8", size=32,
        clear_below=low, crack_from=high,
        familiar_below=FAMILIAR,
    )  # fmt: skip


def answered(p_N, ood_N=None):
    known = np.zeros(len(p_N), np.float32) if ood_N is None else ood_N
    return Scores(p_N, np.zeros((len(p_N), 1, 1), np.float32), known)


@given(st.lists(st.tuples(shares, shares), min_size=1, max_size=60))
def test_no_choosing_photo_gets_another_verdict(pairs):
    full_N, low_N = np.array(pairs, np.float32).T
    full, low = answered(full_N), answered(low_N)
    band = as_cascade(*choose_band(full, low, LIMITS, FAMILIAR))
    assert band.clear_below <= LIMITS.clear_below and band.crack_from >= LIMITS.crack_from
    final = settled(low, full, Doubt.between(band).about(low))
    assert not differing(full, final, LIMITS).any()
    decided_clear = low_N < np.float32(band.clear_below)
    wrong = full_N >= np.float32(LIMITS.clear_below)
    if decided_clear.any() and wrong.any():
        gap = log_odds(low_N[wrong]).min() - log_odds(low_N[decided_clear]).max()
        assert gap > GUARD - 1e-3


def test_where_nothing_is_safe_nothing_is_decided():
    full_N, low_N = np.array([[0.9, 0.1], [1e-9, 1 - 1e-9]], np.float32)
    low, high = choose_band(answered(full_N), answered(low_N), LIMITS, FAMILIAR)
    assert low < 1e-6 and high > 1 - 1e-6
    full_N, low_N = np.array([[0.9, 0.1], [0.0, 1.0]], np.float32)
    band = as_cascade(*choose_band(answered(full_N), answered(low_N), LIMITS, FAMILIAR))
    assert Doubt.between(band).about(answered(low_N)).all(), "as sure as can be, and wrong"


def test_what_is_foreign_is_left_to_the_model():
    """A photo that only the model knows to be foreign does not widen the band if the stage finds
    it strange, and none that the stage decides can be out of distribution on the model's scale."""
    limits = dataclasses.replace(LIMITS, out_of_distribution=1.5)
    ood_N = np.linspace(0.5, 1.4, 101, dtype=np.float32)
    full, low = (answered(np.full(101, 0.5, np.float32), d) for d in (ood_N, 2 * ood_N))
    assert choose_familiar(full, low, limits) == 1.5
    assert choose_familiar(full, full, limits) == pytest.approx(0.5 + 0.9 * FAMILIAR_SHARE)
    assert choose_familiar(full, low, LIMITS) > 1e6, "no domain is known"
    foreign = answered(np.array([0.9, 0.01], np.float32), np.array([1.0, 9.0], np.float32))
    seen_low = answered(np.array([0.99, 0.99], np.float32), np.array([1.0, 9.0], np.float32))
    assert choose_band(foreign, seen_low, limits, 1.2) == (0.2, 0.7)


def test_no_photo_is_named_in_the_evidence(tmp_path):
    photos = [str(tmp_path / name) for name in ("a.jpg", "b.jpg", "wall/Positive/c.jpg")]
    shares = _by_source(photos, np.array([True, False, True]), tmp_path)
    assert shares == {".": 0.5, "wall": 1.0}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict_flips": [[0.1, 0.3]] * 5}, "5 of 4000 verdicts differ, and 4 may"),
        ({"cracks_called_clear": 2}, "2 of 2000 cracks are called clear, and 1 may"),
        ({"sent_on": 0.95}, "95% of the photos go on"),
    ],
)
def test_the_gate_says_what_is_wrong(change, said):
    gate_cascade(PASSED)
    with pytest.raises(ExportError, match=said):
        gate_cascade(PASSED | change)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(1)
    for k in range(150):
        folder = tmp_path / "photos" / f"wall{k % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(folder / f"{k}.png")
    return tmp_path / "photos"


def test_from_student_to_scan(tiny_bundle_copy, photos, tmp_path, monkeypatch):
    # A student after three steps decides next to nothing; what it does decide must still be right.
    monkeypatch.setattr("export.cascade.MOST_SENT_ON", 1.0)
    path = tiny_bundle_copy.path
    distil(DistilConfig(
        bundle=path, photos=photos, size=32, lessons=240, epochs=1, batch_size=16, workers=0,
        device="cpu",
    ))  # fmt: skip
    config = ExportConfig(bundle=path, cascade=True, calibration=photos, held_back_minimum=20)
    bundle = export_bundle(config)
    low = bundle.first_stage()
    assert low.size == 32 and low.file in bundle.files
    assert set(low.evidence["sent_on_by_source"]) == {"wall0", "wall1", "wall2"}
    backend = open_backend(bundle, cascade=True)
    assert backend.stages == ("int8@32", "fp32@64")
    backend.close()
    summary = scan(ScanConfig(
        sources=(str(photos),), out=tmp_path / "out", model=path, cascade=True, precision="fp32"
    ))  # fmt: skip
    assert sum(summary.stages.values()) == summary.run.ok == 150
    again = export_bundle(ExportConfig(bundle=path, onnx=True))
    assert again.cascade == low, "another export leaves it as it is"
    elsewhere = export_bundle(ExportConfig(bundle=path, cascade=True, out=tmp_path / "copy"))
    assert elsewhere.cascade == low
    assert ModelBundle.load(tmp_path / "copy").file(low.file).is_file()


def test_what_cannot_work_is_said(tiny_bundle_copy, photos):
    with pytest.raises(BundleError, match="has no cascade"):
        export_bundle(ExportConfig(bundle=tiny_bundle_copy.path, cascade=True))
    with pytest.raises(BundleError, match="no weights"):
        export_bundle(
            ExportConfig(
                bundle=tiny_bundle_copy.path, cascade=True, calibration=photos, held_back_minimum=5
            )
        )
    with pytest.raises(UsageError, match="shipped model is not to be written"):
        ExportConfig(cascade=True, calibration=photos)
    dataclasses.replace(tiny_bundle_copy, cascade=as_cascade(0.1, 0.9)).save()
    with pytest.raises(BundleError, match=r"m\.onnx has no hash"):
        ModelBundle.load(tiny_bundle_copy.path)
