"""One file in, one value out: `Decoded` or `Failure`. A bad file never raises."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import struct
import warnings
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    TiffImageFile,
)

from inspector.data.exif import UPRIGHT, ExifFacts, read_exif
from inspector.data.formats import DECODABLE, MAGIC_BYTES, sniff
from inspector.data.jpeg import plain_pixels
from inspector.data.limits import DecodeLimits
from inspector.preprocess import PreprocessSpec, crop_box, fit, to_pixels
from inspector.types import Decoded, Failure, FailureCode, ImageRef, PhotoFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TRANSPARENT_BACKDROP = (128, 128, 128)
"""Mid grey, near the model's zero: an edge of the alpha mask then looks least like a crack."""

_JPEG_EXIF = frozenset({"exif", "xmp"})
"""Where Pillow looks for EXIF facts in `info` of a JPEG; XMP may tell the orientation."""

_END_OF_IMAGE = b"\xff\xd9"
"""JPEG's last marker (ITU-T T.81, table B.1); entropy-coded data cannot contain it."""

_PILLOW = r"PIL\."
_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(_PILLOW), 0)

_NEW_SUBFILE_TYPE = 254
_REDUCED_RESOLUTION = 1
"""TIFF 6.0, section 8: this bit of the tag marks a smaller version of another image in the file."""

_ERRNO_CODES = {
    errno.ENOENT: FailureCode.VANISHED,
    errno.ENOTDIR: FailureCode.VANISHED,
    errno.ELOOP: FailureCode.VANISHED,
    errno.EACCES: FailureCode.PERMISSION,
    errno.EPERM: FailureCode.PERMISSION,
    errno.ENXIO: FailureCode.NOT_A_FILE,
    errno.EISDIR: FailureCode.NOT_A_FILE,
}


class _Refused(Exception):
    """Carries the failure code from where a file is refused to where its row is made."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def decode(
    ref: ImageRef, spec: PreprocessSpec, limits: DecodeLimits | None = None
) -> Decoded | Failure:
    """Read `ref` and make it the model's input; what cannot be judged comes back as a `Failure`."""
    facts = PhotoFacts()
    try:
        data = _read(ref.path, limits or DecodeLimits())
        facts = replace(facts, content_hash=hashlib.sha256(data).hexdigest())
        _hush_pillow()
        with _open(data, limits or DecodeLimits()) as image:
            late_exif = image.format == "PNG"  # may stand behind the pixels
            exif = ExifFacts() if late_exif else _early_exif(image)
            facts = _facts(image, exif, facts.content_hash)
            pixels_HWC = _quick_crop(image, exif, spec, data)
            if pixels_HWC is None:
                _load(image, spec, data)
                if late_exif:
                    exif = read_exif(image)
                    facts = _facts(image, exif, facts.content_hash)
                pixels_HWC = _model_pixels(image, exif, spec, data)
    except _Refused as refusal:
        return Failure(ref, refusal.code, refusal.detail, facts)
    shrink = max(facts.width or 1, facts.height or 1) / spec.size
    return Decoded(ref, pixels_HWC, facts, shrink)


def _hush_pillow() -> None:
    """Pillow warns about odd but decodable files; their row says all there is to say.

    For the whole process and for good: `warnings.catch_warnings` would restore, in one thread,
    filters that another still needs. In front again if another filter was put before it.
    """
    if warnings.filters[:1] != [_PILLOW_WARNINGS]:
        warnings.filterwarnings("ignore", module=_PILLOW)


def _read(path: str, limits: DecodeLimits) -> bytes:
    """All bytes of a regular file; never blocks on a pipe or device."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise _Refused(FailureCode.NOT_A_FILE, "not a regular file")
            if about.st_size > limits.max_bytes:
                raise _Refused(FailureCode.TOO_LARGE, f"{about.st_size:,} bytes")
            data = file.read()
    except OSError as error:
        code = _ERRNO_CODES.get(error.errno or 0, FailureCode.IO_ERROR)
        raise _Refused(code, error.strerror or type(error).__name__) from error
    if not data:
        raise _Refused(FailureCode.EMPTY, "0 bytes")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # not on Windows


def _open(data: bytes, limits: DecodeLimits) -> Image.Image:
    try:
        image = Image.open(BytesIO(data), formats=DECODABLE)
    except Image.DecompressionBombError as error:
        raise _Refused(FailureCode.TOO_LARGE, str(error)) from error
    except UnidentifiedImageError as error:
        raise _unidentified(data) from error
    except Exception as error:  # Pillow raises many types on damaged headers
        raise _undecodable(error, data) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise _Refused(FailureCode.CORRUPT, f"the header says {width} x {height} pixels")
    if width * height > limits.max_pixels:
        detail = f"{width} x {height} is more than {limits.max_pixels:,} pixels"
        raise _Refused(FailureCode.TOO_LARGE, detail)
    return image


def _unidentified(data: bytes) -> _Refused:
    announced = sniff(data[:MAGIC_BYTES])
    if announced is None:
        return _Refused(FailureCode.NOT_AN_IMAGE, "the content is in no known image format")
    if announced in DECODABLE:
        code = FailureCode.CORRUPT if _ends(data, announced) else FailureCode.TRUNCATED
        return _Refused(code, f"unreadable {announced} header")
    return _Refused(FailureCode.UNSUPPORTED, f"{announced} files are not supported")


def _undecodable(error: Exception, data: bytes) -> _Refused:
    short = "truncat" in str(error).lower() or isinstance(error, EOFError | struct.error)
    announced = sniff(data[:MAGIC_BYTES])
    if short or (announced is not None and not _ends(data, announced)):
        return _Refused(FailureCode.TRUNCATED, str(error) or "the image data ends too early")
    return _Refused(FailureCode.CORRUPT, str(error) or type(error).__name__)


def _ends(data: bytes, announced: str) -> bool:
    """Whether the format's end marker is there; formats without one count as ended."""
    if announced == "JPEG":
        # An EXIF thumbnail is a JPEG with an end marker of its own, before the last scan.
        return data.rfind(_END_OF_IMAGE) > data.rfind(b"\xff\xda") >= 0
    if announced == "PNG":
        return b"IEND" in data[-64:]
    if announced == "WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    return True


