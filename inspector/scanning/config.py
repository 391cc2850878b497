"""The options of a scan."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inspector.core.untrusted import take_paths
from inspector.engines import BACKENDS, TORCH_BACKENDS, Device
from inspector.engines.photo import OVERLAP, VIEWS
from inspector.errors import UsageError
from inspector.model.bundle import ModelBundle, Thresholds
from inspector.model.scale import Scale
from inspector.photos.address import WEB, Moved
from inspector.photos.name_lists import is_list
from inspector.photos.opened import DecodeLimits
from inspector.photos.selection import Shard, split_pattern
from inspector.photos.source import Discovery
from inspector.results.bucket import Bucket
from inspector.scanning.overlays import DRAWN

PRECISIONS = ("fp32", "fp16", "int8", "narrow")
LOADERS = ("processes", "torch")
LOCAL, RAY = "local", "ray"
"""Values of `--engine`."""
MOST_OVERLAP = 0.9
PROBATION = 200
"""Photos before a failure rate counts: a wrong mount shows within them, a few bad files at the
start do not stop a scan."""


AFTER_SOURCE = Path("SOURCE-results")
"""For `out`: a directory named after the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureBudget:
    """A bound on failed photos: a `share` of those looked at, or a `count`. One of them is set.

    Raises UsageError when a value cannot be right.
    """

    share: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if (self.share is None) == (self.count is None):
            raise UsageError("a failure budget is either a share or a count")
        if self.share is not None and not 0 <= self.share <= 1:
            raise UsageError(f"a failure budget of {self.share:.0%} is not between 0 % and 100 %")
        if self.count is not None and self.count < 0:
            raise UsageError(f"a failure budget of {self.count} photos is negative")

    @classmethod
    def parse(cls, text: str) -> FailureBudget:
        """`5%` or `120`. Raises UsageError."""
        match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?%", text.strip())
        if match is None:
            raise UsageError(f"--max-failures {text!r} is neither a share like 5% nor a count")
        if match[1]:
            return cls(count=int(match[1]))
        return cls(share=float(match[2]) / 100)

    def exceeded(self, failed: int, looked_at: int, *, finished: bool) -> bool:
        """Whether `failed` of `looked_at` photos are too many. Before the end, a share counts only
        after `PROBATION` photos."""
        if self.count is not None:
            return failed > self.count
        assert self.share is not None
        return (finished or looked_at >= PROBATION) and failed > self.share * looked_at

    def __str__(self) -> str:
        return str(self.count) if self.share is None else f"{self.share * 100:g} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanConfig:
    """Raises UsageError when a value cannot be right, whatever the photos."""

    sources: tuple[str, ...]
    """Directories, single files, patterns (`photos/**/*.jpg`) and lists (`@list.txt`, `-` for the
    standard input)."""
    out: Path | str = AFTER_SOURCE
    """The result directory; made when it is not there, continued when it holds the same scan. Not
    given: named after the source, such as `bridge-results` in the current directory. Or the address
    of a part of a bucket (`s3://`, `gs://`, `az://`), where a table only grows."""
    model: Path | None = None
    """A model bundle; None: the one that comes with the package."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda[:i]` or `cuda:all`; anything but `auto` is a demand."""
    backend: str = "auto"
    view: str = "auto"
    """How photos are judged: `whole`, brought to the model's input; `dense` or `tiles`, at their
    own scale; `auto`: whole up to 1.5 times the model's input, beyond that dense where the model
    can, else tiles."""
    heatmaps: str | None = None
    """Photos that get an overlay beside the table: `crack`, those called so; `review`, also those
    left to a person; `all`; None: none."""
    overlap: float = OVERLAP
    """Share of a tile's side that the next one covers as well, under `tiles`."""
    precision: str = "auto"
    """`auto`: what the results in `out` were made with, else the fastest on this machine of those
    in the bundle, which its gates have let through."""
    trust: bool = False
    """Let the bundle's TorchScript, which is a program, run where `backend` names it."""
    batch_size: int | None = None
    """Photos per run of the engine; None: by device and size of the files."""
    workers: int | None = None
    """Processes that decode; None: by device and cores. 0: the scan's own thread decodes, and what
    crashes or hangs a decoder does that to the scan."""
    loader: str = "auto"
    """`processes`: decoder processes of our own. `torch`: those of a torch `DataLoader`; `auto`
    takes them where a GPU judges and they pay."""
    engine: str = LOCAL
    """Where photos are judged: `local`, here; `ray`, on all nodes of a Ray cluster, which see the
    photos under the same paths."""
    address: str | None = None
    """`HOST:PORT` of that cluster; None: the one that this machine belongs to, else a new one of
    this machine alone."""
    threshold: float | None = None
    """Crack from this probability on, clear below, nothing in between; None: the model's own."""
    mm_per_px: float | None = None
    """Millimetres that a pixel of every photo shows, at full resolution; None: what each photo
    says, by a drone's range finder or its height."""
    min_crack_mm: float | None = None
    """Width of the cracks that must be seen: a photo that cannot show them, or whose scale is not
    known, is never clear (`review`, reason `scale`)."""
    max_failures: FailureBudget | None = None
    """Failed photos beyond which the scan stops, with what is done kept; None: no bound."""
    limit: int | None = None
    """Only the first so many photos of the listing."""
    shard: str | None = None
    """`i/n`, i from 0 to n - 1: only the photos that a hash of their uri gives to this one of n
    shards, each with a result directory of its own; None: all."""
    follow_symlinks: bool = False
    """Enter links to directories; one that leads back to where it came from is not."""
    exclude: tuple[str, ...] = ()
    """Patterns of names, or of paths from a source on, that are left out, beside thumbnails, waste
    bins and the like (`inspector.photos.selection`)."""
    limits: DecodeLimits = field(default_factory=DecodeLimits)
    """Bounds on what one file may cost."""
    verify_content: bool = False
    """Whether a file has changed since its row was made is told by its content, not by size and
    time; every file is read for that."""
    retry_failed: bool = False
    """Look only at files whose row says `failed`, and look at them again."""
    prune: bool = False
    """Drop the rows of files that are gone from below the sources."""
    source_gone: tuple[str, ...] = ()
    """Directories that are gone for good: the rows of photos that are not there are dropped below
    them, although no listing of them was possible."""
    moved: str | None = None
    """`OLD=NEW`: what was scanned as OLD, a folder or a file, is NEW now; rows get the new
    addresses, and what people said of their photos goes along."""
    overwrite: bool = False
    """Remove the results of an earlier scan from `out` first."""

    def __post_init__(self) -> None:
        unnamed = self.out is AFTER_SOURCE
        take_paths(self)
        if unnamed:
            object.__setattr__(self, "out", results_of(self.sources, self.share()))
        if isinstance(self.max_failures, str):
            object.__setattr__(self, "max_failures", FailureBudget.parse(self.max_failures))
        self.moves()
        if isinstance(self.out, str):
            self._check_growing(Bucket(self.out).address)
        if self.share() and self.moved:
            raise UsageError(
                "a photo's shard follows from its address; merge the shards (inspector merge), "
                "then use --moved"
            )
        if not self.sources:
            raise UsageError("name at least one directory or file to scan")
        Device.parse(self.device)
        _one_of("backend", self.backend, ("auto", *BACKENDS))
        _one_of("view", self.view, VIEWS)
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise UsageError(f"an overlap of {self.overlap} is not between 0 and {MOST_OVERLAP}")
        if self.heatmaps is not None:
            _one_of("value of heatmaps", self.heatmaps, tuple(DRAWN))
        _one_of("precision", self.precision, ("auto", *PRECISIONS))
        if self.backend in TORCH_BACKENDS and (self.precision not in ("auto", "fp32")):
            raise UsageError(f"--backend {self.backend} runs fp32 only, not {self.precision}")
        if self.trust and self.backend != "torchscript":
            raise UsageError("--trust serves --backend torchscript only; leave it out")
        _one_of("loader", self.loader, ("auto", *LOADERS))
        if self.loader == "torch" and self.workers == 0:
            raise UsageError("--loader torch decodes in worker processes; leave out --workers 0")
        _one_of("engine", self.engine, (LOCAL, RAY))
        if self.engine == LOCAL and self.address is not None:
            raise UsageError("--address is that of a Ray cluster; add --engine ray")
        if self.address is not None and not re.fullmatch(r"[^/]+:\d{1,5}", self.address):
            raise UsageError(f"--address {self.address!r} is not HOST:PORT, like wall1:6379")
        if self.engine == RAY and self.heatmaps is not None:
            raise UsageError("overlays are drawn by --engine local only; leave out --heatmaps")
        if self.engine == RAY and re.fullmatch(r"cuda:\d+", self.device):
            raise UsageError(f"each node has GPUs of its own; write cuda, not {self.device}")
        _at_least("batch size", self.batch_size, 1)
        _at_least("number of workers", self.workers, 0)
        _at_least("limit", self.limit, 1)
        drops = self.prune or self.source_gone
        if drops and self.limit is not None:
            raise UsageError("rows are dropped after a whole listing only; leave out --limit")
        continues = self.retry_failed or drops or self.verify_content or self.moved
        if self.overwrite and continues:
            raise UsageError("--overwrite starts anew; leave out what continues earlier results")
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise UsageError(f"a threshold of {self.threshold} is not between 0 and 1")
        _ = self.scale

    def _check_growing(self, address: str) -> None:
        object.__setattr__(self, "out", address)
        names = "overwrite", "prune", "source_gone", "moved", "retry_failed", "verify_content"
        if name := next((name for name in (*names, "heatmaps") if getattr(self, name)), None):
            raise UsageError(
                f"a table in a bucket only grows, so --{name.replace('_', '-')} needs a directory: "
                f"inspector merge {address} --out DIR, then go on with --out DIR"
            )

    @property
    def appends(self) -> bool:
        """Whether the table only grows: no row is ever replaced."""
        return isinstance(self.out, str)

    @property
    def scale(self) -> Scale:
        return Scale(mm_per_px=self.mm_per_px, min_crack_mm=self.min_crack_mm)

    def discover(self) -> Discovery:
        """The listing of the sources. Raises SourceError."""
        return Discovery(
            self.sources,
            follow_symlinks=self.follow_symlinks,
            exclude=self.exclude,
            shard=self.share(),
        )

    def share(self) -> Shard | None:
        return None if self.shard is None else Shard.parse(self.shard)

    def moves(self) -> Moved | None:
        return None if self.moved is None else Moved.parse(self.moved)

    def thresholds(self, of_model: Thresholds) -> Thresholds:
        """The thresholds that decide: the model's, or the one that was given in place of its band;
        what does not look like concrete goes to a person either way."""
        if self.threshold is None:
            return of_model
        return replace(
            of_model,
            clear_below=self.threshold,
            crack_from=self.threshold,
            chosen="given as --threshold",
            evidence={},
        )

    def dense_thresholds(self, bundle: ModelBundle) -> Thresholds | None:
        """The same for photos at their own scale; None where the model has no dense view."""
        return self.thresholds(bundle.dense.thresholds) if bundle.dense else None


def results_of(sources: Sequence[str], shard: Shard | None = None) -> Path:
    """Name a result directory after the one source, whatever leads to it; several sources, a
    pattern, a list or a web address have no name. That of a shard ends in its number."""
    name, source = "", sources[0] if len(sources) == 1 else "-"
    if not is_list(source) and not source.startswith(WEB) and split_pattern(source) is None:
        name = os.path.basename(os.path.abspath(source))
    which = "" if shard is None else f"-{shard.number}-of-{shard.count}"
    return Path(f"{name or 'inspector'}-results{which}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"unknown {name} {value!r}; choose one of: {', '.join(choices)}")


def _at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UsageError(f"a {name} of {value} is less than {least}")
