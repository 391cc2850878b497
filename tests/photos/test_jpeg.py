"""simplejpeg makes decoding no different, except that it hears of damage, which Pillow does not."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from inspector.model.preprocess import PreprocessSpec
from inspector.photos import jpeg
from inspector.types import Decoded, Failure, FailureCode
from tests.photos.files import ORIENTATION, SPEC, decode_path, encoded, failure, photo, surface

simplejpeg = pytest.importorskip("simplejpeg")
pytestmark = pytest.mark.skipif(
    not features.check_feature("libjpeg_turbo"), reason="Pillow is built with another libjpeg"
)

REAL = Path(__file__).parents[3] / "shared/data"
SAMPLES = Path(__file__).parents[2] / "samples"
FILES = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def room_for_noise(monkeypatch):
    """Pillow's encoder, not its decoder, fails on noise that needs more than a block."""
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 20)


@pytest.fixture
def both_ways(tmp_path, monkeypatch):
    """Decodes a file or bytes with and without simplejpeg, and demands the same outcome, or of
    what is `damaged` a failure. Says whether simplejpeg gave the pixels."""
    simply = simplejpeg.decode_jpeg

    def run(
        source: Path | bytes, spec: PreprocessSpec = SPEC, *, damaged: bool = False
    ) -> tuple[Decoded | Failure, bool]:
        path = tmp_path / "photo.jpg"
        if isinstance(source, bytes):
            path.write_bytes(source)
        else:
            path = source
        given = []

        def watched(*arguments, **options):
            given.append(simply(*arguments, **options))
            return given[-1]

        monkeypatch.setattr(jpeg, "decode_jpeg", watched)
        fast = decode_path(path, spec)
        monkeypatch.setattr(jpeg, "decode_jpeg", None)
        alone = decode_path(path, spec)
        if damaged and isinstance(fast, Failure):
            assert "JPEG" in fast.detail or fast == alone
        elif isinstance(alone, Decoded):
            assert isinstance(fast, Decoded), fast
            assert np.array_equal(fast.pixels_HWC, alone.pixels_HWC)
            assert (fast.facts, fast.shrink) == (alone.facts, alone.shrink)
        else:
            assert fast == alone
        return fast, bool(given)

    return run


# --- the same pixels ---------------------------------------------------------------------------


CROPPED = st.integers(224, 228)


@st.composite
def plain_jpegs(draw, sides=CROPPED):
    """From flat to noisy, of every subsampling and way to write that Pillow or simplejpeg has."""
    width, height = draw(sides), draw(sides)
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    pixels = np.asarray(surface(width, height, draw(st.integers(0, 99)))).astype(int)
    pixels = pixels + noise.integers(-1, 2, pixels.shape) * draw(st.sampled_from([0, 9, 120]))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    quality = draw(st.sampled_from([1, 30, 75, 92, 100]))
    chroma = draw(st.sampled_from(["grey", "4:4:4", "4:2:2", "4:2:0", "440", "411"]))
    if chroma in ("440", "411"):
        return simplejpeg.encode_jpeg(pixels, quality, colorsubsampling=chroma)
    return encoded(
        Image.fromarray(pixels).convert("L" if chroma == "grey" else "RGB"),
        "JPEG",
        quality=quality,
        subsampling=-1 if chroma == "grey" else chroma,
        progressive=draw(st.booleans()),
        optimize=draw(st.booleans()),
        restart_marker_blocks=draw(st.sampled_from([0, 1, 7])),
    )


@settings(FILES, max_examples=60)
@given(data=plain_jpegs())
def test_plain_jpegs_have_the_very_pixels(data, both_ways):
    outcome, fast = both_ways(data, PreprocessSpec())
    photo(outcome, PreprocessSpec())
    assert fast


@settings(FILES, max_examples=20)
@given(data=plain_jpegs(st.sampled_from([32, 33, 64, 127, 128, 300, 513])))
def test_any_size_has_the_very_pixels(data, both_ways):
    photo(both_ways(data)[0])


