"""The catalogue of bad files, and good ones that look odd, in one scan."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench.faults.bad_files import IGNORED, make_catalogue, sources_of
from bench.faults.case import FaultCase
from bench.faults.scans import Scans
from bench.faults.table import Difference, rows_by_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.faults.bad_files import Entry
    from bench.faults.scans import Setting

_NO_ROW = "no row"


def scan_catalogue(setting: Setting, folder: Path) -> FaultCase:
    """Scan every entry of the catalogue; each must get the outcome that it says, and the
    probability of the entry that it equals."""
    case = FaultCase("catalogue")
    root, out = folder / "files", folder / "table"
    folder.mkdir(parents=True)
    entries = make_catalogue(root)
    print(f"catalogue: {len(entries)} files", file=sys.stderr)
    with Scans(setting, folder / "runs") as scans:
        ended = scans.run(root, out, sources=sources_of(root))
    case.expect(ended.summary is not None, f"no summary; {ended.trouble}")
    case.note_left(ended.left)
    rows = rows_by_path(out)
    case.runs, case.rows = len(entries), sum(map(len, rows.values()))
    by_name = {os.fsencode(path.removeprefix(f"{root}/")): own for path, own in rows.items()}
    doubled = sum(len(own) - 1 for own in rows.values())
    case.difference += Difference(doubled=doubled, changed=len(set(by_name) - set(entries)))
    found = {name: own[0] for name, own in by_name.items()}
    case.facts["entries"] = [_check(case, name, entry, found) for name, entry in entries.items()]
    case.facts["outcomes"] = dict(Counter(map(_outcome, found.values())).most_common())
    return case.finish()


def _check(
    case: FaultCase, name: bytes, entry: Entry, found: Mapping[bytes, Mapping[str, Any]]
) -> dict[str, str]:
    """Compare one entry; what was expected and found."""
    printable = ascii(os.fsdecode(name))
    row = found.get(name)
    outcome = _outcome(row) if row else _NO_ROW
    expected = _NO_ROW if entry.expected == IGNORED else entry.expected
    if expected != outcome:
        case.difference += Difference(missing=int(row is None), changed=int(row is not None))
        case.troubles.append(f"{printable} ({entry.about}): {outcome}, not {expected}")
    elif row and entry.same_as is not None:
        same = found.get(entry.same_as, {}).get("p_crack")
        if row["p_crack"] != same:
            case.difference += Difference(changed=1)
            case.troubles.append(f"{printable}: p_crack {row['p_crack']}, not {same}")
    return {"name": printable, "about": entry.about, "expected": expected, "found": outcome}


def _outcome(row: Mapping[str, Any]) -> str:
    return str(row["failure_code"] or row["status"])
