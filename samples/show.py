"""Print a scan of `samples/` beside the truth: `python -m samples.show RESULTS`.

The prefix of a sample's name is the truth: `crack_`, `clear_` or `broken_`.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

COLUMNS = ["path", "status", "verdict", "p_crack", "reason", "failure_code"]
LAYOUT = "{:<33} {:<7} {:<8} {:>5}  {}"
"""Fits 80 columns with the longest sample name."""


def outcome(truth: str, row: dict[str, Any]) -> str:
    """`right`, or in which way the row is not: a missed crack, a false alarm, ..."""
    said = row["verdict"] or row["status"]
    if said == {"broken": "failed"}.get(truth, truth):
        return "right"
    if said == "review":
        return "to review"
    if truth == "broken":
        return "not noticed"
    return {"clear": "MISSED", "crack": "FALSE ALARM"}.get(said, "not judged")


def line(row: dict[str, Any]) -> tuple[str, str]:
    """The printed line of a row and its outcome."""
    name = Path(row["path"]).name
    truth = name.split("_", 1)[0]
    result = outcome(truth, row)
    p_crack = "" if row["p_crack"] is None else f"{row['p_crack']:.3f}"
    why = row["failure_code"] or row["reason"]
    note = "" if result in ("right", "to review") else f"  <- {result}"
    verdict = row["verdict"] or row["status"]
    return LAYOUT.format(name, truth, verdict, p_crack, f"{why}{note}"), result


def show(results: Path) -> None:
    rows = ds.dataset(results.absolute()).to_table(columns=COLUMNS).to_pylist()
    print(LAYOUT.format("sample", "truth", "verdict", "p", "why"))
    outcomes: Counter[str] = Counter()
    for row in rows:
        text, result = line(row)
        outcomes[result] += 1
        print(text)
    counts = ", ".join(f"{count} {result}" for result, count in outcomes.most_common())
    print(f"\n{len(rows)} samples: {counts}")
    print(f"The table: {results}/table/*.parquet")


if __name__ == "__main__":
    show(Path(sys.argv[1]))
