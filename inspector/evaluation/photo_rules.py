"""Photos that were judged at their own scale: the rule for photos beside simpler ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.text import plain_table
from inspector.evaluation import metrics
from inspector.types import SimpleRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OWN = "candidates"
RULES = {
    OWN: "this model's rule",
    "maximum": "highest window",
    "top_three": "mean of the highest three",
    "noisy_or": "noisy-or of the windows",
    "mean": "mean of the windows",
}
"""Names of the rules in words; the windows do not overlap."""
ALARMS = 0.1
"""Share of alarms at which the rules' recalls are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFigures:
    """What a rule says of photos; NaN where one class is missing."""

    rule: str
    """A name of `RULES`."""
    roc_auc: float
    recall_at_alarms: float
    """Cracked photos found by a threshold that makes `ALARMS` of the crack-free ones alarms."""
    recall: float
    """Cracked photos with a probability of one half or more."""
    false_alarms: float
    """Crack-free photos with one."""


def compare_rules(
    is_crack_N: NDArray[np.bool_], p_N: NDArray[np.floating], simple_N: Sequence[SimpleRules]
) -> tuple[RuleFigures, ...]:
    """Figures of the rule that gave the probabilities `p_N` of N >= 1 photos, and of simpler ones,
    in photos."""
    probabilities = {OWN: p_N.astype(np.float64)}
    probabilities |= dict(zip(SimpleRules._fields, np.array(simple_N).T, strict=True))
    return tuple(
        RuleFigures(
            rule=rule,
            roc_auc=metrics.roc_auc(own_N, is_crack_N),
            recall_at_alarms=metrics.recall_at_fpr(own_N, is_crack_N, ALARMS),
            recall=_share(own_N[is_crack_N] >= 0.5),
            false_alarms=_share(own_N[~is_crack_N] >= 0.5),
        )
        for rule, own_N in probabilities.items()
    )


def _share(is_N: NDArray[np.bool_]) -> float:
    return float(is_N.mean()) if len(is_N) else math.nan


COLUMNS = ("rule", "ROC AUC", f"found at {ALARMS:.0%} alarms", "found", "alarms")
"""The last two at a probability of one half."""


def cells(figures: RuleFigures) -> tuple[str, ...]:
    """A row of a table under `COLUMNS`."""
    shares = (figures.recall_at_alarms, figures.recall, figures.false_alarms)
    return (
        RULES[figures.rule],
        f"{figures.roc_auc:.3f}" if math.isfinite(figures.roc_auc) else "-",
        *(f"{share:.1%}" if math.isfinite(share) else "-" for share in shares),
    )


def rules_table(rules: Sequence[RuleFigures]) -> list[str]:
    """Lines for a terminal."""
    return plain_table(COLUMNS, [list(cells(figures)) for figures in rules])
