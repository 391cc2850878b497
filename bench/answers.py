"""Whether answers are right: compared, file by file, with the weights in eager torch. A fast wrong
answer fails a benchmark, so every case has a rule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.results import Compared
from inspector.engines import Backend
from inspector.engines.parity import CAM_TOLERANCE, PROBABILITY_TOLERANCE
from inspector.model.bundle import Thresholds
from inspector.model.preprocess import PreprocessSpec
from inspector.model.verdict import decide, log_odds
from inspector.types import JsonObject, Scores, Verdict

Numbers = Mapping[str, float]
"""Probabilities by image."""
Mistaken = Mapping[str, Numbers]
"""Probabilities by image that the reference gives, by the mistake it was given."""

IMAGES_PER_OTHER_VERDICT = 1000
"""The export gate's bound for int8: verdicts agree on 99.9 %. Below a thousand images one may
differ, because a sample that small cannot tell 1 in 1,000 from none."""
IMAGES_PER_MISSED_CRACK = 2000
"""The gate's bound on cracks called clear; below that many images none is accepted."""
LEAST_AGREEMENT = 0.98
"""Share of verdicts, of a program that makes its own pixels. Resampling a 227 px tile to 224
instead of cropping it moves a probability over a threshold on none of 160 METU tiles, and on 4 of
300 generated ones."""

MISTAKEN = 48
"""Images on which the reference is given mistakes: enough to tell, and a second's work."""
LEAST_IMAGES = 16
"""Below that a resemblance may be chance."""
MUCH_CLOSER = 0.8
"""Share of the squared distance to the right answers below which a mistake explains them better.
Rounding and resampling move answers in other directions, and so away from both."""


class Rule(StrEnum):
    """Agreement with the reference that a case must have."""

    PROBABILITIES = "probabilities"
    """fp32 on the same pixels: every probability within the export gate's tolerance, and the
    verdicts as under `VERDICTS`."""
    VERDICTS = "verdicts"
    """int8, fp16 and bf16 move probabilities by design: verdicts agree on 99.9 %, and no crack is
    called clear."""
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


def examine(
    expected: Answers,
    found: Answers,
    rows: int,
    rule: Rule,
    thresholds: Thresholds,
    mistakes: Mistaken | None = None,
) -> Compared:
    """Compare a table of so many `rows` with what it should say, by path. Where a program gives
    probabilities alone, `thresholds` make its verdicts; `mistakes` are the answers under known
    mistakes of preprocessing."""
    right, given = numbers(expected), numbers(found)
    trouble = ""
    if found.keys() != expected.keys() or rows != len(expected):
        trouble = f"its table has {rows} rows, not one for each of {len(expected)} files"
    elif torn := right.keys() ^ given.keys():
        trouble = f"it judged or refused {len(torn)} files that should have been the other"
    judged = [] if trouble else list(right)
    gaps = [_gap(right[name], given[name]) for name in judged]
    pairs = [(expected[name], found[name]) for name in judged]
    verdicts = [(_verdict(a, b, thresholds), _verdict(b, b, thresholds)) for a, b in pairs]
    other = sum(a != b for a, b in verdicts)
    missed = sum(pair == (Verdict.CRACK, Verdict.CLEAR) for pair in verdicts)
    trouble = trouble or judge_counts(rule, gaps, other, missed)
    if not trouble and (mistake := resembled(right, given, mistakes or {})):
        trouble = f"its probabilities are those of a model with {mistake}"
    return Compared(
        trouble=trouble,
        images=len(judged),
        largest_difference=max(gaps, default=0.0),
        other_verdicts=other,
        missed_cracks=missed,
    )


