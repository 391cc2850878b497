"""Labelled folders: two classes at any depth (`DATA/Positive`, `DATA/SOURCE/Negative`, ...)."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.data.formats import named_like_an_image
from inspector.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

POSITIVE_NAMES = frozenset(["positive", "crack", "cracks", "cracked", "with_crack"])
NEGATIVE_NAMES = frozenset(
    [
        "negative",
        "clear",
        "no_crack",
        "nocrack",
        "non_crack",
        "noncrack",
        "non_cracked",
        "uncracked",
        "intact",
    ]
)
_LAYOUT = (
    "expected two class folders at any depth, for example DATA/Positive/*.jpg and "
    "DATA/Negative/*.jpg, or DATA/SOURCE/Positive/*.jpg; other names go with --positive NAME"
)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a labelled folder. `source` is the path from DATA to the class folder (empty
    for a single source); images of one `group` show the same place and must not be split."""

    path: str
    is_crack: bool
    source: str
    group: str


def find_labelled(
    root: Path, *, positive: str | None = None, groups_csv: Path | None = None
) -> list[LabelledImage]:
    """All images below `root`, sorted by path.

    An image belongs to the nearest folder above it that is named like a class (`POSITIVE_NAMES`,
    `NEGATIVE_NAMES`, in any case); with `positive`, the folders of that name are the cracks and
    all others must share one other name. `groups_csv` has the columns `file` (relative to the CSV
    or to `root`) and `group`. Raises DataError naming the folder and the layout expected.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder that can be read; {_LAYOUT}")
    paths = sorted(_image_paths(root))
    if not paths:
        raise DataError(f"{root} holds no images; {_LAYOUT}")
    images = [_label(root, path, positive) for path in paths]
    _check_classes(root, images, positive)
    return _with_groups(images, groups_csv, root) if groups_csv else images


def _image_paths(root: Path) -> Iterable[str]:
    def refuse(error: OSError) -> None:
        raise DataError(f"cannot list {error.filename}: {error.strerror}")

    for folder, _, names in os.walk(root, onerror=refuse):
        yield from (os.path.join(folder, name) for name in names if named_like_an_image(name))


def _label(root: Path, path: str, positive: str | None) -> LabelledImage:
    parts = Path(path).relative_to(root).parts[:-1]
    for depth in range(len(parts) - 1, -1, -1):
        is_crack = _class_of(parts[depth], positive)
        if is_crack is not None:
            return LabelledImage(path, is_crack, "/".join(parts[:depth]), path)
    if positive is not None and parts:
        return LabelledImage(path, False, "/".join(parts[:-1]), path)
    where = Path(path).parent
    raise DataError(f"{where} is not inside a class folder; {_LAYOUT}")


def _class_of(folder: str, positive: str | None) -> bool | None:
    if positive is not None:
        return True if folder == positive else None
    name = folder.casefold().replace("-", "_").replace(" ", "_")
    if name in POSITIVE_NAMES:
        return True
    return False if name in NEGATIVE_NAMES else None


def _check_classes(root: Path, images: Sequence[LabelledImage], positive: str | None) -> None:
    counts = Counter(image.is_crack for image in images)
    if len(counts) < 2:
        missing = "without cracks" if counts[True] else "with cracks"
        raise DataError(f"{root} has no class folder of images {missing}; {_LAYOUT}")
    if positive is not None:
        others = {Path(image.path).parent.name for image in images if not image.is_crack}
        if len(others) > 1:
            raise DataError(
                f"{root} has more than two classes beside {positive!r}: {', '.join(sorted(others))}"
            )


def _with_groups(
    images: Sequence[LabelledImage], groups_csv: Path, root: Path
) -> list[LabelledImage]:
    group_of = read_column(groups_csv, root, "group")
    known = [group_of.get(os.path.realpath(image.path)) for image in images]
    if not any(known):
        raise DataError(
            f"{groups_csv} names none of the images below {root}; its column `file` must be "
            "relative to the CSV's folder or to DATA"
        )
    return [
        replace(image, group=group or image.path)
        for image, group in zip(images, known, strict=True)
    ]


def read_column(groups_csv: Path, root: Path, column: str) -> dict[str, str]:
    """What a column of the CSV says about each file, by the file's real path; empty cells are left
    out. Raises DataError."""
    try:
        with groups_csv.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {groups_csv}: {error}") from error
    if not rows or not {"file", column} <= rows[0].keys():
        raise DataError(f"{groups_csv} needs the columns `file` and `{column}`")
    bases = (os.path.realpath(groups_csv.parent), os.path.realpath(root))
    return {
        os.path.join(base, row["file"]): row[column]
        for base in bases
        for row in rows
        if row[column]
    }


def split(
    images: Sequence[LabelledImage], *, share: float, seed: int
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
    """sha256 over the images' names, labels, groups and sizes: tells two training sets apart
    without reading every byte."""
    digest = hashlib.sha256()
    for image in images:
        parts = Path(image.path).parts[-4:]
        size = os.stat(image.path).st_size
        digest.update(repr((parts, image.is_crack, image.source, size)).encode())
    return digest.hexdigest()
