"""How `--help` looks: panels of commands and options, then examples, each with what it does.

Rich is not loaded for it, and what is written depends on nothing private to Typer.
"""

from __future__ import annotations

import inspect
import os
import sys
import textwrap
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from inspector.core.text import columns

PANELS = {
    "Photos": (
        "scan",
        "watch",
        "report",
        "review",
        "table",
        "verify",
        "rejudge",
        "merge",
        "publish",
    ),
    "Models": ("train", "evaluate", "calibrate", "export"),
    "Machine": ("doctor", "bench"),
}
"""The commands, in the order in which people meet them."""
_WIDEST = 100
_SPELLING = 24
"""Columns for an option's spelling; a longer one gets a line of its own."""
_HARD = "\N{NO-BREAK SPACE}"
_BOX = "╭─╮│╰╯"
_PLAIN_BOX = "+-+|++"

Row = tuple[str, str]
"""A command or the spelling of an option, and what it is for."""


def examples(*rows: Row) -> str:
    """The epilog of a command: commands and what each is for."""
    return "\n".join(f"{command}  # {what}" for command, what in rows)


def spelling(param: Any) -> str:
    """An option as it is typed, the short form first; an argument's name."""
    if param.param_type_name == "argument":
        return str(param.metavar or str(param.name).upper())
    names = ", ".join(sorted(param.opts, key=len))
    return names if param.is_flag else f"{names} {param.metavar}"


def purpose(param: Any, context: Any = None) -> str:
    """What an option or argument is for, and what it is where it is not given, by the option itself
    or by the defaults in `context`."""
    text = str(param.help or "")
    given = (context and context.default_map) or {}
    default = worded(given[param.name]) if param.name in given else _default(param)
    if default is not None:
        text += f" [default:{_HARD}{default}]"
    return text.strip()


def worded(value: Any) -> str:
    """A default from a file as people read it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _default(param: Any) -> str | None:
    shown = param.show_default
    if isinstance(shown, str):
        return shown
    plain = isinstance(param.default, str | int | float | os.PathLike)
    if not shown or getattr(param, "is_flag", False) or not plain:
        return None
    return f"{param.default:g}" if isinstance(param.default, float) else str(param.default)


def panels(command: Any, context: Any) -> dict[str, list[Any]]:
    """Arguments and options by the panel they stand in; what every command has stands last."""
    last = "Options" if isinstance(command, TyperGroup) else "Output"
    found: dict[str, list[Any]] = {"Arguments": []}
    for param in command.get_params(context):
        if not getattr(param, "hidden", False):
            kind = "Arguments" if param.param_type_name == "argument" else last
            name = getattr(param, "rich_help_panel", None) or kind
            found.setdefault(name, []).append(param)
    found[last] = found.pop(last, [])
    return {name: params for name, params in found.items() if params}


class _Panels:
    """The parts of a command and of a group that people read."""

    def collect_usage_pieces(self: Any, ctx: Any) -> list[str]:
        arguments = [param for param in self.params if param.param_type_name == "argument"]
        names = [spelling(a) if a.required else f"[{spelling(a)}]" for a in arguments]
        below = ["COMMAND ..."] if isinstance(self, TyperGroup) else []
        return ["[OPTIONS]", *names, *below]

    def format_help(self: Any, ctx: Any, formatter: Any) -> None:
        page = _Page()
        usage = " ".join(self.collect_usage_pieces(ctx))
        page.say(f"Usage: {ctx.command_path} {usage}", style={"bold": True})
        for paragraph in paragraphs(self.help or ""):
            page.say(paragraph)
        if isinstance(self, TyperGroup):
            for name, commands in _by_panel(self, ctx).items():
                page.panel(name, [(c.name, paragraphs(c.help or "")[0]) for c in commands])
        for name, params in panels(self, ctx).items():
            page.panel(name, [(spelling(param), purpose(param, ctx)) for param in params])
        page.examples(self.epilog or "")
        formatter.write("\n".join([*page.lines, ""]))


def _by_panel(group: Any, context: Any) -> dict[str, list[Any]]:
    there = {name: group.commands[name] for name in group.list_commands(context)}
    found = {
        panel: [there.pop(name) for name in names if name in there]
        for panel, names in PANELS.items()
    }
    found["Commands"] = list(there.values())
    return {panel: commands for panel, commands in found.items() if commands}


def paragraphs(text: str) -> list[str]:
    """Split a docstring, whose line breaks are those of the source; a terminal has its own."""
    return [" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n")]


class Command(_Panels, TyperCommand):
    """A command whose help has panels."""


class Group(_Panels, TyperGroup):
    """Commands whose list has panels."""


class _Page:
    """Lines of a help text for the terminal that there is."""

    def __init__(self) -> None:
        self.width = min(columns(), _WIDEST) - 1
        self.lines: list[str] = []
        encoding = sys.stdout.encoding or "ascii"
        self._box = _BOX if "utf" in encoding.lower() else _PLAIN_BOX
        self._colour = "NO_COLOR" not in os.environ

    def style(self, text: str, **how: Any) -> str:
        return typer.style(text, **how) if self._colour else text

    def say(self, text: str, *, style: dict[str, Any] | None = None) -> None:
        lines = _fold(text, self.width - 1)
        self.lines += [self.style(f" {line}", **(style or {})) for line in lines] + [""]

    def panel(self, title: str, rows: list[Row]) -> None:
        """Draw rows in a box; a spelling that is too long stands above its text."""
        left, flat, right, side, low, corner = tuple(self._box)
        inner = self.width - 4
        room = min(max(len(spelled) for spelled, _ in rows), _SPELLING)
        self.lines.append(
            f"{left}{flat} {self.style(title, bold=True)} "
            + flat * (inner - len(title) - 1)
            + right
        )
        for spelled, text in rows:
            told = _fold(text, inner - room - 2)
            if len(spelled) > room:
                cells = [(spelled, ""), *(("", line) for line in told)]
            else:
                cells = [(spelled, told[0]), *(("", line) for line in told[1:])]
            for name, line in cells:
                gap = " " * (room + 2 - len(name)) if line or name else ""
                rest = f"{gap}{line}" if line else ""
                end = " " * (inner - len(name) - len(rest))
                named = self.style(name, fg="cyan", bold=True) if name else ""
                self.lines.append(f"{side} {named}{rest}{end} {side}")
        self.lines.append(f"{low}{flat * (inner + 2)}{corner}")

    def examples(self, epilog: str) -> None:
        """One command a line, what it does behind it or, where that is too wide, above it."""
        lines = epilog.splitlines()
        if not lines:
            return
        rows = [line.rpartition("  # ") for line in lines]
        room = max(len(command) for command, _, _ in rows) + 2
        beside = all(room + len(what) + 3 <= self.width for _, _, what in rows)
        self.lines += ["", self.style(" Examples:", bold=True)]
        for command, mark, what in rows:
            comment = self.style(f"# {what}", dim=True) if mark else ""
            if beside:
                self.lines.append(f" {command:<{room}}{comment}".rstrip())
            else:
                self.lines += [f" {comment}"] if mark else []
                self.lines.append(f" {command}")
        self.lines.append("")


def _fold(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_HARD, " ") for line in lines] or [""]