def _facts(image: Image.Image, exif: ExifFacts, content_hash: str | None) -> PhotoFacts:
    width, height = image.size
    if exif.swaps_sides:
        width, height = height, width
    return PhotoFacts(
        width=width,
        height=height,
        format=image.format,
        content_hash=content_hash,
        taken_at=exif.taken_at,
        gps_lat=exif.gps_lat,
        gps_lon=exif.gps_lon,
        gps_alt=exif.gps_alt,
        camera=exif.camera,
    )


def _early_exif(image: Image.Image) -> ExifFacts:
    """The EXIF facts, at no cost for a JPEG that has none."""
    if isinstance(image, JpegImageFile) and _JPEG_EXIF.isdisjoint(image.info):
        return ExifFacts()
    return read_exif(image)


def _quick_crop(
    image: Image.Image, exif: ExifFacts, spec: PreprocessSpec, data: bytes
) -> NDArray[np.uint8] | None:
    """What `_load` and `_model_pixels` would give for a JPEG that is only cropped, in half the
    time; None for all others. Where pixels are resized, Pillow is the faster decoder as well: its
    pixels already lie where its filter wants them."""
    box = crop_box(image.size, spec)
    if box is None or exif.orientation in UPRIGHT or not isinstance(image, JpegImageFile):
        return None
    pixels_HWC = plain_pixels(data, image.size)
    if pixels_HWC is None:
        return None
    left, top, right, bottom = box
    return pixels_HWC[top:bottom, left:right]


def _load(image: Image.Image, spec: PreprocessSpec, data: bytes) -> None:
    """Decode the pixels, a JPEG at a size not far above the model's."""
    try:
        if isinstance(image, TiffImageFile):
            _refuse_misleading_tiff(image)
        if isinstance(image, JpegImageFile):
            _refuse_endless_jpeg(image, data)
        # Only JPEG knows how to decode smaller than stored; for the others this does nothing.
        image.draft(None, (spec.decode_side, spec.decode_side))
        image.load()
    except _Refused:
        raise
    except Exception as error:  # Pillow raises many types on damaged data
        raise _undecodable(error, data) from error


def _model_pixels(
    image: Image.Image, exif: ExifFacts, spec: PreprocessSpec, data: bytes
) -> NDArray[np.uint8]:
    """The decoded photo upright, as the model's input."""
    try:
        small = fit(_to_rgb(image), spec)
    except _Refused:
        raise
    except Exception as error:  # a palette or profile that is damaged shows only here
        raise _undecodable(error, data) from error
    if exif.orientation in UPRIGHT:
        small = small.transpose(UPRIGHT[exif.orientation])
    return to_pixels(small)


def _refuse_endless_jpeg(image: JpegImageFile, data: bytes) -> None:
    """Zeros, as an interrupted copy leaves them behind the part that it got, may be codes for flat
    blocks: then the pixels seem complete, and only the marker at their end is missing."""
    first_scan = image.fp.tell() if image.fp else 0
    if data.find(_END_OF_IMAGE, first_scan) < 0:
        raise _Refused(FailureCode.TRUNCATED, "the JPEG has no end")


def _refuse_misleading_tiff(image: TiffImageFile) -> None:
    """TIFFs that Pillow opens without complaint as something other than the photo."""
    tags = image.tag_v2
    if tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_RESOLUTION:
        # Camera raw files (DNG, NEF, ARW) begin with a thumbnail.
        detail = "the first page is only a preview, as in camera raw files"
        raise _Refused(FailureCode.UNSUPPORTED, detail)
    white_is_zero = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    if image.mode.startswith("I;16") and (tags.get(BITSPERSAMPLE) != (16,) or white_is_zero):
        detail = "grey of this depth is only supported as 16 bit with black as zero"
        raise _Refused(FailureCode.UNSUPPORTED, detail)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any supported pixel type as 8-bit RGB, by a rule that does not depend on the pixel values."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.mode in ("I", "F", "LAB"):
        detail = f"{image.mode} pixels have no fixed way to 8-bit RGB"
        raise _Refused(FailureCode.UNSUPPORTED, detail)
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        backdrop = Image.new("RGBA", layered.size, (*_TRANSPARENT_BACKDROP, 255))
        return Image.alpha_composite(backdrop, layered).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    import numpy as np

    grey = np.asarray(image).astype(np.uint16) >> 8
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
