"""A scan that is stopped anywhere, by anything, goes on as if it had never been stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress

import pyarrow.dataset as ds
import pytest

from bench.faults.hostile import hostile_decoders
from inspector.errors import LoaderError, OutputError
from inspector.scanning import ScanConfig, scan
from inspector.scanning.executor import IN_FLIGHT
from inspector.scanning.worklist import StopSignals
from tests.rows import rows_in
from tests.scanning.walls import wall
from tests.workers.processes import children_of

PROGRAM = """
import functools, json, os, signal, sys
from pathlib import Path
from inspector.scanning import ScanConfig, pipeline, scan

class Waiting:
    # At so many photos it waits for a signal, which may also have come already.
    def start(self, *about):
        self.signals, noticed = os.pipe()
        os.set_blocking(noticed, False)
        signal.set_wakeup_fd(noticed)
        print("started", flush=True)
    def update(self, tally):
        print(tally.looked_at, flush=True)
        if tally.looked_at == int(hold):
            os.read(self.signals, 1)

if __name__ == "__main__":
    source, out, model, workers, hold = sys.argv[1:]
    pipeline.ParquetSink = functools.partial(pipeline.ParquetSink, rows_per_part=8)
    summary = scan(
        ScanConfig(sources=(source,), out=Path(out), model=Path(model), batch_size=3,
                   workers=int(workers)),
        watch=Waiting(),
    )
    print(json.dumps(summary.to_json()))
    sys.exit(summary.exit_code)
"""


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    root = tmp_path_factory.mktemp("walls")
    for k in range(60):
        wall(k).save(root / f"{k:02}.png")
    (root / "07.png").write_bytes(b"broken")
    return root


def config_for(walls, out, bundle):
    return ScanConfig(sources=(str(walls),), out=out, model=bundle.path, batch_size=3, workers=0)


@pytest.fixture(scope="module")
def whole(walls, tmp_path_factory, tiny_bundle):
    out = tmp_path_factory.mktemp("whole")
    scan(config_for(walls, out, tiny_bundle))
    return sorted_rows(out)


def sorted_rows(out):
    rows = sorted(rows_in(out), key=lambda row: row["uri"])
    for row in rows:
        row["p_crack"] = row["p_crack"] and round(row["p_crack"], 4)
    return rows


class Stop:
    """A watcher that gives up after some photos."""

    def __init__(self, after, error=RuntimeError):
        self.after, self.error = after, error

    def start(self, *about):
        pass

    def update(self, tally):
        if tally.looked_at >= self.after:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, OutputError])
def test_stopped_by_an_error_again_and_again(walls, whole, tmp_path, tiny_bundle, error):
    config = config_for(walls, tmp_path, tiny_bundle)
    for after in (3, 12, 30):
        with pytest.raises(error):
            scan(config, watch=Stop(after, error))
    summary = scan(config)
    assert summary.table.rows == summary.run.ok + summary.run.failed + summary.already_done == 60
    assert sorted_rows(tmp_path) == whole


def test_rows_that_could_not_be_told_are_not_committed_and_those_before_are(
    walls, whole, tmp_path, tiny_bundle
):
    told: list[str] = []

    def tell(rows):
        if len(told) >= 12:
            raise OutputError("cannot write lines: No space left on device")
        told.extend(row["uri"] for row in rows)

    config = config_for(walls, tmp_path, tiny_bundle)
    with pytest.raises(OutputError, match="No space left"):
        scan(config, rows=tell)
    done = [row["uri"] for row in ds.dataset(tmp_path).to_table(columns=["uri"]).to_pylist()]
    assert done == told and len(done) == 12
    assert scan(config).already_done == 12
    assert sorted_rows(tmp_path) == whole


def run_until(walls, out, bundle, hold, workers=0):
    """A scan that has looked at `hold` photos and waits for a signal."""
    words = [walls, out, bundle.path, workers, hold]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    for line in process.stdout:
        if line == f"{hold}\n":
            return process
    pytest.fail(process.communicate()[1])


@pytest.mark.parametrize(
    ("number", "code", "workers"),
    [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 2), (signal.SIGHUP, 129, 2)],
)
def test_a_signal_to_the_whole_group_keeps_what_is_done(
    walls, whole, tmp_path, tiny_bundle, number, code, workers
):
    process = run_until(walls, tmp_path, tiny_bundle, 9, workers)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (code, "")
    summary = json.loads(out.splitlines()[-1])
    assert summary["interrupted_by"] == number
    assert not summary["complete"]
    assert 9 <= summary["table"]["rows"] == len(sorted_rows(tmp_path)) < 60
    assert scan(config_for(walls, tmp_path, tiny_bundle)).already_done == summary["table"]["rows"]
    assert sorted_rows(tmp_path) == whole


@pytest.mark.parametrize("workers", [0, 1])
def test_killed_on_the_spot(walls, whole, tmp_path, tiny_bundle, workers):
    process = run_until(walls, tmp_path, tiny_bundle, 15, workers)
    process.kill()
    process.communicate(timeout=200)
    done = len(sorted_rows(tmp_path))
    assert done == 8
    wait_until_gone(process.pid)
    summary = scan(config_for(walls, tmp_path, tiny_bundle))
    assert (summary.already_done, summary.table.rows) == (done, 60)
    assert sorted_rows(tmp_path) == whole


def wait_until_gone(group):
    """Worker processes end with their main process, however that ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("worker processes outlived the scan")


