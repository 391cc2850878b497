"""A stand-in for nvidia-smi on PATH: what is asked of it, and what is made of its answers."""

from __future__ import annotations

import os
import time

import pytest

from bench.processes import watch_gpu


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Installs a shell script that answers; the file `calls` grows by a line with each call."""

    def install(script: str):
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "calls"

    return install


def until(enough):
    end = time.monotonic() + 20
    while not enough():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_load_of_the_busiest_and_sum_of_the_memory_of_two_gpus(nvidia_smi, tmp_path):
    calls = nvidia_smi(
        f'if [ $(wc -l < "{tmp_path}/calls") -eq 1 ]\n'
        'then echo "100, 300"; echo "50, 100"\nelse echo "10, 20"; echo "20, 30"; fi'
    )
    with watch_gpu(0.01) as samples:
        until(lambda: len(samples) >= 2)
    count = len(samples)
    assert samples == [(100, 400), *[(20, 50)] * (count - 1)]
    asked = calls.read_text().splitlines()
    assert len(asked) == count
    assert "utilization.gpu,memory.used" in asked[0]
    time.sleep(0.05)
    assert len(calls.read_text().splitlines()) == count, "it goes on asking"


@pytest.mark.parametrize("script", ["exit 9", 'echo "[N/A], 300"', "echo No devices were found"])
def test_a_gpu_that_cannot_be_asked_is_not_asked_again(nvidia_smi, script):
    calls = nvidia_smi(script)
    with watch_gpu(0.001) as samples:
        until(calls.exists)
        time.sleep(0.05)
    assert samples == []
    assert len(calls.read_text().splitlines()) == 1


def test_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with watch_gpu(0.001) as samples:
        pass
    assert samples == []


def test_the_block_s_own_error_passes_through(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KeyError, match="mine"), watch_gpu(0.001):
        raise KeyError("mine")
