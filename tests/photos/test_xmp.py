"""XMP: read where EXIF says nothing, and never a way in."""

from __future__ import annotations

import io
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inspector.photos.exif import read_exif
from inspector.photos.xmp import read_xmp
from inspector.types import PhotoFacts

NAMESPACES = {
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "drone-dji": "http://www.dji.com/drone-dji/1.0/",
}


def packet(attributes: str = "", elements: str = "", head: str = "") -> bytes:
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>{head}'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f"<rdf:Description {names} {attributes}>{elements}</rdf:Description>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


DJI = packet(
    'drone-dji:GpsLatitude="+52.510000" drone-dji:GpsLongitude="-13.250000" '
    'drone-dji:AbsoluteAltitude="+103.25" drone-dji:GimbalYawDegree="+12.30"'
)


def facts(xmp: bytes, exif: Image.Exif | None = None) -> PhotoFacts:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", xmp=xmp, exif=exif or Image.Exif())
    return read_exif(Image.open(stream))


def test_attributes_and_elements_by_the_usual_prefix():
    block = packet('xmp:CreateDate="2024-05-06T07:08:09"', "<exif:ISO>\n 100 </exif:ISO>")
    renamed = block.replace(b"exif:", b"e:").replace(b"xmlns:exif", b"xmlns:e")
    for form in (block, renamed, block + bytes(40)):
        assert read_xmp(form) == {"xmp:CreateDate": "2024-05-06T07:08:09", "exif:ISO": "100"}
    assert read_xmp(DJI)["drone-dji:GimbalYawDegree"] == "+12.30"


@pytest.mark.parametrize("sort", ["Longitude", "Longtitude"])
def test_a_place_that_only_a_drone_writes(sort):
    found = facts(DJI.replace(b"GpsLongitude", f"Gps{sort}".encode()))
    assert (found.gps_lat, found.gps_lon, found.gps_alt) == (52.51, -13.25, 103.25)


def test_a_place_as_adobe_writes_it():
    found = facts(
        packet(
            'exif:GPSLatitude="52,30.6S" exif:GPSLongitude="13,15,0W" '
            'exif:GPSAltitude="2065/20" exif:GPSAltitudeRef="1"'
        )
    )
    assert found.gps_lat == pytest.approx(-52.51)
    assert (found.gps_lon, found.gps_alt) == (-13.25, -103.25)


@pytest.mark.parametrize(
    "attributes",
    [
        'drone-dji:GpsLatitude="0.000000" drone-dji:GpsLongitude="0.000000"',
        'drone-dji:GpsLatitude="+91.0" drone-dji:GpsLongitude="+13.0"',
        'drone-dji:GpsLatitude="+51.0"',
        'drone-dji:GpsLatitude="nan" drone-dji:GpsLongitude="1e999"',
        'exif:GPSLatitude="52,30.6E" exif:GPSLongitude="13,15N"',
        'exif:GPSLatitude="52" exif:GPSLongitude="13"',
    ],
)
def test_no_place(attributes):
    assert facts(packet(attributes)) == PhotoFacts()


@pytest.mark.parametrize(
    ("attributes", "day"),
    [
        (
            'exif:DateTimeOriginal="2024-05-06T07:08:09.5+02:00" xmp:CreateDate="2025-01-01T00:00"',
            6,
        ),
        ('photoshop:DateCreated="2024-05-07T07:08:09.5"', 7),
        ('xmp:CreateDate="2024-05-08T07:08:09.5Z" xmp:ModifyDate="2025-01-01T00:00"', 8),
        ('xmp:ModifyDate="2024-05-09T07:08:09.5Z"', 9),
    ],
)
def test_a_time_that_only_xmp_has(attributes, day):
    assert facts(packet(attributes)).taken_at == datetime(2024, 5, day, 7, 8, 9, 500_000)


def test_exif_comes_first_but_not_its_time_of_the_last_edit():
    exif = Image.Exif()
    exif[0x0132] = "2025:01:01 00:00:00"
    xmp = packet('exif:DateTimeOriginal="2024-05-06T07:08:09"')
    assert facts(xmp, exif).taken_at == datetime(2024, 5, 6, 7, 8, 9)
    exif.get_ifd(0x8769)[0x9003] = "2023:01:01 00:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 0.0, 0.0), 3: "E", 4: (2.0, 0.0, 0.0)})
    assert facts(xmp, exif).taken_at == datetime(2023, 1, 1)
    assert (facts(DJI, exif).gps_lat, facts(DJI, exif).gps_alt) == (1.0, None)


BOMB = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {after} '{f'&{before};' * 10}'>"
    for before, after in zip("abcdefghi", "bcdefghij", strict=True)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [
        packet('exif:ISO="1"', head="<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]>"),
        packet('exif:ISO="1"', "<exif:A>&j;</exif:A>", BOMB),
        packet('exif:ISO="1"', head="<!DOCTYPE x>").decode().encode("utf-16"),
        packet('exif:ISO="1"')[:-30],
        packet('exif:ISO="1"').replace(b"<?xpacket begin", b'<?xml encoding="none"?><?xpacket b'),
        packet('exif:ISO="1"', " " * (1 << 18)),
        b"<a>" * 80_000,
        b"",
        b"\xff\0<junk",
        "text",
        None,
    ],
)
def test_what_is_not_sound_says_nothing(block):
    assert read_xmp(block) == {}


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_raise(data):
    block = bytearray(DJI)
    for place in data.draw(st.lists(st.integers(0, len(block) - 1), min_size=1, max_size=5)):
        block[place] = data.draw(st.integers(0, 255))
    found = facts(bytes(block))
    assert found.gps_lat is None or -90 <= found.gps_lat <= 90
