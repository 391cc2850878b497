"""Fingerprints of labelled images: enough to compare them, far too little to show them.

Shapes: N images, H and W pixels, C channels (RGB), B bytes of a hash, F traits.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from inspector.core.durable import replacing
from inspector.core.machine import usable_cores
from inspector.core.progress import Progress, no_progress
from inspector.core.text import printable
from inspector.errors import BundleError, OutputError
from inspector.model.preprocess import PreprocessSpec
from inspector.types import Batch, ImageRef, Photo
from inspector.workers.loader import load_batches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from inspector.labelled.folder import LabelledImage
    from inspector.model.bundle import ModelBundle

Hashes = NDArray[np.uint8]
"""Perceptual hashes (N, HASH_BYTES), see `picture_hashes`."""
SIDE = 224
"""Side in pixels of the images that the functions here take."""
HASH_BYTES = 32
TRAITS = 12
"""Number of traits, see `traits`."""
_THUMBNAIL = 32
_COARSE = 28
_FREQUENCIES = 16
_LOW = 8
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma of ITU-R BT.601, as in JPEG."""
_SCALES = (1, 2, 4, 8)
"""Distances in pixels over which `traits` takes differences."""
SPEC = PreprocessSpec(size=SIDE)
"""Preprocessing of the audit, the same for every model, so that fingerprints can be compared. A
tile within 2 % of this size keeps its pixels."""
_BATCH = 32
_FEW = 200
"""Images that are decoded in less time than decoder processes take to start."""
_MOST_WORKERS = 8
"""More decoders would wait for this process, which computes the fingerprints."""
FINGERPRINTS = "training/fingerprints.parquet"
"""File in a bundle that holds the fingerprints of its training images. They decide no verdict, so
the file is not part of the bundle's digest."""
_VERSION = {b"inspector.fingerprints": b"1"}
"""Version of the figures, not only of the columns: other versions cannot be compared."""
_HELP = "delete it (leaks from training are then not found), or train again"


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Fingerprints of N images, in any order.

    `groups` holds "" for an image of no known group. Where `decoded_N` is false, the image could
    not be decoded and the last three arrays are 0.
    """

    paths: tuple[str, ...]
    """As in `LabelledImage`; relative to their common folder where they come from a bundle."""
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    is_crack_N: NDArray[np.bool_]
    decoded_N: NDArray[np.bool_]
    pixels_N: NDArray[np.uint64]
    """Hash of an image's size and pixels as the model would see them."""
    hashes_NB: Hashes
    """Perceptual hashes, uint8 (N, 32)."""
    traits_NF: NDArray[np.float16]
    """Light, colour and texture (N, 12), see `traits`."""

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, places: Iterable[int]) -> Fingerprints:
        """Select the images at `places`, in that order."""
        chosen = np.fromiter(places, np.intp)

        def of(column: Any) -> Any:
            if isinstance(column, tuple):
                return tuple(column[k] for k in chosen)
            return column[chosen]

        return Fingerprints(*(of(getattr(self, field.name)) for field in fields(self)))


def fingerprint(
    images: Sequence[LabelledImage], *, workers: int | None = None, progress: Progress = no_progress
) -> Fingerprints:
    """Decode each image once and take its fingerprint; one that cannot be decoded keeps its name
    and group. `workers` are decoder processes: 0 decodes in this one, None takes as many as pay.
    Raises LoaderError where they keep dying."""
    if workers is None:
        workers = 0 if len(images) <= _FEW else min(_MOST_WORKERS, max(1, usable_cores() - 1))
    count = len(images)
    found = Fingerprints(
        paths=tuple(image.path for image in images),
        sources=tuple(image.source for image in images),
        groups=tuple("" if image.group == image.path else image.group for image in images),
        is_crack_N=np.array([image.is_crack for image in images], bool),
        decoded_N=np.zeros(count, bool),
        pixels_N=np.zeros(count, np.uint64),
        hashes_NB=np.zeros((count, HASH_BYTES), np.uint8),
        traits_NF=np.zeros((count, TRAITS), np.float16),
    )
    refs = [ImageRef.of(path, k) for k, path in enumerate(found.paths)]
    done = 0
    with closing(load_batches(refs, SPEC, batch_size=_BATCH, workers=workers)) as batches:
        for batch in batches:
            _take(found, batch)
            done += len(batch.items)
            progress("looking for leaks", done, count)
    return found


