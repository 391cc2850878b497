"""What an evaluation is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspector.core.paths import take_paths
from inspector.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """`groups` as in `find_labelled`. Raises UsageError when a value cannot be right."""

    data: Path
    model: Path | None = None
    positive: str | tuple[str, ...] = ()
    groups: Path | None = None
    """CSV with `file` and `group`; a column `crack_width_px` adds figures by width."""
    by: str = "source"
    """What figures are split by: `source`, `folder` (the first below DATA), `group`, or a column of
    the CSV."""
    out: Path | None = None
    """Folder for the report; None: nothing is written."""
    gallery: int = 60
    """Pictures shown at most of each kind of mistake."""
    trained_on: Path | None = None
    """Labelled folder that the model learned from: images of DATA that are in it count as leaks, as
    do those that the model itself remembers."""
    strict_splits: bool = False
    """Refuse to measure where images leak, or where that cannot be told."""
    backend: str = "onnxruntime"
    device: str = "auto"
    batch_size: int = 32
    workers: int = 1

    def __post_init__(self) -> None:
        take_paths(self)
        if self.batch_size < 1 or self.workers < 0:
            raise UsageError("batch size must be at least 1, and workers cannot be negative")
        if self.gallery < 0:
            raise UsageError(f"--gallery must be 0 or more, not {self.gallery}")
        if self.by not in ("source", "folder") and self.groups is None:
            raise UsageError(f"--by {self.by} needs --groups: a CSV that says what each file is")
