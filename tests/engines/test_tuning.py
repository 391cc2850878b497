"""The fastest engines are chosen by measurement, once, and only where they win clearly."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import pytest

from inspector.core.cache import CACHE_VARIABLE, cache_file, recall, remember
from inspector.engines import tuning
from inspector.engines.tuning import choose
from inspector.model.bundle import Variant

SLOW, QUICK = 0.020, 0.005


@pytest.fixture
def bundle(tiny_bundle):
    """One that claims to have an int8 variant."""
    file = tiny_bundle.variant("onnxruntime", "fp32").file
    int8 = Variant(
        file=file, backend="onnxruntime", precision="int8", margin=0.5, parity={"deferred": 0.1}
    )
    variants = {**tiny_bundle.variants, "onnx-int8": int8}
    return dataclasses.replace(tiny_bundle, variants=variants)


@pytest.fixture
def speeds(monkeypatch):
    """Set what each engine takes, in seconds per image."""

    def pretend(fp32, int8=None):
        found = {"fp32": fp32, "int8": int8}
        known = {name: seconds for name, seconds in found.items() if seconds}
        monkeypatch.setattr(tuning, "_speeds", lambda bundle, backend: known)

    return pretend


def chosen(bundle, precision="auto"):
    choice = choose(bundle, "onnxruntime", precision=precision)
    return choice.precision, round(choice.seconds_per_image, 6)


def test_the_cheapest_way_is_taken(bundle, speeds):
    speeds(SLOW, QUICK)
    assert chosen(bundle) == ("int8", QUICK + 0.1 * SLOW)
    assert chosen(bundle, precision="fp32") == ("fp32", SLOW)


def test_a_small_gain_is_not_worth_it(bundle, speeds):
    speeds(SLOW, 0.0175)
    assert chosen(bundle) == ("fp32", SLOW)


def test_what_does_not_come_up_is_not_chosen(bundle, speeds):
    speeds(SLOW)
    assert chosen(bundle) == ("fp32", SLOW)


def test_it_is_measured_once(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = choose(tiny_bundle, "onnxruntime", precision="auto")
    assert first.precision == "fp32" and first.seconds_per_image > 0
    monkeypatch.setattr(tuning, "_measure", lambda *_: pytest.fail("measured again"))
    assert choose(tiny_bundle, "onnxruntime", precision="auto") == first
    assert len(json.loads(cache_file().read_text())) == 1


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_damaged_memory_is_measured_anew(tiny_bundle, monkeypatch, tmp_path, content):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_file().write_text(content)
    assert choose(tiny_bundle, "onnxruntime", precision="auto").seconds_per_image


def test_a_memory_that_holds_something_else_is_measured_anew(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = choose(tiny_bundle, "onnxruntime", precision="auto")
    known = json.loads(cache_file().read_text())
    odd: tuple[object, ...] = (
        0,
        -1,
        0.0,
        "1",
        None,
        True,
        [],
        {},
        10**400,
        float("nan"),
        float("inf"),
    )
    for wrong in (3, {}, {"int8": 0.1}, *({"fp32": value} for value in odd)):
        cache_file().write_text(json.dumps(dict.fromkeys(known, wrong)))
        again = choose(tiny_bundle, "onnxruntime", precision="auto")
        assert again.precision == first.precision and again.seconds_per_image > 0


def test_a_home_that_cannot_be_written_does_not_matter(tiny_bundle, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose(tiny_bundle, "onnxruntime", precision="auto").seconds_per_image


def test_a_user_without_a_home_remembers_nothing(tiny_bundle, monkeypatch):
    """Not in /tmp, where others could have put something first."""
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert cache_file() is None
    assert choose(tiny_bundle, "onnxruntime", precision="auto").seconds_per_image


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_folder_that_others_may_write_to_is_not_used(monkeypatch, tmp_path):
    """What is remembered decides engines, and TensorRT's compiled ones are programs."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_file() == tmp_path / "own" / "tuning.json"
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    for mode in (0o777, 0o1777, 0o770, 0o720):
        (tmp_path / "own").chmod(mode)
        remember("key", {"a": 1})
        assert cache_file() is None and recall("key") is None
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs two users")
def test_a_folder_of_another_user_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    remember("key", {"a": 1})
    assert recall("key") == {"a": 1}
    os.chown(tmp_path / "own", 1234, -1)
    assert cache_file() is None and recall("key") is None


def test_a_share_that_cannot_be_right_means_all(bundle, speeds):
    speeds(SLOW, QUICK)
    wrong: tuple[object, ...] = (-1, 2, "0.1", None, True, [], 10**400)
    for share in wrong:
        int8 = dataclasses.replace(bundle.variants["onnx-int8"], parity={"deferred": share})
        odd = dataclasses.replace(bundle, variants={**bundle.variants, "onnx-int8": int8})
        assert chosen(odd, precision="int8")[1] == QUICK + SLOW
