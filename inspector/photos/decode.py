"""Decoding: one photo in, its pixels or the reason why it has none out. A bad file never raises."""

from __future__ import annotations

import re
import struct
import warnings
from dataclasses import replace
from io import BytesIO
from typing import IO, TYPE_CHECKING, cast

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from inspector.core.text import printable
from inspector.model.preprocess import ALL_WHOLE, PreprocessSpec, Views, crop_box, fit, to_pixels
from inspector.photos import iso_media, tiff, tiff_windows
from inspector.photos.exif import orientation_of, read_exif
from inspector.photos.formats import MAGIC_BYTES, PLAIN, decodable, sniff, unread_archive
from inspector.photos.jpeg import (
    find_end,
    first_scan,
    is_of_common_kind,
    plain_image,
    plain_pixels,
)
from inspector.photos.opened import TOO_MANY, Bytes, DecodeLimits, OpenBytes, Refused
from inspector.photos.pixels import in_pieces, to_rgb, turned, upright, upright_sides
from inspector.photos.png import SIGNATURE, plain_png
from inspector.photos.raw import RawImage, is_camera_raw, open_raw
from inspector.photos.reading import Contents, read
from inspector.types import Decoded, Failure, FailureCode, ImageRef, PhotoFacts, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JPEG_EXIF = frozenset({"exif", "xmp"})
"""Keys of a JPEG's `info` in which Pillow finds EXIF facts; XMP may tell the orientation."""

_PILLOW = r"PIL\."
_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(_PILLOW), 0)

_LATE = frozenset({"PNG", "HEIF"})
"""Formats that tell all facts only when their pixels are decoded: a PNG's EXIF may stand behind
them, a HEIF's size may be another than its header says."""

_LONGEST_DETAIL = 200

_HIGH_FIRST = b"MM\0+"
"""A BigTIFF with the high bytes first, which Pillow takes for another kind."""

_PNG_END = b"IEND\xaeB\x60\x82"
"""The type and checksum of a PNG's last chunk (PNG, section 11.2.5)."""

_GIF_TRAILER, _GIF_EXTENSION, _GIF_IMAGE = b";!,"
"""First bytes of a GIF's blocks (GIF89a, appendix A)."""
_GIF_HEADER, _GIF_FLAGS = 13, 10
_GIF_IMAGE_HEADER, _GIF_IMAGE_FLAGS = 11, 9
"""Bytes of a picture's header, and the place of its palette's flags in it."""

_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Sizes by which the versions of a BMP's header are told apart."""
_BMP_DEPTHS = frozenset({0, 1, 2, 4, 8, 16, 24, 32, 64})
_BMP_PACKINGS = frozenset({*range(7), *range(11, 14)})


def decode(
    ref: ImageRef,
    spec: PreprocessSpec,
    limits: DecodeLimits | None = None,
    views: Views = ALL_WHOLE,
) -> Decoded | Failure:
    """Read a photo and make it the model's input (`size` x `size` x 3, uint8 RGB) or, by `views`,
    upright pixels at its own scale (height x width x 3); or a Failure that says why it cannot be
    judged. The ref of either has size and time of the file that was read, should that have changed
    since the listing."""
    limits = limits or DecodeLimits()
    contents = read(ref, limits)
    if isinstance(contents, Failure):
        return contents
    with contents:
        outcome = _decode(contents, spec, limits, views)
        if isinstance(contents.data, OpenBytes) and contents.data.has_changed():
            detail = "written to while it was decoded"
            return Failure(contents.ref, FailureCode.CHANGED, detail, outcome.facts)
        return outcome


def _decode(
    contents: Contents, spec: PreprocessSpec, limits: DecodeLimits, views: Views
) -> Decoded | Failure:
    ref, data = contents.ref, contents.data
    facts = PhotoFacts(content_hash=contents.content_hash)
    try:
        _prepare_pillow(limits)
        with open_image(data, limits) as image:
            limits.refuse_huge(*image.size)
            if image.format in _LATE or isinstance(image, RawImage):
                facts = PhotoFacts(*image.size, image.format, contents.content_hash)
                image.load()
                limits.refuse_huge(*image.size)
            found, orientation = _facts(image)
            facts = replace(found, content_hash=contents.content_hash)
            pixels_HWC, shrink, view = _in_view(image, orientation, spec, views, data)
    except Refused as refusal:
        return Failure(ref, refusal.code, _in_one_line(refusal.detail), facts)
    except Exception as error:  # Pillow raises many types on damaged data
        code, detail = _why(error, data, opened=facts.width is not None, name=ref.path)
        return Failure(ref, code, _in_one_line(detail), facts)
    return Decoded(ref, pixels_HWC, facts, shrink, view)