def _take(found: Fingerprints, batch: Batch) -> None:
    photos = [item for item in batch.items if isinstance(item, Photo)]
    if not photos:
        return
    places = [photo.ref.index for photo in photos]
    sides = [(photo.facts.width, photo.facts.height) for photo in photos]
    found.decoded_N[places] = True
    found.pixels_N[places] = pixel_hashes(batch.pixels_NHWC, sides)
    found.hashes_NB[places], found.traits_NF[places] = looks(batch.pixels_NHWC)


def save(found: Fingerprints, file: Path) -> None:
    """Write fingerprints as Parquet, about 70 bytes an image.

    Paths become relative to their common folder: a bundle does not tell where its data lay. Raises
    OutputError.
    """
    texts = {"path": below_shared(found.paths), "source": found.sources, "group": found.groups}
    columns = {
        **{name: pa.array(map(printable, values), pa.string()) for name, values in texts.items()},
        "is_crack": found.is_crack_N,
        "decoded": found.decoded_N,
        "pixels": found.pixels_N,
        "hash": [row.tobytes() for row in found.hashes_NB],
        "traits": [row.tobytes() for row in found.traits_NF.astype("<f2")],
    }
    try:
        with replacing(file) as draft, draft.open("xb") as stream:
            pq.write_table(pa.table(columns, metadata=_VERSION), stream, compression="zstd")
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror or error}") from error


def below_shared(paths: Iterable[str]) -> list[str]:
    """Return each path from the folder on that all of them share, on Windows all of its drive."""
    # Absolute, for reviewed photos are, whatever DATA is.
    places = [os.path.abspath(path) for path in paths]
    drives = [os.path.splitdrive(place)[0].lower() for place in places]
    folders: dict[str, list[str]] = {drive: [] for drive in drives}
    for drive, place in zip(drives, places, strict=True):
        folders[drive].append(os.path.dirname(place))
    shared = {drive: os.path.commonpath(found) for drive, found in folders.items()}
    return [
        os.path.relpath(place, shared[drive]).replace(os.sep, "/")
        for drive, place in zip(drives, places, strict=True)
    ]


