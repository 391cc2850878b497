"""Options of a review."""

from __future__ import annotations

import getpass
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inspector.core.paths import take_paths
from inspector.errors import UsageError
from inspector.photos.address import Moved

if TYPE_CHECKING:
    from pathlib import Path


def user_name() -> str:
    """Return the name of the user who is logged in, as far as the system tells."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewConfig:
    """Options of a review. Raises UsageError when a value cannot be right."""

    out: Path
    """Result directory of a scan."""
    port: int | None = None
    """On 127.0.0.1; None: 8765, or any free one."""
    model: Path | None = None
    """Bundle that made the table, for heat maps; None: the one that comes along."""
    moved: str | None = None
    """`OLD=NEW`: photos that were scanned below OLD now lie below NEW."""
    reviewer: str = field(default_factory=user_name)

    def __post_init__(self) -> None:
        take_paths(self)
        if self.port is not None and not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port} is not between 0 and 65535")
        if self.moved is not None:
            Moved.parse(self.moved)
        if not self.reviewer:
            raise UsageError("--reviewer needs a name")
