"""Large photos at their own scale, in one table with tiles: each its own row, whatever happens."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.faults.hostile import hostile_decoders
from inspector.errors import BundleError, OutputError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import RejudgeConfig, ScanConfig, rejudge, scan
from inspector.synthesis import Kind, make_scene
from inspector.types import View
from tests.rows import rows_in

SIDES = [(240, 320), (340, 337), (227, 227), (448, 400), (336, 300), (100, 700), (224, 224)]
"""Height and width; some are larger than one and a half times the model's input, some are not."""
DENSE = {k for k, sides in enumerate(SIDES) if max(sides) > 336}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("Brücke")
    for k, (height, width) in enumerate(SIDES):
        kind = Kind.CRACK if k % 2 else Kind.CLEAN
        pixels = make_scene(np.random.default_rng(k), height, width, kind).pixels
        Image.fromarray(pixels).save(root / f"{k}.png")
    (root / "7.png").write_bytes(b"broken")
    return root


def config_for(photos, out, **options) -> ScanConfig:
    settings: dict[str, Any] = {"precision": "int8", "workers": 0} | options
    return ScanConfig(sources=(str(photos),), out=out, **settings)


def rows_of(out):
    rows = sorted(rows_in(out), key=lambda row: row["uri"])
    for row in rows:
        for name in ("p_crack", "ood_score"):  # batches move their last digits
            row[name] = None if row[name] is None else round(row[name], 4)
        for region in row["regions"] or ():
            region["p_crack"] = round(region["p_crack"], 4)
    return rows


@pytest.fixture(scope="module")
def done(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "out"
    summary = scan(config_for(photos, out))
    assert (summary.run.ok, summary.run.failed) == (7, 1)
    assert summary.views == {"whole": 7 - len(DENSE), "dense": len(DENSE)}
    area = sum(h * w for k, (h, w) in enumerate(SIDES) if k in DENSE)
    assert summary.megapixels == pytest.approx(area / 1e6)
    return out


def test_the_table_says_how_each_photo_was_judged(done):
    rows = rows_of(done)
    assert {k for k, row in enumerate(rows) if row["view"] == "dense"} == DENSE
    for k, row in enumerate(rows[:-1]):
        assert (row["height"], row["width"]) == SIDES[k]
        if k in DENSE:
            assert row["windows"] > 1 and row["reason"] != "downscaled"
            assert row["crack_fraction"] == pytest.approx(row["crack_windows"] / row["windows"])
    assert rows[-1]["status"] == "failed" and rows[-1]["view"] is None
    assert verify(VerifyConfig(out=done, photos=True)).damage == ()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 1, "workers": 3},
        {"batch_size": 3, "workers": 1},
        {"batch_size": 100, "workers": 2, "loader": "torch"},
    ],
)
def test_a_row_does_not_depend_on_the_settings(photos, done, tmp_path, options):
    scan(config_for(photos, tmp_path / "out", **options))
    assert rows_of(tmp_path / "out") == rows_of(done)


def test_all_orientations_have_the_same_row(tmp_path):
    pixels = make_scene(np.random.default_rng(1), 300, 420, Kind.CRACK).pixels
    upright = Image.fromarray(pixels)
    turns = [None, *Image.Transpose]
    undone = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the turn that the orientation undoes
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        turn = undone.get(orientation)
        stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
        stored.save(tmp_path / f"{orientation}.png", exif=exif)
    assert turns[0] is None
    scan(config_for(tmp_path, tmp_path / "out"))
    first, *others = rows_of(tmp_path / "out")
    assert (first["view"], first["width"], first["height"]) == ("dense", 420, 300)
    assert first["regions"]
    own = ("uri", "path", "size_bytes", "mtime", "content_hash")
    for row in others:
        assert {n: v for n, v in row.items() if n not in own} == {
            n: v for n, v in first.items() if n not in own
        }


class Halt:
    """Interrupts a scan after some photos."""

    def __init__(self, photos: int) -> None:
        self.photos = photos

    def start(self, *about):
        pass

    def update(self, tally):
        if tally.looked_at >= self.photos:
            raise KeyboardInterrupt


@pytest.mark.parametrize("photos_before", [1, 4, 6])
def test_an_interrupted_scan_goes_on(photos, done, tmp_path, photos_before):
    config = config_for(photos, tmp_path / "out", batch_size=1, workers=2)
    with pytest.raises(KeyboardInterrupt):
        scan(config, watch=Halt(photos_before))
    scan(config)
    assert rows_of(tmp_path / "out") == rows_of(done)


