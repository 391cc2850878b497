"""Where a camera looked, and how much of the surface a pixel shows: as drones write it.

Whatever cannot be is left out; nothing here raises.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from PIL import ExifTags

from inspector.model.scale import LEAST_MM, MOST_MM
from inspector.photos.xmp import number
from inspector.types import PhotoFacts, ScaleSource

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKS = (b"drone-dji", b"drone-parrot", b"pix4d.com/camera")
"""One of them is in every packet that tells a pose: others are not parsed for it."""
STRAIGHT_DOWN = -90.0
NADIR = 15.0
"""Degrees off straight down up to which a photo shows the ground below, whose distance is the
drone's height. A facade's distance has nothing to do with it."""
_MOST_HEIGHT = 10_000.0
_MOST_LASER = 5_000.0
"""Metres; the farthest reaching range finders on drones measure 3,000 (DJI H30)."""
_FILM_DIAGONAL = 43.267
"""Millimetres of a 36 x 24 mm frame, by which CIPA DCG-001 defines equivalent focal lengths."""
_FILM_FOCAL = (4.0, 4_000.0)
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Millimetres by FocalPlaneResolutionUnit."""


def tells_pose(packet: object) -> bool:
    """Whether an XMP packet may say where the camera looked, told without parsing it."""
    return isinstance(packet, bytes) and any(mark in packet for mark in _MARKS)


def read_pose(
    xmp: Mapping[str, str], detail: Mapping[int, Any], sides: tuple[int, int]
) -> PhotoFacts:
    """Read the pose from XMP properties (`xmp.read_xmp`), and the scale that follows from it, the
    EXIF block `detail` and the photo's width and height."""
    yaw = _first(xmp, "drone-dji:GimbalYawDegree", "drone-parrot:CameraYawDegree", "Camera:Yaw",
                 "drone-dji:FlightYawDegree")  # fmt: skip
    pitch = _first(xmp, "drone-dji:GimbalPitchDegree", "drone-parrot:CameraPitchDegree")
    if pitch is None and (below := _first(xmp, "Camera:Pitch")) is not None:
        pitch = STRAIGHT_DOWN + below  # Pix4D counts from straight down
    roll = _first(xmp, "drone-dji:GimbalRollDegree", "drone-parrot:CameraRollDegree", "Camera:Roll")
    height = _within(number(xmp.get("drone-dji:RelativeAltitude")), -_MOST_HEIGHT, _MOST_HEIGHT)
    laser = _laser(xmp)
    mm_per_px, source = _scale(laser, height, pitch, _focal_px(detail, sides))
    return PhotoFacts(
        camera_yaw=None if yaw is None else yaw % 360.0,
        camera_pitch=_within(pitch, -180.0, 180.0),
        camera_roll=roll,
        relative_altitude=height,
        laser_distance=laser,
        mm_per_px=mm_per_px,
        mm_per_px_source=source,
    )


def _first(xmp: Mapping[str, str], *names: str) -> float | None:
    """Return the first of some angles that is one."""
    angles = (_within(number(xmp.get(name)), -360.0, 360.0) for name in names)
    return next((angle for angle in angles if angle is not None), None)


def _within(value: float | None, least: float, most: float) -> float | None:
    return value if value is not None and least <= value <= most else None


def _laser(xmp: Mapping[str, str]) -> float | None:
    """Return what the range finder measured at the photo's centre, unless it says it failed."""
    if xmp.get("drone-dji:LRFStatus", "Normal").lower() != "normal":
        return None
    distance = number(xmp.get("drone-dji:LRFTargetDistance"))
    return distance if distance is not None and 0 < distance <= _MOST_LASER else None


def off_nadir(pitch: float | None) -> float | None:
    """Degrees off straight down; None where the photo does not show the ground below."""
    off = None if pitch is None else abs(pitch - STRAIGHT_DOWN)
    return off if off is not None and off <= NADIR else None


def _scale(
    laser: float | None, height: float | None, pitch: float | None, focal_px: float | None
) -> tuple[float | None, ScaleSource | None]:
    """Millimetres per pixel at the photo's centre, and where they come from."""
    distance, source = laser, ScaleSource.LASER
    if distance is None and height is not None and height > 0:
        off = off_nadir(pitch)
        distance = None if off is None else height / math.cos(math.radians(off))
        source = ScaleSource.ALTITUDE
    if distance is None or focal_px is None:
        return None, None
    mm_per_px = distance * 1000 / focal_px
    return (mm_per_px, source) if LEAST_MM <= mm_per_px <= MOST_MM else (None, None)


def _focal_px(detail: Mapping[int, Any], sides: tuple[int, int]) -> float | None:
    """Return the focal length in pixels of this photo.

    The equivalent length comes first: it holds for a copy that was made smaller, and errs for one
    that was cut towards showing less. Sensor pixels per unit are those of the original.
    """
    film = number(detail.get(ExifTags.Base.FocalLengthIn35mmFilm))
    if film is not None and _FILM_FOCAL[0] <= film <= _FILM_FOCAL[1]:
        return film * math.hypot(*sides) / _FILM_DIAGONAL
    focal = number(detail.get(ExifTags.Base.FocalLength))
    density = number(detail.get(ExifTags.Base.FocalPlaneXResolution))
    unit = detail.get(ExifTags.Base.FocalPlaneResolutionUnit, 2)
    unit_mm = _UNITS.get(unit) if isinstance(unit, int) else None
    if focal is None or density is None or unit_mm is None or focal <= 0 or density <= 0:
        return None
    tags = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
    original = max((number(detail.get(tag)) or 0.0 for tag in tags), default=0.0)
    shrunk = min(1.0, max(sides) / original) if original > 0 else 1.0
    return focal * density / unit_mm * shrunk
