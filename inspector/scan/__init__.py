"""The scan: every photo of the sources becomes one row of a Parquet table."""

from inspector.facade import make_callable
from inspector.scan.config import FailureBudget, ScanConfig
from inspector.scan.pipeline import scan
from inspector.scan.preview import Preview, preview
from inspector.scan.rejudge import RejudgeConfig, RejudgeResult, rejudge
from inspector.scan.summary import Counts, ScanSummary, Tally, Watcher
from inspector.scan.verify import VerifyConfig, VerifyResult, verify

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

make_callable(__name__, scan)
