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
    pooled: bool,
) -> Rule:
    """The rule of the options given; the others keep their defaults."""
    from inspector.calibration.rule import Rule

    targets: dict[str, Any] = {
        "target_recall": target_recall,
        "target_specificity": target_specificity,
        "confidence": confidence,
    }
    named = {name: value for name, value in targets.items() if value is not None}
    return Rule(**named, by_source=not pooled)
