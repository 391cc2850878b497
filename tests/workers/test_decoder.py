"""Decoders that crash, hang, starve and are shot at: every file gets its own right answer, and
nothing is left behind. The processes and their deaths are real; see `bench.faults.hostile`."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image

from bench.faults.hostile import CRASHES, HANGS, hostile_decoders
from inspector.errors import LoaderError
from inspector.model.preprocess import ALL_WHOLE, PreprocessSpec
from inspector.photos.decode import decode
from inspector.photos.opened import DecodeLimits
from inspector.types import Decoded, Failure, FailureCode, ImageRef, Photo
from inspector.workers import loader
from inspector.workers.child import Decoding
from inspector.workers.gathering import PixelBudget
from inspector.workers.loader import Decoder, load_batches
from inspector.workers.ordered import Turn
from tests.workers.processes import (
    children_of,
    is_gone,
    leftovers,
    nothing_new_stays,
    open_files,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are seen in /proc")

SPEC = PreprocessSpec(size=32)
HASTY = DecodeLimits(max_seconds=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos of one colour each under names good and bad, every seventh of the good ones broken."""
    root = tmp_path_factory.mktemp("photos")
    for k in range(24):
        side = 1200 if k % 4 == 1 else 40
        Image.new("RGB", (side, side), (k * 6, 255 - k * 6, k)).save(root / f"good-{k:02}.png")
        if k % 7 == 3:
            (root / f"good-{k:02}.png").write_bytes(b"broken")
    for name in (*CRASHES, *HANGS, "noise"):
        Image.new("RGB", (40, 40)).save(root / f"{name}-1.png")
    return root


@pytest.fixture(autouse=True)
def nothing_stays():
    own = children_of(os.getpid())
    files = open_files()
    shared = leftovers()
    yield
    wait_until(lambda: children_of(os.getpid()) <= own)
    wait_until(lambda: open_files() <= files)
    nothing_new_stays(shared)


def refs_of(folder, names):
    paths = [str(folder / f"{name}.png") for name in names]
    return [ImageRef(k, path, f"file://{path}", None, None) for k, path in enumerate(paths)]


def paths_of(batches):
    return [item.ref.path for batch in batches for item in batch.items]


def good(*numbers):
    return [f"good-{k:02}" for k in numbers]


def assert_as_alone(batches, refs):
    """Same files in the same order, and each has what it has when decoded alone."""
    assert paths_of(batches) == [ref.path for ref in refs]
    for batch in batches:
        pixels = iter(batch.pixels_NHWC)
        for item in batch.items:
            alone = decode(item.ref, SPEC)
            if isinstance(alone, Decoded):
                assert isinstance(item, Photo), item
                assert (item.facts, item.shrink) == (alone.facts, alone.shrink)
                assert np.array_equal(next(pixels), alone.pixels_HWC)
            else:
                assert item == alone
        assert next(pixels, None) is None


def test_every_culprit_gets_a_row_and_no_neighbour_is_touched(folder, capfd):
    names = [
        *good(0), "segfault-1", *good(1, 2), "hang-1", "abort-1", *good(3), "memory-1", "noise-1",
        *good(4, 5, 6, 7), "exit-1", "sleep-1", "oomkill-1", *good(8, 9),
    ]  # fmt: skip
    refs = refs_of(folder, names)
    with hostile_decoders():
        batches = list(load_batches(refs, SPEC, batch_size=6, workers=2, limits=HASTY))
    assert paths_of(batches) == [ref.path for ref in refs]
    items = [item for batch in batches for item in batch.items]
    said = {
        name: (item.code, item.detail)
        for name, item in zip(names, items, strict=True)
        if isinstance(item, Failure)
    }
    assert said.pop("good-03")[0] == FailureCode.NOT_AN_IMAGE
    crash = FailureCode.DECODER_CRASH
    assert said == {
        "segfault-1": (crash, "its decoder was ended by SIGSEGV, twice"),
        "abort-1": (crash, "its decoder was ended by SIGABRT, twice"),
        "oomkill-1": (crash, "its decoder was ended by SIGKILL, twice"),
        "exit-1": (crash, "its decoder ended with status 7, twice"),
        "memory-1": (crash, "its decoder ended with status 1 (MemoryError), twice"),
        "hang-1": (FailureCode.TIMEOUT, "no answer within 1 seconds"),
        "sleep-1": (FailureCode.TIMEOUT, "no answer within 1 seconds"),
    }
    for batch in batches:
        photos = [item for item in batch.items if isinstance(item, Photo)]
        for photo, pixels_HWC in zip(photos, batch.pixels_NHWC, strict=True):
            alone = decode(photo.ref, SPEC)
            assert isinstance(alone, Decoded) and np.array_equal(pixels_HWC, alone.pixels_HWC)
    assert capfd.readouterr() == ("", "")


