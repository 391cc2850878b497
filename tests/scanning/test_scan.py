"""Every file gets one row, with its own verdict, however the work is cut and shared out."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image

from inspector.engines import open_backend
from inspector.errors import BundleError, OutputError, SourceError
from inspector.model.bundle import Thresholds
from inspector.model.verdict import judge
from inspector.photos.decode import decode
from inspector.scanning import FailureBudget, ScanConfig, preview, scan
from inspector.scanning.pipeline import ParquetSink
from inspector.types import Decoded, ImageRef, Photo, Verdict
from tests.rows import rows_in
from tests.scanning.walls import wall


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    """70 photos that differ, in two levels of directories; the first takes longest by far."""
    root = tmp_path_factory.mktemp("walls")
    for k in range(70):
        folder = root / f"{k % 4}"
        folder.mkdir(exist_ok=True)
        wall(k).save(folder / f"{k:02}.png")
    wall(1000, 3000, 2500).save(root / "0" / "00.png")
    return root


@pytest.fixture(scope="module")
def reference(walls, tmp_path_factory, tiny_bundle):
    out = tmp_path_factory.mktemp("reference")
    scan(
        ScanConfig(sources=(str(walls),), out=out, model=tiny_bundle.path, view="whole", workers=0)
    )
    return table_of(out)


def table_of(out):
    return rows_in(out)


def without_scores(rows):
    return [{name: value for name, value in row.items() if name != "p_crack"} for row in rows]


def assert_same(rows, reference):
    """Equal up to the last bits of a probability, which depend on the batch's size."""
    assert without_scores(rows) == without_scores(reference)
    ours, theirs = ([row["p_crack"] for row in each] for each in (rows, reference))
    assert np.allclose(ours, theirs, atol=1e-5)


def test_rows_are_the_same_in_every_way_to_share_the_work(walls, reference, tmp_path, tiny_bundle):
    assert len({row["p_crack"] for row in reference}) == 70
    for workers, batch_size in [(0, 1), (0, 64), (1, 5), (3, 1)]:
        out = tmp_path / f"{workers}-{batch_size}"
        config = ScanConfig(
            sources=(str(walls),),
            out=out,
            model=tiny_bundle.path,
            view="whole",
            workers=workers,
            batch_size=batch_size,
        )
        assert scan(config).workers == workers
        assert_same(table_of(out), reference)


def test_a_row_is_what_its_photo_gets_alone(reference, tiny_bundle):
    backend = open_backend(tiny_bundle)
    for row in reference[::3]:
        ref = ImageRef(0, row["path"], row["uri"], None, None)
        alone = decode(ref, tiny_bundle.preprocess)
        assert isinstance(alone, Decoded)
        scores = backend.run(alone.pixels_HWC[None])
        (judgement,) = judge(
            scores,
            [Photo(ref, alone.facts, alone.shrink)],
            tiny_bundle.thresholds,
            backend.stages,
        )
        assert row["p_crack"] == pytest.approx(judgement.p_crack, abs=1e-5)
        assert (row["verdict"], row["reason"]) == (judgement.verdict, judgement.reason)
        assert row["content_hash"] == alone.facts.content_hash
        assert row["uri"].endswith(row["path"])
    backend.close()


def test_all_eight_orientations_are_one_photo(tmp_path, tiny_bundle):
    upright = wall(5, 64, 64)  # the model's own size: no resampling, so bit for bit
    back = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    photos = tmp_path / "photos"
    photos.mkdir()
    for orientation, steps in back.items():
        stored = upright
        for step in steps:
            stored = stored.transpose(step)
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(photos / f"{orientation}.png", exif=exif)
    scan(
        ScanConfig(
            sources=(str(photos),), out=tmp_path / "out", model=tiny_bundle.path, view="whole"
        )
    )
    rows = table_of(tmp_path / "out")
    assert len(rows) == 8
    assert np.ptp([row["p_crack"] for row in rows]) < 1e-6
    assert len({(row["peak_x"], row["peak_y"]) for row in rows}) == 1


def test_thresholds_decide_and_a_given_one_leaves_no_review(walls, tmp_path, tiny_bundle):
    config = ScanConfig(
        sources=(f"{walls}/1", f"{walls}/2"),
        out=tmp_path,
        model=tiny_bundle.path,
        view="whole",
        threshold=0.5,
    )
    summary = scan(config)
    for row in table_of(tmp_path):
        expected = Verdict.CRACK if row["p_crack"] >= 0.5 else Verdict.CLEAR
        assert row["verdict"] == expected
    assert summary.run.verdicts["review"] == 0
    assert min(summary.run.verdicts["crack"], summary.run.verdicts["clear"]) > 0


def test_a_photo_shrunk_too_much_is_not_called_clear(walls, tmp_path, tiny_bundle):
    never = tmp_path / "strict"
    never.mkdir()
    bundle = dataclasses.replace(
        tiny_bundle, thresholds=Thresholds(clear_below=0.9999, crack_from=0.9999)
    )
    wall(3, 300, 60).save(never / "wide.png")
    wall(3, 250, 60).save(never / "narrow.png")
    config = ScanConfig(
        sources=(str(never),), out=tmp_path / "out", model=bundle.path, view="whole",
        threshold=0.9999,
    )  # fmt: skip
    scan(config)
    rows = {os.path.basename(row["path"]): row for row in table_of(tmp_path / "out")}
    assert (rows["wide.png"]["verdict"], rows["wide.png"]["reason"]) == ("review", "downscaled")
    assert (rows["narrow.png"]["verdict"], rows["narrow.png"]["reason"]) == ("clear", "model")


