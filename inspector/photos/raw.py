"""Camera raw photos, developed by LibRaw: the camera's white balance, fixed brightness, 8 bits.

No step looks at the pixels to choose how bright the photo becomes. Where LibRaw does not know how
the sensor's numbers are packed, the preview in the file is all there is, and the photo's format
says so.
"""

from __future__ import annotations

import contextlib
import os
import struct
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFile

from inspector.photos import iso_media, tiff
from inspector.photos.formats import RAW, decodable, missing_extra, sniff
from inspector.photos.opened import Refused
from inspector.photos.pixels import upright, upright_sides
from inspector.photos.tiff_directory import read_directory
from inspector.photos.tiff_windows import read_pixels
from inspector.types import PREVIEW, FailureCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.photos.opened import Bytes, DecodeLimits

_RULE = {"use_camera_wb": True, "no_auto_bright": True, "adjust_maximum_thr": 0.0, "output_bps": 8}
"""The last but one keeps the white level that the camera states, whatever the brightest pixel."""
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}
"""EXIF orientations by LibRaw's `flip`; of any other it is 1."""
_TIFF_HEAD = {b"II": b"II*\0", b"MM": b"MM\0*"}
"""A TIFF's first bytes, in place of those by which Olympus and Panasonic mark theirs."""
_TOO_EARLY = "the camera raw file ends too early"


def is_camera_raw(data: Bytes, head: bytes) -> bool:
    """Whether a file, whose first bytes are `head`, holds what a sensor saw."""
    announced = sniff(head) or ""
    if announced in ("TIFF", "BigTIFF"):
        return tiff.is_camera_raw(data)
    return announced.startswith(RAW)


def open_raw(data: Bytes, limits: DecodeLimits) -> RawImage:
    """Open a camera raw photo; nothing is developed before it is loaded, and no preview beyond
    `limits` is decoded. Raises Refused."""
    if RAW not in decodable():
        raise Refused(FailureCode.UNSUPPORTED, missing_extra(RAW))
    return RawImage(BytesIO(data[: len(data)]), limits)


class RawImage(ImageFile.ImageFile):
    """A camera raw photo as Pillow has its images: RGB, upright."""

    def __init__(self, file: BytesIO, limits: DecodeLimits) -> None:
        self._limits = limits
        super().__init__(file)

    def _open(self) -> None:
        assert isinstance(self.fp, BytesIO)
        self._data = self.fp.getvalue()
        self._rawpy = _rawpy()
        self._raw: Any = None
        self._is_developed = False
        self._mode = "RGB"
        self.format = "DNG" if tiff.is_dng(self._data) else "RAW"
        if self._data[:2] in _TIFF_HEAD:
            self.info["exif"] = _TIFF_HEAD[self._data[:2]] + self._data[4:]
        with self._refusing():
            try:
                self._raw = self._rawpy.imread(BytesIO(self._data))
            except self._rawpy.LibRawFileUnsupportedError:
                self._show_preview()
                return
            sizes = self._raw.sizes
            self._orientation = _ORIENTATIONS.get(sizes.flip, 1)
            self._size = upright_sides((sizes.width, sizes.height), self._orientation)
            if "exif" not in self.info:
                with contextlib.suppress(Refused):  # too large a preview is no loss here
                    thumbnail = self._thumbnail()
                    self.info["exif"] = thumbnail.info.get("exif", b"") if thumbnail else b""

    def load(self) -> Any:
        if not self._is_developed:
            with self._refusing():
                try:
                    self._become(Image.fromarray(self._raw.postprocess(**_RULE)))
                except self._rawpy.LibRawFileUnsupportedError:
                    self._show_preview()
        return Image.Image.load(self)

    def _become(self, image: Image.Image) -> None:
        self.im, self._size, self._is_developed = image.im, image.size, True

    def _show_preview(self) -> None:
        """Take the preview that the camera has put into the file. Raises Refused."""
        if not is_whole(self._data):
            raise Refused(FailureCode.TRUNCATED, _TOO_EARLY)
        preview = self._thumbnail() or self._first_page()
        if preview is None:
            detail = "a camera raw file of a kind that LibRaw does not read"
            raise Refused(FailureCode.UNSUPPORTED, detail)
        self._become(preview)
        self.format = f"{self.format}{PREVIEW}"

    def _thumbnail(self) -> Image.Image | None:
        """Return the preview that LibRaw finds, upright; None where it finds none."""
        if self._raw is None:
            return None
        with contextlib.suppress(self._rawpy.LibRawError, OSError):
            found = self._raw.extract_thumb()
            if found.format == self._rawpy.ThumbFormat.JPEG:
                image: Image.Image = Image.open(BytesIO(found.data), formats=("JPEG",))
                self._limits.refuse_huge(*image.size)
            else:
                image = Image.fromarray(found.data)
            preview = upright(image.convert("RGB"), self._orientation)
            preview.info["exif"] = image.info.get("exif", b"")
            return preview
        return None

    def _first_page(self) -> Image.Image | None:
        try:
            tiff.refuse_unreadable(self._data, preview=True)
        except Refused:
            return None
        self._limits.refuse_huge(*read_directory(self._data).sides)
        with contextlib.suppress(Refused, OSError, ValueError, struct.error):
            return Image.fromarray(read_pixels(self._data))
        return None

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        """Raise Refused for what LibRaw raises."""
        rawpy = self._rawpy
        try:
            yield
        except rawpy.LibRawError as error:
            if isinstance(error, rawpy.LibRawTooBigError | rawpy.LibRawUnsufficientMemoryError):
                detail = "developing it needs more memory than LibRaw takes"
                raise Refused(FailureCode.TOO_LARGE, detail) from error
            if isinstance(error, rawpy.LibRawIOError) or not is_whole(self._data):
                raise Refused(FailureCode.TRUNCATED, _TOO_EARLY) from error
            detail = f"the camera raw file is damaged: {error}"
            raise Refused(FailureCode.CORRUPT, detail) from error


def is_whole(data: bytes) -> bool:
    """Whether all that the file points at lies within it, as far as that can be told."""
    if data[4:8] == b"ftyp":
        return iso_media.is_whole(data)
    return data[:2] not in _TIFF_HEAD or tiff.is_whole(data)


@lru_cache
def _rawpy() -> Any:
    """Import rawpy so that it takes one core: every core has a decoder already."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        import rawpy
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
    return rawpy
