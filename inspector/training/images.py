"""Images of a training: read, split into training and validation, and audited for leaks."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from inspector.core.durable import publish, reporting
from inspector.core.progress import Progress, no_progress
from inspector.engines.photo import BIG
from inspector.errors import DataError, OutputError
from inspector.labelled.fingerprints import FINGERPRINTS, Fingerprints, fingerprint, save
from inspector.labelled.folder import TRAIN, VALIDATION, Labelled, LabelledImage, read_labelled
from inspector.labelled.groups import with_groups
from inspector.labelled.leaks import LeakAudit, audit_fingerprints
from inspector.labelled.reviewed import Reviewed, alone, merge_reviewed, read_reviewed, with_tiles
from inspector.labelled.sizes import longer_sides
from inspector.labelled.split import check_labels, split
from inspector.training.config import TrainConfig
from inspector.training.notes import prepare_notes
from inspector.training.tiles import TILES, cut_tiles

FOUND = "leaks.json"
"""File in the training's notes that lists every leak."""


@dataclass(frozen=True, slots=True)
class TrainingImages:
    """Both sides of a training, and what to say about them."""

    training: list[LabelledImage]
    validation: list[LabelledImage]
    lines: list[str]
    """Contents of the labelled folders, and what was taken from reviews."""
    warnings: list[str]
    """What does not match in the CSV of groups, and how many photos are too large."""


def read_images(config: TrainConfig, *, progress: Progress = no_progress) -> TrainingImages:
    """Read and split the labelled folders and reviews that `config` names. Of reviewed photos that
    were judged at their own scale, tiles are written to the notes.

    Reviewed photos are added to the training side only: they were selected for the model's
    uncertainty and would bias validation. Raises DataError, OutputError.
    """
    reviewed = read_reviewed(config.labels)
    by_themselves = config.data is None and config.validation is None
    if by_themselves:
        reviewed = _with_tiles(config, reviewed, [], progress)
    training, validation, lines, warnings = _labelled(config, reviewed)
    if not by_themselves:
        reviewed = _with_tiles(config, reviewed, validation, progress)
    if config.data is None:
        alone(reviewed)
    if config.labels:
        training, validation = merge_reviewed(training, validation, reviewed)
        lines = [*lines, str(reviewed)]
    warnings += _on_large([*training, *validation], config.size, progress)
    return TrainingImages(training, validation, lines, warnings)


def _on_large(images: Sequence[LabelledImage], size: int, progress: Progress) -> Iterator[str]:
    """Warn of photos that a scan by the new model judges at their own scale."""
    limit = BIG * size
    sides = longer_sides([image.path for image in images], progress)
    if large := sum(side > limit for side in sides):
        yield (
            f"WARNING: {large:,} of {len(images):,} photos are larger than {limit:g} px. Each is "
            f"learned with its label and shrunk to {size} px, where a thin crack is gone. Cut "
            "tiles from them; or scan them, say in inspector review where the cracks are, and "
            "train with --labels OUT, without these photos in DATA"
        )


def _with_tiles(
    config: TrainConfig, reviewed: Reviewed, validation: Sequence[LabelledImage], progress: Progress
) -> Reviewed:
    """The reviewed photos with tiles of the large ones, but for those that are validated on."""
    held_out = {os.path.realpath(image.path) for image in validation}
    large = [p for p in reviewed.large if os.path.realpath(p.image.path) not in held_out]
    if not large:
        return reviewed
    folder = prepare_notes(config) / TILES
    with reporting(config.out, lambda: "no epoch was begun"):
        return with_tiles(reviewed, cut_tiles(large, folder, config.size, progress=progress))


def _labelled(
    config: TrainConfig, reviewed: Reviewed
) -> tuple[list[LabelledImage], list[LabelledImage], list[str], list[str]]:
    roots = [root for root in (config.data, config.validation) if root is not None]
    if not roots:
        return *split(alone(reviewed), config.validation_share, config.seed), [], []
    folders = [read_labelled(root, positive=config.positive) for root in roots]
    warnings: list[str] = []
    if config.groups is not None:
        folders, warnings = _with_groups(folders, config.groups)
    data = folders[0]
    training = [] if config.data is None else data.with_both(data.of("", TRAIN))
    if config.validation is not None:
        validation = folders[-1].held_out(VALIDATION)
    elif data.of(VALIDATION):
        validation = data.with_both(data.of(VALIDATION), VALIDATION)
    else:
        training, validation = split(training, config.validation_share, config.seed)
    uses = {"training": training, "validation": validation}
    return training, validation, [line for f in folders for line in f.lines(uses)], warnings


def _with_groups(folders: list[Labelled], csv: Path) -> tuple[list[Labelled], list[str]]:
    """Assign groups in all folders, and in all their parts, by one CSV."""
    roots = [folder.root for folder in folders]
    images, warnings = with_groups([i for f in folders for i in f.images], csv, roots)
    rest = iter(images)
    return [replace(f, images=list(islice(rest, len(f.images)))) for f in folders], warnings


def audit_split(
    config: TrainConfig,
    training: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    notes: Path,
    *,
    progress: Progress = no_progress,
) -> LeakAudit | None:
    """Look for validation images that leak from training images; None where that is switched off.
    Writes the leaks to `notes`, and the fingerprints of the training images to the bundle, for
    later evaluations.

    Raises DataError where a picture has two labels, or leaks under `strict_splits`; LoaderError,
    OutputError.
    """
    if not config.leak_audit:
        return None
    both = fingerprint([*training, *validation], workers=config.workers, progress=progress)
    _check_labels(both)
    trained_on = both.take(range(len(training)))
    held_out = both.take(range(len(training), len(both)))
    found = audit_fingerprints(trained_on, held_out, names=("training", "validation"))
    file = notes / FOUND
    try:
        publish(json.dumps(found.to_json(), indent=1).encode(), file)
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror}") from error
    if found.leaks and config.strict_splits:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items() if count)
        raise DataError(
            f"{len(found.leaked_paths):,} of {found.held_out_images:,} validation images leak from "
            f"the training images ({counts}; listed in {file}); say with --groups CSV which images "
            "show one place, validate on another place with --validation, remove the copies, or "
            "train without --strict-splits"
        )
    save(trained_on, config.out / FINGERPRINTS)
    return found


def _check_labels(images: Fingerprints) -> None:
    """Raise DataError where equal pixels have two labels."""
    pictures: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    for k in np.flatnonzero(images.decoded_N):
        pictures[int(images.pixels_N[k])].append((images.paths[k], bool(images.is_crack_N[k])))
    check_labels(pictures.values())
