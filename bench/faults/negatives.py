"""Camera raw files, as small as they can be: a DNG of one mosaic (DNG 1.4.0.0, chapter 4)."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tifffile

MOSAIC, SUBFILE = 32803, 254
_XYZ_TO_SRGB = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.204, 1.057)
BYTE, TEXT, SHORT, LONG, RATIONAL, SIGNED_RATIONAL = 1, 2, 3, 4, 5, 10


def mosaic(rgb_HWC: np.ndarray, white: int = 65535) -> np.ndarray:
    """What a sensor behind red, green, green and blue filters sees of an sRGB picture; uint16."""
    light_HWC = (rgb_HWC / 255.0) ** 2.2
    seen_HW = light_HWC[..., 1].copy()
    seen_HW[0::2, 0::2] = light_HWC[0::2, 0::2, 0]
    seen_HW[1::2, 1::2] = light_HWC[1::2, 1::2, 2]
    return (seen_HW * white).round().astype(np.uint16)


def dng(
    rgb_HWC: np.ndarray,
    *,
    orientation: int = 1,
    neutral: tuple[float, ...] = (1.0, 1.0, 1.0),
    white: int = 65535,
    compression: str | None = None,
    preview: np.ndarray | None = None,
) -> bytes:
    """A DNG of the mosaic of an sRGB picture, with a preview in front of it if there is one."""
    matrix = [part for value in _XYZ_TO_SRGB for part in (round(value * 10_000), 10_000)]
    as_shot = [part for value in neutral for part in (round(value * 1_000_000), 1_000_000)]
    about: list[Any] = [
        (50706, BYTE, 4, (1, 4, 0, 0), True),  # DNGVersion
        (50708, TEXT, 0, "DJI FC6310", True),  # UniqueCameraModel
        (50721, SIGNED_RATIONAL, 9, matrix, True),  # ColorMatrix1
        (50728, RATIONAL, 3, as_shot, True),  # AsShotNeutral
        (50778, SHORT, 1, 21, True),  # CalibrationIlluminant1: D65
        (271, TEXT, 0, "DJI", True),
        (272, TEXT, 0, "FC6310", True),
        (274, SHORT, 1, orientation, True),
        (306, TEXT, 0, "2026:01:02 03:04:05", True),
    ]
    sensor: list[Any] = [
        (33421, SHORT, 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, BYTE, 4, (0, 1, 1, 2), True),  # CFAPattern: red, green, green, blue
        (50714, SHORT, 1, 0, True),  # BlackLevel
        (50717, LONG, 1, white, True),  # WhiteLevel
    ]
    seen: dict[str, Any] = {"photometric": MOSAIC, "compression": compression, "software": False}
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        if preview is None:
            file.write(mosaic(rgb_HWC, white), extratags=about + sensor, metadata=None, **seen)
        else:
            file.write(
                preview, photometric="rgb", subfiletype=1, subifds=1, extratags=about,
                metadata=None, software=False,
            )  # fmt: skip
            file.write(mosaic(rgb_HWC, white), extratags=sensor, metadata=None, **seen)
    return stream.getvalue()
