"""Facts about the machine, also from control groups that this machine does not have."""

from __future__ import annotations

import os

import pytest

from inspector.core import machine


def test_this_machine():
    assert 1 <= machine.usable_cores() <= (os.cpu_count() or 1)
    assert machine.cpu_model()
    memory = machine.memory_bytes()
    assert memory is None or memory > 1 << 28


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A made-up /sys/fs/cgroup, of which this process's own group is `/pod/job`."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    folders = [tmp_path / "pod" / "job", tmp_path / "pod", tmp_path]
    monkeypatch.setattr(machine, "_own_cgroups", lambda controller: folders)
    folders[0].mkdir(parents=True)
    return tmp_path


def test_no_quota(cgroup):
    (cgroup / "pod" / "cpu.max").write_text("max 100000\n")
    assert machine.cpu_quota() is None


def test_the_tightest_quota_counts(cgroup):
    (cgroup / "cpu.max").write_text("800000 100000\n")
    (cgroup / "pod" / "cpu.max").write_text("150000 100000\n")
    assert machine.cpu_quota() == 1.5


def test_version_1_quota(cgroup):
    (cgroup / "pod" / "job" / "cpu.cfs_quota_us").write_text("50000\n")
    (cgroup / "pod" / "job" / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_quota() == 0.5
    assert machine.usable_cores() == 1
    (cgroup / "pod" / "job" / "cpu.cfs_quota_us").write_text("-1\n")
    assert machine.cpu_quota() is None


def test_quota_bounds_the_cores(cgroup, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert machine.usable_cores() == 64
    (cgroup / "pod" / "job" / "cpu.max").write_text("350000 100000\n")
    assert machine.usable_cores() == 4


def test_the_tightest_limit_of_memory_counts(cgroup):
    assert machine.memory_limit() is None
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "pod" / "memory.max").write_text(f"{1 << 60}\n")  # more than there is
    assert machine.memory_limit() is None
    (cgroup / "pod" / "job" / "memory.limit_in_bytes").write_text(f"{1 << 29}\n")
    assert machine.memory_limit() == 1 << 29


def test_gpus_as_nvidia_smi_prints_them(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 570.86.15, 143771 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert machine.nvidia_gpus() == [machine.Gpu("NVIDIA H200", "570.86.15", "143771 MiB")]
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert machine.nvidia_gpus() is None
