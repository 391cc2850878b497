"""Which engine and settings a benchmark on this machine recommends, for the scans after it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inspector.core.cache import machine_key, recall, remember
from inspector.core.untrusted import checked

if TYPE_CHECKING:
    from inspector.model.bundle import ModelBundle

ADVISED = ("onnxruntime", "openvino", "tensorrt")
"""Engines that a scan may take without being asked to: those that read data."""
_ABOUT = "recommended on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """An engine, and how a scan shares the machine with it."""

    backend: str
    batch_size: int
    workers: int

    def __post_init__(self) -> None:
        """Raises ValueError for what no scan can follow."""
        if self.backend not in ADVISED or self.batch_size < 1 or self.workers < 0:
            raise ValueError(f"no pace for a scan: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`device` is where it was measured, `cpu` or `cuda`; `tiles` and `photos` are for files that
    decode quickly and for large ones. The precision is one for both: a table has rows of one kind.
    """

    precision: str
    device: str
    tiles: Pace
    photos: Pace


def keep_advice(bundle: ModelBundle, advice: Advice) -> None:
    """For this bundle on this machine, in place of earlier advice."""
    remember(machine_key(bundle.files, f"{_ABOUT} {advice.device}"), asdict(advice))


def find_advice(bundle: ModelBundle, device: str) -> Advice | None:
    """None where no benchmark ran here with this bundle and these versions of the engines."""
    found = recall(machine_key(bundle.files, f"{_ABOUT} {device}"))
    try:
        tiles, photos = (checked(Pace, found[name]) for name in ("tiles", "photos"))
        return checked(Advice, found | {"tiles": tiles, "photos": photos})
    except (TypeError, KeyError, ValueError):  # nothing, or nothing that this version wrote
        return None
