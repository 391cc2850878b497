"""What thresholds are asked to do."""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspector.errors import UsageError

MISSED = 0.1
"""Share of any source's cracks that the default lets be called clear at most, with confidence; of
100 cracks that is 4, so that about one in twenty is expected."""
ALARMS = 0.08
"""The same for crack-free images called crack: 5 of 138."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What the outcomes cost, in any unit: only their ratios count.

    Raises UsageError unless all are positive.
    """

    miss: float
    """A crack that is called clear."""
    false_alarm: float
    """A crack-free image that is called crack."""
    review: float | None = None
    """A look at one image; None: half a false alarm."""

    def __post_init__(self) -> None:
        if not all(0 < cost < float("inf") for cost in (self.miss, self.false_alarm, self.look)):
            raise UsageError("costs must be positive numbers")

    @property
    def look(self) -> float:
        return self.false_alarm / 2 if self.review is None else self.review


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """By targets, or by costs where there are some. Raises UsageError for impossible values."""

    target_recall: float = 1 - MISSED
    """Share of the cracks that are not called clear, at least."""
    target_specificity: float = 1 - ALARMS
    """Share of the crack-free images that are not called crack, at least."""
    confidence: float = 0.95
    """Probability with which the targets are met on further images like these."""
    by_source: bool = True
    """Every source that has enough images meets the targets, not only all of them together."""
    costs: Costs | None = None
    prevalence: float | None = None
    """Share of images with a crack for which costs are weighed; None: as among the images."""
    highest_clear: float = 1.0
    """`clear_below` is never higher."""
    lowest_crack: float = 0.0
    """`crack_from` is never lower."""

    def __post_init__(self) -> None:
        shares = {
            "target recall": self.target_recall,
            "target specificity": self.target_specificity,
            "confidence": self.confidence,
            "prevalence": 0.5 if self.prevalence is None else self.prevalence,
        }
        for name, share in shares.items():
            if not 0 < share < 1:
                raise UsageError(f"a {name} of {share:g} is not between 0 and 1")


def for_unseen_walls(rule: Rule) -> Rule:
    """The rule for a training, which is validated on what is at hand: targets that an easy
    validation set meets at any threshold must not make the next wall unsafe."""
    return rule if rule.costs else replace(rule, highest_clear=0.17, lowest_crack=0.5)