def load(file: Path) -> Fingerprints:
    """Read what `save` wrote. Raises BundleError for anything else."""
    try:
        with file.open("rb") as stream:  # Arrow takes a name with a colon for an address
            table = pq.read_table(stream)
        if table.schema.metadata != _VERSION:
            raise BundleError(f"{file} was written by another version of inspector; {_HELP}")
        columns = table.to_pydict()
        count = len(columns["path"])
        return Fingerprints(
            paths=tuple(columns["path"]),
            sources=tuple(columns["source"]),
            groups=tuple(columns["group"]),
            is_crack_N=np.array(columns["is_crack"], bool),
            decoded_N=np.array(columns["decoded"], bool),
            pixels_N=np.array(columns["pixels"], np.uint64),
            hashes_NB=np.frombuffer(b"".join(columns["hash"]), np.uint8).reshape(count, HASH_BYTES),
            traits_NF=np.frombuffer(b"".join(columns["traits"]), "<f2").reshape(count, TRAITS),
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise BundleError(f"cannot read {file}: {printable(str(error))}; {_HELP}") from error


def trained_on_of(bundle: ModelBundle) -> Fingerprints | None:
    """Read the fingerprints of the images that `bundle` was trained on; None where it keeps none.
    Raises BundleError."""
    file = bundle.path / FINGERPRINTS
    return load(file) if file.exists() else None


def pixel_hashes(
    pixels_NHWC: NDArray[np.uint8], sides: Sequence[tuple[int | None, int | None]]
) -> NDArray[np.uint64]:
    """Hash pixels and original sizes (width, height) of N images: uint64 (N,)."""
    found = np.empty(len(sides), np.uint64)
    for k, (pixels_HWC, side) in enumerate(zip(pixels_NHWC, sides, strict=True)):
        digest = hashlib.blake2b(pixels_HWC.tobytes(), digest_size=8)
        digest.update(repr(side).encode())
        found[k] = int.from_bytes(digest.digest(), "little")
    return found


def looks(pixels_NHWC: NDArray[np.uint8]) -> tuple[Hashes, NDArray[np.float16]]:
    """Compute `picture_hashes` and `traits` of images, uint8 (N, SIDE, SIDE, 3)."""
    colour_NHWC = pixels_NHWC.astype(np.float32)
    grey_NHW = colour_NHWC @ _GREY
    return picture_hashes(grey_NHW), traits(colour_NHWC, grey_NHW)


def picture_hashes(grey_NHW: NDArray[np.float32]) -> Hashes:
    """Compute perceptual hashes: the signs of the 16 x 16 lowest frequencies of the discrete cosine
    transform of a 32 x 32 thumbnail, after pHash (Zauner 2010).

    The 8 x 8 lowest frequencies are the first 8 bytes; the mean has no sign, so 255 bits count.
    pHash compares with the median; with signs, mirroring negates the odd frequencies of one axis
    and transposing swaps the axes, so `orientations` needs no pixels. Thumbnail pixels average
    7 x 7 pixels, which removes most JPEG noise.
    """
    cosines = _cosines()
    spectrum = cosines @ _shrunk(grey_NHW[..., None], _THUMBNAIL)[..., 0] @ cosines.T
    signs = spectrum.reshape(len(grey_NHW), -1) > 0
    signs[:, 0] = False
    return np.packbits(signs[:, _order()], axis=1)


def _shrunk(values_NHWC: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Sum square blocks of pixels into (N, side, side, C), rows first, as they lie in memory."""
    count, _, _, channels = values_NHWC.shape
    rows = values_NHWC.reshape(count, side, SIDE // side, -1).sum(axis=2)
    sums: NDArray[np.float32] = rows.reshape(count, side, side, -1, channels).sum(axis=3)
    return sums


@cache
def _cosines() -> NDArray[np.float32]:
    """Matrix of the DCT-II (frequencies, positions), not normalised: only signs are used."""
    place = (np.arange(_THUMBNAIL) + 0.5) / _THUMBNAIL
    return np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), place)).astype(np.float32)


@cache
def _order() -> NDArray[np.intp]:
    """Order of the frequencies in a hash: the low block first."""
    down, across = np.divmod(np.arange(_FREQUENCIES**2), _FREQUENCIES)
    return np.argsort(np.maximum(down, across) >= _LOW, kind="stable")


def orientations(hashes: Hashes) -> Iterator[Hashes]:
    """Yield the hashes of the images as they are, then mirrored and rotated in the seven ways."""
    bits = np.empty((len(hashes), _FREQUENCIES**2), bool)
    bits[:, _order()] = np.unpackbits(hashes, axis=1)
    bits_NUV = bits.reshape(-1, _FREQUENCIES, _FREQUENCIES)
    odd = np.arange(_FREQUENCIES) % 2 == 1
    for turned in (bits_NUV, bits_NUV.transpose(0, 2, 1)):
        for down in (False, True):
            for across in (False, True):
                negated = (odd[:, None] & down) ^ (odd & across)
                yield np.packbits((turned ^ negated).reshape(bits.shape)[:, _order()], axis=1)


def traits(colour_NHWC: NDArray[np.float32], grey_NHW: NDArray[np.float32]) -> NDArray[np.float16]:
    """Compute traits that tiles of one photo share: light, colour casts, contrast, and roughness at
    four scales. float16 (N, F), in grey levels or their logarithms: compare them in units of their
    spread."""
    coarse = _shrunk(colour_NHWC, _COARSE).reshape(len(colour_NHWC), -1, 3)
    coarse /= (SIDE // _COARSE) ** 2
    light = coarse @ _GREY
    casts = coarse[..., [0, 2]] - coarse[..., 1:2]
    figures = [
        *np.percentile(light, (10, 50, 90), axis=1),
        *np.median(casts, axis=1).T,
        np.log(light.std(1) + 0.1),
        *np.log(casts.std(1) + 0.1).T,
        *_roughness(grey_NHW),
    ]
    return np.stack(figures, axis=1).astype(np.float16)


def _roughness(grey_NHW: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield the log of the median difference between neighbours at each scale; a crack hardly moves
    it."""
    for scale in _SCALES:
        if scale > 1:
            halved = grey_NHW[:, ::2] + grey_NHW[:, 1::2]
            grey_NHW = (halved[:, :, ::2] + halved[:, :, 1::2]) * np.float32(0.25)
        step = max(2, 4 // scale)  # a part of the finest differences says as much
        rows = grey_NHW[:, ::step]
        steps = np.abs(rows[:, :, 1::step] - rows[:, :, :-1:step])
        yield np.log(np.median(steps.reshape(len(steps), -1), axis=1) + 0.1)
