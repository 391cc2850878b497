"""The facts that inspection teams need from EXIF and XMP, read so that bad metadata never cost a
photo, and within limits: they come from anybody."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from PIL import ExifTags
from PIL.Image import Transpose

from inspector.photos.pose import Pose, read_pose, tells_pose
from inspector.photos.xmp import number, read_xmp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL import Image

UPRIGHT: Mapping[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""The turn that brings each EXIF orientation upright (EXIF 2.32, tag 0x0112); 1 and unknown ones
need none."""

_TURNED_BY_ITSELF = ("TIFF", "DNG", "RAW")
"""Formats whose images are upright when they are opened. Pillow turns a TIFF by itself: its size
when it is opened, its pixels when loaded."""
_SWAPPING = frozenset({5, 6, 7, 8})
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


@dataclass(frozen=True, slots=True)
class _Place:
    """Degrees north and east, metres above the sea."""

    lat: float | None = None
    lon: float | None = None
    alt: float | None = None


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """Facts about a photo as in `types.PhotoFacts`, and its EXIF orientation, 1 to 8."""

    orientation: int = 1
    taken_at: datetime | None = None
    gps_lat: float | None = None
    gps_lon: float | None = None
    gps_alt: float | None = None
    camera: str | None = None
    pose: Pose = field(default_factory=Pose)

    @property
    def swaps_sides(self) -> bool:
        """Whether the photo is displayed with width and height exchanged."""
        return self.orientation in _SWAPPING


def read_exif(image: Image.Image) -> ExifFacts:
    """Read the EXIF block, and the XMP block where that says nothing; anything missing or malformed
    is left at its default.

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
    place = _Place(lat, lon, _altitude(gps)) if (lat, lon) != _NO_FIX else _Place()
    is_placed = (place.lat, place.lon) != (None, None)
    packet, pose = image.info.get("xmp"), Pose()
    if taken_at is None or not is_placed or tells_pose(packet):
        xmp = read_xmp(packet)
        pose = read_pose(xmp, detail, image.size)
        taken_at = taken_at or _first_time(
            *(xmp.get(name) for name in _XMP_TIMES),
            base.get(ExifTags.Base.DateTime),
            xmp.get("xmp:ModifyDate"),
        )
        place = place if is_placed else _xmp_place(xmp) or place
    return ExifFacts(
        orientation=1 if (image.format or "").startswith(_TURNED_BY_ITSELF) else _orientation(base),
        taken_at=taken_at,
        gps_lat=place.lat,
        gps_lon=place.lon,
        gps_alt=place.alt,
        camera=_camera(base.get(ExifTags.Base.Make), base.get(ExifTags.Base.Model)),
        pose=pose,
    )


def _block(read: Callable[[], Mapping[int, Any]]) -> Mapping[int, Any]:
    """Read one EXIF directory; an empty one if it is damaged, without harm to the others."""
    # Pillow parses EXIF lazily and raises many types (struct.error, SyntaxError, KeyError, ...) on
    # damaged blocks; none of them says anything about the pixels.
    try:
        return read()
    except Exception:
        return {}


def _orientation(base: Mapping[int, Any]) -> int:
    value = base.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and value in UPRIGHT else 1


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
    if hemisphere not in tuple(hemispheres):
        return None
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    numbers = [number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    degrees, minutes, seconds = (number or 0.0 for number in numbers)
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= limit:
        return None
    return -value if hemisphere == hemispheres[1] else value


def _altitude(gps: Mapping[int, Any]) -> float | None:
    value = number(gps.get(ExifTags.GPS.GPSAltitude))
    below_sea = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return -value if value is not None and below_sea else value


def _xmp_place(xmp: Mapping[str, str]) -> _Place | None:
    """Return the place as Adobe or DJI write it."""
    alt = number(xmp.get("exif:GPSAltitude"))
    place = _Place(
        _xmp_degrees(xmp.get("exif:GPSLatitude"), "NS"),
        _xmp_degrees(xmp.get("exif:GPSLongitude"), "EW"),
        -alt if alt is not None and xmp.get("exif:GPSAltitudeRef") == "1" else alt,
    )
    if place.lat is None or place.lon is None:
        # Their first drones misspelt it.
        east = xmp.get("drone-dji:GpsLongitude") or xmp.get("drone-dji:GpsLongtitude")
        place = _Place(
            number(xmp.get("drone-dji:GpsLatitude")),
            number(east),
            number(xmp.get("drone-dji:AbsoluteAltitude")),
        )
    if place.lat is None or place.lon is None or (place.lat, place.lon) == _NO_FIX:
        return None
    return place if abs(place.lat) <= 90 and abs(place.lon) <= 180 else None


def _xmp_degrees(text: str | None, hemispheres: str) -> float | None:
    match = _XMP_DEGREES.fullmatch(text or "")
    if match is None or match[4] not in hemispheres:
        return None
    degrees, minutes, seconds = (float(part or 0) for part in match.groups()[:3])
    value = degrees + minutes / 60 + seconds / 3600
    return -value if match[4] == hemispheres[1] else value


def _camera(make: object, model: object) -> str | None:
    words = [_printable(_text(part)[:_LONGEST_CAMERA]) for part in (make, model)]
    name = " ".join(word for word in words if word)
    return name[:_LONGEST_CAMERA] or None


def _printable(text: str) -> str:
    """Drop control characters: a camera name must not be able to drive a terminal."""
    return "".join(c for c in text if c.isprintable()).strip()
