"""Thousands of damaged files with intact ones between them, in one scan."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.faults.case import FaultCase, NothingToCompare, listed
from bench.faults.mutator import CUT, make_mutant
from bench.faults.scans import Scans, leaked_shared_memory, shared_memory
from bench.faults.seeds import make_seeds
from bench.faults.table import Difference, rows_by_path
from export.photos import spread_evenly
from inspector.engines.photo import AUTO, choose_views, open_photo_engine
from inspector.model.bundle import ModelBundle
from inspector.photos.decode import decode
from inspector.predict import predict
from inspector.types import Decoded, FailureCode, ImageRef

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bench.faults.mutator import Mutant
    from bench.faults.scans import Setting
    from bench.faults.seeds import Seed
    from bench.faults.table import Row

PER_FOLDER = 500
INTACT_EVERY = 10
MAX_SECONDS = 5.0
"""Per file: the largest of them takes less than half a second on a slow machine."""
_AT_ONCE = 32
"""Files per batch: intact and damaged ones share it."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A file among the mutants: what it holds, or the intact seed."""

    path: Path
    seed: Seed
    mutant: Mutant | None


def scan_mutants(
    setting: Setting, folder: Path, mutants: int, *, seed: int, alone: int
) -> FaultCase:
    """Scan `mutants` damaged files, with an intact one after every nine; `alone` of the intact
    ones are also scanned each by itself, all of them judged alone by the engine."""
    case, before = FaultCase("mutants"), shared_memory()
    source, out = folder / "mutants", folder / "mutants table"
    placed = list(_place(source, mutants, seed))
    print(f"mutants: scanning {len(placed)} files", file=sys.stderr)
    many = replace(setting, batch_size=_AT_ONCE, rows_per_part=PER_FOLDER)
    with Scans(many, folder / "mutants runs") as scans:
        ended = scans.run(source, out, limits={"max_seconds": MAX_SECONDS})
        case.expect(not ended.trouble, f"{ended.trouble} (seed {seed}; kept: {source})")
        case.runs = mutants
        case.note_left(ended.left)
        case.facts["scan_s"] = ended.seconds
        rows = _check_rows(case, placed, out)
        if rows:
            intact = [file for file in placed if file.mutant is None]
            _check_alone(case, intact, rows, scans, folder, alone)
            _check_neighbours(case, intact, rows, setting)
            _check_pictures(case, placed, rows, ModelBundle.load(setting.model))
    case.note_left(leaked_shared_memory(before))
    return case.finish()


def _place(folder: Path, mutants: int, seed: int) -> Iterator[Placed]:
    seeds = make_seeds()
    number, intact = 0, 0
    while number < mutants:
        count = number + intact
        below = folder / f"{count // PER_FOLDER:04}"
        below.mkdir(parents=True, exist_ok=True)
        mutant = None
        if count % INTACT_EVERY == INTACT_EVERY - 1:
            whole = seeds[intact % len(seeds)]
            content, name = whole.content, f"{count:06} intact {whole.name}"
            intact += 1
        else:
            mutant = make_mutant(seeds, number, seed=seed)
            whole, content = mutant.seed, mutant.content
            name = f"{count:06} {whole.name} {mutant.damage}"
            number += 1
        path = below / f"{name}{whole.suffix}"
        path.write_bytes(content)
        yield Placed(path, whole, mutant)


def _check_rows(case: FaultCase, placed: Sequence[Placed], out: Path) -> Mapping[str, Row]:
    """Every file one row, none a crash or a hang; the rows by path."""
    found = rows_by_path(out)
    rows = {path: own[0] for path, own in found.items()}
    paths = {str(file.path) for file in placed}
    case.rows = sum(map(len, found.values()))
    case.difference += Difference(
        missing=len(paths - set(rows)),
        doubled=case.rows - len(rows),
        changed=len(set(rows) - paths),
    )
    outcomes = Counter(row["failure_code"] or row["status"] for row in rows.values())
    case.facts["outcomes"] = dict(outcomes.most_common())
    for code in (FailureCode.DECODER_CRASH, FailureCode.TIMEOUT, FailureCode.IO_ERROR):
        culprits = [path for path, row in rows.items() if row["failure_code"] == code]
        case.expect(not culprits, f"{len(culprits)} {code}: {listed(culprits)}")
    return rows


def _check_alone(
    case: FaultCase,
    intact: Sequence[Placed],
    rows: Mapping[str, Row],
    scans: Scans,
    folder: Path,
    count: int,
) -> None:
    """Some intact files, each in a scan of its own: the row must be the same."""
    for number, file in enumerate(spread_evenly(intact, count)):
        out = folder / f"alone {number}"
        ended = scans.run(file.path, out)
        case.expect(not ended.trouble, f"alone: {ended.trouble}")
        own = rows_by_path(out)
        if own != {str(file.path): [rows.get(str(file.path))]}:
            case.difference += Difference(changed=1)
            case.troubles.append(f"scanned alone, {file.path} gets {own}")
    case.facts["scanned alone"] = min(count, len(intact))


def _check_neighbours(
    case: FaultCase, intact: Sequence[Placed], rows: Mapping[str, Row], setting: Setting
) -> None:
    """All intact files: the probability must be what the engine gives in a batch of one."""
    bundle = ModelBundle.load(setting.model)
    first = {file.seed.name: file.path for file in reversed(intact)}
    refs = [ImageRef.of(path, k) for k, path in enumerate(first.values())]
    views = choose_views(AUTO, bundle)
    with closing(
        open_photo_engine(bundle, views=views, device="cpu", precision=setting.precision)
    ) as engine:
        found = predict(refs, bundle, engine, batch_size=1, workers=0)
    if found.failures:
        raise NothingToCompare(f"{found.failures[0].ref.path} is intact and cannot be decoded")
    right = dict(zip(first, found.scores.p_crack_N, strict=True))
    wrong = [
        file.path
        for file in intact
        if (row := rows.get(str(file.path)))
        and (row["p_crack"] is None or np.float32(row["p_crack"]) != right[file.seed.name])
    ]
    case.difference += Difference(changed=len(wrong))
    case.expect(not wrong, f"{len(wrong)} intact files with a wrong p_crack: {listed(wrong)}")
    case.facts["intact neighbours"] = len(intact)


def _check_pictures(
    case: FaultCase, placed: Sequence[Placed], rows: Mapping[str, Row], bundle: ModelBundle
) -> None:
    """A file that was cut off may be judged only when its whole picture is still there."""
    judged: Counter[str] = Counter()
    guessed = []
    for file in placed:
        row = rows.get(str(file.path))
        if file.mutant is None or row is None or row["status"] != "ok":
            continue
        judged[f"{row['format']}, {file.mutant.damage}"] += 1
        if file.mutant.damage == CUT and not _same_picture(file, bundle):
            guessed.append(file.path)
    case.expect(not guessed, f"{len(guessed)} judged though cut off: {listed(guessed)}")
    case.facts["judged mutants"] = dict(sorted(judged.items()))


def _same_picture(file: Placed, bundle: ModelBundle) -> bool:
    cut = _decoded(file.path, bundle)
    intact = file.path.with_name(f"whole {file.path.name}")
    intact.write_bytes(file.seed.content)
    whole = _decoded(intact, bundle)
    intact.unlink()
    return cut is not None and whole is not None and np.array_equal(cut, whole)


def _decoded(path: Path, bundle: ModelBundle) -> NDArray[np.uint8] | None:
    outcome = decode(ImageRef.of(path), bundle.preprocess)
    return outcome.pixels_HWC if isinstance(outcome, Decoded) else None
