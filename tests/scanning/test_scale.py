"""A scan that is asked for a crack width: what cannot show it is left to a person."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image
from typer.testing import CliRunner

from inspector.cli import app
from inspector.core.text import print_lines
from inspector.errors import OutputError, UsageError
from inspector.results.verify import VerifyConfig, verify
from inspector.scanning import RejudgeConfig, ScanConfig, rejudge, scan
from inspector.scanning.outcome import summary_lines
from inspector.synthesis import Kind, make_scene
from tests.photos.test_pose import DJI, LASER, packet
from tests.rows import rows_in
from tests.scanning.walls import wall

MM = 0.05


@pytest.fixture(scope="module")
def root(tmp_path_factory, tiny_bundle):
    """Walls of unknown scale, one that a range finder measured, one from above, and a file that is
    no photo; and the table of a scan that asks for nothing."""
    root = tmp_path_factory.mktemp("scales")
    photos = root / "photos"
    photos.mkdir()
    for k in range(5):
        wall(k).save(photos / f"{k}.png")
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = 24
    for name, values in (("laser", DJI | LASER), ("nadir", DJI)):
        wall(6).save(photos / f"{name}.jpg", xmp=packet(values), exif=exif)
    (photos / "bad.png").write_bytes(b"broken")
    scan_of(root, tiny_bundle, root / "out")
    return root


def scan_of(root, bundle, out, **options):
    sources = (str(root / "photos"),)
    config = ScanConfig(
        sources=sources, out=out, model=bundle.path, precision="fp32", workers=0, **options
    )
    return scan(config)


def rows_of(out):
    return {row["path"].rpartition("/")[2]: row for row in rows_in(out)}


def test_without_a_question_nothing_is_changed_and_facts_are_there(root):
    rows = rows_of(root / "out")
    assert all(row["reason"] != "scale" for row in rows.values())
    laser, nadir, plain = rows["laser.jpg"], rows["nadir.jpg"], rows["0.png"]
    assert (laser["mm_per_px_source"], laser["laser_distance"]) == ("laser", 6.25)
    assert (nadir["mm_per_px_source"], nadir["camera_yaw"]) == ("altitude", pytest.approx(44.2))
    assert plain["mm_per_px"] is plain["smallest_visible_mm"] is None
    shrink = max(1, max(laser["width"], laser["height"]) / 64)
    assert laser["smallest_visible_mm"] == pytest.approx(2 * shrink * laser["mm_per_px"])
    assert rows["bad.png"]["smallest_visible_mm"] is None
    assert verify(VerifyConfig(out=root / "out")).damage == ()


def test_what_cannot_show_it_or_is_not_known_is_never_clear(root, tiny_bundle, tmp_path, capsys):
    before = rows_of(root / "out")
    summary = scan_of(root, tiny_bundle, tmp_path / "out", min_crack_mm=300.0, threshold=0.99)
    after = rows_of(tmp_path / "out")
    open_rows = [row for row in after.values() if row["verdict"] == "review"]
    assert {row["reason"] for row in open_rows} == {"scale"}
    assert not any(
        row["verdict"] == "clear" and not (row["smallest_visible_mm"] or 1e9) <= 300
        for row in after.values()
    )
    assert (summary.unknown_scale, summary.coarse) == (5, 1)
    print_lines(summary_lines(summary))
    said = " ".join(capsys.readouterr().out.split())
    assert "6 of 7 photos cannot show 300 mm (5 of them of unknown scale" in said
    assert [row["p_crack"] for row in before.values()] == [r["p_crack"] for r in after.values()]
    assert verify(VerifyConfig(out=tmp_path / "out")).damage == ()


def test_another_scale_is_another_scan(root, tiny_bundle, tmp_path):
    out = shutil.copytree(root / "out", tmp_path / "out")
    for option in ({"mm_per_px": MM}, {"min_crack_mm": 0.3}):
        with pytest.raises(OutputError, match=next(iter(option))):
            scan_of(root, tiny_bundle, out, **option)


@pytest.mark.parametrize(
    "asked", [{"min_crack_mm": 300.0}, {"mm_per_px": MM}, {"mm_per_px": MM, "min_crack_mm": 0.15}]
)
def test_rejudging_gives_what_a_scan_would(root, tiny_bundle, tmp_path, asked):
    """Also with thresholds of its own, which stay as they are."""
    for more in ({}, {"threshold": 0.6}):
        fresh = tmp_path / f"fresh{len(more)}"
        scan_of(root, tiny_bundle, fresh, **asked, **more)
        out = shutil.copytree(root / "out", tmp_path / f"out{len(more)}")
        result = rejudge(RejudgeConfig(out=out, model=tiny_bundle.path, **asked, **more))
        for name, row in rows_of(fresh).items():
            found = rows_of(out)[name]
            places = ("peak_x", "peak_y")  # of photos that were clear, none is known
            assert {**found, **dict.fromkeys(places)} == {**row, **dict.fromkeys(places)}
        assert verify(VerifyConfig(out=out)).damage == ()
        assert scan_of(root, tiny_bundle, out, **asked, **more).run.rows == 0
        assert result.table.rows == 8


def test_the_command_says_what_is_asked_for_now(root, tiny_bundle, tmp_path):
    out = shutil.copytree(root / "out", tmp_path / "out")
    words = ["rejudge", str(out), "--model", str(tiny_bundle.path), "--min-crack-mm", "0.3"]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert "scale      cracks of 0.3 mm must be seen\n" in ended.output
    ended = CliRunner().invoke(app, [*words[:-2], "--mm-per-px", "0.1"])
    assert "cracks of 0.3 mm must be seen, a pixel shows 0.1 mm\n" in ended.output


def test_other_thresholds_keep_the_width_asked_for(root, tiny_bundle, tmp_path):
    out = tmp_path / "out"
    scan_of(root, tiny_bundle, out, min_crack_mm=0.3)
    rejudge(RejudgeConfig(out=out, model=tiny_bundle.path, threshold=0.99))
    assert not any(row["verdict"] == "clear" for row in rows_of(out).values())
    assert scan_of(root, tiny_bundle, out, threshold=0.99, min_crack_mm=0.3).run.rows == 0


@pytest.mark.parametrize("words", [["--mm-per-px", "0"], ["--min-crack-mm", "nan"]])
def test_impossible_scales_are_refused_before_anything_starts(root, words, tmp_path):
    ended = CliRunner().invoke(
        app, ["scan", str(root / "photos"), "--out", str(tmp_path / "o"), *words]
    )
    assert isinstance(ended.exception, UsageError) and not (tmp_path / "o").exists()


def test_a_photo_at_its_own_scale_shows_two_of_its_pixels(tmp_path):
    """With the shipped model: of two photos of one scale, the smaller one is shrunk and shows
    less."""
    (tmp_path / "photos").mkdir()
    for name, side in (("whole", 320), ("own", 420)):
        pixels = make_scene(np.random.default_rng(side), 240, side, Kind.CLEAN).pixels
        Image.fromarray(pixels).save(tmp_path / f"photos/{name}.png")
    asked: dict[str, Any] = {"mm_per_px": 0.15, "min_crack_mm": 0.3}
    sources = (str(tmp_path / "photos"),)
    options: dict[str, Any] = {"sources": sources, "precision": "int8", "workers": 0}
    scan(ScanConfig(out=tmp_path / "asked", **options, **asked))
    rows = rows_of(tmp_path / "asked")
    assert (rows["own.png"]["view"], rows["whole.png"]["view"]) == ("dense", "whole")
    assert rows["own.png"]["smallest_visible_mm"] == pytest.approx(0.3)
    assert rows["whole.png"]["smallest_visible_mm"] == pytest.approx(0.3 * 320 / 224)
    assert rows["own.png"]["reason"] != "scale" and rows["whole.png"]["verdict"] != "clear"
    scan(ScanConfig(out=tmp_path / "later", **options))
    rejudge(RejudgeConfig(out=tmp_path / "later", **asked))
    for name, row in rows_of(tmp_path / "later").items():
        places = ("peak_x", "peak_y")
        assert {**row, **dict.fromkeys(places)} == {**rows[name], **dict.fromkeys(places)}
    assert verify(VerifyConfig(out=tmp_path / "later")).damage == ()
