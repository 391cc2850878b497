"""Exactly once, put to the test: scans are killed and fed bad files, and their tables compared."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.faults.case import FaultCase, NothingToCompare
from bench.faults.catalogue import scan_catalogue
from bench.faults.clusters import kill_on_a_cluster
from bench.faults.crashes import scan_hostile
from bench.faults.kills import kill_decoders, kill_scans, undisturbed
from bench.faults.mutants import scan_mutants
from bench.faults.order import scan_in_any_order
from bench.faults.photos import gather_photos
from bench.faults.scans import Scans, Setting
from bench.faults.steps import HISTORIES, kill_steps
from bench.faults.stores import scan_store
from bench.faults.writers import race_writers
from bench.report.wording import figure
from inspector.core.untrusted import take_paths
from inspector.errors import UsageError
from inspector.model.bundle import DEFAULT_PATH, ModelBundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.studies.report import Columns
    from inspector.types import JsonObject

_DECODERS = 2
"""Processes that decode, where they are the ones that are killed."""

METHOD = (
    "Every scan is the real one, inspector.scan in a process of its own, with parts of a few "
    "rows so that commits are many. Tables are read by plain pyarrow.dataset, and after every kill "
    "and every resume inspector verify must find no damage in them. runs: faults that "
    "were inflicted. rows: compared with what they must be. missing, doubled, changed: those that "
    "were not. left: processes, temporary files and shared memory that outlived a scan.",
    "kills: SIGKILL at moments spread evenly over the time of an undisturbed scan, start-up "
    "included, of the scan's own process or of its whole group, a third of the resumes killed as "
    "well; after each kill what is there is read, after the last resume the sorted table must be "
    "that of the undisturbed scan, byte for byte. decoder kills: SIGKILL of processes that the "
    "scan has started, which must end with that table without a resume.",
    "steps: SIGKILL by an audit hook at the beginning of each step that changes the result "
    "directory (a file opened to be written, a rename, a removal, a directory opened to be "
    "synced), then a resume; for a first scan, for one after photos have changed, for --prune.",
    "mutants: seeded damage to JPEG, PNG, TIFF and WebP files, an intact one after every nine. "
    "Every file must have one row, none may crash or hang a decoder; the intact ones' "
    "probabilities must be bit for bit those of the engine in a batch of one (all of them) and of "
    "a scan of that file alone (some); what was cut off may be judged only when the picture is "
    "that of the whole file.",
    "order: the same photos in random order, batches of 1, 3 and 32, decoded by 0, 1 and 3 "
    "processes: all tables must be equal, byte for byte.",
    "catalogue: one file of every known kind of bad file, and the failure code of each. crashes: "
    "files that abort, hang or exhaust their decoder, between intact ones.",
    "writers: processes that add to one table in a bucket at once, of photos that all of them "
    "share, some killed by SIGKILL and started again; the store, one on this machine, carries out "
    "one request in twenty without an answer and refuses another. Every photo must have one row.",
    "stores: objects of a bucket that are refused, lost, cut off, exchanged while they are read or "
    "answered too late, between intact ones; then the same scan, killed and continued. runs: these "
    "objects, twice.",
    "cluster: SIGKILL on a Ray cluster of two nodes on this machine, of the scan, which is then "
    "run again, or of a node's worker or a whole node, in whose place another one joins; the table "
    "must be that of a local scan, byte for byte.",
)

COLUMNS: Columns = {
    "case": lambda case: str(case["name"]),
    "runs": lambda case: str(case["runs"]),
    "rows": lambda case: str(case["rows"]),
    "missing": lambda case: str(case["missing"]),
    "doubled": lambda case: str(case["doubled"]),
    "changed": lambda case: str(case["changed"]),
    "left": lambda case: str(case["left"]),
    "seconds": lambda case: figure(case["seconds"]),
    "status": lambda case: str(case["status"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultsConfig:
    """Raises UsageError when a value cannot be right."""

    source: Path | None = None
    """Photos for the scans that are killed; None: samples and synthetic ones."""
    parts: tuple[str, ...] = ()
    """Names out of PARTS; none: all."""
    model: Path | None = None
    precision: str = "auto"
    photos: int = 96
    kills: int = 200
    decoder_kills: int = 40
    """Scans whose decoders are killed."""
    cluster_kills: int = 20
    """Scans on a cluster that are killed, and as many whose workers or nodes are."""
    every_step: int = 1
    """Kill at every step, or at each second, third, ..."""
    mutants: int = 10_000
    writers: int = 8
    """Writers of one table in a bucket; 24 kills and 3,000 photos among 8 of them."""
    culprits: int = 3
    """Number of each kind, among the files that crash or hang their decoder and the objects that
    their store does not give."""
    silent: bool = True
    """Whether a store also gives no answer at all, which takes most of a minute."""
    alone: int = 10
    """Intact neighbours that also get a scan of their own."""
    seed: int = 0
    parallel: int = 2
    """Scans at the same time, where they are many."""

    def __post_init__(self) -> None:
        take_paths(self)
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise UsageError(f"unknown part {unknown[0]!r}; choose from: {', '.join(PARTS)}")
        numbers = (self.photos, self.kills, self.every_step, self.mutants, self.parallel)
        if min(numbers) < 1:
            raise UsageError("numbers of photos, kills, mutants and the like must be at least 1")

    def quick(self) -> FaultsConfig:
        """A short form that takes two minutes: a look, not a proof."""
        return replace(
            self,
            photos=32,
            kills=8,
            decoder_kills=2,
            cluster_kills=1,
            every_step=8,
            mutants=500,
            alone=2,
            writers=2,
            culprits=1,
            silent=False,
        )


@dataclass(frozen=True, slots=True)
class Bench:
    """Settings that all parts share."""

    config: FaultsConfig
    setting: Setting
    photos: Path
    folder: Path


def bench_faults(config: FaultsConfig) -> JsonObject:
    """Inflict the faults; what broke a promise keeps its folder. Raises an InspectorError when
    there is nothing to scan."""
    bundle = ModelBundle.load(config.model or DEFAULT_PATH)
    setting = _setting(config, bundle)
    folder = Path(tempfile.mkdtemp(prefix="inspector-faults-"))
    keep = False
    try:
        photos = folder / "photos"
        origin = gather_photos(photos, config.photos, source=config.source, seed=config.seed)
        bench = Bench(config, setting, photos, folder)
        cases = []
        for name in config.parts or tuple(PARTS):
            print(f"{name}:", file=sys.stderr)
            cases += [case.to_json() for case in _tried(name, bench)]
        keep = any(case["status"] == "failed" for case in cases)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return {
        "benchmark": "faults",
        "method": METHOD,
        "settings": {
            "photos": origin,
            "model": f"{config.model or 'default'}, {bundle.digest[:12]}",
            "precision": setting.precision,
            "seed": config.seed,
            "rows per part": setting.rows_per_part,
            "kept": str(folder) if keep else "nothing",
            **_told(cases),
        },
        "cases": cases,
    }


def _tried(name: str, bench: Bench) -> Sequence[FaultCase]:
    """The cases of one part; a single broken one when it cannot even begin."""
    try:
        return PARTS[name](bench)
    except NothingToCompare as error:
        return [FaultCase(name, troubles=[str(error)])]


def _setting(config: FaultsConfig, bundle: ModelBundle) -> Setting:
    """Engines are chosen once: what is fastest could change between two scans."""
    reduced = any(variant.precision == "int8" for variant in bundle.whole.values())
    precision = config.precision
    if precision == "auto":
        precision = "int8" if reduced else "fp32"
    return Setting(model=bundle.path, precision=precision)


def _kills(bench: Bench) -> list[FaultCase]:
    config, photos, folder = bench.config, bench.photos, bench.folder / "kills"
    seed, parallel = config.seed, config.parallel
    with Scans(bench.setting, folder / "runs") as scans:
        right = undisturbed(scans, photos, folder, parallel=parallel)
        killed = kill_scans(
            scans, photos, folder, right, config.kills, seed=seed, parallel=parallel
        )
    decoding = replace(bench.setting, workers=_DECODERS)
    with Scans(decoding, folder / "decoding runs") as scans:
        count = config.decoder_kills
        robbed = kill_decoders(scans, photos, folder, right, count, seed=seed, parallel=parallel)
    return [killed, robbed]


def _steps(bench: Bench) -> list[FaultCase]:
    config, folder = bench.config, bench.folder / "steps"
    how = {"every": config.every_step, "seed": config.seed, "parallel": config.parallel}
    with Scans(bench.setting, folder / "runs") as scans:
        return [kill_steps(scans, folder, history, **how) for history in HISTORIES]


def _mutants(bench: Bench) -> list[FaultCase]:
    config = bench.config
    seed, alone = config.seed, config.alone
    return [scan_mutants(bench.setting, bench.folder, config.mutants, seed=seed, alone=alone)]


def _order(bench: Bench) -> list[FaultCase]:
    precisions = tuple(dict.fromkeys((bench.setting.precision, "fp32")))
    folder, seed = bench.folder / "order", bench.config.seed
    return [scan_in_any_order(bench.setting, bench.photos, folder, precisions, seed=seed)]


def _catalogue(bench: Bench) -> list[FaultCase]:
    return [scan_catalogue(bench.setting, bench.folder / "catalogue")]


def _crashes(bench: Bench) -> list[FaultCase]:
    photos, each = bench.config.photos, bench.config.culprits
    return [scan_hostile(bench.setting, bench.folder / "crashes", photos=photos, each=each)]


def _stores(bench: Bench) -> list[FaultCase]:
    config, folder = bench.config, bench.folder / "stores"
    photos, each = config.photos, config.culprits
    return [scan_store(bench.setting, folder, photos=photos, each=each, silent=config.silent)]


def _writers(bench: Bench) -> list[FaultCase]:
    each, folder = bench.config.writers, bench.folder / "writers"
    kills, photos, seed = 3 * each, 375 * each, bench.config.seed
    return [race_writers(folder, writers=each, kills=kills, photos=photos, seed=seed)]


def _cluster(bench: Bench) -> list[FaultCase]:
    config, folder = bench.config, bench.folder / "cluster"
    kills = config.cluster_kills
    return kill_on_a_cluster(bench.setting, bench.photos, folder, kills, seed=config.seed)


PARTS: Mapping[str, Callable[[Bench], Sequence[FaultCase]]] = {
    "kills": _kills,
    "steps": _steps,
    "mutants": _mutants,
    "order": _order,
    "catalogue": _catalogue,
    "crashes": _crashes,
    "writers": _writers,
    "stores": _stores,
    "cluster": _cluster,
}
"""Parts that can be run."""


def _told(cases: Sequence[JsonObject]) -> dict[str, object]:
    """Facts of the cases that are short enough for the report."""
    return {
        f"{case['name']}: {name}": value
        for case in cases
        for name, value in case["facts"].items()
        if not isinstance(value, list)
    }
