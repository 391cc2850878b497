"""Any pixel type as 8-bit RGB, by rules that do not depend on the pixel values."""

from __future__ import annotations

from PIL import Image

BACKDROP = (128, 128, 128)
"""Mid grey, near the model's zero, where a photo is transparent: an edge of the alpha mask then
looks least like a crack."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any supported pixel type to 8-bit RGB, by a rule that does not depend on the pixel
    values."""
    if image.mode.startswith("I;16"):
        return _from_16_bit(image)
    if image.has_transparency_data:
        # Pillow has no way from premultiplied grey to RGBA.
        layered = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        backdrop = Image.new("RGBA", layered.size, (*BACKDROP, 255))
        return Image.alpha_composite(backdrop, layered).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    grey[values == image.info.get("transparency", -1)] = BACKDROP[0]  # a PNG's colour key
    return Image.fromarray(grey).convert("RGB")
