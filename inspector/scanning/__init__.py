"""The scan: every photo of the sources becomes one row of a Parquet table."""

from inspector.scanning.config import FailureBudget, ScanConfig
from inspector.scanning.pipeline import scan
from inspector.scanning.rejudge import RejudgeConfig, RejudgeResult, rejudge
from inspector.scanning.summary import Counts, ScanSummary, Tally, Watcher
from inspector.scanning.watching import watch
from inspector.scanning.worklist import Preview, preview

__all__ = [
    "Counts",
    "FailureBudget",
    "Preview",
    "RejudgeConfig",
    "RejudgeResult",
    "ScanConfig",
    "ScanSummary",
    "Tally",
    "Watcher",
    "preview",
    "rejudge",
    "scan",
    "watch",
]
