"""What a model says of one photo, and how a notebook shows it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from inspector.core.text import display_path, printable
from inspector.errors import DataError
from inspector.model.preprocess import PreprocessSpec, Views
from inspector.photos.decode import decode, prepare
from inspector.photos.drawing import VEIL, Overlay, drawn_over, heat_of
from inspector.results.schema import make_row
from inspector.types import Decoded, Failure, Judgement, View

if TYPE_CHECKING:
    from inspector.types import FailureCode, JsonObject, Photo, Reason, Region, Verdict

_SIDE = 960
"""Pixels of the longer side of the picture in a notebook."""
_QUALITY = 85
_INCHES = 8.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Prediction:
    """A photo's answers: what a scan's row has, and the picture of it (a notebook shows it)."""

    item: Photo | Failure
    judgement: Judgement | None = None
    """None where the photo could not be judged."""
    _overlay: Overlay | None = field(default=None)
    _image: Image.Image | None = field(default=None)
    """The image that was given; None for a file."""

    @property
    def verdict(self) -> Verdict | None:
        """`crack`, `clear` or `review`; None where it could not be judged."""
        return None if self.judgement is None else self.judgement.verdict

    @property
    def reason(self) -> Reason | None:
        return None if self.judgement is None else self.judgement.reason

    @property
    def p_crack(self) -> float | None:
        """Calibrated probability of a crack; None where it could not be judged."""
        return None if self.judgement is None else self.judgement.p_crack

    @property
    def regions(self) -> tuple[Region, ...]:
        """Places with evidence for a crack, likeliest first; none where it was judged whole."""
        return () if self.judgement is None else self.judgement.regions or ()

    @property
    def failure_code(self) -> FailureCode | None:
        """Why it could not be judged; None where it was."""
        return self.item.code if isinstance(self.item, Failure) else None

    @property
    def row(self) -> JsonObject:
        """The photo's row in a table, by column."""
        return make_row(self.item, self.judgement)

    def photo(self) -> Image.Image:
        """The photo, upright, with every pixel; of a file, read again. Raises DataError where that
        is not the file that was judged."""
        spec, native = PreprocessSpec(), Views(View.DENSE)
        found = (
            decode(self.item.ref, spec, views=native)
            if self._image is None
            else prepare(self._image, self.item.ref, spec, native)
        )
        if not isinstance(found, Decoded):
            raise DataError(f"{self._name} cannot be shown ({found.code}: {found.detail})")
        if found.facts.content_hash != self.item.facts.content_hash:
            raise DataError(f"{self._name} has changed since it was judged")
        return Image.fromarray(np.ascontiguousarray(found.pixels_HWC))

    def plot(self, ax: Any = None) -> Any:
        """Draw the photo with its heat map and its regions by Matplotlib, in its own pixels, on
        `ax` or new axes, which are returned. Raises DataError as `photo`."""
        import matplotlib.pyplot as plt
        from matplotlib.patches import Rectangle

        photo = self.photo()
        width, height = photo.size
        if ax is None:
            _, ax = plt.subplots(figsize=(_INCHES, _INCHES * height / width), layout="constrained")
        ax.imshow(photo)
        ax.set_title(self._words)
        if self._overlay is None:
            return ax
        around = (-0.5, width - 0.5, height - 0.5, -0.5)
        heat = np.asarray(heat_of(self._overlay, width, height))
        ax.imshow(heat, extent=around, alpha=VEIL, interpolation="bicubic")
        for region in self.regions:
            corner = (region.x - 0.5, region.y - 0.5)
            for colour, line in (("black", 3), ("white", 1)):
                box = Rectangle(corner, region.width, region.height, fill=False)
                box.set(edgecolor=colour, linewidth=line)
                ax.add_patch(box)
            ax.annotate(f"{region.p_crack:.2f}", corner, va="bottom", backgroundcolor="white")
        ax.set(xlim=around[:2], ylim=around[2:])
        return ax

    @property
    def _name(self) -> str:
        return printable(display_path(self.item.ref.path)) or "the image"

    @property
    def _words(self) -> str:
        if self._overlay is not None:
            return self._overlay.words
        assert isinstance(self.item, Failure)
        return f"not judged: {self.item.code} ({self.item.detail})"

    def __repr__(self) -> str:
        return f"<Prediction {self._words}: {self._name}>"

    def _repr_html_(self) -> str:
        """The photo with its heat map and regions, as large as a notebook is wide."""
        said = f"{escape(self._name)}: {escape(self._words)}"
        if self._overlay is None:
            return f"<p>{said}</p>"
        try:
            photo = self.photo()
        except DataError as error:
            return f"<p>{said}; {escape(str(error))}</p>"
        width, height = photo.size
        photo.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
        stream = BytesIO()
        drawn_over(photo, width, height, self._overlay).save(stream, "JPEG", quality=_QUALITY)
        source = f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"
        return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'
