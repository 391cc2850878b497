"""Training on a terminal: a progress bar on stderr, one line per epoch on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.core.progress import CountingBar
from inspector.core.text import Whole, print_lines, quoted_word
from inspector.evaluation.page import PAGE

if TYPE_CHECKING:
    from inspector.training.run import TrainResult

SHOWN = 5
"""Misclassified images named on the screen; the tables beside the bundle have them all."""


class TrainConsole(CountingBar):
    """Progress bar that also prints what a training says. Use it as a context manager."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._verbose = verbose

    def say(self, line: str) -> None:
        """Print a line, unless quiet."""
        if not self._quiet:
            print_lines([line])

    def detail(self, line: str) -> None:
        """Print a line where more was asked for."""
        if self._verbose:
            self.say(line)

    def warn(self, line: str) -> None:
        """Print a line on stderr, also when quiet."""
        print_lines([line], to_stderr=True)


def print_result(result: TrainResult) -> None:
    """Print what was reached, where it is, and how to use it."""
    bundle = result.bundle
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
        Whole(f"use it: inspector scan /photos --model {quoted_word(str(bundle.path))}"),
    ]
    print_lines(lines)
