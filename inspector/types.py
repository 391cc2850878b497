"""The values that flow through a scan, from a name on disk to a row in the table.

Array names carry their axes as a suffix: N photos, H height, W width, C channels (RGB).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Status(StrEnum):
    """Whether a file could be judged."""

    OK = "ok"
    FAILED = "failed"


class Verdict(StrEnum):
    """The table's answer for a photo."""

    CRACK = "crack"
    CLEAR = "clear"
    REVIEW = "review"


class Reason(StrEnum):
    """The reason for a verdict."""

    MODEL = "model"
    """The probability lies clearly on one side of the thresholds."""
    NEAR_THRESHOLD = "near_threshold"
    """The probability lies between the thresholds: a person should look."""
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    """The photo shows no surface of the kind the model knows, so its probability means nothing."""
    DOWNSCALED = "downscaled"
    """The photo was shrunk so much that a thin crack may have vanished: not safe to call clear."""
    SCALE = "scale"
    """The photo cannot show the crack width that was asked for, or nobody knows whether it can."""
    PREVIEW = "preview"
    """Of a camera raw photo only the small preview could be read: not safe to call clear."""


class View(StrEnum):
    """The way in which a photo is judged."""

    WHOLE = "whole"
    """Brought to the model's input as one image."""
    DENSE = "dense"
    """At its own scale, every window of it, by one pass of the network over strips of the photo."""
    TILES = "tiles"
    """At its own scale, cut into overlapping tiles, each judged as an image of its own."""


class ScaleSource(StrEnum):
    """The source of a photo's scale."""

    FLAG = "flag"
    """A person said it (`--mm-per-px`)."""
    LASER = "laser"
    """A range finder's distance and the focal length."""
    ALTITUDE = "altitude"
    """The height above the take-off and the focal length, of a photo that looks straight down."""


class FailureCode(StrEnum):
    """The reason why a file could not be judged."""

    EMPTY = "empty"
    """The file has no bytes."""
    NOT_AN_IMAGE = "not_an_image"
    """The content is no image in any known format, whatever the name says."""
    TRUNCATED = "truncated"
    """The image data ends too early."""
    CORRUPT = "corrupt"
    """The image data is all there but cannot be decoded, or only by making pixels up."""
    UNSUPPORTED = "unsupported"
    """A real image, in a format or pixel type that is not supported, or an archive."""
    TOO_LARGE = "too_large"
    """More pixels or bytes than the limits allow, or more memory than there is."""
    PERMISSION = "permission"
    """The file may not be read."""
    VANISHED = "vanished"
    """The file was listed but is gone, or is a link to nothing or to itself."""
    NOT_A_FILE = "not_a_file"
    """A pipe, socket or device with the name of an image."""
    IO_ERROR = "io_error"
    """The storage failed while the file was read, or gave fewer bytes than the file has."""
    CHANGED = "changed"
    """The file was written to while it was read, twice in a row."""
    DECODER_CRASH = "decoder_crash"
    """The file ended the process that decoded it, twice."""
    TIMEOUT = "timeout"
    """Reading and decoding took longer than the limit."""


class FileFacts(NamedTuple):
    """Facts about a file that need no reading: bytes, and the time of its last change in whole
    microseconds since the epoch; None where they could not be found out. A scan takes a file for
    unchanged as long as both are; a better mark of a version (an ETag) would be a field here."""

    size: int | None = None
    mtime_us: int | None = None


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One discovered photo, as it travels to the process that decodes it. `path` is the address
    by which its source finds it: of a local file what the operating system gave (surrogate-escaped
    if not UTF-8), of others their uri. `uri` is unique and pure ASCII. `size` and `mtime_us` as in
    `FileFacts`."""

    index: int
    path: str
    uri: str
    size: int | None
    mtime_us: int | None

    @classmethod
    def of(cls, path: str | os.PathLike[str], index: int = 0) -> ImageRef:
        """A photo that was not listed, known by its address alone: no `uri`, no size, no time."""
        return cls(index, os.fspath(path), "", None, None)


PREVIEW = " preview"
"""End of a photo's format where what was read is not the photo itself but its preview."""


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """Facts that a photo tells about itself. `width` and `height` in pixels as displayed (after
    EXIF orientation); GPS in degrees (WGS 84) and metres; `taken_at` is the camera's local time.
    `camera_yaw` in degrees clockwise from north, `camera_pitch` -90 straight down, 0 level;
    `relative_altitude` and `laser_distance` in metres; `mm_per_px` at full resolution, at the
    photo's centre."""

    width: int | None = None
    height: int | None = None
    format: str | None = None
    content_hash: str | None = None
    taken_at: datetime | None = None
    gps_lat: float | None = None
    gps_lon: float | None = None
    gps_alt: float | None = None
    camera: str | None = None
    camera_yaw: float | None = None
    camera_pitch: float | None = None
    camera_roll: float | None = None
    relative_altitude: float | None = None
    laser_distance: float | None = None
    mm_per_px: float | None = None
    mm_per_px_source: ScaleSource | None = None

    @property
    def is_preview(self) -> bool:
        """Whether only the photo's preview could be read."""
        return (self.format or "").endswith(PREVIEW)

    def at_scale(self, mm_per_px: float) -> PhotoFacts:
        """The facts with the scale that a person gives."""
        return replace(self, mm_per_px=mm_per_px, mm_per_px_source=ScaleSource.FLAG)