def test_decoders_that_are_shot_cost_no_photo(folder):
    """Each victim is replaced before the next shot, as a second one at the same file convicts."""
    refs = refs_of(folder, good(*range(24)) * 6)
    own = children_of(os.getpid())
    dice = random.Random(0)
    batches = []
    for batch in load_batches(refs, SPEC, batch_size=4, workers=2):
        batches.append(batch)
        if len(batches) % 4 == 1:
            victims = sorted(children_of(os.getpid()) - own)
            if victims:
                with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(dice.choice(victims), signal.SIGKILL)
            time.sleep(0.02)
    assert_as_alone(batches, refs)


MIXES_UP = """
import pickle
from inspector.workers import child

load = pickle.load

def turned(requests):
    handler, (refs, *others), seconds = load(requests)
    return handler, (refs[::-1], *others), seconds

pickle.load = turned
child.main()
"""


def test_one_that_mixes_up_its_answers_gives_no_photo_the_pixels_of_another(folder):
    """The worst there is: a verdict under the name of another photo. Files asked for alone cannot
    be mixed up, so each has its own pixels in the end."""
    refs = refs_of(folder, good(0, 1, 2, 4))
    with hostile_decoders(MIXES_UP):
        assert_as_alone(list(load_batches(refs, SPEC, batch_size=4, workers=1)), refs)


SHORT = """
from inspector.workers import child
from inspector.photos.decode import decode
from inspector.types import Decoded

def cropped(ref, spec, limits, views):
    outcome = decode(ref, spec, limits, views)
    if isinstance(outcome, Decoded):
        pixels = outcome.pixels_HWC[:-1]
        return type(outcome)(outcome.ref, pixels, outcome.facts, outcome.shrink)
    return outcome

child.decode = cropped
child.main()
"""


def test_pixels_of_another_size_are_no_answer(folder):
    refs = refs_of(folder, good(0))
    with hostile_decoders(SHORT):
        (batch,) = load_batches(refs, SPEC, batch_size=1, workers=1)
    (item,) = batch.items
    assert isinstance(item, Failure) and item.code == FailureCode.DECODER_CRASH
    assert "bytes of pixels" in item.detail


def test_one_that_died_while_idle_is_replaced_and_nobody_suspected(folder, monkeypatch):
    refs, own = refs_of(folder, good(0, 1, 2)), children_of(os.getpid())
    one = Decoder(Decoding(SPEC, DecodeLimits(), ALL_WHOLE), PixelBudget())
    for _ in range(3):
        assert_as_alone(list(one.make(refs, Turn(Event()))), refs)
        (process,) = children_of(os.getpid()) - own
        os.kill(process, signal.SIGKILL)
        wait_until(partial(is_gone, process))
    one.close()
    one.close()


def test_a_stopped_process_is_replaced(folder):
    refs, own = refs_of(folder, good(0, 1, 2)), children_of(os.getpid())
    limits = DecodeLimits(max_seconds=0.5)
    one = Decoder(Decoding(SPEC, limits, ALL_WHOLE), PixelBudget())
    list(one.make(refs, Turn(Event())))
    (process,) = children_of(os.getpid()) - own
    os.kill(process, signal.SIGSTOP)
    (batch,) = one.make(refs, Turn(Event()))
    assert [getattr(item, "code", None) for item in batch.items] == [
        FailureCode.TIMEOUT, None, None,
    ]  # fmt: skip
    one.close()


NO_ALARM = """
import signal
from inspector.workers import child
from bench.faults.hostile import main

del signal.setitimer
child.ALARM_GRACE_S = 0
main()
"""


def test_without_alarms_a_decoder_that_hangs_ends_itself(folder, monkeypatch):
    """As on Windows, where nobody else can tell; also in C code that keeps Python's lock."""
    monkeypatch.setattr(loader, "GRACE_S", 60)
    refs = refs_of(folder, [*good(0), "sleep-1", *good(1)])
    with hostile_decoders(NO_ALARM):
        one = Decoder(Decoding(SPEC, HASTY, ALL_WHOLE), PixelBudget())
        (batch,) = one.make(refs, Turn(Event()))
    time.sleep(1.5)
    assert one._process and one._process.is_alive, "it may be idle for as long as it likes"
    one.close()
    first, failed, last = batch.items
    assert isinstance(first, Photo) and isinstance(last, Photo) and isinstance(failed, Failure)
    assert (failed.code, failed.detail) == (
        FailureCode.DECODER_CRASH, "its decoder ended with status 1, twice",
    )  # fmt: skip


