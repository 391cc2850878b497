"""What a training says about its own split before it begins."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.durable import publish
from inspector.core.terminal import Drawing, counting, print_lines
from inspector.errors import DataError, OutputError
from inspector.labelled.contradictions import check_labels
from inspector.labelled.leaks import FINGERPRINTS, audit_fingerprints, fingerprint, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks import Fingerprints, LeakAudit
    from inspector.training.config import TrainConfig

FOUND = "leaks.json"
"""In the training's notes: every leak, by name."""


class AuditConsole(Drawing):
    """Progress and findings of an audit, on stderr. Use it as a context manager."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.progress = counting(quiet=quiet)
        self.task = self.progress.add_task("looking for leaks", total=None)

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)

    def say(self, found: LeakAudit) -> None:
        """Leaks also when quiet: they make every figure of the training too good."""
        if found.leaks or not self.quiet:
            print_lines(found.lines(), to_stderr=True)


def check_split(
    config: TrainConfig,
    training: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    notes: Path,
    *,
    quiet: bool,
) -> LeakAudit | None:
    """Audit the split, tell and write what was found, and keep the fingerprints of the training
    images for later evaluations; None where the audit is switched off.

    Raises DataError for a picture with two labels and for a leak under `strict_splits`,
    LoaderError, OutputError.
    """
    if not config.leak_audit:
        return None
    with AuditConsole(quiet=quiet) as console:
        both = fingerprint([*training, *validation], workers=config.workers, progress=console)
    _check_labels(both)
    trained_on = both.take(range(len(training)))
    held_out = both.take(range(len(training), len(both)))
    found = audit_fingerprints(trained_on, held_out, names=("training", "validation"))
    console.say(found)
    _write(found, notes / FOUND)
    if found.leaks and config.strict_splits:
        raise DataError(_refusal(found, notes / FOUND))
    save(trained_on, config.out / FINGERPRINTS)
    return found


def _check_labels(images: Fingerprints) -> None:
    """The same pixels with two labels, whatever the files are, are no leak but a contradiction."""
    pictures: dict[int, list[tuple[str, bool]]] = defaultdict(list)
    for k in np.flatnonzero(images.decoded_N):
        pictures[int(images.pixels_N[k])].append((images.paths[k], bool(images.is_crack_N[k])))
    check_labels(pictures.values())


def _write(found: LeakAudit, file: Path) -> None:
    try:
        publish(json.dumps(found.to_json(), indent=1).encode(), file)
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror}") from error


def _refusal(found: LeakAudit, file: Path) -> str:
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items() if count)
    return (
        f"{len(found.leaked_paths):,} of {found.held_out_images:,} validation images leak from the "
        f"training images ({counts}; listed in {file}); say with --groups CSV which images show "
        "one place, validate on another place with --validation, remove the copies, or train "
        "without --strict-splits"
    )
