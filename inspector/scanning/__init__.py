"""The scan: every photo of the sources becomes one row of a Parquet table."""

from inspector.results.verify import VerifyConfig, VerifyResult, verify
from inspector.scanning.config import FailureBudget, ScanConfig
from inspector.scanning.dry_run import Preview, preview
from inspector.scanning.pipeline import scan
from inspector.scanning.rejudge import RejudgeConfig, RejudgeResult, rejudge
from inspector.scanning.summary import ScanSummary
from inspector.scanning.tally import Counts, Tally, Watcher

__all__ = [
    "Counts",
    "FailureBudget",
    "Preview",
    "RejudgeConfig",
    "RejudgeResult",
    "ScanConfig",
    "ScanSummary",
    "Tally",
    "VerifyConfig",
    "VerifyResult",
    "Watcher",
    "preview",
    "rejudge",
    "scan",
    "verify",
]
