"""What a training says about its own split before it begins."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from inspector.data.contradictions import check_labels
from inspector.data.leaks import FINGERPRINTS, audit_fingerprints, fingerprint, save
from inspector.durable import publish
from inspector.errors import DataError, OutputError
from inspector.terminal import Drawing
from inspector.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inspector.data.folder import LabelledImage
    from inspector.data.leaks import Fingerprints, LeakAudit
    from inspector.train.config import TrainConfig

FOUND = "leaks.json"
"""In the training's notes: every leak, by name."""


class AuditConsole(Drawing):
    """Progress and findings of an audit, on stderr. Use it as a context manager."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)
        self.progress = Progress(
            TextColumn("looking for leaks"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.err,
            disable=quiet or not self.err.is_terminal,
            transient=True,
        )
        self.task = self.progress.add_task("", total=None)

    def __call__(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total)

    def say(self, found: LeakAudit) -> None:
        """Leaks also when quiet: they make every figure of the training too good."""
        if found.leaks or not self.quiet:
            style = "bold yellow" if found.leaks else ""
            for line in found.lines():
                self.err.print(printable(line), markup=False, style=style)


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
