"""Where a camera looked and what a pixel shows: said where drones say it, and nowhere else."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from inspector.model.preprocess import PreprocessSpec
from inspector.photos import exif as exif_module
from inspector.photos.decode import decode
from inspector.photos.exif import read_exif
from inspector.photos.pose import read_pose
from inspector.types import Decoded, ImageRef, PhotoFacts, ScaleSource

BASE = ExifTags.Base
SIDES = (400, 300)
FILM_24 = 24 * 500 / 43.267
"""Focal length of 24 mm on film, in pixels of a photo of 400 x 300."""
DJI = {"GimbalYawDegree": "+44.20", "GimbalPitchDegree": "-89.90", "GimbalRollDegree": "+0.00",
       "FlightYawDegree": "+45.00", "RelativeAltitude": "+40.10", "AbsoluteAltitude": "+64.22",
       "GpsLatitude": "+46.842610", "GpsLongitude": "-91.994010"}  # fmt: skip
"""As a Mavic writes them."""
NAMESPACES = {
    "drone-dji": "http://www.dji.com/drone-dji/1.0/",
    "drone-parrot": "http://www.parrot.com/drone-parrot/1.0/",
    "Camera": "http://pix4d.com/camera/1.0",
}


def packet(values, prefix="drone-dji", *, elements=False) -> bytes:
    names = " ".join(f'xmlns:{p}="{uri}"' for p, uri in NAMESPACES.items())
    attributes = " ".join(f'{prefix}:{name}="{value}"' for name, value in values.items())
    inside = "".join(f"<{prefix}:{n}> {v} </{prefix}:{n}>" for n, v in values.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description {names} {'' if elements else attributes}>{inside if elements else ''}"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def saved(xmp: bytes | None, detail=None, sides=SIDES, kind="JPEG", make="DJI\0\0\0\0") -> bytes:
    exif = Image.Exif()
    exif[BASE.Make], exif[BASE.Model] = make, "FC3170\0\0"
    detail = {BASE.FocalLengthIn35mmFilm: 24} if detail is None else detail
    exif.get_ifd(ExifTags.IFD.Exif).update(detail)
    stream = io.BytesIO()
    more: dict[str, Any] = {"xmp": xmp} if xmp is not None else {}
    if kind == "MPO":
        more |= {"save_all": True, "append_images": [Image.new("RGB", (40, 30))]}
    if kind == "TIFF":
        exif[700], more = xmp or b"", {}
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", (xmp or b"").decode())
        more = {"pnginfo": text}
    Image.new("RGB", sides).save(stream, kind, exif=exif, **more)
    return stream.getvalue()


def facts(xmp: bytes | None, detail=None, sides=SIDES, kind="JPEG") -> PhotoFacts:
    return read_exif(Image.open(io.BytesIO(saved(xmp, detail, sides, kind))))


def pose(values, detail=None, sides=SIDES, **options) -> PhotoFacts:
    return replace(facts(packet(values, **options), detail, sides), camera=None)


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "TIFF", "PNG", "WEBP"])
@pytest.mark.parametrize("elements", [False, True])
def test_what_a_dji_says_of_a_photo_from_above(kind, elements):
    found = facts(packet(DJI, elements=elements), kind=kind)
    assert found.camera == "DJI FC3170"
    assert (found.gps_lat, found.gps_lon, found.gps_alt) == (46.84261, -91.99401, 64.22)
    assert (found.camera_yaw, found.camera_pitch, found.camera_roll) == (44.2, -89.9, 0.0)
    assert (found.relative_altitude, found.laser_distance) == (40.1, None)
    if kind != "TIFF":  # Pillow writes none with the rest of EXIF
        assert found.mm_per_px == pytest.approx(40_100 / FILM_24, rel=1e-4)
        assert found.mm_per_px_source is ScaleSource.ALTITUDE


@pytest.mark.parametrize("pitch", ["-74.9", "-30", "+0.00", "+12.5", "-105.1", "nan", ""])
def test_a_height_says_nothing_of_a_facade(pitch):
    assert pose(DJI | {"GimbalPitchDegree": pitch}).mm_per_px is None


def test_a_tilted_camera_looks_farther():
    tilted, straight = (pose(DJI | {"GimbalPitchDegree": p}).mm_per_px or 0 for p in ("-76", "-90"))
    assert tilted / straight == pytest.approx(1 / math.cos(math.radians(14)))


LASER = {"GimbalPitchDegree": "-5.0", "LRFStatus": "Normal", "LRFTargetDistance": "6.250"}


def test_a_range_finder_measures_a_facade():
    about = pose(DJI | LASER)
    assert (about.laser_distance, about.mm_per_px_source) == (6.25, ScaleSource.LASER)
    assert about.mm_per_px == pytest.approx(6_250 / FILM_24, rel=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"LRFStatus": "NoSignal"},
        {"LRFStatus": "TooFar"},
        {"LRFTargetDistance": "0.000"},
        {"LRFTargetDistance": "-3"},
        {"LRFTargetDistance": "65535"},
        {"LRFTargetDistance": "nan"},
        {"LRFTargetDistance": "1e999"},
        {"LRFTargetDistance": "six"},
    ],
)
def test_what_a_range_finder_did_not_measure(wrong):
    about = pose(DJI | LASER | wrong)
    assert (about.laser_distance, about.mm_per_px, about.mm_per_px_source) == (None, None, None)


@pytest.mark.parametrize("height", ["+0.00", "-3.20", "nan", "inf", "-inf", "1e9", "high", "1/0"])
def test_no_scale_from_a_height_that_is_none(height):
    about = pose(DJI | {"RelativeAltitude": height})
    assert (about.mm_per_px, about.mm_per_px_source) == (None, None)
    assert about.relative_altitude == {"+0.00": 0.0, "-3.20": -3.2}.get(height)


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {BASE.FocalLengthIn35mmFilm: 0},
        {BASE.FocalLengthIn35mmFilm: 65_535},
        {BASE.FocalLength: 0.0, BASE.FocalPlaneXResolution: 5_000.0},
        {BASE.FocalLength: 24.0, BASE.FocalPlaneXResolution: 0.0},
        {BASE.FocalLength: 24.0, BASE.FocalPlaneXResolution: 1.0,
         BASE.FocalPlaneResolutionUnit: 99},
        {BASE.FocalLength: 1e-6, BASE.FocalPlaneXResolution: 1e-6},
    ],
    ids=str,
)  # fmt: skip
def test_no_scale_without_a_focal_length_that_can_be(detail):
    about = pose(DJI, detail)
    assert (about.mm_per_px, about.mm_per_px_source) == (None, None)
    assert about.camera_yaw == 44.2


def test_pixels_of_the_sensor_where_no_equivalent_length_is_given():
    sensor = {BASE.FocalLength: 8.8, BASE.FocalPlaneXResolution: 4_096 / 1.32,
              BASE.FocalPlaneResolutionUnit: 3, BASE.ExifImageWidth: 4_096}  # fmt: skip
    pitch_mm = 13.2 / 4_096
    full = pose(DJI, sensor | {BASE.ExifImageWidth: 400})
    assert full.mm_per_px == pytest.approx(40_100 * pitch_mm / 8.8, rel=1e-4)
    shrunk = pose(DJI, sensor)
    assert shrunk.mm_per_px == pytest.approx(40_100 * 13.2 / 400 / 8.8, rel=1e-4)


def test_a_copy_that_was_made_smaller_shows_less():
    large, small = (pose(DJI, sides=sides).mm_per_px or 0 for sides in ((400, 300), (100, 75)))
    assert small / large == pytest.approx(4)


def test_what_other_makers_say():
    pix4d = pose({"Yaw": "-90.5", "Pitch": "2.5", "Roll": "1.5"}, prefix="Camera", elements=True)
    assert (pix4d.camera_yaw, pix4d.camera_pitch, pix4d.camera_roll) == (269.5, -87.5, 1.5)
    assert pix4d.mm_per_px is None
    parrot = pose({"CameraYawDegree": "12", "CameraPitchDegree": "-45"}, prefix="drone-parrot")
    assert (parrot.camera_yaw, parrot.camera_pitch) == (12, -45)
    assert pose({"FlightYawDegree": "-90.0"}).camera_yaw == 270


@pytest.mark.parametrize("value", ["nan", "1e300", "361", "-400.5", "north", "", "1_0_0_0"])
def test_absurd_angles_are_none(value):
    names = ("GimbalYawDegree", "FlightYawDegree", "GimbalPitchDegree", "GimbalRollDegree")
    assert pose(dict.fromkeys(names, value)) == PhotoFacts()


def test_a_photo_without_a_drones_packet_costs_no_parsing(monkeypatch):
    def never(_):
        raise AssertionError("parsed")

    monkeypatch.setattr(exif_module, "read_xmp", never)
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[BASE.DateTimeOriginal] = "2024:02:29 23:59:58"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (1.0, 0.0, 0.0), 3: "E", 4: (2.0, 0, 0)})
    stream = io.BytesIO()
    other = packet({}).replace(b"drone-", b"").replace(b"pix4d", b"other")
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=exif, xmp=other)
    assert read_exif(Image.open(stream)).camera_yaw is None


def test_a_decoded_photo_carries_its_pose(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved(packet(DJI), kind="MPO"))
    found = decode(ImageRef.of(tmp_path / "a.jpg"), PreprocessSpec(size=64))
    assert isinstance(found, Decoded)
    assert (found.facts.camera_yaw, found.facts.relative_altitude) == (44.2, 40.1)
    assert found.facts.mm_per_px_source is ScaleSource.ALTITUDE


@settings(max_examples=200, deadline=None)
@given(
    values=st.fixed_dictionaries({
        name: st.text(max_size=12) | st.floats().map(str) for name in (*DJI, *LASER)
    }),
    film=st.integers(0, 65_535), focal=st.floats(0, 1e6), density=st.floats(0, 1e6),
)  # fmt: skip
def test_whatever_is_said_never_raises_and_is_sound(values, film, focal, density):
    detail: dict[int, Any] = {BASE.FocalLengthIn35mmFilm: film, BASE.FocalLength: focal,
              BASE.FocalPlaneXResolution: density}  # fmt: skip
    about = read_pose({f"drone-dji:{k}": v for k, v in values.items()}, detail, SIDES)
    assert (about.mm_per_px is None) == (about.mm_per_px_source is None)
    numbers = (about.camera_yaw, about.camera_pitch, about.camera_roll, about.relative_altitude,
               about.laser_distance, about.mm_per_px)  # fmt: skip
    assert all(number is None or math.isfinite(number) for number in numbers)
    assert about.camera_yaw is None or 0 <= about.camera_yaw <= 360
    assert about.mm_per_px is None or about.mm_per_px > 0
