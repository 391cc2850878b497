"""The committed samples and the tool that makes them."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from inspector.synthesis import Kind, make_scene
from samples import make
from samples.make import build, check, main, truth
from samples.table import SAMPLES, Sample

SAMPLES_DIR = Path(make.__file__).parent
SMALL = tuple(
    sample
    for sample in SAMPLES
    if sample.name in {"crack_spalled_beige.jpg", "clear_scratch.jpg", "broken_text.jpg"}
)
READABLE = [sample for sample in SAMPLES if sample.damage is None]


@pytest.fixture
def small_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three small samples instead of all, because building all takes seconds."""
    monkeypatch.setattr(make, "SAMPLES", SMALL)


def test_committed_samples_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--check"])
    assert (status, capsys.readouterr().err) == (0, "")


def test_names_tell_the_truth() -> None:
    for sample in SAMPLES:
        expected = "crack" if sample.kind is Kind.CRACK else "clear"
        assert truth(sample.name) == ("broken" if sample.damage else expected)


def test_samples_cover_every_kind_under_unique_names() -> None:
    assert {sample.kind for sample in READABLE} == set(Kind)
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES)


@pytest.mark.parametrize("name", ["plain.jpg", "Crack_a.jpg", "", "cracked.jpg"])
def test_truth_refuses_other_names(name: str) -> None:
    with pytest.raises(ValueError, match="starts with crack_"):
        truth(name)


def test_build_refuses_unknown_names() -> None:
    with pytest.raises(ValueError, match="no such sample"):
        build("crack_unknown.jpg")


def test_build_is_deterministic() -> None:
    assert build("clear_rust.jpg") == build("clear_rust.jpg")


def test_samples_stay_small() -> None:
    sizes = {sample.name: (SAMPLES_DIR / sample.name).stat().st_size for sample in SAMPLES}
    assert sizes["crack_photo_12mp.jpg"] < 2_500_000
    assert sum(sizes.values()) < 4_500_000


@pytest.mark.parametrize("sample", READABLE, ids=lambda sample: sample.name)
def test_size_mode_and_orientation(sample: Sample) -> None:
    with Image.open(SAMPLES_DIR / sample.name) as image:
        assert image.mode == sample.mode
        turned = sample.orientation != 1
        stored = (sample.height, sample.width) if turned else (sample.width, sample.height)
        assert image.size == stored
        assert image.getexif().get(0x0112, 1) == sample.orientation


def test_rotated_sample_displays_as_it_was_made() -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "crack_exif_rotated.jpg")
    scene = make_scene(
        np.random.default_rng(sample.seed),
        sample.height,
        sample.width,
        sample.kind,
        crack=sample.crack,
        surface=sample.surface,
    )
    with Image.open(SAMPLES_DIR / sample.name) as image:
        upright = np.asarray(ImageOps.exif_transpose(image), dtype=np.float64)
    assert np.abs(upright - scene.pixels).mean() < 5.0


def test_photo_carries_time_place_and_camera() -> None:
    with Image.open(SAMPLES_DIR / "crack_photo_12mp.jpg") as image:
        assert image.size == (4000, 3000)
        exif = image.getexif()
    assert exif[0x0112] == 6
    assert (exif[0x010F], exif[0x0110]) == ("inspector", "samples generator")
    assert exif.get_ifd(0x8769)[0x9003] == "2024:05:17 10:42:08"
    gps = exif.get_ifd(0x8825)
    assert (gps[1], gps[3]) == ("N", "E")
    assert _degrees(gps[2]) == pytest.approx(51.0504)
    assert _degrees(gps[4]) == pytest.approx(13.7373)
    assert float(gps[6]) == pytest.approx(112.5)
    assert gps[5] in (b"\x00", 0)


def _degrees(parts: tuple[float, float, float]) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    return degrees + minutes / 60.0 + seconds / 3600.0


@pytest.mark.parametrize("name", ["broken_empty.jpg", "broken_text.jpg"])
def test_broken_samples_are_no_images(name: str) -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO((SAMPLES_DIR / name).read_bytes()))


def test_truncated_sample_fails_only_while_decoding() -> None:
    image = Image.open(io.BytesIO((SAMPLES_DIR / "broken_truncated.jpg").read_bytes()))
    assert image.size == (320, 320)
    with pytest.raises(OSError, match="truncated"):
        image.load()


@pytest.mark.usefixtures("small_table")
def test_written_samples_pass_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "samples"
    assert main(["--out", str(out)]) == 0
    assert "3 samples" in capsys.readouterr().out
    (out / "make.py").write_text("# not an image, not a sample\n")
    assert check(out) == []
    assert main(["--check", "--out", str(out)]) == 0


@pytest.mark.usefixtures("small_table")
def test_check_names_every_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 0
    (tmp_path / "clear_scratch.jpg").unlink()
    (tmp_path / "crack_stray.PNG").write_bytes(b"")
    with (tmp_path / "broken_text.jpg").open("ab") as file:
        file.write(b"!")
    assert main(["--check", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "missing: clear_scratch.jpg" in error
    assert "extra: crack_stray.PNG" in error
    assert "differs: broken_text.jpg" in error
    assert "crack_spalled_beige.jpg" not in error
    assert re.search(r"Pillow \d+.*numpy \d+", error)


def test_check_of_a_missing_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--out", str(tmp_path / "nowhere")]) == 1
    assert "no directory" in capsys.readouterr().err
