"""From judged images to the figures that are written down."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from inspector.core.text import printable
from inspector.evaluation.figures import Evaluation, measure, measure_widths

if TYPE_CHECKING:
    from inspector.evaluation.figures import Figures
    from inspector.evaluation.judged import JudgedImages
    from inspector.labelled.leaks import LeakAudit
    from inspector.model.bundle import ModelBundle


def assess(
    judged: JudgedImages, bundle: ModelBundle, *, by: str = "source", leaks: LeakAudit | None = None
) -> Evaluation:
    """Every figure, over all images and, where some leaked, over those that did not."""
    clean: tuple[Figures, ...] = ()
    if leaks is not None and leaks.leaked_paths:
        unseen = judged.without(leaks.leaked_paths)
        clean = measure(unseen) if unseen.images else ()
    return Evaluation(
        digest=bundle.digest,
        provider=judged.provider,
        thresholds=asdict(bundle.thresholds),
        by=by,
        sources=measure(judged),
        widths=measure_widths(judged),
        without_leaks=clean,
        leaks=leaks.to_json() if leaks is not None else None,
        failed=tuple(f"{printable(item.image.path)}: {item.code}" for item in judged.unjudged),
    )
