"""One file in, one value out: `Decoded` or `Failure`. A bad file never raises."""

from __future__ import annotations

import hashlib
import re
import warnings
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from inspector.core.text import printable
from inspector.model.preprocess import PreprocessSpec, crop_box, fit, to_pixels
from inspector.photos import tiff
from inspector.photos.endings import is_rare_kind, is_whole
from inspector.photos.exif import UPRIGHT, ExifFacts, read_exif
from inspector.photos.formats import DECODABLE, MAGIC_BYTES, sniff
from inspector.photos.jpeg import END_OF_IMAGE, plain_image, plain_pixels
from inspector.photos.limits import DecodeLimits, Refused
from inspector.photos.png import SIGNATURE, plain_png
from inspector.photos.reading import read
from inspector.types import Decoded, Failure, FailureCode, ImageRef, PhotoFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BACKDROP = (128, 128, 128)
"""Mid grey, near the model's zero: an edge of the alpha mask then looks least like a crack."""

_JPEG_EXIF = frozenset({"exif", "xmp"})
"""Where Pillow looks for EXIF facts in `info` of a JPEG; XMP may tell the orientation."""

_PILLOW = r"PIL\."
_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(_PILLOW), 0)

_LONGEST_SIDE = 2**31 - 1
"""What the table's `width` and `height` can hold."""
_LONGEST_DETAIL = 200


def decode(
    ref: ImageRef, spec: PreprocessSpec, limits: DecodeLimits | None = None
) -> Decoded | Failure:
    """Read `ref` and make it the model's input; what cannot be judged comes back as a `Failure`.

    The outcome's ref tells size and time of the file that was read, should it have changed since
    the listing.
    """
    limits = limits or DecodeLimits()
    contents = read(ref, limits)
    if isinstance(contents, Failure):
        return contents
    ref, data = contents.ref, contents.data
    facts = PhotoFacts(content_hash=hashlib.sha256(data).hexdigest())
    try:
        _prepare_pillow(limits)
        with _open(data, limits) as image:
            late_exif = image.format == "PNG"  # may stand behind the pixels
            exif = ExifFacts() if late_exif else _early_exif(image)
            facts = _facts(image, exif, facts.content_hash)
            if late_exif:
                image.load()
                exif = read_exif(image)
                facts = _facts(image, exif, facts.content_hash)
            pixels_HWC = _model_pixels(image, exif, spec, data)
    except Refused as refusal:
        return Failure(ref, refusal.code, _in_one_line(refusal.detail), facts)
    except Exception as error:  # Pillow raises many types on damaged data
        code, detail = _why(error, data, opened=facts.width is not None, name=ref.path)
        return Failure(ref, code, _in_one_line(detail), facts)
    shrink = max(facts.width or 1, facts.height or 1) / spec.size
    return Decoded(ref, pixels_HWC[None], facts, shrink)


