"""A model asked about a few photos, in a notebook or a program: what a scan would say of them, and
how a notebook shows it."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field
from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any, Self, TypeAlias, overload

import numpy as np
from PIL import Image

from inspector.core.machine import usable_cores
from inspector.core.pages import data_uri
from inspector.core.text import display_path, printable
from inspector.core.untrusted import in_bucket
from inspector.engines.tuned import fastest_precision
from inspector.errors import DataError, UsageError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.preprocess import PreprocessSpec, Views
from inspector.model.verdict import judge
from inspector.photos.address import LOCAL, MEMBER, page_of, path_of
from inspector.photos.decode import decode, prepare
from inspector.photos.drawing import VEIL, Overlay, drawn_over, heat_of
from inspector.photos.formats import named_like_an_archive
from inspector.photos.object_file import is_far
from inspector.photos.source import Discovery, source_of
from inspector.results.schema import make_row
from inspector.scanning.config import ScanConfig
from inspector.scanning.executor import close_all, start_engine
from inspector.scanning.overlays import Explanations
from inspector.scanning.plan import AUTO, choose_engine
from inspector.types import Decoded, Failure, ImageRef, Judgement, View
from inspector.workers.child import without_pixels
from inspector.workers.gathering import Gathering
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from inspector.engines import Backend
    from inspector.types import Batch, FailureCode, JsonObject, Photo, Reason, Region, Verdict

    Asked: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8]"
    """A photo: its path or address, an image, or pixels as uint8 (H, W), (H, W, 3) or (H, W, 4)."""

_BATCH = 8
"""Files decoded and judged at once."""
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
        """The photo's row in a table, by column, but for `judged_at`."""
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
        drawn = drawn_over(photo, width, height, self._overlay)
        source = data_uri(drawn, "JPEG", quality=_QUALITY)
        return f'<figure><img src="{source}" alt="{said}"><figcaption>{said}</figcaption></figure>'


