"""How an evaluation shows itself: progress and warnings on stderr, figures on stdout."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from inspector.core.terminal import Drawing, counting, print_lines
from inspector.core.text import plain_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inspector.evaluation import Evaluation, Figures


class EvaluateConsole(Drawing):
    """A `run.Watcher` that draws. Use it as a context manager."""

    def __init__(self) -> None:
        self.progress = counting()
        self.task = self.progress.add_task("judging", total=None)

    def step(self, done: int, images: int) -> None:
        self.progress.update(self.task, completed=done, total=images)

    def say(self, text: str) -> None:
        print_lines([text], to_stderr=True)


def to_json(result: Evaluation) -> str:
    """What `metrics.json` holds."""
    return json.dumps(result.to_json(), indent=2)


def render(result: Evaluation) -> str:
    """A table of at most 80 columns: one line per source."""
    lines = _table(result.by, result.sources)
    if result.without_leaks:
        lines += ["without the images that leaked:", *_table(result.by, result.without_leaks)]
    if result.failed:
        lines.append(f"{len(result.failed)} images could not be decoded")
    lines.append("missed: cracks called clear; alarms: clear images called crack")
    return "\n".join(lines)


def _table(by: str, sources: Iterable[Figures]) -> list[str]:
    heads = (by, "cracks", "clear", "ROC AUC", "bal.acc", "ece", "missed", "alarms", "review")
    return plain_table(heads, [_row(figures) for figures in sources])


def _row(f: Figures) -> list[str]:
    forms = (
        ("roc_auc", ".4f"), ("balanced_accuracy", ".2%"), ("ece", ".4f"), ("missed", ".1%"),
        ("false_alarms", ".1%"), ("review", ".1%"),
    )  # fmt: skip
    cells = [_cell(f.value(name), form) for name, form in forms]
    return [f.source, f"{f.cracks:,}", f"{f.clears:,}", *cells]


def _cell(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "-"
