"""Labelled folders: two classes at any depth (`DATA/Positive`, `DATA/SOURCE/Negative`, ...), and
the parts that somebody has divided them into (`DATA/train/Positive`, `DATA/test/Negative`, ...)."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.errors import DataError
from inspector.labelled.contradictions import without_contradictions
from inspector.labelled.groups import with_groups
from inspector.photos.formats import named_like_an_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Parts = tuple[str, ...]
    """A path below DATA, folder by folder."""

POSITIVE_NAMES = frozenset(["positive", "crack", "cracks", "cracked", "with_crack"])
NEGATIVE_NAMES = frozenset(
    [
        "negative",
        "clear",
        "good",
        "no_crack",
        "nocrack",
        "non_crack",
        "noncrack",
        "non_cracked",
        "uncracked",
        "intact",
    ]
)
TRAIN, VALIDATION, TEST = "train", "validation", "test"
PART_NAMES = {
    **dict.fromkeys(["train", "training"], TRAIN),
    **dict.fromkeys(["val", "valid", "validation", "dev"], VALIDATION),
    **dict.fromkeys(["test", "testing"], TEST),
}
"""Folders by which data sets come divided."""
MASK_NAMES = frozenset(["ground_truth", "groundtruth", "gt", "mask", "masks", "annotations"])
"""Folders of pictures that are drawings of where a crack is, and no photos."""
MOST_LISTED = 40
"""Folders of which `Labelled.lines` tells."""
_LAYOUT = (
    "expected two class folders at any depth, for example DATA/Positive/*.jpg and "
    "DATA/Negative/*.jpg, or DATA/SOURCE/Positive/*.jpg; other names go with --positive NAME"
)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a labelled folder. `source` is the path from DATA to the class folder (empty
    for a single source), without the folder of a part; images of one `group` show the same place
    and must not be split. `folder` is the class folder below DATA, and `part` the part of a divided
    folder that it lies in (`TRAIN`, `VALIDATION`, `TEST`), empty where there is none."""

    path: str
    is_crack: bool
    source: str
    group: str
    folder: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a labelled folder holds, sorted by path; `masks` counts pictures left out as masks, by
    folder, `repeated` files that lie in the folder twice, by links."""

    root: Path
    images: list[LabelledImage]
    masks: Mapping[str, int]
    repeated: int

    def of(self, *parts: str) -> list[LabelledImage]:
        """The images in any of `parts`."""
        return [image for image in self.images if image.part in parts]

    def held_out(self, *preferred: str) -> list[LabelledImage]:
        """The first of the `preferred` parts that there is, or all images where nothing is divided.
        Raises DataError where the folder is divided otherwise, or a class is missing."""
        if not any(image.part for image in self.images):
            return self.with_both(self.images)
        for part in preferred:
            if chosen := self.of(part):
                return self.with_both(chosen, part)
        there = sorted({image.part for image in self.images if image.part})
        raise DataError(
            f"{self.root} is divided and has no {' or '.join(preferred)} part (it has: "
            f"{', '.join(there)}); name the folder to use itself"
        )

    def with_both(self, images: list[LabelledImage], part: str = "") -> list[LabelledImage]:
        """The same images. Raises DataError where they lack a class."""
        counts = Counter(image.is_crack for image in images)
        if len(counts) == 2:
            return images
        missing = "without cracks" if counts[True] else "with cracks"
        whose = f"{self.root} has no class folder of images {missing}"
        if not any(image.part for image in self.images):
            raise DataError(f"{whose}; {_LAYOUT}")
        raise DataError(
            f"{whose} in its {part or TRAIN} part, and the other parts are left alone; to use one "
            "of them, name that folder itself"
        )

    def lines(self, uses: Mapping[str, Iterable[LabelledImage]]) -> Iterator[str]:
        """A table for a person: each folder, what its images count as, how many there are, and
        what for; what is in none of `uses` is left alone."""
        use_of = {image.path: use for use, images in uses.items() for image in images}
        counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for image in self.images:
            label = "crack" if image.is_crack else "clear"
            counts[image.folder, label][use_of.get(image.path, "left alone")] += 1
        for folder, count in self.masks.items():
            counts[folder, "mask"]["left out"] = count
        rows = [
            (folder, label, f"{sum(of.values()):,}", ", ".join(_shares(of)))
            for (folder, label), of in sorted(counts.items())
        ]
        shown = rows[:MOST_LISTED]
        wide = max(len("folder"), *(len(folder) for folder, *_ in shown))
        yield f"found below {self.root}:"
        for row in [("folder", "label", "images", "used for"), *shown]:
            yield f"  {row[0]:<{wide}}  {row[1]:<5}  {row[2]:>7}  {row[3]}"
        if len(rows) > len(shown):
            yield f"  and {len(rows) - len(shown):,} more folders"
        if self.repeated:
            yield f"{self.repeated:,} images are there twice, by links, and count once"


def _shares(counts: Counter[str]) -> Iterator[str]:
    """One use alone needs no count: it is that of the row."""
    for use, count in sorted(counts.items()):
        yield use if len(counts) == 1 else f"{use} {count:,}"


def find_labelled(
    root: Path, *, positive: str | Sequence[str] = (), groups_csv: Path | None = None
) -> list[LabelledImage]:
    """All labelled images below `root`, of whatever part, sorted by path. Raises DataError as
    `read_labelled`, and for a CSV that cannot be right."""
    found = read_labelled(root, positive=positive)
    images = found.with_both(found.images)
    return with_groups(images, groups_csv, [root])[0] if groups_csv else images


def measured_on(
    root: Path, *preferred: str, positive: str | Sequence[str], groups_csv: Path | None
) -> tuple[list[LabelledImage], list[str]]:
    """What a model is measured on, as `Labelled.held_out` chooses it, and what to say about it.
    Raises DataError."""
    found = read_labelled(root, positive=positive)
    images = found.held_out(*preferred)
    remarks = list(found.lines({"measuring": images}))
    if groups_csv is not None:
        every, about = with_groups(found.images, groups_csv, [root])
        chosen = {image.path for image in images}
        images = [image for image in every if image.path in chosen]
        remarks += about
    return images, remarks


def read_labelled(root: Path, *, positive: str | Sequence[str] = ()) -> Labelled:
    """What lies below `root`; links are followed.

    An image belongs to the nearest folder above it that is named like a class (`POSITIVE_NAMES`,
    `NEGATIVE_NAMES`, in any case). With `positive`, the folders of these names hold the cracks,
    and those beside them the rest. Raises DataError naming the folder and the layout expected, or
    two files that are one photo with two labels.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder that can be read; {_LAYOUT}")
    below = {path: Path(path).relative_to(root).parts[:-1] for path in image_paths(root)}
    masks = Counter(
        "/".join(parts[: _first(parts, MASK_NAMES) + 1])
        for parts in below.values()
        if _first(parts, MASK_NAMES) < len(parts)
    )
    photos = {p: parts for p, parts in below.items() if _first(parts, MASK_NAMES) == len(parts)}
    if not photos:
        raise DataError(f"{root} holds no images{' but masks' if masks else ''}; {_LAYOUT}")
    names = (positive,) if isinstance(positive, str) else tuple(positive)
    classes = _Named(root, names, photos.values()) if names else _Usual(root)
    images = [_labelled(path, parts, classes) for path, parts in sorted(photos.items())]
    kept = without_contradictions(images)
    return Labelled(root, kept, dict(masks), len(images) - len(kept))


