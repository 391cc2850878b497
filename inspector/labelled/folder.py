"""Labelled folders: two classes at any depth (`DATA/Positive`, `DATA/SOURCE/Negative`, ...), and
parts that they are divided into (`DATA/train/Positive`, `DATA/test/Negative`, ...)."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspector.core.text import quantity
from inspector.errors import DataError
from inspector.labelled.groups import with_groups
from inspector.labelled.split import without_contradictions
from inspector.photos.formats import named_like_an_image
from inspector.photos.local import is_apple_double
from inspector.photos.selection import APPLE_DOUBLE, Excludes

Parts = tuple[str, ...]
"""A path below DATA, folder by folder."""

POSITIVE_NAMES = frozenset(["positive", "crack", "cracks", "cracked", "with_crack"])
NEGATIVE_NAMES = frozenset(
    "negative clear good intact uncracked no_crack nocrack non_crack noncrack non_cracked".split()
)
TRAIN, VALIDATION, TEST = "train", "validation", "test"
PART_NAMES = {
    **dict.fromkeys(["train", "training"], TRAIN),
    **dict.fromkeys(["val", "valid", "validation", "dev"], VALIDATION),
    **dict.fromkeys(["test", "testing"], TEST),
}
"""Folder names of the parts that data sets come divided into."""
MASK_NAMES = frozenset(["ground_truth", "groundtruth", "gt", "mask", "masks", "annotations"])
"""Folder names of crack masks, which are no photos."""
MOST_LISTED = 40
"""Folders that `Labelled.lines` lists at most."""
_LAYOUT = (
    "expected two class folders at any depth, for example DATA/Positive/*.jpg and "
    "DATA/Negative/*.jpg, or DATA/SOURCE/Positive/*.jpg; other names go with --positive NAME"
)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a labelled folder."""

    path: str
    is_crack: bool
    source: str
    """Path from DATA to the class folder without the folder of a part; empty for one source."""
    group: str
    """Images of one group show the same place and stay on one side of a split."""
    folder: str = ""
    """Class folder below DATA."""
    part: str = ""
    """Part of a divided folder (`TRAIN`, `VALIDATION`, `TEST`); empty where there is none."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Contents of a labelled folder."""

    root: Path
    images: list[LabelledImage]
    """Sorted by path."""
    masks: Mapping[str, int]
    """Number of images left out as masks, by folder."""
    repeated: int
    """Number of files left out because links name them twice."""
    no_photos: Mapping[str, int]
    """What a scan leaves out by default as well, by name: its number, a directory counts once."""

    def of(self, *parts: str) -> list[LabelledImage]:
        """Select the images in any of `parts`."""
        return [image for image in self.images if image.part in parts]

    def held_out(self, *preferred: str) -> list[LabelledImage]:
        """Select the first of the `preferred` parts that exists; all images of an undivided folder.
        Raises DataError where none of them exists, or a class is missing."""
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
        """Return `images`. Raises DataError where they lack a class."""
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
        """Describe the folder in a table: label, number and use of the images of each class folder;
        those in none of the `uses` are left alone."""
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
            yield f"  and {quantity(len(rows) - len(shown), 'more folder')}"
        if self.repeated:
            verbs = ("is", "counts") if self.repeated == 1 else ("are", "count")
            images = quantity(self.repeated, "image")
            yield f"{images} {verbs[0]} there twice, by links, and {verbs[1]} once"
        if self.no_photos:
            named = ", ".join(f"{name} {count:,}" for name, count in sorted(self.no_photos.items()))
            yield f"left out, as in a scan: {named} (a directory counts once)"


def _shares(counts: Counter[str]) -> Iterator[str]:
    for use, count in sorted(counts.items()):
        yield use if len(counts) == 1 else f"{use} {count:,}"


def find_labelled(
    root: Path, *, positive: str | Sequence[str] = (), groups_csv: Path | None = None
) -> list[LabelledImage]:
    """All labelled images below `root`, of any part, sorted by path. `positive` names the folders
    with cracks where they are not the usual ones; `groups_csv` has columns `file` and `group`.
    Raises DataError for a wrong layout, a photo with two labels, or a wrong CSV."""
    found = read_labelled(root, positive=positive)
    images = found.with_both(found.images)
    return with_groups(images, groups_csv, [root])[0] if groups_csv else images


def measured_on(
    root: Path, *preferred: str, positive: str | Sequence[str], groups_csv: Path | None
) -> tuple[list[LabelledImage], list[str]]:
    """The images that a model is measured on, and remarks about the folder and the CSV: of a
    divided folder the first of the `preferred` parts that exists. Otherwise as `find_labelled`."""
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
    """Read the labelled folder `root`; links are followed.

    An image belongs to the nearest folder above it that is named like a class (`POSITIVE_NAMES`,
    `NEGATIVE_NAMES`, in any case). With `positive`, the folders of these names hold the cracks,
    and those beside them the rest. Raises DataError for another layout, or for a photo with two
    labels.
    """
    if not os.path.isdir(root):
        raise DataError(f"{root} is not a folder that can be read; {_LAYOUT}")
    excludes = Excludes(())
    paths = image_paths(root, excludes)
    below = {path: Path(path).relative_to(root).parts[:-1] for path in paths}
    masks = Counter(
        "/".join(parts[: _first(parts, MASK_NAMES) + 1])
        for parts in below.values()
        if _first(parts, MASK_NAMES) < len(parts)
    )
    photos = {p: parts for p, parts in below.items() if _first(parts, MASK_NAMES) == len(parts)}
    if not photos:
        raise DataError(f"{root} holds no images{' but masks' if masks else ''}; {_LAYOUT}")
    names = (positive,) if isinstance(positive, str) else tuple(positive)
    class_of = _NamedClasses(root, names, photos.values()).of if names else _usual_class
    images = []
    for path, parts in sorted(photos.items()):
        if (found := class_of(parts)) is None:
            raise DataError(f"{root.joinpath(*parts)} is not inside a class folder; {_LAYOUT}")
        images.append(_labelled(path, parts, *found))
    kept = without_contradictions(images)
    return Labelled(root, kept, dict(masks), len(images) - len(kept), dict(excludes.counts))