def test_limit_takes_the_first_of_the_listing(walls, reference, tmp_path, tiny_bundle):
    config = ScanConfig(
        sources=(str(walls),), out=tmp_path, model=tiny_bundle.path, view="whole", limit=7
    )
    assert scan(config).discovered == 7
    assert_same(table_of(tmp_path), reference[:7])
    again = scan(config)
    assert (again.discovered, again.already_done, again.run.ok) == (7, 7, 0)
    rest = scan(dataclasses.replace(config, limit=None))
    assert (rest.already_done, rest.run.ok) == (7, 63)
    assert_same(table_of(tmp_path), reference)


def test_preview_writes_nothing_and_knows_what_is_done(walls, tmp_path, tiny_bundle):
    out = tmp_path / "out"
    config = ScanConfig(
        sources=(str(walls),), out=out, model=tiny_bundle.path, view="whole", limit=10
    )
    seen = preview(config)
    assert (seen.discovered, seen.already_done) == (10, 0)
    assert seen.size_bytes == sum(p.stat().st_size for p in sorted(walls.glob("0/*"))[:10])
    assert not out.exists()
    scan(config)
    seen = preview(dataclasses.replace(config, limit=None))
    assert (seen.discovered, seen.already_done) == (70, 10)
    assert seen.photos_by_suffix == {".png": 70}
    assert preview(dataclasses.replace(config, overwrite=True)).already_done == 0
    with pytest.raises(OutputError):
        preview(dataclasses.replace(config, threshold=0.4))


@pytest.mark.parametrize(("budget", "photos"), [("3", 5), ("50%", 200)])
def test_too_many_failures_stop_the_scan_and_keep_what_is_done(
    tmp_path, tiny_bundle, budget, photos
):
    source = tmp_path / "bad"
    source.mkdir()
    for k in range(300):
        (source / f"{k:03}.jpg").write_bytes(b"no photo")
    config = ScanConfig(
        sources=(str(source),),
        out=tmp_path / "out",
        model=tiny_bundle.path,
        view="whole",
        batch_size=5,
        max_failures=FailureBudget.parse(budget),
    )
    summary = scan(config)
    assert (summary.run.failed, summary.table.rows, summary.complete) == (photos, photos, False)
    assert summary.budget_exceeded and summary.exit_code == 3


def test_a_few_photos_that_mostly_fail_are_over_budget_at_the_end(tmp_path, tiny_bundle):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    config = ScanConfig(
        sources=(str(tmp_path / "a.jpg"),),
        out=tmp_path / "out",
        model=tiny_bundle.path,
        view="whole",
        max_failures=FailureBudget.parse("5%"),
    )
    summary = scan(config)
    assert summary.complete and summary.exit_code == 3


@pytest.mark.parametrize("written", [slice(1, None), slice(0, 0)], ids=["one lost", "all lost"])
def test_rows_that_get_lost_on_their_way_never_pass_in_silence(
    walls, tmp_path, tiny_bundle, monkeypatch, written
):
    class Lossy(ParquetSink):
        def add(self, rows):
            super().add(rows[written])

    monkeypatch.setattr("inspector.scanning.pipeline.ParquetSink", Lossy)
    config = ScanConfig(
        sources=(str(walls),),
        out=tmp_path,
        model=tiny_bundle.path,
        view="whole",
        limit=6,
        workers=0,
    )
    with pytest.raises(AssertionError, match="this is a bug, please report it"):
        scan(config)


def test_nothing_to_scan_is_an_empty_table(tmp_path, tiny_bundle):
    (tmp_path / "photos").mkdir()
    summary = scan(
        ScanConfig(
            sources=(str(tmp_path / "photos"),),
            out=tmp_path / "out",
            model=tiny_bundle.path,
            view="whole",
        )
    )
    assert (summary.discovered, summary.table.rows, summary.exit_code) == (0, 0, 0)
    assert table_of(tmp_path / "out") == []


def test_run_facts_stand_in_every_part(walls, tmp_path, tiny_bundle):
    scan(ScanConfig(sources=(f"{walls}/1",), out=tmp_path, model=tiny_bundle.path, view="whole"))
    metadata = {
        key.decode(): value.decode() for key, value in ds.dataset(tmp_path).schema.metadata.items()
    }
    assert metadata["inspector.model"] == tiny_bundle.digest
    assert metadata["inspector.providers"] == "CPUExecutionProvider"
    assert metadata["inspector.precision"] == "fp32"
    assert metadata["inspector.crack_from"] == repr(tiny_bundle.thresholds.crack_from)


def test_what_is_wrong_from_the_start_leaves_no_trace(walls, tmp_path, tiny_bundle):
    out = tmp_path / "out"
    with pytest.raises(SourceError):
        scan(ScanConfig(sources=("missing",), out=out, model=tiny_bundle.path, view="whole"))
    with pytest.raises(BundleError):
        scan(ScanConfig(sources=(str(walls),), out=out, model=tmp_path))
    assert not out.exists()


def test_out_inside_the_source_is_no_source(tmp_path, tiny_bundle):
    for k in range(3):
        wall(k).save(tmp_path / f"{k}.png")
    config = ScanConfig(
        sources=(str(tmp_path),), out=tmp_path, model=tiny_bundle.path, view="whole"
    )
    assert scan(config).run.ok == 3
    again = scan(config)
    assert (again.already_done, again.discovered) == (3, 3)