@pytest.mark.parametrize(
    "source", ["samples", "metu", "rissbilder", "volker", "polyhaven", "crack500"]
)
@pytest.mark.parametrize("size", [224, 96])
def test_real_tiles_have_the_very_pixels(source, size, both_ways):
    files = sorted((REAL / "train" / source).glob("*/*.jpg"))
    if source == "samples":
        files = sorted(SAMPLES.glob("c*_*.jpg"))
    if not files:
        pytest.skip("no real tiles on this machine")
    spec = PreprocessSpec(size=size)
    taken = random.Random(0).sample(files, min(20, len(files)))
    outcomes = [both_ways(path, spec) for path in taken]
    assert all(isinstance(outcome, Decoded) for outcome, _ in outcomes)
    if size == 224:
        assert any(fast for _, fast in outcomes)


@pytest.mark.parametrize("kind", ["crack", "no_crack", "mosaic"])
def test_real_photos_have_the_very_pixels(kind, both_ways):
    files = sorted((REAL / "photos" / kind).glob("*.jpg"))
    if not files:
        pytest.skip("no real photos on this machine")
    for path in files[:2]:
        photo(both_ways(path, PreprocessSpec())[0], PreprocessSpec())


# --- files that are Pillow's -------------------------------------------------------------------


def with_adobe(data: bytes, transform: int) -> bytes:
    """`data` with the colour transform as Adobe writes it (Technical Note 5116), no JFIF."""
    after_jfif = 4 + int.from_bytes(data[4:6], "big")
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    return data[:2] + adobe + data[after_jfif:]


def frame(data: bytes, marker: int, precision: int = 8) -> bytes:
    """`data` with another start of frame (ITU-T T.81, B.2.2)."""
    at = data.index(b"\xff\xc0")
    return (
        data[: at + 1]
        + bytes([marker])
        + data[at + 2 : at + 4]
        + bytes([precision])
        + (data[at + 5 :])
    )


TILE = encoded(surface(32, 32), "JPEG", quality=90)
QUARTER_TURN = Image.Exif()
QUARTER_TURN[ORIENTATION] = 6
XMP = b'<x tiff:Orientation="3"/>'
OTHERS = {
    "CMYK": encoded(surface(32, 32).convert("CMYK"), "JPEG"),
    "YCCK": with_adobe(encoded(surface(32, 32).convert("CMYK"), "JPEG"), 2),
    "RGB": encoded(surface(32, 32), "JPEG", keep_rgb=True),
    "RGB of Adobe": with_adobe(TILE, 0),
    "an unknown transform": with_adobe(TILE, 7),
    "lossless": frame(TILE, 0xC3),
    "12 bits": frame(TILE, 0xC1, 12),
    "fill bytes": TILE[:2] + b"\xff\xff" + TILE[2:],
    "two frames": frame(TILE, 0xC0)[: TILE.index(b"\xff\xc4")] + TILE[TILE.index(b"\xff\xc0") :],
    "junk before the end": TILE[:-2] + b"junk" + TILE[-2:],
    "no end": TILE[:-2],
    "only tables": TILE[: TILE.index(b"\xff\xc0")],
}


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_is_not_plain_goes_to_pillow(name, both_ways):
    _, fast = both_ways(OTHERS[name])
    assert not fast


PLAIN = {
    "a quarter turn": encoded(surface(32, 32), "JPEG", exif=QUARTER_TURN),
    "XMP that turns": encoded(surface(32, 32), "JPEG", xmp=XMP),
    "Adobe's YCbCr": with_adobe(TILE, 1),
    "extended sequential": frame(TILE, 0xC1),
    "bytes behind the end": TILE + b"motion photo",
    "a comment": encoded(surface(32, 32), "JPEG", comment=b"\xff\xc9 wall"),
    "several pictures": encoded(
        surface(32, 32), "MPO", save_all=True, append_images=[surface(32, 32, 1)]
    ),
    "a profile": encoded(surface(32, 32), "JPEG", icc_profile=bytes(90_000)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_ones_with_trimmings(name, both_ways):
    outcome, fast = both_ways(PLAIN[name])
    photo(outcome)
    assert fast


def test_turned_photos_come_upright(both_ways):
    outcome = photo(both_ways(PLAIN["XMP that turns"])[0])
    as_stored = photo(both_ways(encoded(surface(32, 32), "JPEG"))[0])
    assert np.array_equal(outcome.pixels_HWC, as_stored.pixels_HWC[::-1, ::-1])


# --- the same failures -------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_tile_fails_the_same(progressive, both_ways):
    data = encoded(surface(32, 32), "JPEG", progressive=progressive)
    for length in range(len(data)):
        outcome, _ = both_ways(data[:length])
        assert isinstance(outcome, Failure), length


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_tail_of_zeros_fails_the_same(share, both_ways):
    kept = round(len(TILE) * share)
    failure(both_ways(TILE[:kept] + bytes(len(TILE) - kept))[0], FailureCode.TRUNCATED)


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9, 0.98])
@pytest.mark.parametrize("side", [100, 227])
def test_zeros_that_decode_as_flat_blocks_are_no_photo(share, side, both_ways):
    """With codes made for a smooth picture, a zero is half the code of an empty block."""
    data = encoded(surface(side, side), "JPEG", optimize=True)
    scan = data.index(b"\xff\xda") + 14
    kept = scan + round((len(data) - scan) * share)
    zeros = data[:kept] + bytes(len(data) - kept)
    failure(both_ways(zeros, PreprocessSpec())[0], FailureCode.TRUNCATED)


