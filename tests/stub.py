"""Writes `inspector/__init__.pyi`, by which editors and type checkers know the public names:

python -m tests.stub
"""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections import defaultdict
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import inspector
from inspector.library.calls import find

FILE = Path(inspector.__file__).with_suffix(".pyi")
HEAD = '''"""The public names and their types; written by `python -m tests.stub`."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, TypeAlias, overload

{imports}

StrPath: TypeAlias = str | PathLike[str]

_CALLS: dict[str, tuple[str, str]]
_LINES: dict[str, str]
_HOME: dict[str, str]
__all__: list[str]
'''
SIMPLER = (
    (r"\bPath \| str\b", "StrPath"),
    (r"\bPath\b", "StrPath"),
    (r"tuple\[(\w+), \.\.\.\]", r"\1 | Sequence[\1]"),
    (r"\bFailureBudget\b", "FailureBudget | str"),
)
"""Types of a config's fields, and what is taken for them."""


def stub() -> str:
    """The text of the file."""
    homes: dict[str, set[str]] = defaultdict(set)
    for name, module in inspector._HOME.items():
        if name not in inspector._CALLS:
            homes[module].add(f"{name} as {name}")
    bodies = [_function(name, homes) for name in sorted(inspector._CALLS)]
    imports = "\n".join(
        f"from {module} import {', '.join(sorted(names))}"
        for module, names in sorted(homes.items())
    )
    text = HEAD.format(imports=imports) + "\n" + "\n\n".join(bodies) + "\n"
    for command in (["check", "--select", "I,F401", "--fix", "--quiet"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(FILE), "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def _function(name: str, homes: dict[str, set[str]]) -> str:
    """Both forms of one function; the modules of the types that it names go to `homes`."""
    function, kind = map(find, inspector._CALLS[name])
    shown = inspect.signature(function)
    own = list(shown.parameters.values())[1:]
    module = importlib.import_module(kind.__module__)
    by_name: list[str] = []
    taken: list[str] = []
    for place, field in enumerate(fields(kind)):
        text = str(field.type)
        for pattern, simpler in SIMPLER:
            text = re.sub(pattern, simpler, text)
        text = _noted(text, module, homes)
        if field.name == "sources":
            text = "StrPath | Sequence[StrPath]"
        if field.name == "init":
            text = "StrPath"
        needed = field.default is MISSING and field.default_factory is MISSING
        (by_name if place else taken).append(f"{field.name}: {text}{'' if needed else ' = ...'}")
    where = importlib.import_module(function.__module__)
    rest = []
    for parameter in own:
        text = _noted(str(parameter.annotation), where, homes)
        default = "" if parameter.default is parameter.empty else " = ..."
        rest.append(f"{parameter.name}: {text}{default}")
    answer = _noted(str(shown.return_annotation), where, homes)
    doc = textwrap.indent(f'"""{inspect.getdoc(function)}\n"""', "    ")
    options = ", ".join([*taken, "*", *by_name, *rest])
    config = ", ".join([f"config: {kind.__name__}", "/", *(["*", *rest] if rest else [])])
    return (
        f"@overload\ndef {name}({config}) -> {answer}: ...\n"
        f"@overload\ndef {name}({options}) -> {answer}:\n{doc}\n"
    )


def _noted(text: str, module: Any, homes: dict[str, set[str]]) -> str:
    """An annotation, once it is noted where the types that it names come from."""
    source = inspect.getsource(module)
    for word in set(re.findall(r"\b[A-Z]\w+", text)) - {"Any", "None", "Callable", "Sequence"}:
        if word == "StrPath":
            continue
        found = re.search(rf"^\s*from (\S+) import (?:.*\b)?{word}\b", source, re.M)
        home = found[1] if found else module.__name__
        if word not in inspector._HOME:
            homes[home].add(word)
        elif getattr(importlib.import_module(home), word) is not getattr(inspector, word):
            other = home.partition(".")[0].title() + word  # another type of that name
            homes[home].add(f"{word} as {other}")
            text = re.sub(rf"\b{word}\b", other, text)
    return text


if __name__ == "__main__":
    FILE.write_text(stub(), encoding="utf-8")
