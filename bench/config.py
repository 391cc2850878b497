"""Settings of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.engines import ENGINES, PRECISIONS
from bench.peers.registry import PEERS
from inspector.core.untrusted import take_paths
from inspector.engines import Device
from inspector.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Amount of measurement. Seconds are wall time."""

    budget_s: float
    """Time for all; what cannot be cut, such as one round of everything, may exceed it."""
    rounds: int
    """At most, of each case; fewer where the interval is narrow before, or the time is over."""
    turn_s: float
    """Counted time of one batch size in one round."""
    batch_sizes: tuple[int, ...]
    tiles: int
    photos: int
    native: int
    """Photos judged at their own scale."""
    pool: int
    """Tiles in memory for the engines alone."""
    ceilings_s: float
    slow: bool
    """Also what takes a minute before its first answer."""
    peers: tuple[str, ...]
    scans: int
    """Engines, the fastest, with which whole paths are measured."""
    scan_batch_sizes: tuple[int, ...]
    """Tried with the fastest scan, beside the one that it chooses."""


QUICK, STANDARD, FULL = "quick", "standard", "full"
EFFORTS: Mapping[str, Effort] = {
    QUICK: Effort(
        budget_s=275, rounds=3, turn_s=0.3, batch_sizes=(1, 8), tiles=160, photos=24,
        native=1, pool=64, ceilings_s=8, slow=False, peers=("plain", "tiles"),
        scans=2, scan_batch_sizes=(8, 32),
    ),
    STANDARD: Effort(
        budget_s=840, rounds=6, turn_s=0.7, batch_sizes=(1, 8, 32), tiles=300, photos=48,
        native=2, pool=128, ceilings_s=15, slow=False,
        peers=("plain", "timm", "tiles", "timm-tiles"),
        scans=5, scan_batch_sizes=(8, 32, 64),
    ),
    FULL: Effort(
        budget_s=3000, rounds=8, turn_s=2.0, batch_sizes=(1, 4, 8, 16, 32, 64, 128),
        tiles=1000, photos=128, native=8, pool=256, ceilings_s=30, slow=True,
        peers=tuple(PEERS),
        scans=len(ENGINES) * len(PRECISIONS), scan_batch_sizes=(8, 16, 32, 64),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchConfig:
    """Settings of a benchmark. Raises UsageError when a value cannot be right; what this machine
    lacks is no mistake but a case that is listed with the reason."""

    source: Path | None = None
    """Photos; None: images made by the project's generator."""
    model: Path | None = None
    """A model bundle; None: the one that comes with the package."""
    out: Path = Path("bench-results")
    mode: str = STANDARD
    backends: tuple[str, ...] | None = None
    """Out of ENGINES; None: all."""
    precisions: tuple[str, ...] | None = None
    batch_sizes: tuple[int, ...] | None = None
    """None: those of the mode."""
    workers: tuple[int, ...] | None = None
    """Decoding processes of the fastest scan; None: one, half of the cores, and all."""
    peers: tuple[str, ...] | None = None
    """Out of PEERS; None: those of the mode."""
    device: str = "auto"
    """`auto`: the CPU, and a GPU where there is one; `cpu` or `cuda`: only there."""
    budget_s: float | None = None
    """None: that of the mode."""
    seed: int = 0
    """Seed of the order in which cases are measured."""
    remember: bool = True
    """Scans on this machine follow the recommendation, if it can be relied on."""

    def __post_init__(self) -> None:
        take_paths(self)
        if self.mode not in EFFORTS:
            raise UsageError(f"unknown mode {self.mode!r}; choose one of: {', '.join(EFFORTS)}")
        _some_of("--backends", self.backends, ENGINES)
        _some_of("--precisions", self.precisions, PRECISIONS)
        if self.peers:
            _some_of("--peers", self.peers, tuple(PEERS))
        if Device.parse(self.device).every or Device.parse(self.device).index:
            raise UsageError(f"--device {self.device} is not auto, cpu or cuda")
        _at_least("--batch-sizes", self.batch_sizes, 1)
        _at_least("--workers", self.workers, 0)
        if self.budget_s is not None and self.budget_s <= 0:
            raise UsageError("--budget must be greater than 0 seconds")

    @property
    def effort(self) -> Effort:
        return EFFORTS[self.mode]

    @property
    def slow(self) -> bool:
        """Whether engines that compile for minutes are measured: by the mode, or by name."""
        return self.effort.slow or self.backends is not None


def _some_of(option: str, given: tuple[str, ...] | None, known: tuple[str, ...]) -> None:
    unknown = ", ".join(word for word in given or () if word not in known)
    if unknown or given == ():
        raise UsageError(f"{option} takes some of {', '.join(known)}; not {unknown or 'nothing'}")


def _at_least(option: str, given: tuple[int, ...] | None, least: int) -> None:
    if given is not None and (not given or min(given) < least):
        raise UsageError(f"{option} takes numbers of at least {least}")
