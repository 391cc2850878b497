"""How a training shows itself: a progress bar on stderr, one line per epoch on stdout."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

from inspector.core.terminal import Drawing, bar, print_lines, words
from inspector.core.text import Whole, printable
from inspector.evaluation import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inspector.model.bundle import ModelBundle
    from inspector.training.loop import EpochResult
    from inspector.training.run import TrainResult

SHOWN = 5
"""Misclassified images named on the screen; the tables beside the bundle have them all."""


class TrainConsole(Drawing):
    """A `loop.Watcher` that draws, and adds what it says to the file `log`. Use it as a context
    manager."""

    def __init__(self, epochs: int, log: Path, *, quiet: bool = False) -> None:
        self.epochs = epochs
        self.log = log
        self.quiet = quiet
        self.progress = bar(
            words("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            words("loss {task.fields[loss]:.4f} acc {task.fields[accuracy]:.2%}"),
            words("{task.fields[rate]:.0f} images/s"),
            TimeRemainingColumn(),
            quiet=quiet,
        )
        self.task = self.progress.add_task(
            "", total=1, epoch=0, epochs=epochs, loss=0.0, accuracy=0.0, rate=0.0
        )
        self.images = 0

    def say(self, text: str) -> None:
        lines = [printable(line) for line in text.split("\n")]
        if not self.quiet:
            print_lines(lines)
        self._log(lines)

    def warn(self, text: str) -> None:
        """On stderr, also when quiet."""
        print_lines([text], to_stderr=True)
        self._log([printable(text)])

    def _log(self, lines: Sequence[str]) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def start_epoch(self, epoch: int, steps: int) -> None:
        self.images = 0
        # What is not given again is gone: `reset` replaces the fields.
        self.progress.reset(
            self.task, total=steps, epoch=epoch + 1, epochs=self.epochs, loss=0.0, accuracy=0.0,
            rate=0.0,
        )  # fmt: skip

    def step(self, loss: float, accuracy: float, images: int) -> None:
        self.images += images
        seconds = self.progress.tasks[0].elapsed or 0.0
        rate = self.images / seconds if seconds else 0.0
        self.progress.update(self.task, advance=1, loss=loss, accuracy=accuracy, rate=rate)

    def end_epoch(self, result: EpochResult, best: bool) -> None:
        self.say(
            f"epoch {result.epoch}/{self.epochs}  "
            f"train loss {result.train_loss:.4f} accuracy {result.train_accuracy:.2%}  "
            f"validation loss {result.validation_loss:.4f} accuracy "
            f"{result.validation_accuracy:.2%} ROC AUC {result.validation_roc_auc:.4f}  "
            f"{result.images_per_second:.0f} images/s{'  best' if best else ''}"
        )


def print_result(result: TrainResult, bundle: ModelBundle) -> None:
    """What was reached, where it is, and how to use it."""
    figures = bundle.training["validation"]
    counts = figures["confusion_at_0.5"]
    lines = [
        f"best epoch {result.trained.best_epoch}: balanced accuracy "
        f"{figures['balanced_accuracy']:.2%}, ROC AUC {figures['roc_auc']:.4f} on "
        f"{figures['images']:,} validation images",
        f"cracks: {counts['tp']:,} found, {counts['fn']:,} missed; "
        f"clear: {counts['tn']:,} right, {counts['fp']:,} false alarms",
    ]
    for row in result.missed[:SHOWN]:
        lines.append(f"  misclassified: {row['path']} is {row['truth']}, p(crack) {row['p_crack']}")
    if len(result.missed) > SHOWN:
        lines.append(f"  and {len(result.missed) - SHOWN} more")
    lines += [
        f"report: {result.notes / PAGE}",
        f"model: {bundle.path}  ({', '.join(sorted(bundle.variants))})",
        Whole(f"use it: inspector scan /photos --model {shlex.quote(str(bundle.path))}"),
    ]
    print_lines(lines)
