"""Whether answers are right: compared, file by file, with the weights in eager torch at full
resolution. A fast wrong answer must fail a benchmark, so each kind of case has a rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from bench.mistakes import resembled
from inspector.engines.parity import PROBABILITY_TOLERANCE
from inspector.model.verdict import decide
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.mistakes import Mistaken
    from inspector.model.bundle import Thresholds

IMAGES_PER_OTHER_VERDICT = 1000
"""The export gate's own bound for int8 and fp16: verdicts agree on 99.9 %. Below a thousand
images one may differ, because a sample that small cannot tell 1 in 1,000 from none."""
IMAGES_PER_MISSED_CRACK = 2000
"""The gate's bound on cracks called clear, without that allowance: below it none is accepted."""

LEAST_AGREEMENT = 0.98
"""Of a program that makes its own pixels. Resampling a 227 px tile to 224 instead of cropping it
moves a probability over a threshold on none of 160 METU tiles, and on 4 of 300 generated ones; what
a mistake would move beyond that is found by `mistakes.resembled` or, as with other weights or
swapped labels, moves many times as many."""


class Rule(StrEnum):
    """What a case must have in common with the reference."""

    PROBABILITIES = "probabilities"
    """float32 on the same pixels: every probability within the export gate's tolerance, and the
    verdicts as under `VERDICTS`."""
    VERDICTS = "verdicts"
    """int8 and fp16 move probabilities by design: verdicts agree on 99.9 %, and no crack
    is called clear."""
    OWN_PIXELS = "own pixels"
    """A program with preprocessing of its own: verdicts agree on `LEAST_AGREEMENT`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Crack probability and verdict of one file; None where the file could not be judged.
    `verdict` is also None where a program gives probabilities alone."""

    p_crack: float | None
    verdict: str | None = None


Answers = dict[str, Answer]
"""By path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a case's answers compare; `trouble` says in one sentence what is wrong, or nothing."""

    trouble: str
    images: int = 0
    """Judged by both."""
    largest_difference: float = 0.0
    """Of a probability; infinite where an answer is no number."""
    mean_difference: float = 0.0
    other_verdicts: int = 0
    missed_cracks: int = 0
    """Cracks by the reference that the case calls clear."""


def examine(
    expected: Answers,
    found: Answers,
    rows: int,
    rule: Rule,
    thresholds: Thresholds,
    mistakes: Mistaken | None = None,
) -> Outcome:
    """Compare a table of `rows` rows with what it should say, and with what known `mistakes`
    would say."""
    if found.keys() != expected.keys() or rows != len(expected):
        trouble = f"its table has {rows} rows, not one for each of {len(expected)} files"
        return Outcome(trouble=trouble)
    torn = sum((a.p_crack is None) != (found[f].p_crack is None) for f, a in expected.items())
    if torn:
        trouble = f"it judged or refused {torn} files that should have been the other"
        return Outcome(trouble=trouble)
    pairs = [(a, found[f]) for f, a in expected.items() if a.p_crack is not None]
    gaps = [_gap(a, b) for a, b in pairs]
    verdicts = [(_verdict(a, b, thresholds), _verdict(b, b, thresholds)) for a, b in pairs]
    other = sum(a != b for a, b in verdicts)
    missed = sum(pair == (Verdict.CRACK, Verdict.CLEAR) for pair in verdicts)
    trouble = judge_counts(rule, gaps, other, missed)
    if not trouble and (mistake := resembled(_numbers(expected), _numbers(found), mistakes or {})):
        trouble = f"its probabilities are those of a model with {mistake}"
    return Outcome(
        trouble=trouble,
        images=len(pairs),
        largest_difference=max(gaps, default=0.0),
        mean_difference=sum(gaps) / len(gaps) if gaps else 0.0,
        other_verdicts=other,
        missed_cracks=missed,
    )


def judge_counts(rule: Rule, gaps: list[float], other: int, missed: int) -> str:
    """What is wrong with answers whose probabilities differ by `gaps`, of which `other` have
    another verdict and `missed` call a crack clear; empty when nothing is."""
    images = len(gaps)
    wrong = sum(not gap <= PROBABILITY_TOLERANCE for gap in gaps)
    if rule is Rule.PROBABILITIES and wrong:
        return f"{wrong} of {images} probabilities are wrong, by up to {max(gaps):.2g}"
    no_numbers = sum(math.isinf(gap) for gap in gaps)
    if no_numbers:
        return f"{no_numbers} of {images} probabilities are no numbers"
    if other > allowed_other(rule, images):
        return f"{other} of {images} verdicts differ, {allowed_other(rule, images)} may"
    if rule is not Rule.OWN_PIXELS and missed > images // IMAGES_PER_MISSED_CRACK:
        return f"{missed} of {images} are cracks that it calls clear"
    return ""


def allowed_other(rule: Rule, images: int) -> int:
    """How many of `images` may have another verdict than the reference."""
    if rule is Rule.OWN_PIXELS:
        return max(1, math.floor(images * (1 - LEAST_AGREEMENT) + 1e-9))
    return max(1, images // IMAGES_PER_OTHER_VERDICT)


def _numbers(answers: Answers) -> dict[str, float]:
    return {name: a.p_crack for name, a in answers.items() if a.p_crack is not None}


def _gap(expected: Answer, found: Answer) -> float:
    if expected.p_crack is None or found.p_crack is None:
        return math.inf
    gap = abs(expected.p_crack - found.p_crack)
    return gap if math.isfinite(gap) else math.inf


def _verdict(answer: Answer, like: Answer, thresholds: Thresholds) -> str | None:
    """The verdict that `answer` gives where `like` gives one, else that of its probability: a
    large photo's `clear` may have become `review`, of which probabilities know nothing."""
    if like.verdict is not None or answer.p_crack is None:
        return answer.verdict
    return str(decide(np.array([answer.p_crack]), thresholds)[0][0])


def worst_of(every: Sequence[Outcome]) -> Outcome:
    """What at least one run of the same files showed, in every respect."""
    return Outcome(
        trouble=next((o.trouble for o in every if o.trouble), ""),
        images=max(o.images for o in every),
        largest_difference=max(o.largest_difference for o in every),
        mean_difference=max(o.mean_difference for o in every),
        other_verdicts=max(o.other_verdicts for o in every),
        missed_cracks=max(o.missed_cracks for o in every),
    )