def judge_counts(rule: Rule, gaps: list[float], other: int, missed: int) -> str:
    """Find fault with answers whose probabilities differ by `gaps`, of which `other` have
    another verdict and `missed` call a crack clear; empty when nothing is."""
    images = len(gaps)
    wrong = sum(gap > PROBABILITY_TOLERANCE for gap in gaps)
    if rule is Rule.PROBABILITIES and wrong:
        return f"{wrong} of {images} probabilities are wrong, by up to {max(gaps):.2g}"
    if no_numbers := sum(map(math.isinf, gaps)):
        return f"{no_numbers} of {images} probabilities are no numbers"
    if other > allowed_other(rule, images):
        return f"{other} of {images} verdicts differ, {allowed_other(rule, images)} may"
    if rule is not Rule.OWN_PIXELS and missed > images // IMAGES_PER_MISSED_CRACK:
        return f"{missed} of {images} are cracks that it calls clear"
    return ""


def allowed_other(rule: Rule, images: int) -> int:
    """Number of `images` that may have another verdict than the reference's."""
    if rule is Rule.OWN_PIXELS:
        return max(1, math.floor(images * (1 - LEAST_AGREEMENT) + 1e-9))
    return max(1, images // IMAGES_PER_OTHER_VERDICT)


def worst_of(every: Sequence[Compared]) -> Compared:
    """The worst that any run of the same files showed, in every respect."""
    return Compared(
        trouble=next((o.trouble for o in every if o.trouble), ""),
        images=max(o.images for o in every),
        largest_difference=max(o.largest_difference or 0.0 for o in every),
        other_verdicts=max(o.other_verdicts for o in every),
        missed_cracks=max(o.missed_cracks for o in every),
    )


def numbers(answers: Answers) -> dict[str, float]:
    """Probabilities of the files that were judged."""
    return {name: a.p_crack for name, a in answers.items() if a.p_crack is not None}


def _gap(expected: float, found: float) -> float:
    gap = abs(expected - found)
    return gap if math.isfinite(gap) else math.inf


def _verdict(answer: Answer, like: Answer, thresholds: Thresholds) -> str | None:
    """The verdict that `answer` gives where `like` gives one, else that of its probability: a
    large photo's `clear` may have become `review`, of which probabilities know nothing."""
    if like.verdict is not None or answer.p_crack is None:
        return answer.verdict
    return str(decide(np.array([answer.p_crack]), thresholds)[0][0])


def mistaken(
    eager: Backend, images: Mapping[str, NDArray[np.uint8]], spec: PreprocessSpec
) -> Mistaken:
    """Answer `images`, uint8 (size, size, 3), as the reference does under each known mistake.

    Such a mistake moves few verdicts: on grey concrete a model that is fed BGR changes 1 of 160
    (METU tiles), no more than int8 may. But its probabilities lie where the reference's lie when
    it is given the same mistake.
    """
    pixels_NHWC = np.stack(list(images.values()))
    shares = pixels_NHWC / 255
    mean, std = np.array(spec.mean), np.array(spec.std)
    # The exported graph normalises; pixels that come out of it as if it did otherwise.
    versions = {
        "swapped channels": pixels_NHWC[..., ::-1],
        "mean and std of 0.5": np.rint(255 * (mean + std * (shares - 0.5) / 0.5)),
        "no normalisation": np.rint(255 * (mean + std * shares)),
    }
    answers = {}
    for mistake, wrong_NHWC in versions.items():
        wrong_NHWC = np.ascontiguousarray(wrong_NHWC.clip(0, 255), dtype=np.uint8)
        found_N = eager.run(wrong_NHWC).p_crack_N
        answers[mistake] = dict(zip(images, map(float, found_N), strict=True))
    return answers


def resembled(right: Numbers, found: Numbers, mistakes: Mistaken) -> str | None:
    """The mistake whose answers are much closer to those `found` than the `right` ones are."""
    for mistake, answers in mistakes.items():
        images = [image for image in answers if image in right and image in found]
        if len(images) < LEAST_IMAGES:
            continue
        found_N = log_odds([found[image] for image in images])
        to_right = float(((found_N - log_odds([right[i] for i in images])) ** 2).sum())
        to_wrong = float(((found_N - log_odds([answers[i] for i in images])) ** 2).sum())
        if to_wrong < MUCH_CLOSER * to_right:
            return mistake
    return None


@dataclass(frozen=True, slots=True)
class Pool:
    """Images in memory, uint8 (N, size, size, 3), and the right answers to them."""

    pixels_NHWC: NDArray[np.uint8]
    expected: Scores
    mistakes: Mistaken = field(default_factory=dict)
    """Answers of known mistakes to the first of them, by their number as text; not in the
    file, because only the comparison asks for it."""

    def write(self, file: Path) -> None:
        """Keep pixels and answers for another process."""
        right = self.expected
        np.savez(file, pixels=self.pixels_NHWC, p_crack=right.p_crack_N, cam=right.cam_NHW,
                 ood=right.ood_N)  # fmt: skip

    @classmethod
    def read(cls, file: Path) -> Pool:
        """A pool that was written, without the mistakes."""
        with np.load(file) as kept:
            return cls(kept["pixels"], Scores(kept["p_crack"], kept["cam"], kept["ood"]))


@dataclass(slots=True)
class Furthest:
    """The answer furthest from the right one, of every image in memory; and the largest difference
    of an activation map, as a share of the largest right value."""

    right: Scores
    p_crack: dict[str, float] = field(default_factory=dict)
    """By the image's number as text, as JSON has it."""
    map_difference: float = 0.0

    def add(self, places: Sequence[int], scores: Scores) -> None:
        """One run's answers to the images numbered `places`."""
        self._keep(zip(map(str, places), map(float, scores.p_crack_N), strict=True))
        right_NHW = self.right.cam_NHW
        if scores.cam_NHW.shape[1:] == right_NHW.shape[1:]:
            gaps = np.abs(scores.cam_NHW - right_NHW[list(places)])
            scale = float(np.abs(right_NHW).max()) or 1.0
            largest = float(np.nan_to_num(gaps, nan=np.inf).max()) / scale
            self.map_difference = max(self.map_difference, largest)

    def merge(self, said: JsonObject) -> None:
        """Add what another process found, by `to_json`."""
        self._keep(said["p_crack"].items())
        self.map_difference = max(self.map_difference, said["map_difference"])

    def to_json(self) -> JsonObject:
        """With NaN and infinity, which Python's JSON knows."""
        return {"p_crack": self.p_crack, "map_difference": self.map_difference}

    def _keep(self, answers: Iterable[tuple[str, float]]) -> None:
        for k, p in answers:
            known, right = self.p_crack.get(k), float(self.right.p_crack_N[int(k)])
            if known is None or not abs(p - right) <= abs(known - right):
                self.p_crack[k] = p


def check(furthest: Furthest, mistakes: Mistaken, thresholds: Thresholds, rule: Rule) -> Compared:
    """Compare an engine's answers with the right ones; in fp32 its activation maps, too."""
    found = {k: Answer(p) for k, p in furthest.p_crack.items()}
    expected = {k: Answer(float(furthest.right.p_crack_N[int(k)])) for k in found}
    outcome = examine(expected, found, len(found), rule, thresholds, mistakes)
    differs = furthest.map_difference
    if outcome.trouble or rule is not Rule.PROBABILITIES or differs <= CAM_TOLERANCE:
        return outcome
    trouble = f"activation maps are wrong by up to {differs:.2g} of their magnitude"
    return replace(outcome, trouble=trouble)


def with_truth(
    outcome: Compared, truth: Mapping[str, bool], found: Numbers, right: Numbers
) -> Compared:
    """The comparison as it stands in the results: with ROC AUC where the `truth` is known."""
    return replace(
        outcome,
        largest_difference=_finite(outcome.largest_difference),
        roc_auc=_roc_auc(truth, found),
        reference_roc_auc=_roc_auc(truth, {k: p for k, p in right.items() if k in found}),
    )


def _roc_auc(truth: Mapping[str, bool], found: Numbers) -> float | None:
    """None where a class is missing or an answer is no number."""
    from inspector.evaluation.metrics import roc_auc

    known = [k for k in found if k in truth]
    p_N, is_crack_N = np.array([found[k] for k in known]), np.array([truth[k] for k in known], bool)
    return _finite(roc_auc(p_N, is_crack_N)) if np.isfinite(p_N).all() else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