def test_what_is_printed_before_the_start_does_no_harm(folder):
    refs = refs_of(folder, good(0, 1))
    noisy = "print('Welcome!', flush=True); from inspector.workers.child import main; main()"
    with hostile_decoders(noisy):
        assert_as_alone(list(load_batches(refs, SPEC, batch_size=1, workers=1)), refs)


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import no_such_module", r"status 1 \(ModuleNotFoundError: No module named 'no_such"),
        ("import os; os.abort()", "SIGABRT"),
    ],
)
def test_decoders_that_do_not_start_are_an_error(folder, program, why):
    refs = refs_of(folder, good(0, 1))
    with hostile_decoders(program), pytest.raises(LoaderError, match=f"{why}.*--workers 0"):
        list(load_batches(refs, SPEC, batch_size=1, workers=2))


def test_no_program_to_start_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(folder / "good-00.png"))
    with pytest.raises(LoaderError, match=r"does not start: .*Permission denied"):
        list(load_batches(refs_of(folder, good(0)), SPEC, batch_size=1, workers=1))


def test_death_after_death_is_an_error_and_a_good_photo_between_is_none(folder, monkeypatch):
    monkeypatch.setattr(loader, "MOST_IN_A_ROW", 2)
    with hostile_decoders():
        names = ["exit-1", "exit-1", *good(3), "exit-1", "exit-1"]
        refs = refs_of(folder, names)
        (batch,) = load_batches(refs, SPEC, batch_size=9, workers=1)
        assert [item.code for item in batch.items] == [
            FailureCode.NOT_AN_IMAGE if name == "good-03" else FailureCode.DECODER_CRASH
            for name in names
        ]
        refs = refs_of(folder, ["exit-1"] * 3)
        with pytest.raises(LoaderError, match=r"3 photos in a row .*exit-1.*status 7"):
            list(load_batches(refs, SPEC, batch_size=9, workers=1))


def test_closing_does_not_wait_for_a_file_that_hangs(folder):
    with hostile_decoders():
        refs = refs_of(folder, ["sleep-1", "hang-1", *good(0)])
        batches = load_batches(refs, SPEC, batch_size=1, workers=2)
        time.sleep(1)  # so that they are at it
        started = time.perf_counter()
        batches.close()
        assert time.perf_counter() - started < 5
        with pytest.raises(ZeroDivisionError):
            for _ in load_batches(refs[2:], SPEC, batch_size=1, workers=2):
                raise ZeroDivisionError("in the loop that uses them")


PROGRAM = """
import os, signal, sys, time
from bench.faults.hostile import hostile_decoders
from inspector.photos.opened import DecodeLimits
from inspector.workers.loader import load_batches
from inspector.model.preprocess import PreprocessSpec
from inspector.types import ImageRef

# A shell that runs the tests in the background lets them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
refs = [ImageRef(k, path, "", None, None) for k, path in enumerate(sys.argv[3:])]
hasty = ("import inspector.workers.child as m; m.ALARM_GRACE_S = 0.2; "
         "from bench.faults.hostile import main; main()")
with hostile_decoders(hasty):
    limits = DecodeLimits(max_seconds=float(sys.argv[2]))
    batches = load_batches(refs, PreprocessSpec(size=32), batch_size=1, workers=2, limits=limits)
    next(batches)
    time.sleep(0.5)  # so that one of them is at the second file
    print("ready", flush=True)
    if sys.argv[1] == "exit":
        sys.exit()
    outcomes = [type(item).__name__ for batch in batches for item in batch.items]
    sys.exit(0 if set(outcomes) == {"Photo"} and len(refs) == len(outcomes) + 1 else str(outcomes))
"""


def run(folder, way, names, seconds):
    """A program that has decoded the first of `names` and its decoders are at the next."""
    paths = [ref.path for ref in refs_of(folder, names)]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, way, str(seconds), *paths],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("way", ["exit", "interrupted", "killed", "terminated"])
def test_however_the_scan_ends_its_decoders_end(folder, way):
    """One of them is in C code that holds the interpreter's lock."""
    process = run(folder, way, [*good(0), "sleep-1"], 2 if way != "exit" else 60)
    decoders = children_of(process.pid)
    if way == "interrupted":
        os.killpg(process.pid, signal.SIGINT)
    elif way == "terminated":
        process.terminate()
    elif way == "killed":
        assert len(decoders) == 2
        scores = [Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in decoders]
        assert scores == ["500", "500"]
        process.kill()
    _, words = process.communicate(timeout=60)
    assert ("KeyboardInterrupt" in words) == (way == "interrupted")
    wait_until(lambda: all(map(is_gone, decoders)), 20)


def test_time_in_which_everything_is_suspended_is_nobodys_fault(folder):
    """Ctrl-Z and fg, longer than any limit: also the decoders' own alarms have rung."""
    process = run(folder, "go on", good(0, *[1] * 60), 0.5)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGCONT)
    _, words = process.communicate(timeout=60)
    assert (process.returncode, words) == (0, "")
