"""How far a model can be trusted on labelled images: figures, and a page that shows them.

`inspector evaluate` and `inspector train` write the same three files: `report.html`, which needs
nothing but itself, `metrics.json` and `predictions.parquet`.
"""

from __future__ import annotations

from inspector.report.assess import assess
from inspector.report.figures import ALL_SOURCES, Evaluation, Figures, Measured
from inspector.report.files import (
    METRICS,
    PAGE,
    PREDICTIONS,
    check_free,
    read_metrics,
    write_report,
)
from inspector.report.judged import JudgedImages
from inspector.report.judging import judge_images
from inspector.report.mistakes import misclassified
from inspector.report.page import Subject, TrainingRun

__all__ = [
    "ALL_SOURCES",
    "METRICS",
    "PAGE",
    "PREDICTIONS",
    "Evaluation",
    "Figures",
    "JudgedImages",
    "Measured",
    "Subject",
    "TrainingRun",
    "assess",
    "check_free",
    "judge_images",
    "misclassified",
    "read_metrics",
    "write_report",
]