def test_a_photo_that_ends_its_decoder_costs_no_other(photos, done, tmp_path):
    source = tmp_path / "photos"
    source.mkdir()
    for path in photos.iterdir():
        (source / path.name).symlink_to(path)
    for name in ("3-segfault.png", "5-x.png"):
        (source / name).symlink_to(photos / "3.png")
    (source / "abort-4.png").symlink_to(photos / "3.png")
    with ExitStack() as stack:
        stack.enter_context(hostile_decoders())
        summary = scan(config_for(source, tmp_path / "out", workers=2))
    assert summary.run.failures == {"not_an_image": 1, "decoder_crash": 1}
    found = {row["path"].rsplit("/")[-1]: row["p_crack"] for row in rows_of(tmp_path / "out")}
    expected = {row["path"].rsplit("/")[-1]: row["p_crack"] for row in rows_of(done)}
    assert {name: found[name] for name in expected} == expected
    assert found["5-x.png"] == found["3.png"] and found["abort-4.png"] is None


def test_a_view_is_part_of_what_the_table_is(photos, done):
    with pytest.raises(OutputError, match="view auto there, whole now"):
        scan(config_for(photos, done, view="whole"))


@pytest.mark.parametrize(("overlap", "windows"), [(0.0, 4), (0.25, 9)])
def test_all_photos_in_tiles(photos, tmp_path, overlap, windows):
    scan(config_for(photos, tmp_path / "out", view="tiles", overlap=overlap))
    rows = rows_of(tmp_path / "out")
    assert {row["view"] for row in rows} == {"tiles", None}
    assert (rows[3]["windows"], rows[6]["windows"]) == (windows, 1)
    assert verify(VerifyConfig(out=tmp_path / "out")).damage == ()


def test_all_photos_densely(photos, tmp_path):
    scan(config_for(photos, tmp_path / "out", view="dense"))
    rows = rows_of(tmp_path / "out")
    assert {row["view"] for row in rows} == {"dense", None}


def test_a_model_without_the_dense_view_judges_in_tiles(photos, tmp_path, tiny_bundle):
    options = {"model": tiny_bundle.path, "precision": "auto"}
    scan(config_for(photos, tmp_path / "out", **options))
    rows = rows_of(tmp_path / "out")
    assert {row["view"] for row in rows} == {"tiles", None}
    assert "downscaled" not in {row["reason"] for row in rows}
    assert verify(VerifyConfig(out=tmp_path / "out")).damage == ()
    with pytest.raises(BundleError, match="has no dense view"):
        scan(config_for(photos, tmp_path / "other", view="dense", **options))
    assert not (tmp_path / "other").exists()


def test_other_thresholds_decide_each_view_by_its_own(photos, tmp_path):
    out = tmp_path / "out"
    scan(config_for(photos, out, precision="fp32"))
    rejudge(RejudgeConfig(out=out, threshold=0.001))
    rows = rows_of(out)
    assert {row["view"] for row in rows if row["verdict"] == "clear"} <= {"whole", "dense"}
    for row in rows[:-1]:
        if row["reason"] not in ("out_of_distribution", "downscaled"):
            assert row["verdict"] == ("crack" if row["p_crack"] >= 0.001 else "clear")
    assert verify(VerifyConfig(out=out)).damage == ()
    again = scan(config_for(photos, out, precision="fp32", threshold=0.001))
    assert again.run.rows == 0
    shipped = ModelBundle.load(DEFAULT_PATH, verify=False)
    assert shipped.dense is not None and shipped.dense.thresholds != shipped.thresholds
    rejudge(RejudgeConfig(out=out, model=DEFAULT_PATH))
    for row in rows_of(out)[:-1]:
        limits = (shipped.dense if row["view"] == View.DENSE else shipped).thresholds
        if row["verdict"] == "crack":
            assert row["p_crack"] >= limits.crack_from - 1e-4
        if row["verdict"] == "clear":
            assert row["p_crack"] < limits.clear_below + 1e-4


def test_a_panorama(tmp_path):
    """As wide as some are: 30,000 x 320 pixels."""
    pixels = np.full((320, 30_000, 3), 140, np.uint8)
    noise = np.random.default_rng(0).integers(-9, 9, (320, 600, 1))
    pixels += np.tile(noise, (1, 50, 1)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.jpg", quality=90)
    scan(config_for(tmp_path, tmp_path / "out", workers=1))
    (row,) = rows_of(tmp_path / "out")
    assert (row["view"], row["width"], row["height"]) == ("dense", 30_000, 320)
    assert row["windows"] > 900 * 3
    assert verify(VerifyConfig(out=tmp_path / "out")).damage == ()
