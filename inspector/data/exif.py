"""The EXIF facts that inspection teams need, read so that bad EXIF never costs a photo."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from PIL import ExifTags
from PIL.Image import Transpose

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
"""What brings each EXIF orientation upright (EXIF 2.32, tag 0x0112); 1 and unknown need nothing."""

_SWAPPING = frozenset({5, 6, 7, 8})
_LONGEST_CAMERA = 120


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """`orientation` 1..8 is what is still to be done; the rest as in `types.PhotoFacts`."""

    orientation: int = 1
    taken_at: datetime | None = None
    gps_lat: float | None = None
    gps_lon: float | None = None
    gps_alt: float | None = None
    camera: str | None = None

    @property
    def swaps_sides(self) -> bool:
        """Whether the photo is displayed with width and height exchanged."""
        return self.orientation in _SWAPPING


def read_exif(image: Image.Image) -> ExifFacts:
    """What the EXIF block says; anything missing or malformed is left at its default.

    A PNG must be loaded before: Pillow would load it here to look for EXIF behind the pixels, and
    after a failure that is swallowed here the next load returns a black picture without complaint.
    """
    base = _block(lambda: dict(image.getexif()))
    detail = _block(lambda: image.getexif().get_ifd(ExifTags.IFD.Exif))
    gps = _block(lambda: image.getexif().get_ifd(ExifTags.IFD.GPSInfo))
    return ExifFacts(
        # Pillow turns a TIFF by itself: its size when it is opened, its pixels when loaded.
        orientation=1 if image.format == "TIFF" else _orientation(base),
        taken_at=_time(
            detail.get(ExifTags.Base.DateTimeOriginal) or base.get(ExifTags.Base.DateTime)
        ),
        gps_lat=_degrees(gps, ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS", 90),
        gps_lon=_degrees(gps, ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW", 180),
        gps_alt=_altitude(gps),
        camera=_camera(base.get(ExifTags.Base.Make), base.get(ExifTags.Base.Model)),
    )


def _block(read: Callable[[], Mapping[int, Any]]) -> Mapping[int, Any]:
    """One EXIF directory; empty if it is damaged, without harm to the others."""
    # Pillow parses EXIF lazily and raises many types (struct.error, SyntaxError, KeyError, ...) on
    # damaged blocks; none of them says anything about the pixels.
    try:
        return read()
    except Exception:
        return {}


def _orientation(base: Mapping[int, Any]) -> int:
    value = base.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and value in UPRIGHT else 1


def _time(value: object) -> datetime | None:
    with contextlib.suppress(ValueError, AttributeError):
        return datetime.strptime(str(value).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    return None


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _degrees(
    gps: Mapping[int, Any], tag: int, ref_tag: int, hemispheres: str, limit: int
) -> float | None:
    """Signed degrees; None without a hemisphere, because a wrong place is worse than none."""
    parts, hemisphere = gps.get(tag), str(gps.get(ref_tag, "")).strip("\0 ").upper()
    if hemisphere not in tuple(hemispheres):
        return None
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None for number in numbers):
        return None
    degrees, minutes, seconds = (number or 0.0 for number in numbers)
    value = degrees + minutes / 60 + seconds / 3600
    if not 0 <= value <= limit:
        return None
    return -value if hemisphere == hemispheres[1] else value


def _altitude(gps: Mapping[int, Any]) -> float | None:
    value = _number(gps.get(ExifTags.GPS.GPSAltitude))
    below_sea = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return -value if value is not None and below_sea else value


def _camera(make: object, model: object) -> str | None:
    words = [_printable(part[:_LONGEST_CAMERA]) for part in (make, model) if isinstance(part, str)]
    name = " ".join(word for word in words if word)
    return name[:_LONGEST_CAMERA] or None


def _printable(text: str) -> str:
    """Without control characters: a camera name must not be able to drive a terminal."""
    return "".join(c for c in text if c.isprintable()).strip()