def _prepare_pillow(limits: DecodeLimits) -> None:
    """Pillow warns about odd but decodable files; their row says all there is to say. It has a
    bound on pixels of its own, which must not lie below `limits`: it refuses twice that number.

    For the whole process and for good: `warnings.catch_warnings` would restore, in one thread,
    filters that another still needs. In front again if another filter was put before it.
    """
    if warnings.filters[:1] != [_PILLOW_WARNINGS]:
        warnings.filterwarnings("ignore", module=_PILLOW)
    bound = Image.MAX_IMAGE_PIXELS
    if bound is not None and 2 * bound < limits.max_pixels:
        Image.MAX_IMAGE_PIXELS = -(-limits.max_pixels // 2)


def _open(data: bytes, limits: DecodeLimits) -> Image.Image:
    """Reads the header, decodes nothing."""
    image = open_image(data)
    width, height = image.size
    if width < 1 or height < 1:
        raise Refused(FailureCode.CORRUPT, f"the header says {width} x {height} pixels")
    if width * height > limits.max_pixels or max(width, height) > _LONGEST_SIDE:
        detail = f"{width} x {height} is more than {limits.max_pixels:,} pixels (--max-pixels)"
        raise Refused(FailureCode.TOO_LARGE, detail)
    return image


def open_image(data: bytes) -> Image.Image:
    """An image of which nothing is decoded yet, opened so that Pillow reads it rightly. Raises
    Refused where it cannot, and what Pillow raises."""
    # By itself it reads several kinds of uncompressed TIFF wrongly; libtiff, which has all others,
    # reads them as well.
    TiffImagePlugin.READ_LIBTIFF = True
    if data.startswith(SIGNATURE):
        data = plain_png(data)
    return Image.open(BytesIO(data), formats=DECODABLE)


def _why(error: Exception, data: bytes, *, opened: bool, name: str) -> tuple[FailureCode, str]:
    """What an exception from a decoder says about the file, in words that are not the decoder's."""
    announced = sniff(data[:MAGIC_BYTES], name)
    if isinstance(error, MemoryError):
        return FailureCode.TOO_LARGE, "decoding it needs more memory than there is"
    if isinstance(error, Image.DecompressionBombError):
        return FailureCode.TOO_LARGE, "its picture has more pixels than --max-pixels allows"
    if announced is None and isinstance(error, UnidentifiedImageError):
        return FailureCode.NOT_AN_IMAGE, "the content is in no known image format"
    if announced is not None and announced not in (*DECODABLE, "BigTIFF"):
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
    if is_rare_kind(data, form, opened=opened):
        return FailureCode.UNSUPPORTED, f"a {form} of a kind that no decoder here reads"
    what = "pixels" if opened else "header"
    return FailureCode.CORRUPT, f"the {form} is damaged: its {what} cannot be decoded"


def _in_one_line(text: str) -> str:
    """Some messages of decoders quote the file."""
    return printable(" ".join(text.split()))[:_LONGEST_DETAIL]


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


def _model_pixels(
    image: Image.Image, exif: ExifFacts, spec: PreprocessSpec, data: bytes
) -> NDArray[np.uint8]:
    """The photo upright, as the model's input; a JPEG is decoded at a size not far above it."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tiff.refuse_unreadable(data)
        tiff.refuse_damaged(data)
    if isinstance(image, JpegImageFile):
        _refuse_endless_jpeg(image, data)
        image.draft(None, (spec.decode_side, spec.decode_side))
        box = crop_box(image.size, spec)
        if box is not None and exif.orientation not in UPRIGHT:
            pixels_HWC = plain_pixels(data, image.size)
            if pixels_HWC is not None:
                left, top, right, bottom = box
                return pixels_HWC[top:bottom, left:right]
        else:
            image = plain_image(data, image.size) or image
    image.load()  # may change the mode
    small = fit(to_rgb(image), spec)
    if exif.orientation in UPRIGHT:
        small = small.transpose(UPRIGHT[exif.orientation])
    return to_pixels(small)


def _refuse_endless_jpeg(image: JpegImageFile, data: bytes) -> None:
    """Zeros, as an interrupted copy leaves them behind the part that it got, may be codes for flat
    blocks: then the pixels seem complete, and only the marker at their end is missing."""
    first_scan = image.fp.tell() if image.fp else 0
    if data.find(END_OF_IMAGE, first_scan) < 0:
        raise Refused(FailureCode.TRUNCATED, "the JPEG has no end")


def to_rgb(image: Image.Image) -> Image.Image:
    """Any supported pixel type as 8-bit RGB, by a rule that does not depend on the pixel values."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        # Pillow has no way from premultiplied grey to RGBA.
        layered = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        backdrop = Image.new("RGBA", layered.size, (*_BACKDROP, 255))
        return Image.alpha_composite(backdrop, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = _BACKDROP[0]  # a PNG's colour key
    return Image.fromarray(grey).convert("RGB")
