"""Bounds on what is read and decoded."""

from __future__ import annotations

from dataclasses import dataclass

from inspector.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Bounds that a file must keep to; beyond them it becomes a failed row, not a stopped scan.
    Raises UsageError when a bound cannot be right."""

    max_pixels: int = 180_000_000
    """Width times height by the header; the default is close to Pillow's own bound."""
    max_bytes: int = 1 << 30
    """Size of the file, checked before reading."""
    max_seconds: float = 60.0
    """Time to read and decode; kept where a process of its own decodes, which can be ended."""

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes", "max_seconds"):
            if not getattr(self, name) > 0:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} {getattr(self, name)} is not above 0")
