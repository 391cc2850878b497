"""EXIF facts: read where they are right, absent where they are not, never in the way."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from inspector.photos.exif import orientation_of, read_exif
from inspector.photos.pixels import upright_sides
from inspector.types import PhotoFacts

GPS = ExifTags.GPS
BASE = ExifTags.Base


def photo_with(
    base: Mapping[Any, object] | None = None,
    detail: Mapping[Any, object] | None = None,
    gps: Mapping[Any, object] | None = None,
) -> Image.Image:
    exif = Image.Exif()
    exif.update(base or {})
    exif.get_ifd(ExifTags.IFD.Exif).update(detail or {})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps or {})
    return photo_with_block(exif.tobytes())


def photo_with_block(block: bytes) -> Image.Image:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=block)
    return Image.open(stream)


def place(lat: str = "N", lon: str = "E") -> dict[int, object]:
    return {
        GPS.GPSLatitudeRef: lat,
        GPS.GPSLatitude: (52.0, 30.0, 36.0),
        GPS.GPSLongitudeRef: lon,
        GPS.GPSLongitude: (13.0, 15.0, 0.0),
    }


def test_a_photo_without_exif():
    assert read_exif(Image.new("RGB", (8, 8))) == PhotoFacts()


@pytest.mark.parametrize("lat", ["N", "S", "n", "s\0"])
@pytest.mark.parametrize("lon", ["E", "W"])
def test_a_place_on_each_quarter_of_the_globe(lat, lon):
    facts = read_exif(photo_with(gps=place(lat, lon)))
    assert facts.gps_lat == pytest.approx(52.51 * (1 if lat.upper().startswith("N") else -1))
    assert facts.gps_lon == pytest.approx(13.25 * (1 if lon == "E" else -1))


@pytest.mark.parametrize(
    "change",
    [
        {GPS.GPSLatitudeRef: ""},
        {GPS.GPSLatitudeRef: "X"},
        {GPS.GPSLatitude: (91.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (52.0, 30.0)},
        {GPS.GPSLatitude: (52.0, 30.0, IFDRational(1, 0))},
    ],
    ids=str,
)
def test_half_a_place_is_none(change):
    facts = read_exif(photo_with(gps={**place(), **change}))
    assert facts.gps_lat is None
    assert facts.gps_lon == 13.25


@pytest.mark.parametrize(("reference", "sign"), [(b"\0", 1), (b"\1", -1), (None, 1)])
def test_altitude_above_and_below_the_sea(reference, sign):
    gps: dict[int, object] = {GPS.GPSAltitude: 12.5}
    if reference is not None:
        gps[GPS.GPSAltitudeRef] = reference
    assert read_exif(photo_with(gps=gps)).gps_alt == sign * 12.5


def test_time_prefers_the_exposure_to_the_last_edit():
    edited = {BASE.DateTime: "2025:01:01 00:00:00"}
    taken = {BASE.DateTimeOriginal: "2024:02:29 23:59:58"}
    assert read_exif(photo_with(edited, taken)).taken_at == datetime(2024, 2, 29, 23, 59, 58)
    assert read_exif(photo_with(edited)).taken_at == datetime(2025, 1, 1)


@pytest.mark.parametrize(
    "text", ["", "0000:00:00 00:00:00", "2023:02:29 10:00:00", "    :  :     :  :  ", "yesterday"]
)
def test_a_time_that_is_none(text):
    assert read_exif(photo_with({BASE.DateTime: text})).taken_at is None


@pytest.mark.parametrize(
    ("text", "taken_at"),
    [
        ("2020-06-23 15:17:15", datetime(2020, 6, 23, 15, 17, 15)),
        ("2015-06-29T18:19:12+01:00", datetime(2015, 6, 29, 18, 19, 12)),
        ("2015-06-29T18:19:12Z", datetime(2015, 6, 29, 18, 19, 12)),
        ("2015-06-29T18:19-0530", datetime(2015, 6, 29, 18, 19)),
        ("2018:06:26 17:46:33.847", datetime(2018, 6, 26, 17, 46, 33, 847000)),
        ("2018:06:26 17:46:33.123456789", datetime(2018, 6, 26, 17, 46, 33, 123456)),
        ("2010:01:01 10:00:00\0x", datetime(2010, 1, 1, 10)),
    ],
)
def test_times_as_cameras_write_them(text, taken_at):
    assert read_exif(photo_with(detail={BASE.DateTimeOriginal: text})).taken_at == taken_at
    assert read_exif(photo_with({BASE.DateTime: text})).taken_at == taken_at


@pytest.mark.parametrize("nothing", ["0000:00:00 00:00:00", "    :  :     :  :  ", " ", "\0"])
def test_a_time_that_is_none_does_not_hide_the_next(nothing):
    edited = {BASE.DateTime: "2025:01:01 00:00:00"}
    blank = {BASE.DateTimeOriginal: nothing}
    digitized = {BASE.DateTimeDigitized: "2011:07:15 11:14:39"}
    assert read_exif(photo_with(edited, blank)).taken_at == datetime(2025, 1, 1)
    taken_at = read_exif(photo_with(edited, {**blank, **digitized})).taken_at
    assert taken_at == datetime(2011, 7, 15, 11, 14, 39)


def test_the_time_of_exposure_in_the_first_directory():
    first = {BASE.DateTime: "2025:01:01 00:00:00", BASE.DateTimeOriginal: "2024:02:03 04:05:06"}
    assert read_exif(photo_with(first)).taken_at == datetime(2024, 2, 3, 4, 5, 6)


def test_zeros_of_a_receiver_without_a_fix_are_no_place():
    zeros = (0.0, 0.0, 0.0)
    gps = {**place(), GPS.GPSLatitude: zeros, GPS.GPSLongitude: zeros, GPS.GPSAltitude: 0.0}
    facts = read_exif(photo_with(gps=gps))
    assert (facts.gps_lat, facts.gps_lon, facts.gps_alt) == (None, None, None)
    on_the_equator = read_exif(photo_with(gps={**place(), GPS.GPSLatitude: zeros}))
    assert (on_the_equator.gps_lat, on_the_equator.gps_lon) == (0.0, 13.25)


def test_camera_is_make_and_model_without_control_characters():
    facts = read_exif(photo_with({BASE.Make: "Maker\x1b[2J \0", BASE.Model: " One\n"}))
    assert facts.camera == "Maker[2J One"
    turned = read_exif(photo_with({BASE.Make: "a\u202eb\u200bc\x9bd"})).camera or ""
    assert turned.isprintable()
    assert len(read_exif(photo_with({BASE.Model: "x" * 999})).camera or "") == 120
    assert read_exif(photo_with({BASE.Make: "\0\0"})).camera is None
    facts = read_exif(photo_with({BASE.Make: "SONY", BASE.Model: "MAVICA\0003ghx7y"}))
    assert facts.camera == "SONY MAVICA"


@pytest.mark.parametrize("value", [0, 9, 255])
def test_an_orientation_out_of_range_is_upright(value):
    assert orientation_of(photo_with({BASE.Orientation: value})) == 1


def test_only_turned_orientations_swap_the_sides():
    swapping = [o for o in range(1, 9) if upright_sides((3, 2), o) == (2, 3)]
    assert swapping == [5, 6, 7, 8]


def test_a_damaged_directory_does_not_cost_the_others():
    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    directory = b"".join([entry(BASE.Orientation, 3, 1, 6), entry(0x8769, 4, 1, 0xFFFFFF)])
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + directory + struct.pack("<I", 0)
    assert orientation_of(photo_with_block(block)) == 6


@settings(max_examples=200, deadline=None)
@given(head=st.sampled_from([b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]), rest=st.binary())
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage; decode mutes it
def test_noise_never_raises(head, rest):
    photo = photo_with_block(b"Exif\0\0" + head + rest)
    read_exif(photo)
    assert orientation_of(photo) in range(1, 9)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_flipped_bytes_never_raise(data):
    exif = Image.Exif()
    exif[BASE.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(place())
    block = bytearray(exif.tobytes())
    for position in data.draw(st.lists(st.integers(6, len(block) - 1), min_size=1, max_size=5)):
        block[position] = data.draw(st.integers(0, 255))
    facts = read_exif(photo_with_block(bytes(block)))
    assert facts.gps_lat is None or -90 <= facts.gps_lat <= 90
    assert facts.gps_lon is None or -180 <= facts.gps_lon <= 180