def prepare(
    image: Image.Image, ref: ImageRef, spec: PreprocessSpec, views: Views = ALL_WHOLE
) -> Decoded | Failure:
    """Make of an image in memory what `decode` makes of its file; an orientation that it still has
    in its EXIF is applied. The facts know no `content_hash`."""
    try:
        _prepare_pillow(DecodeLimits())
        image.load()
        facts, orientation = _facts(image)
        pixels_HWC, shrink, view = _in_view(image, orientation, spec, views, None)
    except Exception as error:  # of many types; the file that it comes from may be damaged
        return Failure(ref, FailureCode.CORRUPT, _in_one_line(str(error)))
    return Decoded(ref, pixels_HWC, facts, shrink, view)


def _prepare_pillow(limits: DecodeLimits) -> None:
    """Pillow warns about odd but decodable files; their row says all there is to say. It has a
    bound on pixels of its own, which must not lie below `limits`: it refuses twice that number.
    And somebody may have told it to make up the pixels that a truncated file lacks.

    For the whole process and for good: `warnings.catch_warnings` would restore, in one thread,
    filters that another still needs. In front again if another filter was put before it.
    """
    if warnings.filters[:1] != [_PILLOW_WARNINGS]:
        warnings.filterwarnings("ignore", module=_PILLOW)
    bound = Image.MAX_IMAGE_PIXELS
    if bound is not None and 2 * bound < limits.max_pixels:
        Image.MAX_IMAGE_PIXELS = -(-limits.max_pixels // 2)
    ImageFile.LOAD_TRUNCATED_IMAGES = False


def open_image(data: Bytes, limits: DecodeLimits | None = None) -> Image.Image:
    """Open an image, without decoding it, in such a way that Pillow reads it rightly. Of a camera
    raw photo that cannot be developed, the preview is decoded, within `limits`. Raises Refused
    where Pillow cannot, and whatever Pillow raises."""
    # By itself it reads several kinds of uncompressed TIFF wrongly; libtiff, which has all others,
    # reads them as well.
    TiffImagePlugin.READ_LIBTIFF = True
    if is_camera_raw(data, data[:MAGIC_BYTES]):
        return open_raw(data, limits or DecodeLimits())
    if data[:4] == _HIGH_FIRST:
        data = tiff_windows.header(data)
    if isinstance(data, OpenBytes):
        return Image.open(cast("IO[bytes]", data), formats=("TIFF",))
    if sniff(data[:MAGIC_BYTES]) in iso_media.FORMATS:
        return iso_media.open_boxes(data)
    if data.startswith(SIGNATURE):
        data = plain_png(data)
    return Image.open(BytesIO(data), formats=PLAIN)


def _why(error: Exception, data: Bytes, *, opened: bool, name: str) -> tuple[FailureCode, str]:
    """Translate an exception from a decoder into a failure code and our own words."""
    announced = sniff(data[:MAGIC_BYTES], name)
    if isinstance(error, MemoryError):
        return FailureCode.TOO_LARGE, "decoding it needs more memory than there is"
    if isinstance(error, Image.DecompressionBombError):
        return FailureCode.TOO_LARGE, TOO_MANY
    if announced is None and isinstance(error, UnidentifiedImageError):
        if archive := unread_archive(data[:MAGIC_BYTES]):
            return FailureCode.UNSUPPORTED, f"{archive}; unpack it"
        return FailureCode.NOT_AN_IMAGE, "the content is in no known image format"
    if announced in iso_media.FORMATS and "ecurity limit" in str(error):
        return FailureCode.TOO_LARGE, "its picture is larger than libheif decodes"
    if announced is not None and announced not in (*decodable(), "BigTIFF", *iso_media.FORMATS):
        return FailureCode.UNSUPPORTED, f"{announced} files are not supported"
    if announced in ("TIFF", "BigTIFF"):
        try:
            tiff.refuse_unreadable(data)
        except Refused as refusal:
            return refusal.code, refusal.detail
    form = announced or "picture"
    if not is_whole(data, form):
        where = "in its pixels" if opened else "within its header"
        return FailureCode.TRUNCATED, f"the {form} ends too early, {where}"
    if isinstance(data, bytes) and _is_rare_kind(data, form, opened=opened):
        return FailureCode.UNSUPPORTED, f"a {form} of a kind that no decoder here reads"
    what = "pixels" if opened else "header"
    return FailureCode.CORRUPT, f"the {form} is damaged: its {what} cannot be decoded"


def is_whole(data: Bytes, announced: str) -> bool:
    """Whether `data`, of the format `announced`, reaches its end; True for formats without one."""
    if announced in ("TIFF", "BigTIFF"):
        return tiff.is_whole(data)
    assert isinstance(data, bytes)
    if announced in iso_media.FORMATS:
        return iso_media.is_whole(data)
    if announced == "JPEG":
        return first_scan(data) is not None and find_end(data) >= 0
    if announced == "PNG":
        return data.rfind(_PNG_END) >= 0
    if announced == "WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if announced == "BMP":
        return len(data) >= int.from_bytes(data[2:6], "little")
    return announced != "GIF" or _gif_is_whole(data)


def _is_rare_kind(data: bytes, announced: str, *, opened: bool) -> bool:
    """Whether an undamaged file may be of a kind of the format `announced` that its decoder lacks;
    `opened` tells whether the decoder got past the header."""
    if announced == "JPEG":
        return first_scan(data) is not None and not is_of_common_kind(data)
    if announced == "PNG":
        return data[12:16] == b"CgBI"  # as Apple packs them into programs
    return announced == "BMP" and not opened and _bmp_is_rare(data)


def _bmp_is_rare(data: bytes) -> bool:
    """Whether the header of a BMP that no decoder takes is a valid one."""
    header = data[14:34].ljust(20, b"\0")
    (size,) = struct.unpack_from("<I", header)
    if size < 40:
        return size in _BMP_HEADERS and all(struct.unpack_from("<HH", header, 4))
    width, height, _, depth, packing = struct.unpack_from("<iiHHI", header, 4)
    known = size in _BMP_HEADERS and depth in _BMP_DEPTHS and packing in _BMP_PACKINGS
    return known and width != 0 and height != 0


def _gif_is_whole(data: bytes) -> bool:
    """Whether the blocks lead to a trailer. True also for an unknown block, which is another
    fault."""
    at = _GIF_HEADER
    try:
        at += _gif_palette(data[_GIF_FLAGS])
        while data[at] != _GIF_TRAILER:
            if data[at] == _GIF_IMAGE:
                at += _GIF_IMAGE_HEADER + _gif_palette(data[at + _GIF_IMAGE_FLAGS])
            elif data[at] == _GIF_EXTENSION:
                at += 2
            else:
                return True
            while data[at]:
                at += 1 + data[at]
            at += 1
    except IndexError:
        return False
    return True


def _gif_palette(flags: int) -> int:
    """Return the size in bytes of the colour table that a packed field announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _in_one_line(text: str) -> str:
    """Make a message printable; some quote the file."""
    return printable(" ".join(text.split()))[:_LONGEST_DETAIL]


def _facts(image: Image.Image) -> tuple[PhotoFacts, int]:
    """Read the facts of an image and its orientation, at no cost for a JPEG that has no EXIF."""
    if isinstance(image, JpegImageFile) and _JPEG_EXIF.isdisjoint(image.info):
        return PhotoFacts(*image.size, image.format), 1
    orientation = orientation_of(image)
    width, height = upright_sides(image.size, orientation)
    facts = replace(read_exif(image), width=width, height=height, format=image.format)
    return facts, orientation


def _in_view(
    image: Image.Image, orientation: int, spec: PreprocessSpec, views: Views, data: Bytes | None
) -> tuple[NDArray[np.uint8], float, View]:
    """Return the upright pixels of a photo in its view, how much that shrinks it, and the view.
    `data` is its file; None where the image is decoded."""
    view = views.of(image.size)
    if view is not View.WHOLE:
        return _native_pixels(image, orientation, data), 1.0, view
    shrink = max(image.size) / spec.size
    return _model_pixels(image, orientation, spec, data), shrink, view


def _model_pixels(
    image: Image.Image, orientation: int, spec: PreprocessSpec, data: Bytes | None
) -> NDArray[np.uint8]:
    """Return the upright photo at the model's size; a JPEG is decoded not much larger than that."""
    if data is not None and isinstance(image, TiffImagePlugin.TiffImageFile):
        image = Image.fromarray(_tiff_pixels(data))
    if isinstance(image, JpegImageFile) and isinstance(data, bytes):
        _refuse_endless_jpeg(data)
        image.draft(None, (spec.decode_side, spec.decode_side))
        box = crop_box(image.size, spec)
        if box is not None and orientation == 1:
            pixels_HWC = plain_pixels(data, image.size)
            if pixels_HWC is not None:
                left, top, right, bottom = box
                return pixels_HWC[top:bottom, left:right]
        else:
            image = plain_image(data, image.size) or image
    image.load()  # may change the mode
    return to_pixels(upright(fit(to_rgb(image), spec), orientation))


def _native_pixels(image: Image.Image, orientation: int, data: Bytes | None) -> NDArray[np.uint8]:
    """Return all pixels of the photo, upright: a turned view of how they were decoded."""
    pixels_HWC = None
    if data is not None and isinstance(image, TiffImagePlugin.TiffImageFile):
        pixels_HWC = _tiff_pixels(data)
    if isinstance(image, JpegImageFile) and isinstance(data, bytes):
        _refuse_endless_jpeg(data)
        pixels_HWC = plain_pixels(data, image.size)
    if pixels_HWC is None:
        pixels_HWC = in_pieces(image)
    return turned(pixels_HWC, orientation)


def _tiff_pixels(data: Bytes) -> NDArray[np.uint8]:
    """Return all pixels of a TIFF, upright. Raises Refused where they cannot be trusted."""
    tiff.refuse_unreadable(data)
    tiff.refuse_damaged(data)
    return tiff_windows.read_pixels(data)


def _refuse_endless_jpeg(data: bytes) -> None:
    """Raise Refused for a JPEG without its end marker. Zeros, as an interrupted copy leaves them
    after the part that it got, may be codes for flat blocks: the pixels then seem complete."""
    if find_end(data) < 0:
        raise Refused(FailureCode.TRUNCATED, "the JPEG has no end")
