"""Options that several commands share."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from inspector.calibration.thresholds import Rule


_tracebacks_wanted = False


def tracebacks_wanted() -> bool:
    """Whether the command line asked for them."""
    return _tracebacks_wanted


def _want_tracebacks(verbose: bool) -> bool:
    global _tracebacks_wanted
    _tracebacks_wanted = _tracebacks_wanted or verbose
    return verbose


Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", callback=_want_tracebacks, help="Show an error's traceback."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
Model = Annotated[
    Path | None, typer.Option(help="Model bundle; the one that comes along if not given.")
]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda[:i] or, to scan, cuda:all; cuda stops without a usable GPU."
    ),
]

View = Annotated[
    str,
    typer.Option(metavar="auto|whole|dense|tiles", help="auto: large photos at their own scale."),
]
Threshold = Annotated[
    float | None,
    typer.Option(metavar="P", help="Crack from this probability on, clear below, no review."),
]
MmPerPx = Annotated[
    float | None,
    typer.Option(
        metavar="MM", help="Millimetres that a pixel of every photo shows; else as drones tell."
    ),
]
MinCrackMm = Annotated[
    float | None,
    typer.Option(metavar="MM", help="Never clear: photos that cannot show cracks of this width."),
]
Moved = Annotated[
    str | None,
    typer.Option(metavar="OLD=NEW", help="Photos scanned below OLD now lie below NEW."),
]


def at_home(word: str) -> str:
    """A word of the command line; `--out=~/x` and `-o~/x` with the home directory written out, as
    shells do it for a word of its own only."""
    match = re.fullmatch(r"(--[a-z-]+=|-[a-zA-Z])(~.*)", word, re.DOTALL)
    return match[1] + os.path.expanduser(match[2]) if match else word


def auto_or_count(option: str, text: str) -> int | None:
    """None for `auto`. Raises BadParameter for what is neither that nor a number."""
    if text == "auto":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither auto nor a number", param_hint=option)
    return int(text)


_thresholds = partial(typer.Option, rich_help_panel="Thresholds")
TargetRecall = Annotated[
    float | None,
    _thresholds(
        metavar="SHARE",
        help="Of each source's cracks, at least so many are not called clear (default 0.9).",
    ),
]
TargetSpecificity = Annotated[
    float | None,
    _thresholds(
        metavar="SHARE",
        help="Of each source's crack-free photos, at least so many are not called crack "
        "(default 0.92).",
    ),
]
Confidence = Annotated[
    float | None,
    _thresholds(metavar="P", help="How surely the targets hold on further photos (default 0.95)."),
]
Pooled = Annotated[
    bool,
    _thresholds(
        "--pooled", help="Keep the targets over all sources together, not for each of them."
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
    from inspector.calibration.thresholds import Rule

    targets: dict[str, Any] = {
        "target_recall": target_recall,
        "target_specificity": target_specificity,
        "confidence": confidence,
    }
    named = {name: value for name, value in targets.items() if value is not None}
    return Rule(**named, by_source=not pooled)
