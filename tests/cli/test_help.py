"""Help texts: what a person reads before the first scan, on any terminal."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

from bench.peers.registry import PEERS
from inspector.cli import app
from inspector.cli.help import PANELS, panels, purpose, spelling
from inspector.cli.options import completed, size
from tests.journeys.documented import commands

APP = typer.main.get_command(app)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", ["", *commands()])
def test_help_fits_and_explains_every_option(command, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    APP([*command.split(), "-h"], prog_name="inspector", standalone_mode=False)
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0].startswith(f" Usage: inspector {command}".rstrip())
    boxed = [line for line in lines if line[:1] in "╭│╰"]
    assert {len(line) for line in boxed if line} == {min(columns, 100) - 1}
    assert not any(word in output for word in ("<bool>", "<", "python -m"))
    assert " Examples:" in lines


@pytest.mark.parametrize("command", commands())
def test_every_option_has_a_panel_a_value_and_a_sentence(command):
    context = commands()[command].context_class(commands()[command])
    for panel, params in panels(commands()[command], context).items():
        for param in params:
            assert panel != "Options" and param.help, f"{command}: {spelling(param)}"
            assert "None" not in spelling(param), f"{command}: {spelling(param)} needs a metavar"
            assert purpose(param).partition(" [")[0].endswith("."), f"{spelling(param)}: no end"


def test_every_command_stands_in_a_panel():
    assert sorted(name for panel in PANELS.values() for name in panel) == sorted(
        APP.commands  # type: ignore[attr-defined]
    )


_LEARNING = {"weight_decay", "validation_share", "warmup", "patience", "epoch_images", "ema_decay"}


@pytest.mark.parametrize(
    ("command", "config", "otherwise"),
    [
        ("scan", "inspector.scanning.ScanConfig", {"limits"}),
        ("report", "inspector.reporting.report.ReportConfig", set()),
        ("review", "inspector.reviewing.server.ReviewConfig", set()),
        ("verify", "inspector.results.verify.VerifyConfig", set()),
        ("rejudge", "inspector.scanning.RejudgeConfig", set()),
        ("merge", "inspector.results.merge.MergeConfig", set()),
        ("publish", "inspector.results.publish.PublishConfig", set()),
        ("train", "inspector.training.TrainConfig", {"rule", "leak_audit", *_LEARNING}),
        ("evaluate", "inspector.evaluation.run.EvaluateConfig", {"backend"}),
        (
            "calibrate",
            "inspector.calibration.run.CalibrateConfig",
            {"rule", "batch_size", "workers"},
        ),
        ("export", "export.ExportConfig", {"held_back_minimum"}),
        ("bench run", "bench.config.BenchConfig", {"mode", "budget_s", "remember"}),
    ],
)
def test_every_field_of_a_config_is_set_by_the_option_of_its_name(command, config, otherwise):
    """But for those that come about otherwise, or are for programs only."""
    module, _, name = config.rpartition(".")
    named = {field.name for field in fields(getattr(import_module(module), name))}
    options = {param.name for param in commands()[command].params}
    assert named - options == otherwise


def test_examples_begin_with_the_command_and_say_what_it_does():
    for command in commands().values():
        for line in (command.epilog or "").splitlines():
            assert line.startswith("inspector ") and "  # " in line


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("180MP", 180_000_000),
        ("1GB", 10**9),
        ("1 GiB", 2**30),
        ("0.5kB", 500),
        ("77", 77),
        ("1.2GiB", 1_288_490_189),
        ("1.1GiB", 1_181_116_006),
        ("1.0", 1),
    ],
)
def test_sizes_are_written_as_people_write_them(text, means):
    assert size(text) == means


@pytest.mark.parametrize("text", ["", "MP", "1.5", "-1MB", "1XB", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(typer.BadParameter, match="180MP"):
        size(text)


def test_help_of_bench_names_every_peer():
    (peers,) = (param for param in commands()["bench run"].params if param.name == "peers")
    named = re.findall(r"[\w-]+", getattr(peers, "help"))  # noqa: B009  a parameter may have none
    assert {*PEERS, "none"} <= set(named)


def completions(mode, **typed):
    environment = {"_INSPECTOR_COMPLETE": mode, **typed}
    return CliRunner().invoke(app, [], env=environment, prog_name="inspector").output


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("inspector scan --precision f", ["fp32", "fp16"]),
        ("inspector watch --precision f", ["fp32", "fp16"]),
        ("inspector bench run --device c", ["cpu", "cuda"]),
        ("inspector wa", ["watch"]),
        ("inspector table --co", ["--columns", "--config"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(line, offered):
    assert completed("fp32", "fp16", "int8")("fp") == ["fp32", "fp16"]
    place = str(len(line.split()) - 1)
    assert completions("complete_bash", COMP_WORDS=line, COMP_CWORD=place).split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_tells_the_shell_whom_to_ask(shell):
    script = completions(f"source_{shell}")
    assert f"_INSPECTOR_COMPLETE=complete_{shell}" in script and "inspector" in script
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