def image_paths(root: Path, excludes: Excludes | None = None) -> Iterator[str]:
    """Yield the files below `root` that are named like images, without what a scan leaves out by
    default, which `excludes` counts; links are followed. Raises DataError for a folder that cannot
    be listed."""
    yield from _walk("" if root == Path() else os.fspath(root), (), excludes or Excludes(()))


def _walk(folder: str, above: Parts, excludes: Excludes) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:  # a link to where it lies
        return
    try:
        with os.scandir(folder or os.curdir) as entries:
            found = sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError as error:
        raise DataError(f"cannot list {folder}: {error.strerror}") from error
    for name, is_folder in found:
        path = os.path.join(folder, name)
        if is_folder:
            if not excludes.leave_out(name, (), is_dir=True):
                yield from _walk(path, (*above, real), excludes)
        elif named_like_an_image(name):
            if is_apple_double(path, name):
                excludes.counts[f"{APPLE_DOUBLE}*"] += 1
            else:
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """`DirEntry.is_dir`, which raises for a link to itself, without the error."""
    return entry.is_dir(follow_symlinks=False) or os.path.isdir(entry.path)


def _plain(name: str) -> str:
    """Normalise a folder's name for comparison."""
    return unicodedata.normalize("NFC", name).casefold().replace("-", "_").replace(" ", "_")


def _first(parts: Parts, names: Iterable[str]) -> int:
    """Place of the first folder with one of `names`; `len(parts)` where there is none."""
    return next((k for k, part in enumerate(parts) if _plain(part) in names), len(parts))


def _labelled(path: str, parts: Parts, depth: int, is_crack: bool) -> LabelledImage:
    divided = _first(parts[:depth], PART_NAMES)
    source = parts[:depth] if divided == depth else (*parts[:divided], *parts[divided + 1 : depth])
    part = "" if divided == depth else PART_NAMES[_plain(parts[divided])]
    if not part and depth + 1 < len(parts):  # CLASS/train/*.jpg
        part = next((PART_NAMES[n] for n in map(_plain, parts[depth + 1 :]) if n in PART_NAMES), "")
    return LabelledImage(path, is_crack, "/".join(source), path, "/".join(parts[: depth + 1]), part)


def _usual_class(parts: Parts) -> tuple[int, bool] | None:
    """Find the place of the class folder among `parts`, and whether it holds cracks."""
    for depth in reversed(range(len(parts))):
        name = _plain(parts[depth])
        if name in POSITIVE_NAMES or name in NEGATIVE_NAMES:
            return depth, name in POSITIVE_NAMES
    return None


class _NamedClasses:
    """Class folders where those with cracks are named: the folders beside them hold the other
    class. Raises DataError where a name does not occur, or there are more than two classes."""

    def __init__(self, root: Path, positive: Sequence[str], folders: Iterable[Parts]) -> None:
        self.root = root
        self.positive = frozenset(map(_plain, positive))
        inner = set(folders)
        every = {parts[:depth] for parts in inner for depth in range(1, len(parts) + 1)}
        cracks = {parts for parts in every if _plain(parts[-1]) in self.positive}
        self.holders = {parts[:-1] for parts in cracks}
        """Parents of the folders with cracks."""
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
        """Allow as many folders beside those with cracks as there are of these: SDNET2018 has three
        of each."""
        found = ((parts, self.of(parts)) for parts in inner)
        others = {parts[: own[0] + 1] for parts, own in found if own and not own[1]}
        for holder in sorted(self.holders):
            beside = sorted(parts[-1] for parts in others if parts[:-1] == holder)
            if len(beside) > sum(parts[:-1] == holder for parts in cracks):
                raise DataError(
                    f"{self.root.joinpath(*holder)} has more than two classes beside "
                    f"{' and '.join(positive)}: {', '.join(beside)}; name all that show cracks "
                    "with --positive, and take away what is neither"
                )

    def _holds(self, parts: Parts) -> bool:
        """Whether the folder is a part of a divided one, or a source with its own classes."""
        return _plain(parts[-1]) in PART_NAMES or any(
            holder[: len(parts)] == parts for holder in self.holders
        )

    def of(self, parts: Parts) -> tuple[int, bool] | None:
        """As `_usual_class`."""
        for depth in reversed(range(len(parts))):
            if _plain(parts[depth]) in self.positive:
                return depth, True
        for depth in reversed(range(len(parts))):
            beside = parts[:depth] in self.holders and not self._holds(parts[: depth + 1])
            if beside or _plain(parts[depth]) in self.negative:
                return depth, False
        return None
