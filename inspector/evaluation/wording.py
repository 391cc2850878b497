"""Figures in words: for tables, for the terminal, and for people who know no ROC curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.core.text import plain_table, printable
from inspector.evaluation.metrics import FALSE_RATES, at_rate
from inspector.evaluation.photo_rules import rules_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.evaluation.figures import Evaluation, Figures, Measured

LONGEST_NAME = 22
FEW = 20
"""Cracks of a source below which it is not named as the worst one."""


@dataclass(frozen=True, slots=True)
class Column:
    """A measure as a table shows it."""

    measure: str
    title: str
    percent: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and its interval, or what else explains it, written out."""

    value: str
    interval: str = ""
    wrong: bool = False
    """Whether it counts mistakes that were made."""


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One statement at the top of the page: a number, what it counts, how sure it is."""

    number: str
    words: str
    interval: str
    kind: str


VERDICTS = (
    Column("missed", "cracks called clear"),
    Column("false_alarms", "clear called crack"),
    Column("review", "sent to review"),
)
VERDICT_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cracks", ("all", "called crack", "to review", "called clear")),
    ("images without a crack", ("all", "called clear", "to review", "called crack")),
    ("of all", ("to review", "out of distribution")),
)
"""Columns of `verdict_cells`."""
RANKING = (
    Column("roc_auc", "ROC AUC", percent=False),
    Column("average_precision", "average precision", percent=False),
    *(Column(at_rate(rate), f"recall at {rate:.0%} false alarms") for rate in FALSE_RATES),
)
DECISIONS = (
    Column("accuracy", "accuracy"),
    Column("balanced_accuracy", "balanced accuracy"),
    Column("precision", "precision"),
    Column("recall", "recall"),
    Column("f1", "F1", percent=False),
    Column("matthews_corrcoef", "MCC", percent=False),
)
CALIBRATION = (Column("brier", "Brier score", percent=False), Column("ece", "ECE", percent=False))
TOO_SURE, TOO_TIMID = 1.15, 0.87
"""Best temperatures beyond which probabilities are said to be off."""


def short(name: str) -> str:
    """A name cut to fit a legend."""
    text = printable(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def cell(measured: Measured, column: Column) -> Cell:
    """A dash where the images do not define the figure."""
    if not math.isfinite(measured.value):
        return Cell("-")
    low, high = (_number(bound, column) for bound in (measured.low, measured.high))
    interval = f"{low} to {high}" if math.isfinite(measured.low) else ""
    unit = " %" if column.percent else ""
    return Cell(_number(measured.value, column) + unit, interval)


def verdict_cells(found: Figures) -> list[Cell]:
    """Counts of each verdict, mistakes with their rates; then shares of all images."""
    cells = []
    for truth, others, rate in (("crack", ("crack", "review", "clear"), VERDICTS[0]),
                                ("clear", ("clear", "review", "crack"), VERDICTS[1])):  # fmt: skip
        said = found.verdicts[truth]
        cells.append(Cell(f"{sum(said.values()):,}"))
        cells += [Cell(f"{said[verdict]:,}") for verdict in others]
        share = cell(found.measures[rate.measure], rate)
        if share.value != "-":
            about = f"{share.value}, {share.interval}" if share.interval else share.value
            cells[-1] = Cell(cells[-1].value, about, wrong=said[others[-1]] > 0)
    last = Column("review", ""), Column("out_of_distribution", "")
    return cells + [cell(found.measures[column.measure], column) for column in last]


def decision_cells(found: Figures) -> list[Cell]:
    """Mistakes at one half, and the figures that follow."""
    wrong = [(found.confusion["fn"], found.cracks), (found.confusion["fp"], found.clears)]
    counts = [Cell(f"{part:,}", f"of {whole:,}", wrong=part > 0) for part, whole in wrong]
    return counts + [cell(found.measures[column.measure], column) for column in DECISIONS]


def calibration_cells(found: Figures) -> list[Cell]:
    """Gaps between probabilities and truth, and what would close them."""
    cells = [cell(found.measures[column.measure], column) for column in CALIBRATION]
    best = found.best_temperature
    if not math.isfinite(best):
        return [*cells, Cell("-")]
    words = ("too sure of itself" if best > TOO_SURE
             else "could be surer" if best < TOO_TIMID else "about right")  # fmt: skip
    return [*cells, Cell(f"{best:.2f}", words)]


def _number(value: float, column: Column) -> str:
    if column.percent:
        return f"{100 * value:.1f}"
    digits = 4 if column.measure in ("roc_auc", "average_precision") else 3
    return f"{value:.{digits}f}"


def of_100(share: float) -> str:
    """A share as whole ones of a hundred, never rounded to nothing or to all."""
    if share == 0:
        return "none"
    if share == 1:
        return "100"
    whole = round(100 * share)
    return f"{whole}" if 0 < whole < 100 else "more than 99" if whole else "fewer than 1"


def _between(measured: Measured) -> str:
    if not math.isfinite(measured.low):
        return "too few groups for an interval"
    low, high = (of_100(bound).replace("none", "0") for bound in (measured.low, measured.high))
    if low == high:
        return f"95 % interval: {low}"
    low = low.replace("fewer than 1", "under 1")
    return f"95 % interval: {low} to {high.replace('fewer than 1', 'under 1')}"


def result(everything: Figures) -> str:
    """What it made of the images, in one sentence."""
    parts = []
    for truth, count, one, many, other in (
        ("crack", everything.cracks, "crack", "cracks", "clear"),
        ("clear", everything.clears, "image without a crack", "images without a crack", "crack"),
    ):
        said = {
            verdict: f"{n:,}" if n else "none" for verdict, n in everything.verdicts[truth].items()
        }
        found = f"found {said[truth]}" if truth == "crack" else f"called {said[truth]} clear"
        if count:
            parts.append(
                f"of {count:,} {one if count == 1 else many} it {found}, left {said['review']} to "
                f"a person and called {said[other]} {other}"
            )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def key_figures(everything: Figures) -> list[KeyFigure]:
    """The figures that a structural engineer needs first."""
    statements = (
        ("missed", "of 100 cracks on walls like these would be called clear", "crack"),
        ("false_alarms", "of 100 images without a crack would be called crack", "clear"),
        ("review", "of 100 images would be left for a person to decide", "review"),
        ("roc_auc", "of 100 times it gives an image with a crack the higher probability, next to "
                    "one without", "rank"),
    )  # fmt: skip
    return [
        KeyFigure(of_100(found.value), words, _between(found), kind)
        for measure, words, kind in statements
        if math.isfinite((found := everything.measures[measure]).value)
    ]


def plain_words(evaluation: Evaluation) -> list[str]:
    """Sentences below the key figures: the weakest source, how far probabilities hold, warnings."""
    sentences = [*_weakest(evaluation.sources[:-1]), *_trust(evaluation.overall)]
    narrow = [f.source for f in evaluation.sources if f.intervals_too_narrow]
    if narrow:
        names = ", ".join(short(name) for name in narrow[:6])
        sentences.append(
            f"Fewer than 10 groups (photos or places) stand behind: {names}"
            f"{' and others' if len(narrow) > 6 else ''}. Intervals from so few are too narrow: "
            "the next wall may differ more."
        )
    if evaluation.failed:
        sentences.append(
            f"{len(evaluation.failed):,} images could not be decoded and are in no figure."
        )
    return sentences


def _weakest(sources: Sequence[Figures]) -> list[str]:
    counted = [f for f in sources if f.cracks >= FEW]
    if not counted:
        return []
    worst = max(counted, key=lambda f: f.value("missed"))
    found = worst.measures["missed"]
    if not found.value:
        return [f"No source with {FEW} cracks or more has one that was called clear."]
    like = [short(f.source) for f in counted if math.isclose(f.value("missed"), found.value)]
    many = f"{of_100(found.value)} would be called clear"
    if len(like) > 1:
        return [f"Of 100 cracks on {', '.join(like)} each, {many}, the most of all sources with "
                f"{FEW} cracks or more."]  # fmt: skip
    if len(counted) == 1:
        return [f"Of 100 cracks on {like[0]}, the only source with {FEW} cracks or more, {many} "
                f"({_between(found)})."]  # fmt: skip
    return [f"Of the sources with {FEW} cracks or more it misses most on {like[0]}: of 100 cracks "
            f"there, {many} ({_between(found)})."]  # fmt: skip


def _trust(everything: Figures) -> list[str]:
    gap = 100 * everything.value("ece")
    sentence = (
        f"A probability it gives is off by {gap:.0f} percentage points on average"
        if gap >= 1
        else "A probability it gives is off by less than 1 percentage point on average"
    )
    temperature = everything.best_temperature
    if temperature > TOO_SURE:
        sentence += "; it is too sure of itself on these images"
    elif temperature < TOO_TIMID:
        sentence += "; on these images it could be surer than it is"
    return [sentence + "."]


def unseen_alone(evaluation: Evaluation) -> str:
    """A sentence on how the figures change without the images that leaked."""
    if not evaluation.without_leaks:
        return "No other image could be counted: nothing here says how good it is on new ones."
    named = {column.title for column in (*VERDICTS, *RANKING[:1], DECISIONS[1])}
    changes = [
        f"{title} {without.value} instead of {with_leaks.value}"
        for title, with_leaks, without in flattery(evaluation)
        if title in named and without.value != with_leaks.value
    ]
    if not changes:
        return "Without those images the figures at the top are the same."
    return f"Without those images: {', '.join(changes)}."


def flattery(evaluation: Evaluation) -> list[tuple[str, Cell, Cell]]:
    """Name, figure over all images and over those without a leak."""
    if not evaluation.without_leaks:
        return []
    with_leaks, without = evaluation.overall, evaluation.without_leaks[-1]
    columns = (RANKING[0], RANKING[1], DECISIONS[0], DECISIONS[1], *VERDICTS, *CALIBRATION)
    return [
        (c.title, cell(with_leaks.measures[c.measure], c), cell(without.measures[c.measure], c))
        for c in columns
    ]


def render(evaluation: Evaluation) -> str:
    """A table of at most 80 columns, one line per source."""
    lines = _table(evaluation.by, evaluation.sources)
    if evaluation.without_leaks:
        leakless = _table(evaluation.by, evaluation.without_leaks)
        lines += ["without the images that leaked:", *leakless]
    if evaluation.rules:
        lines += ["photos at their own scale, by this and by simpler rules:"]
        lines += rules_table(evaluation.rules)
    if evaluation.failed:
        lines.append(f"{len(evaluation.failed)} images could not be decoded")
    lines.append("missed: cracks called clear; alarms: clear images called crack")
    return "\n".join(lines)


def _table(by: str, sources: Sequence[Figures]) -> list[str]:
    heads = (by, "cracks", "clear", "ROC AUC", "bal.acc", "ece", "missed", "alarms", "review")
    forms = {
        "roc_auc": ".4f", "balanced_accuracy": ".2%", "ece": ".4f", "missed": ".1%",
        "false_alarms": ".1%", "review": ".1%",
    }  # fmt: skip
    rows = []
    for f in sources:
        values = [(f.value(name), form) for name, form in forms.items()]
        cells = [f"{value:{form}}" if math.isfinite(value) else "-" for value, form in values]
        rows.append([f.source, f"{f.cracks:,}", f"{f.clears:,}", *cells])
    return plain_table(heads, rows)
