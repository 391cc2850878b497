"""The facts that inspection teams need from EXIF and XMP, read so that bad metadata never cost a
photo, and within limits: they come from anybody."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from PIL import ExifTags

from inspector.photos.pixels import TURNS
from inspector.photos.pose import read_pose, tells_pose
from inspector.photos.xmp import number, read_xmp
from inspector.types import PhotoFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

    Place = tuple[float | None, float | None, float | None]
    """Degrees north and east, metres above the sea."""

_TURNED_BY_ITSELF = ("TIFF", "DNG", "RAW")
"""Formats whose images are upright when they are opened. Pillow turns a TIFF by itself: its size
when it is opened, its pixels when loaded."""
_LONGEST_CAMERA = 120

_TIME = re.compile(
    r"(\d{4})[:-](\d{1,2})[:-](\d{1,2})[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d*)?)?"
    r" ?(?:Z|[+-]\d\d:?\d\d)?"
)
"""A time as EXIF or ISO 8601 write it, and what cameras make of both."""
_XMP_TIMES = (
    "exif:DateTimeOriginal", "photoshop:DateCreated", "exif:DateTimeDigitized", "xmp:CreateDate"
)  # fmt: skip
_NO_FIX = (0.0, 0.0)
"""Latitude and longitude of a receiver that does not know where it is."""
_XMP_DEGREES = re.compile(r"(\d+),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])")
"""Degrees, minutes and perhaps seconds (XMP part 2, section 2.1.1)."""


def orientation_of(image: Image.Image) -> int:
    """Return how an opened image lies: its EXIF orientation, 1 to 8. Of a PNG see `read_exif`."""
    if (image.format or "").startswith(_TURNED_BY_ITSELF):
        return 1
    value = _block(lambda: dict(image.getexif())).get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and value in TURNS else 1


def read_exif(image: Image.Image) -> PhotoFacts:
    """Read what the EXIF block says, and the XMP block where that says nothing; anything missing or
    malformed is left out.

    A PNG must be loaded before: Pillow would load it here to look for EXIF behind the pixels, and
    after a failure that is swallowed here the next load returns a black picture without complaint.
    """
    base = _block(lambda: dict(image.getexif()))
    detail = _block(lambda: image.getexif().get_ifd(ExifTags.IFD.Exif))
    gps = _block(lambda: image.getexif().get_ifd(ExifTags.IFD.GPSInfo))
    taken_at = _first_time(
        detail.get(ExifTags.Base.DateTimeOriginal),
        base.get(ExifTags.Base.DateTimeOriginal),
        detail.get(ExifTags.Base.DateTimeDigitized),
        base.get(ExifTags.Base.DateTimeDigitized),
    )
    lat = _degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS", 90)
    lon = _degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW", 180)
    place: Place = (None, None, None) if (lat, lon) == _NO_FIX else (lat, lon, _altitude(gps))
    is_placed = place[:2] != (None, None)
    packet, facts = image.info.get("xmp"), PhotoFacts()
    if taken_at is None or not is_placed or tells_pose(packet):
        xmp = read_xmp(packet)
        facts = read_pose(xmp, detail, image.size)
        taken_at = taken_at or _first_time(
            *(xmp.get(name) for name in _XMP_TIMES),
            base.get(ExifTags.Base.DateTime),
            xmp.get("xmp:ModifyDate"),
        )
        place = place if is_placed else _xmp_place(xmp) or place
    lat, lon, alt = place
    camera = _camera(base.get(ExifTags.Base.Make), base.get(ExifTags.Base.Model))
    return replace(facts, taken_at=taken_at, gps_lat=lat, gps_lon=lon, gps_alt=alt, camera=camera)


def _block(read: Callable[[], Mapping[int, Any]]) -> Mapping[int, Any]:
    """Read one EXIF directory; an empty one if it is damaged, without harm to the others."""
    # Pillow parses EXIF lazily and raises many types (struct.error, SyntaxError, KeyError, ...) on
    # damaged blocks; none of them says anything about the pixels.
    try:
        return read()
    except Exception:
        return {}


def _first_time(*values: object) -> datetime | None:
    """Return the first value that is a time; those of the exposure are given first."""
    return next((time for value in values if (time := _time(value))), None)


def _time(value: object) -> datetime | None:
    """Return the time on the camera's clock, whatever zone it names."""
    match = _TIME.fullmatch(_text(value))
    if match is None:
        return None
    *numbers, fraction = match.groups(default="0")
    year, month, day, hour, minute, second = map(int, numbers)
    with contextlib.suppress(ValueError):
        return datetime(year, month, day, hour, minute, second, int(fraction.ljust(6, "0")))
    return None


def _text(value: object) -> str:
    """Return a text up to its first NUL; behind that lies whatever was in the memory before."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return text.partition("\0")[0].strip() if isinstance(text, str) else ""


def _degrees(
    gps: Mapping[int, Any], tag: int, ref_tag: int, hemispheres: str, limit: int
) -> float | None:
    """Return signed degrees; None without a hemisphere: a wrong place is worse than none."""
    parts, hemisphere = gps.get(tag), _text(gps.get(ref_tag)).upper()
    if hemisphere not in tuple(hemispheres) or not isinstance(parts, tuple):
        return None
    numbers = [found for part in parts if (found := number(part)) is not None]
    if not len(numbers) == len(parts) == 3:
        return None
    degrees, minutes, seconds = numbers
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= limit:
        return None
    return -value if hemisphere == hemispheres[1] else value


def _altitude(gps: Mapping[int, Any]) -> float | None:
    value = number(gps.get(ExifTags.GPS.GPSAltitude))
    below_sea = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return -value if value is not None and below_sea else value


def _xmp_place(xmp: Mapping[str, str]) -> Place | None:
    """Return the place as Adobe or DJI write it."""
    lat = _xmp_degrees(xmp.get("exif:GPSLatitude"), "NS")
    lon = _xmp_degrees(xmp.get("exif:GPSLongitude"), "EW")
    alt = number(xmp.get("exif:GPSAltitude"))
    if alt is not None and xmp.get("exif:GPSAltitudeRef") == "1":
        alt = -alt
    if lat is None or lon is None:
        # Their first drones misspelt it.
        east = xmp.get("drone-dji:GpsLongitude") or xmp.get("drone-dji:GpsLongtitude")
        lat, lon = number(xmp.get("drone-dji:GpsLatitude")), number(east)
        alt = number(xmp.get("drone-dji:AbsoluteAltitude"))
    if lat is None or lon is None or (lat, lon) == _NO_FIX:
        return None
    return (lat, lon, alt) if abs(lat) <= 90 and abs(lon) <= 180 else None


def _xmp_degrees(text: str | None, hemispheres: str) -> float | None:
    match = _XMP_DEGREES.fullmatch(text or "")
    if match is None or match[4] not in hemispheres:
        return None
    degrees, minutes, seconds = (float(part or 0) for part in match.groups()[:3])
    value = degrees + minutes / 60 + seconds / 3600
    return -value if match[4] == hemispheres[1] else value


def _camera(make: object, model: object) -> str | None:
    """Join a camera's names, without control characters: they must not drive a terminal."""
    names = (_text(part)[:_LONGEST_CAMERA] for part in (make, model))
    words = ("".join(filter(str.isprintable, name)).strip() for name in names)
    return " ".join(filter(None, words))[:_LONGEST_CAMERA] or None
