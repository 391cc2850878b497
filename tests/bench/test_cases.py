"""Cases of the scan benchmark: which there are, and how one that cannot run is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cases import DEFAULT_CASES, PHOTO_CASES, SETTINGS, Case, chosen, try_out
from bench.checks import Rule
from bench.runs import run_module
from inspector.errors import UsageError


def tried(name, bundle, **changes):
    case = Case(name, replace(SETTINGS[name], **changes), {}, {})
    try_out(case, bundle, "cpu")
    return case


def test_what_reduces_precision_is_judged_by_verdict_and_fp32_by_probability():
    rules = {name: setting.rule for name, setting in SETTINGS.items()}
    assert rules["scan-fp32"] is rules["afternoon"] is rules["eager"] is Rule.PROBABILITIES
    for name in ("scan", "scan-int8", "scan-cascade", "scan-openvino-int8"):
        assert rules[name] is Rule.VERDICTS
    assert rules["timm"] is Rule.OWN_PIXELS


def test_unknown_cases_are_a_mistake():
    assert chosen((*DEFAULT_CASES, *PHOTO_CASES)).keys() == set(DEFAULT_CASES)
    with pytest.raises(UsageError, match=r"unknown case scam; choose some of: scan, "):
        chosen(("scan", "scam"))
    with pytest.raises(UsageError, match="none"):
        chosen(())


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("scan-int8", {}, "has no int8 variant"),
        ("scan-cascade", {}, "has no cascade"),
        ("timm", {"needs": "no_such_package"}, "no_such_package is not installed"),
    ],
)
def test_what_cannot_run_is_unavailable_and_says_why(name, changes, reason, tiny_bundle):
    case = tried(name, tiny_bundle, **changes)
    assert case.status == "unavailable"
    assert reason in case.reason
    assert str(tiny_bundle.path.parent) not in case.reason


def test_what_can_run_is_not(tiny_bundle):
    assert tried("scan-fp32", tiny_bundle).status == "ok"
    assert tried("scan", tiny_bundle).status == "ok"


def test_an_option_that_a_program_does_not_know_is_told_from_a_crash(tmp_path):
    refused = run_module(["inspector", "scan", str(tmp_path), "--no-such-option"])
    assert refused.refused
    assert "No such option" in refused.trouble and "--no-such-option" in refused.trouble
    crashed = run_module(["inspector", "scan", str(tmp_path / "nowhere"), "--out", str(tmp_path)])
    assert crashed.trouble and not crashed.refused
    assert str(tmp_path) not in crashed.trouble


def test_a_scan_is_called_with_the_options_of_its_case():
    case = Case("scan-int8", SETTINGS["scan-int8"], {}, {})
    command = case.command(Path("photos"), Path("table"), Path("model"), "cpu")
    assert command[:5] == ["inspector", "scan", "photos", "--out", "table"]
    text = " ".join(command)
    assert "--precision int8 --cascade off" in text and "--json" in text
