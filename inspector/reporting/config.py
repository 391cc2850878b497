"""What a summary is asked to be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from inspector.core.paths import take_paths
from inspector.errors import UsageError
from inspector.photos.address import Moved

MOST_PICTURES = 500
"""Photos on one page: some 50 kB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryConfig:
    """Raises UsageError when a value cannot be right."""

    out: Path
    """Result directory of a scan."""
    html: Path | None = None
    """The page's file; None: no page."""
    geojson: Path | None = None
    """A file for the photos that know their place; None: no such file."""
    pictures: int = 48
    """Cracks that are shown as pictures, at most."""
    model: Path | None = None
    """Bundle that made the table, for what is known about it; None: the one that comes along."""
    moved: str | None = None
    """`OLD=NEW`: photos that were scanned below OLD now lie below NEW."""

    def __post_init__(self) -> None:
        take_paths(self)
        if not 0 <= self.pictures <= MOST_PICTURES:
            raise UsageError(f"--pictures {self.pictures} is not between 0 and {MOST_PICTURES}")
        if self.moved is not None:
            Moved.parse(self.moved)
        for option, file in (("--html", self.html), ("--geojson", self.geojson)):
            if file is not None:
                self._check_file(option, file)
        if self.html is not None and self.html == self.geojson:
            raise UsageError(f"--html and --geojson are both {self.html}; name two files")

    def _check_file(self, option: str, file: Path) -> None:
        """A page that a reader of the table would take for a piece of it would break the table."""
        if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
            raise UsageError(f"{option} {file} is a directory, link or device; name a regular file")
        place, out = file.resolve(), self.out.resolve()
        if out not in place.parents:
            return
        skipped = file.name.startswith(("_", ".")) and not file.name.endswith(".parquet")
        if place.parent != out or not skipped:
            raise UsageError(
                f"{option} {file} lies in the result directory, where readers would take it for a "
                "piece of the table; name another place, or begin its name with _"
            )
