"""A scan with a narrow first stage: its rows are the same however it is cut up, and other
thresholds know which of them are sure enough."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow.dataset as ds
import pytest

from inspector.doctor import Health, examine
from inspector.engines import open_engine
from inspector.engines.combined import chain
from inspector.model.bundle import DenseView, ModelBundle, Thresholds
from inspector.predict import predict_each
from inspector.results.manifest import Manifest
from inspector.scanning import RejudgeConfig, ScanConfig, executor, rejudge, scan
from inspector.scanning.executor import share_deferred
from inspector.scanning.identity import identity_of
from inspector.scanning.rejudge import _Rule
from inspector.types import ImageRef
from tests.engines.narrow import with_narrow
from tests.rows import rows_in
from tests.scanning.walls import wall

if TYPE_CHECKING:
    from inspector.engines import Backend


@pytest.fixture(scope="module")
def bundle(tiny_bundle_dir, tmp_path_factory):
    """Its narrow network is as sure as the model, so that it decides some photos."""
    made = with_narrow(tiny_bundle_dir, tmp_path_factory.mktemp("narrow"), gain=1.0, shift=0.0)
    variants = dict(made.variants)
    tiles = variants["onnx-narrow"]
    variants["onnx-narrow"] = dataclasses.replace(tiles, margin=0.2, crack_margin=0.3)
    dataclasses.replace(made, variants=variants).save()
    return ModelBundle.load(made.path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walls")
    for k in range(24):
        wall(k).save(folder / f"{k:02}.png")
    return folder


@pytest.fixture(autouse=True)
def familiar(monkeypatch):
    """Nothing is foreign to a random network."""
    monkeypatch.setattr("inspector.engines.combined.FAMILIAR", 1e6)


def rows_of(bundle, photos, out, **options):
    config = ScanConfig(
        sources=(str(photos),), out=out, model=bundle.path, precision="narrow", view="whole",
        device="cpu", **options,
    )  # fmt: skip
    summary = scan(config)
    return summary, {row["uri"]: row for row in rows_in(out)}


def test_rows_do_not_depend_on_batches(bundle, photos, tmp_path):
    summary, rows = rows_of(bundle, photos, tmp_path / "a", batch_size=5, workers=1)
    _, again = rows_of(bundle, photos, tmp_path / "b", batch_size=24, workers=2)
    assert set(summary.stages) == {"narrow@64", "fp32@64"} and min(summary.stages.values()) > 0
    for uri, row in rows.items():
        assert (row["stage"], row["verdict"]) == (again[uri]["stage"], again[uri]["verdict"])
        assert row["p_crack"] == pytest.approx(again[uri]["p_crack"], abs=1e-5)
        if row["stage"] == "narrow@64":
            low, high = (1 / (1 + np.exp(-(np.log(t / (1 - t)) + m)))
                         for t, m in ((0.3, -0.2), (0.7, 0.3)))  # fmt: skip
            assert not low < row["p_crack"] < high


def test_a_table_names_both_stages_and_is_continued_with_them(bundle, photos, tmp_path):
    out = tmp_path / "out"
    rows_of(bundle, photos, out)
    metadata = ds.dataset(out / "table").schema.metadata
    (precision,) = (v.decode() for k, v in metadata.items() if k.endswith(b"precision"))
    file = bundle.files["model.narrow.onnx"][:12]
    assert precision == f"narrow {file} 0.2 0.0 0.3"
    wall(99).save(photos / "99.png")
    config = ScanConfig(sources=(str(photos),), out=out, model=bundle.path, view="whole")
    again = scan(config)
    (photos / "99.png").unlink()
    assert (again.precision, again.already_done, again.run.ok) == ("narrow", 24, 1)


def test_other_thresholds_ask_again_what_the_narrow_stage_may_not_say(bundle, photos, tmp_path):
    out = tmp_path / "out"
    _, before = rows_of(bundle, photos, out)
    narrow = sorted(r["p_crack"] for r in before.values() if r["stage"] == "narrow@64")
    threshold = narrow[0] + 1e-4  # the surest answer lies within the margin of this
    result = rejudge(RejudgeConfig(out=out, model=bundle.path, threshold=threshold))
    logits = np.log(np.array(narrow) / (1 - np.array(narrow)))
    at = np.log(threshold / (1 - threshold))
    assert result.again == int(((logits >= at - 0.2) & (logits < at + 0.3)).sum()) > 0
    summary, rows = rows_of(bundle, photos, out, threshold=threshold)
    assert summary.run.rows == result.again
    assert all(rows[uri]["verdict"] == ("crack" if r["p_crack"] >= np.float32(threshold) else
               "clear") for uri, r in rows.items())  # fmt: skip


def test_a_sample_tells_what_the_narrow_stage_would_leave(bundle, photos, monkeypatch):
    monkeypatch.setattr(executor, "WORTH_IT", 1)
    config = ScanConfig(sources=(str(photos),), model=bundle.path, view="whole")
    waiting = list(config.discover())
    engine = open_engine(bundle, precision="narrow", device="cpu")
    with closing(engine):
        share = share_deferred(config, bundle, waiting, engine)
        assert share_deferred(config, bundle, waiting[:20], engine) is None, "too few"
        scores = predict_each(waiting, bundle, {"narrow": engine})["narrow"].scores
    band = chain(bundle, "narrow", bundle.thresholds)["narrow"]
    assert share is not None and share == band.contains(scores).mean()
    assert 0 < share < 1


def test_of_large_photos_the_gate_tells_what_would_be_left(tmp_path, tiny_bundle_dir):
    dense = DenseView(temperature=1.0, shift=0.0, photo={})
    bundle = with_narrow(tiny_bundle_dir, tmp_path, dense=dense)
    seen = dataclasses.replace(bundle.variants["dense-narrow"], parity={"deferred": 0.4})
    bundle = dataclasses.replace(bundle, variants={**bundle.variants, "dense-narrow": seen})
    config = ScanConfig(sources=("/photos",))
    large, small = (ImageRef(0, "file:///photos/a.jpg", "/photos/a.jpg", size, 0)
                    for size in (4_000_000, 900))  # fmt: skip
    engine = cast("Backend", None)  # nothing is judged
    assert share_deferred(config, bundle, [large, large, small], engine) == 0.4
    assert share_deferred(config, bundle, [large, small], engine) is None
    without = dataclasses.replace(bundle, variants={"onnx-narrow": bundle.variants["onnx-narrow"]})
    assert share_deferred(config, without, [large, large], engine) is None


def test_doctor_replays_the_narrow_pair(bundle):
    checks = [c for c in examine(bundle.path) if "narrow on cpu" in c.finding]
    assert len(checks) >= 1 and all(check.health is Health.OK for check in checks)


@pytest.mark.parametrize(
    ("judged", "now", "threshold", "again"),
    [
        ((0.10, None), (0.05, None), None, True),
        ((0.10, None), (0.05, None), 0.3, True),
        ((0.05, None), (0.05, None), 0.3, False),
        ((0.05, None), (0.05, None), 0.04, True),
        ((0.05, None), (0.10, None), None, False),
        ((0.05, 2.0), (0.05, 1.5), None, True),
        ((0.05, None), (0.05, 1.5), None, True),
        ((0.05, 1.5), (0.05, 2.0), None, False),
    ],
)
def test_large_photos_are_judged_again_where_a_laxer_copy_of_the_model_screened_them(
    tmp_path, tiny_bundle_dir, judged, now, threshold, again
):
    """Thresholds for photos at their own scale: `clear_below`, `out_of_distribution`. A copy that
    is stricter would take its own thresholds for those that screened them ever after."""

    def with_thresholds(clear_below, limit):
        own = Thresholds(clear_below=clear_below, crack_from=0.5, out_of_distribution=limit)
        return dataclasses.replace(bundle, dense=dataclasses.replace(dense, thresholds=own))

    dense = DenseView(temperature=1.0, shift=0.0, photo={})
    bundle = with_narrow(tiny_bundle_dir, tmp_path, dense=dense)
    before, after = with_thresholds(*judged), with_thresholds(*now)
    scanned = ScanConfig(sources=("/photos",), model=before.path)
    made = Manifest(identity=identity_of(scanned, before, "narrow"))
    config = RejudgeConfig(out=tmp_path / "out", model=after.path, threshold=threshold)
    assert _Rule.of(config, after, made).rescreened == again
    scale = RejudgeConfig(out=tmp_path / "out", mm_per_px=0.1)
    assert not _Rule.of(scale, after, made).rescreened, "the thresholds of the table hold"