class Model:
    """A model that is loaded. It says of a photo what a scan here with the same options says, to
    the last bit. To be closed, or used as a context manager; not to be shared by threads.

    Example:
        >>> import inspector
        >>> with inspector.Model.load() as model:
        ...     found = model.predict("photos/crack.jpg")
        ...     several = model.predict(["photos/crack.jpg", "photos/broken.jpg"])
        >>> print(found.verdict, found.reason, f"{found.p_crack:.2f}")
        crack model 1.00
        >>> several[1].verdict is None, str(several[1].failure_code)
        (True, 'not_an_image')
    """

    def __init__(self, bundle: ModelBundle, config: ScanConfig) -> None:
        """See `load`."""
        opened: dict[str, Backend] = {}
        try:
            choice = choose_engine(config, bundle, {})
            precision = choice.precision
            if precision == AUTO:
                precision, _ = fastest_precision(bundle, choice.backend, opened=opened)
            self._engine = start_engine(config, bundle, choice.backend, precision, opened=opened)
        finally:
            close_all(opened)
        self.bundle = bundle
        self.precision = precision
        self._config = config
        self._thresholds = config.thresholds(bundle.thresholds)
        self._dense = config.dense_thresholds(bundle)
        self._explain = Explanations(bundle)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        *,
        device: str = AUTO,
        backend: str = AUTO,
        precision: str = AUTO,
        view: str = AUTO,
        threshold: float | None = None,
        mm_per_px: float | None = None,
        min_crack_mm: float | None = None,
        trust: bool = False,
    ) -> Self:
        """Load a bundle, or the one that comes with the package. The options are those of a scan
        (`ScanConfig`). Raises UsageError, BundleError, BackendError."""
        config = ScanConfig(
            sources=(os.curdir,),
            model=model,  # type: ignore[arg-type]  # it takes any path
            device=device,
            backend=backend,
            precision=precision,
            view=view,
            threshold=threshold,
            mm_per_px=mm_per_px,
            min_crack_mm=min_crack_mm,
            trust=trust,
        )
        return cls(ModelBundle.load(config.model or DEFAULT_PATH, trust=trust), config)

    @overload  # a path is a sequence of paths to a type checker
    def predict(self, photos: Asked) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(self, photos: Sequence[Asked]) -> list[Prediction]: ...

    def predict(self, photos: Asked | Sequence[Asked]) -> Prediction | list[Prediction]:
        """Judge one photo, or several in their order.

        Args:
            photos: Paths or addresses, images of Pillow, or pixels as uint8 (H, W), (H, W, 3) or
                (H, W, 4). Large ones are judged at their own scale. An image has the pixels that it
                has: where Pillow decodes a file otherwise than a scan, the file says more.

        A photo that cannot be judged is a prediction without a verdict. Several files are decoded
        by processes of their own, one file in this one. Raises UsageError for what is no photo,
        BackendError where the engine fails.
        """
        if isinstance(photos, str | os.PathLike | Image.Image | np.ndarray):
            return dict(self._predictions([photos]))[0]
        asked = list(photos)
        found = dict(self._predictions(asked))
        return [found[place] for place in range(len(asked))]

    def _predictions(self, asked: list[Any]) -> Iterator[tuple[int, Prediction]]:
        """What is said of each, with its place in `asked`, in any order."""
        images = {
            place: _image_of(photo)
            for place, photo in enumerate(asked)
            if not isinstance(photo, str | os.PathLike)
        }
        refs = [_ref_of(photo, k) for k, photo in enumerate(asked) if k not in images]
        with closing(self._decoded(refs)) as batches:
            for batch in batches:
                yield from self._judged(batch, None)
        for place, image in images.items():
            yield from self._judged(self._prepared(image, place), image)

    def _decoded(self, refs: list[ImageRef]) -> Generator[Batch]:
        workers = 0 if len(refs) < 2 else min(usable_cores(), ceil(len(refs) / _BATCH))
        return load_batches(
            refs,
            self.bundle.preprocess,
            batch_size=_BATCH,
            workers=workers,
            views=self._engine.views,
            limits=self._config.limits,
        )

    def _prepared(self, image: Image.Image, place: int) -> Batch:
        spec = self.bundle.preprocess
        gathering = Gathering(1, spec)
        ref = ImageRef.of("", place)
        gathering.add(*without_pixels(prepare(image, ref, spec, self._engine.views)))
        return gathering.taken()

    def _judged(self, batch: Batch, image: Image.Image | None) -> Iterator[tuple[int, Prediction]]:
        batch = batch.at_scale(self._config.mm_per_px)
        own: Iterator[tuple[Judgement, Overlay]] = iter(())
        if batch.photos:
            scores = self._engine.run(batch)
            stages, scale = self._engine.stages, self._config.scale
            said = judge(scores, batch.photos, self._thresholds, stages, self._dense, scale)
            own = ((each, self._explain.overlay(each, scores, k)) for k, each in enumerate(said))
        for item in batch.items:
            if isinstance(item, Failure):
                yield item.ref.index, Prediction(item)
            else:
                yield item.ref.index, Prediction(item, *next(own), image)

    def close(self) -> None:
        """Give back memory and threads; nothing can be asked afterwards."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = f"{self._engine.name} on {self._engine.device}"
        return f"<Model {self.bundle.digest[:12]}: {self.precision}, {where}>"


def _ref_of(photo: str | os.PathLike[str], place: int) -> ImageRef:
    """The photo of that name as a scan lists it. Raises UsageError."""
    address = os.fspath(photo)
    if not isinstance(address, str):
        raise UsageError(f"a path must be text, not {address!r}")
    if page_of(address) > 1:
        return ImageRef(place, address, address, None, None)
    try:
        listed = source_of(address).named(address, Discovery(()))
        found = None if _holds_photos(address) else next(listed, None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if found is None:
        name = f"{address}!/NAME" if named_like_an_archive(address) else "one of them"
        raise UsageError(
            f"{address} is no photo but holds them; judge all with inspector.scan, or name {name}"
        )
    at, uri, facts = found
    return ImageRef(place, at, uri, facts.size, facts.mtime_us)


def _holds_photos(address: str) -> bool:
    """Whether it is that of a directory, an archive or a part of a bucket. Raises ValueError."""
    if is_far(address):
        return in_bucket(address) and address.endswith("/")
    is_file = address.startswith(LOCAL) and MEMBER not in address
    path = path_of(address) if is_file else address
    return os.path.isdir(path) or (named_like_an_archive(path) and os.path.isfile(path))


def _image_of(photo: Any) -> Image.Image:
    """An image of Pillow. Raises UsageError for what is none and no pixels either."""
    if isinstance(photo, Image.Image):
        return photo
    pixels = np.asarray(photo)
    known = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not known or not pixels.size:
        raise UsageError(
            "a photo is a path, an image, or pixels as uint8 (H, W), (H, W, 3) or (H, W, 4), not "
            f"{type(photo).__name__} of {pixels.dtype} {pixels.shape}"
        )
    return Image.fromarray(pixels)