@settings(FILES, max_examples=150)
@given(data=st.data(), progressive=st.booleans(), restarts=st.sampled_from([0, 2]))
def test_damage_is_judged_the_same(data, progressive, restarts, both_ways):
    whole = bytearray(
        encoded(surface(32, 32), "JPEG", progressive=progressive, restart_marker_blocks=restarts)
    )
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[place] = data.draw(st.sampled_from([0, 1, 0xFF, 0xD9, 0xC0, whole[place] ^ 16]))
    both_ways(bytes(whole), damaged=True)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("side", [48, 300, 1000])
def test_a_bad_sector_is_no_photo(side, progressive, both_ways):
    """Pillow alone passes on what libjpeg made up for the 512 bytes that are missing."""
    data = encoded(surface(side, side), "JPEG", quality=95, progressive=progressive)
    scan = data.rindex(b"\xff\xda") + 14
    for share in (0.2, 0.5, 0.8):
        at = scan + round((len(data) - scan) * share)
        zeros = bytes(min(512, len(data) - 8 - at))
        spoilt = data[:at] + zeros + data[at + len(zeros) :]
        failure(both_ways(spoilt, damaged=True)[0], FailureCode.CORRUPT)


@pytest.mark.parametrize(
    ("extra", "plain"),
    [(b"U", True), (b"UUUUU", True), (b"UUUUUU", False), (b"U" * 99, False), (bytes(4000), True)],
)
def test_padding_before_the_end_is_no_damage(extra, plain, both_ways):
    outcome, _ = both_ways(TILE[:-2] + extra + TILE[-2:], damaged=not plain)
    assert isinstance(outcome, Decoded) == plain


def test_the_size_in_the_file_is_one_size(both_ways):
    """Pillow trusts the last frame header before the scan, libjpeg refuses a second one."""
    at = TILE.index(b"\xff\xc0")
    header = TILE[at : at + 2 + int.from_bytes(TILE[at + 2 : at + 4], "big")]
    other = header[:5] + b"\x00\x40\x00\x40" + header[9:]
    assert isinstance(both_ways(TILE[:at] + other + TILE[at:])[0], Failure)


def test_another_libjpeg_under_pillow_means_pillow_alone(monkeypatch):
    monkeypatch.setattr(jpeg, "_SAME_LIBRARY", False)
    assert jpeg.plain_pixels(TILE, (32, 32)) is None


def test_a_size_that_pillow_did_not_see_is_refused():
    assert jpeg.plain_pixels(TILE, (32, 31)) is None
    pixels = jpeg.plain_pixels(TILE, (32, 32))
    assert pixels is not None
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(TILE))))


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_photo_without_an_end_is_truncated_whatever_its_thumbnail_has(kind, decode_bytes):
    """The header of a camera's JPEG holds another JPEG, which has an end."""
    stream = io.BytesIO()
    options = {"save_all": True, "append_images": [surface(400, 300)]} if kind == "MPO" else {}
    surface(400, 300).save(stream, kind, **options)
    comment = b"\xff\xfe\x00\x0a" + jpeg.START_OF_IMAGE + b"ab" + jpeg.END_OF_IMAGE + b"cd"
    data = jpeg.START_OF_IMAGE + comment + stream.getvalue()[2:]
    assert isinstance(decode_bytes(data), Decoded)
    for cut in (jpeg.find_end(data) - 1, jpeg.find_end(data) // 2):
        failure(decode_bytes(data[:cut]), FailureCode.TRUNCATED)
