"""Figures in words: for tables, for the terminal, and for people who know no ROC curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from inspector.core.text import plain_table, printable, quantity
from inspector.evaluation.figures import (
    OWN,
    RULE_ALARMS,
    Evaluation,
    Figures,
    Measured,
    RuleFigures,
)
from inspector.evaluation.metrics import FALSE_RATES, at_rate
from inspector.model.bundle import Thresholds

LONGEST_NAME = 22
FEW = 20
"""Cracks of a source below which it is not named as the worst one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and its interval, or what else explains it, written out."""

    value: str
    interval: str = ""
    wrong: bool = False
    """Whether it counts mistakes that were made."""


VERDICT_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("cracks", ("all", "called crack", "to review", "called clear")),
    ("images without a crack", ("all", "called clear", "to review", "called crack")),
    ("of all", ("to review", "out of distribution")),
)
"""Columns of `verdict_cells`."""
_TITLES = {
    "missed": "cracks called clear",
    "false_alarms": "clear called crack",
    "review": "sent to review",
    "roc_auc": "ROC AUC",
    **{at_rate(rate): f"recall at {rate:.0%} false alarms" for rate in FALSE_RATES},
    "f1": "F1",
    "matthews_corrcoef": "MCC",
    "brier": "Brier score",
    "ece": "ECE",
}
"""Measures as tables name them, where that is not their name."""
_DIGITS = {
    "roc_auc": 4,
    "average_precision": 4,
    "f1": 3,
    "matthews_corrcoef": 3,
    "brier": 3,
    "ece": 3,
}
"""Behind the point, of measures that are not given in percent."""
RANKING = ("roc_auc", "average_precision", *map(at_rate, FALSE_RATES))
DECISIONS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "matthews_corrcoef")
CALIBRATION = ("brier", "ece")
_FLATTERED = ("roc_auc", "balanced_accuracy", "missed", "false_alarms", "review")
"""Measures of which a sentence says how they change without leaked images."""
_RULES = {
    OWN: "this model's rule",
    "maximum": "highest window",
    "top_three": "mean of the highest three",
    "noisy_or": "noisy-or of the windows",
    "mean": "mean of the windows",
}
"""Rules for photos at their own scale; the windows do not overlap."""
RULE_COLUMNS = ("rule", "ROC AUC", f"found at {RULE_ALARMS:.0%} alarms", "found", "alarms")
"""The last two at a probability of one half."""
TOO_SURE, TOO_TIMID = 1.15, 0.87
"""Best temperatures beyond which probabilities are said to be off."""


def short(name: str) -> str:
    """A name cut to fit a legend; that of no source stands for all images."""
    text = printable(name) or "all images"
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def titles(measures: Sequence[str]) -> list[str]:
    """The heads of their columns."""
    return [_TITLES.get(measure, measure.replace("_", " ")) for measure in measures]


def cell(found: Figures, measure: str) -> Cell:
    """A dash where the images do not define the figure."""
    value, low, high = astuple(found.measures[measure])
    if not math.isfinite(value):
        return Cell("-")
    digits = _DIGITS.get(measure)

    def number(value: float) -> str:
        return f"{100 * value:.1f}" if digits is None else f"{value:.{digits}f}"

    interval = f"{number(low)} to {number(high)}" if math.isfinite(low) else ""
    return Cell(number(value) + (" %" if digits is None else ""), interval)


def verdict_cells(found: Figures) -> list[Cell]:
    """Counts of each verdict, mistakes with their rates; then shares of all images."""
    cells = []
    for others, measure in ((("crack", "review", "clear"), "missed"),
                            (("clear", "review", "crack"), "false_alarms")):  # fmt: skip
        said = found.verdicts[others[0]]
        cells.append(Cell(f"{sum(said.values()):,}"))
        cells += [Cell(f"{said[verdict]:,}") for verdict in others]
        share = cell(found, measure)
        if share.value != "-":
            about = f"{share.value}, {share.interval}" if share.interval else share.value
            cells[-1] = Cell(cells[-1].value, about, wrong=said[others[-1]] > 0)
    return [*cells, cell(found, "review"), cell(found, "out_of_distribution")]


def decision_cells(found: Figures) -> list[Cell]:
    """Mistakes at one half, and the figures that follow."""
    wrong = [(found.confusion["fn"], found.cracks), (found.confusion["fp"], found.clears)]
    counts = [Cell(f"{part:,}", f"of {whole:,}", wrong=part > 0) for part, whole in wrong]
    return counts + [cell(found, measure) for measure in DECISIONS]


def calibration_cells(found: Figures) -> list[Cell]:
    """Gaps between probabilities and truth, and what would close them."""
    cells = [cell(found, measure) for measure in CALIBRATION]
    best = found.best_temperature
    if not math.isfinite(best):
        return [*cells, Cell("-")]
    words = ("too sure of itself" if best > TOO_SURE
             else "could be surer" if best < TOO_TIMID else "about right")  # fmt: skip
    return [*cells, Cell(f"{best:.2f}", words)]


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


def key_figures(everything: Figures) -> list[tuple[str, str, str, str]]:
    """The figures that a structural engineer needs first: what they are about, the number, what it
    counts, how sure it is."""
    statements = {
        "missed": ("crack", "of 100 cracks on walls like these would be called clear"),
        "false_alarms": ("clear", "of 100 images without a crack would be called crack"),
        "review": ("review", "of 100 images would be left for a person to decide"),
        "roc_auc": ("rank", "of 100 times it gives an image with a crack the higher probability, "
                            "next to one without"),
    }  # fmt: skip
    return [
        (kind, of_100(found.value), words, _between(found))
        for measure, (kind, words) in statements.items()
        if math.isfinite((found := everything.measures[measure]).value)
    ]


def limit(kinds: Sequence[tuple[str, Thresholds, object]], name: str) -> str:
    """A threshold by which images were judged; both, where those of two kinds have two."""
    own, *others = dict.fromkeys(getattr(used, name) for _, used, _ in kinds)
    return f"{own} ({others[0]} for photos {kinds[1][0]})" if others else f"{own}"


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
            f"{quantity(len(evaluation.failed), 'image')} could not be decoded and "
            f"{'is' if len(evaluation.failed) == 1 else 'are'} in no figure."
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
    named = titles(_FLATTERED)
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
    measures = (*RANKING[:2], *DECISIONS[:2], "missed", "false_alarms", "review", *CALIBRATION)
    return [
        (title, cell(with_leaks, measure), cell(without, measure))
        for title, measure in zip(titles(measures), measures, strict=True)
    ]


def evaluated_lines(evaluation: Evaluation) -> list[str]:
    """A table of at most 80 columns, one line per source."""
    lines = _table(evaluation.by, evaluation.sources)
    if evaluation.without_leaks:
        leakless = _table(evaluation.by, evaluation.without_leaks)
        lines += ["without the images that leaked:", *leakless]
    if evaluation.rules:
        lines += ["photos at their own scale, by this and by simpler rules:"]
        lines += plain_table(RULE_COLUMNS, list(map(rule_cells, evaluation.rules)))
    if evaluation.failed:
        lines.append(f"{quantity(len(evaluation.failed), 'image')} could not be decoded")
    lines.append("missed: cracks called clear; alarms: clear images called crack")
    return lines


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


def rule_cells(figures: RuleFigures) -> tuple[str, ...]:
    """A row of a table under `RULE_COLUMNS`."""
    shares = (figures.recall_at_alarms, figures.recall, figures.false_alarms)
    return (
        _RULES[figures.rule],
        f"{figures.roc_auc:.3f}" if math.isfinite(figures.roc_auc) else "-",
        *(f"{share:.1%}" if math.isfinite(share) else "-" for share in shares),
    )
