"""What is said about the machine, and what others take of it."""

from __future__ import annotations

import numpy as np

from bench.processes import cpu_flags, describe_system, share_of_others, without_folders


def test_errors_lose_their_folders_only():
    text = "/opt/some/where/model.ts is no model (see /tmp/x/y.log); half/way 3/4 https://a.b/c/d"
    assert without_folders(text) == "model.ts is no model (see y.log); half/way 3/4 https://a.b/c/d"


def test_the_system_is_described_without_its_name():
    import socket

    found = describe_system()
    assert found["usable_cores"] >= 1
    assert found["packages"]["numpy"] == np.__version__
    assert "hostname" not in found
    assert socket.gethostname() not in map(str, found.values())


def test_the_processor_says_what_it_can_do():
    flags = cpu_flags()
    assert flags == sorted(set(flags))
    assert not set(flags) - {"asimddp", "i8mm"} or not {"asimddp", "i8mm"} & set(flags)


def test_share_of_others_is_a_share():
    assert 0 <= share_of_others() <= 1