VISIBLE_PX = 2.0
"""Pixels, as judged, that a crack must be wide to be seen."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A photo as the model will see it, uint8 RGB, shape (H, W, 3): the model's input where it is
    judged whole, else the upright photo at its own scale (which may be a turned view of an array
    that lies otherwise in memory)."""

    ref: ImageRef
    pixels_HWC: NDArray[np.uint8]
    facts: PhotoFacts
    shrink: float
    """Photo pixels per model pixel, along one side; 1.0 is native scale."""
    view: View = View.WHOLE


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be judged, with what could still be found out about it."""

    ref: ImageRef
    code: FailureCode
    detail: str
    facts: PhotoFacts = field(default_factory=PhotoFacts)


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo without its pixels, which live in the batch."""

    ref: ImageRef
    facts: PhotoFacts
    shrink: float
    view: View = View.WHOLE
    shape: tuple[int, int] | None = None
    """Height and width of its pixels at its own scale; None where it is judged whole."""

    @property
    def smallest_visible_mm(self) -> float | None:
        """Width of the thinnest crack that it can show, as it was judged; None where its scale is
        not known."""
        mm_per_px = self.facts.mm_per_px
        return None if mm_per_px is None else VISIBLE_PX * max(1.0, self.shrink) * mm_per_px


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive files of the listing, and the pixels that engines run on. Of the `Photo`s among
    `items`, the k-th that is judged whole owns row k of `pixels_NHWC`, the k-th of the others has
    the pixels `native[k]`; failures, which own none, stand at their own place between them, so that
    no row can slip.
    """

    items: tuple[Photo | Failure, ...]
    pixels_NHWC: NDArray[np.uint8]
    """Model inputs, uint8 (N, size, size, 3); N may be 0."""
    decode_seconds: float
    """Time that one worker spent on the batch."""
    native: tuple[NDArray[np.uint8], ...] = ()
    """Upright photos at their own scale, each uint8 (H, W, 3), contiguous."""

    @property
    def photos(self) -> tuple[Photo, ...]:
        return tuple(item for item in self.items if isinstance(item, Photo))

    def at_scale(self, mm_per_px: float | None) -> Batch:
        """The batch with the scale that a person gives for all photos; this one if none is."""
        if mm_per_px is None:
            return self
        items = (
            replace(item, facts=item.facts.at_scale(mm_per_px)) if isinstance(item, Photo) else item
            for item in self.items
        )
        return replace(self, items=tuple(items))


@dataclass(frozen=True, slots=True)
class Scores:
    """An engine's answer for N photos: `p_crack_N` float32 (N,), probability of a crack;
    `cam_NHW` float32 (N, h, w), the crack class's activation map on the feature grid (logit
    units before the mean; its mean over the grid plus the bias is the class logit), where stages
    with several grids decide an object array (N,) of such maps; `ood_N`
    float32 (N,), out-of-distribution score (1 is usual among the photos the model learned from, 2
    as odd as the oddest hundredth of them); `stage_N` uint8 (N,), which of the backend's `stages`
    decided, None where there is only one; `found_N`, what was found in each photo that was judged
    at its own scale (its probability, score and stage stand in the arrays as well, its map is
    empty), None for each other and where there is none."""

    p_crack_N: NDArray[np.float32]
    cam_NHW: NDArray[np.float32]
    ood_N: NDArray[np.float32]
    stage_N: NDArray[np.uint8] | None = None
    found_N: tuple[PhotoScore | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """A connected place with evidence for a crack, in pixels of the upright photo."""

    x: int
    """Left border of the box around it."""
    y: int
    """Top border."""
    width: int
    height: int
    p_crack: float
    """Calibrated probability that there is a crack in it."""
    length_at_least: float
    """Length along its axis that the evidence proves, in pixels of the photo."""
    length_at_most: float
    """Length that it does not rule out."""
    stage: str
    """Stage that decided its probability."""


class SimpleRules(NamedTuple):
    """Probabilities that a photo shows a crack, by rules that others use, of its windows that do
    not overlap."""

    maximum: float
    top_three: float
    """Mean of the three highest."""
    noisy_or: float
    """At least one of them, were they independent."""
    mean: float


@dataclass(frozen=True, slots=True)
class PhotoScore:
    """The answer for a photo that was judged at its own scale."""

    p_crack: float
    """Calibrated probability that the photo shows a crack anywhere."""
    ood_score: float
    """Out-of-distribution score of the photo, in the units of `Scores.ood_N`."""
    stage: str
    regions: tuple[Region, ...]
    """Where, by falling probability."""
    windows: int
    """Windows that were judged."""
    crack_windows: int
    """Windows among them that show a crack."""
    peak_x: float
    """Place of the strongest evidence, as a share of the width."""
    peak_y: float
    simple: SimpleRules | None = None
    """What simpler rules would say, for comparison."""
    window_map: Any = field(default=None, repr=False, compare=False)
    """The answers for its windows (`inspector.model.windows.WindowMap`), for who draws them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One photo's verdict and why."""

    verdict: Verdict
    reason: Reason
    p_crack: float
    ood_score: float
    """Out-of-distribution score, as in `Scores.ood_N`."""
    stage: str
    """The one of the backend's `stages` that decided."""
    peak_x: float | None
    """Place of the strongest evidence, as a share of the photo's width (0 left, 1 right); None for
    a clear photo."""
    peak_y: float | None
    """Its share of the photo's height (0 top, 1 bottom)."""
    view: View = View.WHOLE
    windows: int = 1
    """Windows that were judged; a photo that is judged whole is one."""
    crack_windows: int | None = None
    """Windows among them that show a crack; None where the photo was judged whole."""
    crack_fraction: float | None = None
    """Their share of all windows."""
    regions: tuple[Region, ...] | None = None
    """Places with evidence for a crack; None where the photo was judged whole."""


JsonObject = dict[str, Any]
"""A decoded JSON object."""
