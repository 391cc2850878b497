"""The one way from a photo to the model's input.

Training-time validation, scan, bench and the export gate all call `fit`, with the spec that the
bundle carries; scaling to [0, 1] and normalisation happen inside the exported graph.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inspector.errors import UsageError
from inspector.types import View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from inspector.types import JsonObject

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Channel means of ImageNet for RGB in [0, 1]; what torchvision's ResNet18 weights expect."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Channel standard deviations of ImageNet, the same source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSpec:
    """The way from a photo to `size` x `size` model pixels. It depends on no pixel value.

    Raises UsageError when a field is out of range.
    """

    size: int = 224
    """Side of the model's square input, pixels."""
    max_border: float = 0.02
    """Largest share of a side that may be cut off instead of resampled: a 227 px tile is cropped
    to 224, which keeps its pixels as they are and costs nothing."""
    decode_margin: float = 2.0
    """A JPEG may be decoded at 1/2, 1/4 or 1/8 (in the DCT domain) as long as its sides stay at
    least this many times `size`; below 2 the later antialiased resize loses detail."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 4096:
            raise UsageError(f"input size {self.size} px is not between 32 and 4096")
        if not 0 <= self.max_border <= 0.02:
            raise UsageError(f"a border of {self.max_border:.1%} cut off is more than 2 %")
        if self.decode_margin < 1:
            raise UsageError(
                f"decode margin {self.decode_margin} would decode below the input size"
            )
        if min(self.std) <= 0:
            raise UsageError(f"standard deviations must be positive, not {self.std}")

    @property
    def decode_side(self) -> int:
        """Smallest side, in pixels, to which a scaled JPEG decode may go."""
        return round(self.size * self.decode_margin)

    def to_json(self) -> JsonObject:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Views:
    """The view that a photo gets, by its size."""

    big: View = View.WHOLE
    above: float = 0.0
    """Longer side of the upright photo, pixels, above which it gets `big`; others are judged
    whole."""

    def of(self, sides: tuple[int, int]) -> View:
        return self.big if max(sides) > self.above else View.WHOLE


ALL_WHOLE = Views()


def fit(image: Image.Image, spec: PreprocessSpec) -> Image.Image:
    """The whole RGB `image`, any aspect ratio, as `size` x `size` pixels.

    Within `max_border` of the size it is cropped at the centre, otherwise resized by an
    antialiased bilinear filter (Pillow's, whose support grows with the scale).
    """
    from PIL import Image as pil

    box = crop_box(image.size, spec)
    if box is not None:
        return image.crop(box)
    return image.resize((spec.size, spec.size), pil.Resampling.BILINEAR)


def crop_box(sides: tuple[int, int], spec: PreprocessSpec) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of what `fit` cuts out of a photo of `sides` (width, height);
    None where it resizes."""
    size = spec.size
    width, height = sides
    if all(size <= side and side - size <= spec.max_border * side for side in sides):
        left, top = (width - size) // 2, (height - size) // 2
        return left, top, left + size, top + size
    return None


def to_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB image as a contiguous uint8 array (H, W, 3)."""
    import numpy as np

    return np.array(image, dtype=np.uint8)
