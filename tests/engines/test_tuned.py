"""The fastest precision is chosen by measurement, once, and only where it wins clearly."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

import pytest

from inspector.core.machine import CACHE_VARIABLE, cache_file, get_cached, set_cached
from inspector.engines import Backend, open_backend, tuned
from inspector.engines.tuned import fastest_precision, known_seconds
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
        monkeypatch.setattr(tuned, "_cached_speeds", lambda bundle, backend: known)

    return pretend


def test_fastest_precision_is_int8_where_it_wins_clearly(bundle, speeds):
    speeds(SLOW, QUICK)
    assert fastest_precision(bundle) == (
        "int8", "engines measured here: fp32 50, int8 200 images/s",
    )  # fmt: skip


def test_fastest_precision_is_fp32_where_int8_gains_little(bundle, speeds):
    speeds(SLOW, 0.0175)
    assert fastest_precision(bundle)[0] == "fp32"


def test_fastest_precision_is_fp32_where_int8_does_not_come_up(bundle, speeds):
    speeds(SLOW)
    assert fastest_precision(bundle)[0] == "fp32"


def test_fastest_precision_is_narrow_where_its_whole_chain_wins(bundle, speeds, monkeypatch):
    def chosen(share, seconds, seen=None):
        narrow = Variant(
            file="n.onnx", backend="onnxruntime", precision="narrow", crack_margin=1.0,
            parity={"deferred": share},
        )  # fmt: skip
        monkeypatch.setattr(
            tuned, "_cached_speeds",
            lambda *_: {"fp32": SLOW, "int8": QUICK, "narrow": seconds},
        )  # fmt: skip
        both = {**bundle.variants, "onnx-narrow": narrow}
        made = dataclasses.replace(bundle, variants=both)
        opened: dict[str, Any] = {"narrow": object()}
        return fastest_precision(made, opened=opened, deferred=lambda _: seen)[0]

    assert chosen(0.3, QUICK / 5) == "narrow"
    assert chosen(0.9, QUICK / 5) == "int8"
    assert chosen(0.3, QUICK) == "int8"
    assert chosen(0.3, QUICK / 5, seen=0.9) == "int8"
    assert chosen(0.3, QUICK / 5, seen=0.5) == "narrow"
    assert chosen(0.9, QUICK / 5, seen=0.1) == "narrow"


def test_known_seconds_count_what_is_deferred_to_fp32(bundle, speeds):
    speeds(SLOW, QUICK)
    assert known_seconds(bundle, "onnxruntime", "int8") == QUICK + 0.1 * SLOW
    assert known_seconds(bundle, "onnxruntime", "fp32") == SLOW
    assert known_seconds(bundle, "onnxruntime", "fp16") is None


def test_fastest_precision_hands_over_the_engines_that_it_measured(
    tiny_bundle, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    opened: dict[str, Backend] = {}
    assert fastest_precision(tiny_bundle, opened=opened)[0] == "fp32"
    measured = opened["fp32"]
    assert open_backend(tiny_bundle, opened=opened) is measured and opened == {}
    measured.close()
    assert fastest_precision(tiny_bundle, opened=opened)[0] == "fp32"
    assert opened == {}, "what is cached is not measured again"


def test_fastest_precision_is_measured_once(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = fastest_precision(tiny_bundle)
    assert first[0] == "fp32"
    monkeypatch.setattr(tuned, "_measure", lambda *_: pytest.fail("measured again"))
    assert fastest_precision(tiny_bundle) == first
    assert len(json.loads(cache_file().read_text())) == 1


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_fastest_precision_is_measured_again_where_the_cache_is_damaged(
    tiny_bundle, monkeypatch, tmp_path, content
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_file().write_text(content)
    assert fastest_precision(tiny_bundle)[0] == "fp32"


def test_speeds_that_cannot_be_times_are_measured_again(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fastest_precision(tiny_bundle)[0] == "fp32"
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
        assert known_seconds(tiny_bundle, "onnxruntime", "fp32") is None
        assert fastest_precision(tiny_bundle)[0] == "fp32"


def test_fastest_precision_works_without_a_writable_home(tiny_bundle, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert fastest_precision(tiny_bundle)[0] == "fp32"


def test_a_user_without_a_home_has_no_cache(tiny_bundle, monkeypatch):
    """Not in /tmp, where others could have put something first."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert cache_file() is None
    assert fastest_precision(tiny_bundle)[0] == "fp32"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_folder_that_others_may_write_to_is_not_used(monkeypatch, tmp_path):
    """What is remembered decides engines, and TensorRT's compiled ones are programs."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_file() == tmp_path / "own" / "tuning.json"
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o700
    for mode in (0o777, 0o1777, 0o770, 0o720):
        (tmp_path / "own").chmod(mode)
        set_cached("key", {"a": 1})
        assert cache_file() is None and get_cached("key") is None
    assert list((tmp_path / "own").iterdir()) == []


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="needs two users")
def test_a_folder_of_another_user_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    set_cached("key", {"a": 1})
    assert get_cached("key") == {"a": 1}
    os.chown(tmp_path / "own", 1234, -1)
    assert cache_file() is None and get_cached("key") is None


def test_known_seconds_take_a_share_that_cannot_be_right_for_all(bundle, speeds):
    speeds(SLOW, QUICK)
    wrong: tuple[object, ...] = (-1, 2, "0.1", None, True, [], 10**400)
    for share in wrong:
        int8 = dataclasses.replace(bundle.variants["onnx-int8"], parity={"deferred": share})
        odd = dataclasses.replace(bundle, variants={**bundle.variants, "onnx-int8": int8})
        assert known_seconds(odd, "onnxruntime", "int8") == QUICK + SLOW