def image_paths(root: Path) -> Iterator[str]:
    """The files below `root` that are named like images, links followed. Raises DataError for a
    folder that cannot be listed."""
    yield from _walk("" if root == Path() else os.fspath(root), ())


def _walk(folder: str, above: Parts) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:  # a link to where it lies
        return
    try:
        with os.scandir(folder or os.curdir) as entries:
            found = sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from error
    for name, is_folder in found:
        if is_folder:
            yield from _walk(os.path.join(folder, name), (*above, real))
        elif named_like_an_image(name):
            yield os.path.join(folder, name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Never fails, as `DirEntry.is_dir` does for a link to itself."""
    return entry.is_dir(follow_symlinks=False) or os.path.isdir(entry.path)


def _plain(name: str) -> str:
    """A folder's name as names are compared."""
    return unicodedata.normalize("NFC", name).casefold().replace("-", "_").replace(" ", "_")


def _first(parts: Parts, names: Iterable[str]) -> int:
    """The place of the first folder called like one of `names`, or how many there are."""
    return next((k for k, part in enumerate(parts) if _plain(part) in names), len(parts))


def _labelled(path: str, parts: Parts, classes: _Usual | _Named) -> LabelledImage:
    depth, is_crack = classes.of(parts)
    divided = _first(parts[:depth], PART_NAMES)
    source = parts[:depth] if divided == depth else (*parts[:divided], *parts[divided + 1 : depth])
    part = "" if divided == depth else PART_NAMES[_plain(parts[divided])]
    if not part and depth + 1 < len(parts):  # CLASS/train/*.jpg
        part = next((PART_NAMES[n] for n in map(_plain, parts[depth + 1 :]) if n in PART_NAMES), "")
    return LabelledImage(path, is_crack, "/".join(source), path, "/".join(parts[: depth + 1]), part)


class _Usual:
    """Classes by their usual names."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, parts: Parts) -> tuple[int, bool]:
        """The place of the class folder among `parts`, and whether it holds cracks."""
        for depth in reversed(range(len(parts))):
            name = _plain(parts[depth])
            if name in POSITIVE_NAMES or name in NEGATIVE_NAMES:
                return depth, name in POSITIVE_NAMES
        raise _no_class(self.root, parts)


class _Named:
    """Classes by the names of those with cracks: the folders beside them hold the other class.
    Raises DataError where one of the names is nowhere, or there are more than two classes."""

    def __init__(self, root: Path, positive: Sequence[str], folders: Iterable[Parts]) -> None:
        self.root = root
        self.positive = frozenset(map(_plain, positive))
        inner = set(folders)
        every = {parts[:depth] for parts in inner for depth in range(1, len(parts) + 1)}
        cracks = {parts for parts in every if _plain(parts[-1]) in self.positive}
        self.holders = {parts[:-1] for parts in cracks}
        """Folders that hold a folder of cracks."""
        self.negative = NEGATIVE_NAMES | {
            _plain(parts[-1])
            for parts in every - cracks
            if parts[:-1] in self.holders and not self._holds(parts)
        }
        for name in positive:
            if _plain(name) not in {_plain(parts[-1]) for parts in cracks}:
                there = ", ".join(sorted({parts[-1] for parts in every})[:8]) or "none"
                raise DataError(f"{root} has no folder of images named {name!r} (it has: {there})")
        self._check_two(inner, cracks, positive)

    def _check_two(self, inner: set[Parts], cracks: set[Parts], positive: Sequence[str]) -> None:
        """As many folders may lie beside those of cracks as there are of these: SDNET2018 has three
        of each."""
        found = ((parts, *self.of(parts)) for parts in inner)
        others = {parts[: depth + 1] for parts, depth, is_crack in found if not is_crack}
        for holder in sorted(self.holders):
            beside = sorted(parts[-1] for parts in others if parts[:-1] == holder)
            if len(beside) > sum(parts[:-1] == holder for parts in cracks):
                raise DataError(
                    f"{self.root.joinpath(*holder)} has more than two classes beside "
                    f"{' and '.join(positive)}: {', '.join(beside)}; name all that show cracks "
                    "with --positive, and take away what is neither"
                )

    def _holds(self, parts: Parts) -> bool:
        """Whether the folder is a part of a divided one, or a source with classes of its own."""
        return _plain(parts[-1]) in PART_NAMES or any(
            holder[: len(parts)] == parts for holder in self.holders
        )

    def of(self, parts: Parts) -> tuple[int, bool]:
        """The place of the class folder among `parts`, and whether it holds cracks."""
        for depth in reversed(range(len(parts))):
            if _plain(parts[depth]) in self.positive:
                return depth, True
        for depth in reversed(range(len(parts))):
            beside = parts[:depth] in self.holders and not self._holds(parts[: depth + 1])
            if beside or _plain(parts[depth]) in self.negative:
                return depth, False
        raise _no_class(self.root, parts)


def _no_class(root: Path, parts: Parts) -> DataError:
    return DataError(f"{root.joinpath(*parts)} is not inside a class folder; {_LAYOUT}")


def split(
    images: Sequence[LabelledImage], share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Training and validation images by `hold_back`. Raises DataError when one lacks a class."""
    training, validation = hold_back(images, share=share, seed=seed)
    for name, part in (("training", training), ("validation", validation)):
        if len({image.is_crack for image in part}) < 2:
            raise DataError(
                f"the {name} part would lack one class: too few images or groups; add images, or "
                "use smaller groups"
            )
    return training, validation


def hold_back(
    images: Sequence[LabelledImage], *, share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """The rest and the images held back: seeded, stratified by source and class, groups whole.

    Within each stratum, shuffled groups are held back until `share` of its images are; a group
    that would make it more than half of the stratum is not. A group counts in the stratum of most
    of its images.
    """
    groups: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        groups[image.group].append(image)
    strata: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for name, members in groups.items():
        stratum, _ = Counter((m.source, m.is_crack) for m in members).most_common(1)[0]
        strata[stratum].append(name)
    held: set[str] = set()
    for stratum in sorted(strata):
        sizes = {name: len(groups[name]) for name in sorted(strata[stratum])}
        held |= _pick(sizes, share, np.random.default_rng([seed, *str(stratum).encode()]))
    return (
        [image for image in images if image.group not in held],
        [image for image in images if image.group in held],
    )


def _pick(sizes: dict[str, int], share: float, rng: np.random.Generator) -> set[str]:
    total = sum(sizes.values())
    names = list(sizes)
    picked: set[str] = set()
    taken = 0
    for place in rng.permutation(len(names)):
        name = names[int(place)]
        if taken >= share * total:
            break
        if taken + sizes[name] <= max(1, total // 2):
            picked.add(name)
            taken += sizes[name]
    return picked if len(picked) < len(names) else set()


def data_digest(images: Iterable[LabelledImage]) -> str:
    """sha256 over the images' names, labels, sources and sizes: tells two training sets apart
    without reading every byte, wherever they lie."""
    digest = hashlib.sha256()
    for image in images:
        about = (image.source, Path(image.path).name, image.is_crack, _size_of(image.path))
        digest.update(repr(about).encode())
    return digest.hexdigest()


def _size_of(path: str) -> int:
    """-1 for a file that is not there: it counts among those that cannot be decoded."""
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
