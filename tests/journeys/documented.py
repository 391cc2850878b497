"""The command lines that people are shown: in the README, the docs and every `--help`."""

from __future__ import annotations

import functools
import re
import shlex

import typer

from inspector.cli import app
from tests.journeys.terminal import REPOSITORY

FENCE = re.compile(r"^```(?:bash)?\n(.*?)^```", re.M | re.S)
PAGES = ("README.md", "docs/*.md", "docs/how-to/*.md")


@functools.cache
def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command by the words that call it."""
    found = {}
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        of = {f"{name} {word}": c for word, c in inner.items()} if inner else {name: command}
        found.update(of)
    return found


def named(line: list[str]) -> str:
    """Which command a line calls."""
    two = " ".join(line[:2])
    known = commands()
    return two if two in known else line[0] if line[0] in known else f"{line[0]} run"


def options(line: list[str]) -> set[str]:
    """The parameters that a line names, by the names the functions have."""
    used = set()
    for param in commands()[named(line)].params:
        spelled = (*param.opts, *param.secondary_opts)
        for word in line:
            flag = word.split("=")[0] if word.startswith("--") else word[:2]
            if word.startswith("-") and flag in spelled:
                used.add(str(param.name))
    return used


def shown() -> list[list[str]]:
    """Each line once, without `inspector`, in the order in which people meet them."""
    pages = [page for pattern in PAGES for page in sorted(REPOSITORY.glob(pattern))]
    text = "\n".join(code for page in pages for code in FENCE.findall(page.read_text("utf-8")))
    lines = re.findall(r"^(?:.*\| )?(inspector .*)", text, re.M)
    epilogs = [command.epilog or "" for command in commands().values()]
    lines += [line for epilog in epilogs for line in epilog.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in dict.fromkeys(lines)]
