"""Asks for the machine's ceilings in a process of its own, which loads every library there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bench.suite.programs import run_program
from inspector.errors import BackendError

if TYPE_CHECKING:
    from bench.suite.setup import Bench
    from inspector.types import JsonObject


def ask_limits(bench: Bench, seconds: float) -> JsonObject:
    """`limits` of results.json. Raises BackendError when the process fails."""
    paths = {job.input.name: [ref.path for ref in job.input.refs] for job in bench.jobs}
    request = bench.work / "limits.json"
    wanted = {"preprocess": bench.bundle.preprocess.to_json(), "seconds": seconds}
    request.write_text(json.dumps({**paths, **wanted, "device": bench.device}), encoding="utf-8")
    ended = run_program(["bench.suite.limits", str(request)], bench)
    if ended.trouble:
        raise BackendError(f"this machine's ceilings could not be measured: {ended.trouble}")
    return ended.said
