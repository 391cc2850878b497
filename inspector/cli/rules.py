"""Options that say how thresholds are chosen, shared by `train` and `calibrate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from inspector.calibration.rule import Rule


def _option(metavar: str, text: str) -> Any:
    return typer.Option(rich_help_panel="Thresholds", metavar=metavar, help=text)


TargetRecall = Annotated[
    float | None,
    _option(
        "SHARE", "Of each source's cracks, at least so many are not called clear (default 0.9)."
    ),
]
TargetSpecificity = Annotated[
    float | None,
    _option(
        "SHARE",
        "Of each source's crack-free photos, at least so many are not called crack (default 0.92).",
    ),
]
Confidence = Annotated[
    float | None, _option("P", "How surely the targets hold on further photos (default 0.95).")
]
MissCost = Annotated[
    float | None, _option("COST", "Instead of targets: cost of a crack called clear.")
]
FalseAlarmCost = Annotated[
    float | None, _option("COST", "Cost of a crack-free photo called crack.")
]
ReviewCost = Annotated[
    float | None, _option("COST", "Cost of looking at one photo (default half a false alarm).")
]
Prevalence = Annotated[
    float | None,
    _option("SHARE", "With costs: share of photos that show a crack (default as in DATA)."),
]
Pooled = Annotated[
    bool,
    typer.Option(
        "--pooled",
        help="Keep the targets over all sources together, not for each of them.",
        rich_help_panel="Thresholds",
    ),
]


def rule_of(
    *,
    target_recall: float | None,
    target_specificity: float | None,
    confidence: float | None,
    miss_cost: float | None,
    false_alarm_cost: float | None,
    review_cost: float | None,
    prevalence: float | None,
    pooled: bool,
) -> Rule:
    """The rule that the options describe. Raises UsageError if they contradict each other."""
    from inspector.calibration.rule import Costs, Rule
    from inspector.errors import UsageError

    targets: dict[str, Any] = {
        "target_recall": target_recall,
        "target_specificity": target_specificity,
        "confidence": confidence,
    }
    named = {name: value for name, value in targets.items() if value is not None}
    if miss_cost is None and false_alarm_cost is None:
        if review_cost is not None or prevalence is not None:
            raise UsageError("--review-cost and --prevalence go with --miss-cost")
        return Rule(**named, by_source=not pooled)
    if miss_cost is None or false_alarm_cost is None:
        raise UsageError("--miss-cost and --false-alarm-cost go together")
    if named or pooled:
        raise UsageError("thresholds follow from targets or from costs; leave out one of them")
    costs = Costs(miss=miss_cost, false_alarm=false_alarm_cost, review=review_cost)
    return Rule(costs=costs, prevalence=prevalence)
