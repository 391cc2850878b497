"""Several writers of one table in a bucket, some of them killed, and a store that loses answers.

`python -m bench.faults.writers ADDRESS SEED PHOTOS` is one of them: it commits rows of photos that
it draws at random out of those that all of them share, a few at a time, until each has its row.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING
from unittest.mock import patch

from bench.faults.case import FaultCase
from bench.faults.store import BUCKET, ObjectServer
from bench.faults.table import Difference, Snapshot
from inspector.photos.stores import open_store
from inspector.results.bucket_table import open_in_bucket
from inspector.results.opening import at_hand
from inspector.results.parts import FINGERPRINT
from inspector.results.schema import make_row, to_table
from inspector.results.verify import VerifyConfig, verify
from inspector.types import Failure, FailureCode, ImageRef

if TYPE_CHECKING:
    from pathlib import Path

_ADDRESS = f"s3://{BUCKET}/results of all"
_IDENTITY = {"model": "a" * 64, "precision": "fp32", "clear_below": "0.2", "crack_from": "0.8",
             "out_of_distribution": "None"}  # fmt: skip
_MOST_ROWS = 5
"""Rows of a part."""
_LIMIT_S = 1800.0
_UNANSWERED, _REFUSED = 0.05, 0.05
"""Shares of requests to put something that are carried out without an answer, or not at all."""


def _ref(number: int) -> ImageRef:
    return ImageRef(number, f"/{number}.jpg", f"file:///{number}.jpg", number, number)


def write(address: str, seed: int, photos: int) -> None:
    """Be one writer. Raises OutputError."""
    drawn = random.Random(seed)
    with open_in_bucket(address, _IDENTITY) as table:
        table.begin_with("onnxruntime")
        facts = {FINGERPRINT: table.fingerprint}
        left = set(range(photos))
        while left:
            order = sorted(left)
            known = table.ledger.look_up([_ref(number) for number in order]).known_N.tolist()
            left -= {number for number, there in zip(order, known, strict=True) if there}
            some = drawn.sample(sorted(left), min(drawn.randint(1, _MOST_ROWS), len(left)))
            failures = [Failure(_ref(n), FailureCode.EMPTY, f"by {seed}") for n in some]
            if some:
                table.commit(to_table([make_row(failure, None) for failure in failures], facts))
            left -= set(some)
        table.end()


def race_writers(folder: Path, *, writers: int, kills: int, photos: int, seed: int) -> FaultCase:
    """Let `writers` share `photos`, kill some at random `kills` times and start them again, and
    compare the table with what it must be: every photo once."""
    case, drawn = FaultCase("writers"), random.Random(seed)
    if find_spec("obstore") is None:
        case.skipped = "obstore is not installed"
        return case
    with ObjectServer() as server, ExitStack() as stack:
        server.unanswered = lambda key: drawn.random() < _UNANSWERED
        server.refused = lambda key: drawn.random() < _REFUSED
        environment = server.environment | {"INSPECTOR_CACHE_DIR": str(folder / "own")}
        stack.enter_context(patch.dict(os.environ, environment))
        open_store.cache_clear()
        stack.callback(open_store.cache_clear)
        running = [_started(folder, slot, slot, photos, stack) for slot in range(writers)]
        started = time.monotonic()
        while any(process.poll() is None for process in running):
            time.sleep(drawn.uniform(0.5, 2.0))
            slot = drawn.randrange(writers)
            if case.runs < kills and running[slot].poll() is None:
                running[slot].send_signal(signal.SIGKILL)
                running[slot].wait()
                case.runs += 1
                running[slot] = _started(folder, slot, writers + case.runs, photos, stack)
            if time.monotonic() - started > _LIMIT_S:
                break
        for slot, process in enumerate(running):
            case.expect(process.poll() == 0, f"writer {slot} ended with {process.poll()}")
        server.unanswered = server.refused = lambda key: False
        case.facts["parts"] = sum("/table/" in key for key in server.objects)
        with at_hand(_ADDRESS) as copy:
            found = Snapshot.of(copy)
        right = {_ref(number).uri for number in range(photos)}
        case.rows += found.count
        case.difference += Difference(
            len(right - found.rows.keys()), found.doubled, len(found.rows.keys() - right)
        )
        case.troubles += [str(flaw) for flaw in verify(VerifyConfig(out=_ADDRESS)).damage]
    return case.finish()


def _started(
    folder: Path, slot: int, seed: int, photos: int, stack: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a writer; two share a cache, so that one of them finds its copy in use."""
    command = [sys.executable, "-m", "bench.faults.writers", _ADDRESS, str(seed), str(photos)]
    cache = folder / f"cache {slot // 2}"
    process = subprocess.Popen(command, env=os.environ | {"INSPECTOR_CACHE_DIR": str(cache)})
    stack.callback(process.kill)
    return process


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