def test_signal_handlers_are_given_back(walls, tmp_path, tiny_bundle):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    seen = []

    class Interrupt(Stop):
        def update(self, tally):
            seen.append(tally.looked_at)
            if len(seen) == 1:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    summary = scan(config_for(walls, tmp_path, tiny_bundle), watch=Interrupt(0))
    assert (summary.interrupted_by, summary.exit_code) == (signal.SIGINT, 130)
    # What the engine has is finished, nothing else is begun.
    assert seen == [3 * (k + 1) for k in range(len(seen))] and len(seen) <= 1 + IN_FLIGHT
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_the_second_signal_stops_at_once(walls, tmp_path, tiny_bundle):
    class Insist(Stop):
        def update(self, tally):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        scan(config_for(walls, tmp_path, tiny_bundle), watch=Insist(0))


def test_a_terminal_that_goes_away_says_so_twice():
    """By its shell and by the kernel; a person who wants more than that has other signals."""
    with StopSignals() as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
        assert stop.received == signal.SIGHUP
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)


def test_a_hangup_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` leaves it
    try:
        with StopSignals() as stop, StopSignals() as within:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.01)
            assert stop.received is None and within.received is None
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_new_file_is_scanned_and_the_rest_is_skipped(tmp_path, tiny_bundle):
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in (1, 3):
        wall(k).save(photos / f"{k}.png")
    config = config_for(photos, tmp_path / "out", tiny_bundle)
    scan(config)
    wall(2).save(photos / "2.png")
    summary = scan(config)
    assert (summary.already_done, summary.run.ok, summary.table.rows) == (2, 1, 3)


def written(out):
    """When each file was made and last written; reading it may change its access time."""
    files = [path for path in out.rglob("*") if path.is_file()]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_nothing_new_changes_no_file(walls, tmp_path, tiny_bundle):
    config = config_for(walls, tmp_path, tiny_bundle)
    scan(config)
    before = written(tmp_path)
    scan(config)
    assert written(tmp_path) == before


def test_a_script_without_a_main_guard_does_not_scan_twice(walls, tmp_path, tiny_bundle):
    """Worker processes of `spawn` import the script; it must not start the scan again there."""
    script = tmp_path / "careless.py"
    script.write_text(
        "import multiprocessing.process as p, sys\n"
        "from pathlib import Path\n"
        "from inspector.scanning import ScanConfig, scan\n"
        "p.current_process()._inheriting = True\n"
        "scan(ScanConfig(sources=(sys.argv[1],), out=Path(sys.argv[2])))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(walls), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert "__main__" in done.stderr and done.returncode == 1
    assert not (tmp_path / "out").exists()


def test_decoders_that_cannot_be_replaced_are_an_error_that_keeps_what_is_done(
    walls, tmp_path, tiny_bundle
):
    class Sabotage(Stop):
        def update(self, tally):
            sabotage.enter_context(hostile_decoders("import no_such_module"))
            for decoder in children_of(os.getpid()) - before:
                with suppress(ProcessLookupError):  # it may have come and gone meanwhile
                    os.kill(decoder, signal.SIGKILL)

    before = children_of(os.getpid())
    config = ScanConfig(
        sources=(str(walls),), out=tmp_path, model=tiny_bundle.path, batch_size=1, workers=1
    )
    with ExitStack() as sabotage, pytest.raises(LoaderError, match="no_such_module"):
        scan(config, watch=Sabotage(0))
    assert 0 < len(sorted_rows(tmp_path)) < 60
