"""Budgets of size: what does not fit has more than one reason to exist."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.house.test_wheel import ONLY_IN_THE_REPOSITORY

MODULE_LINES = 400
FUNCTION_LINES = 60
"""Of its body: a command's signature is a table of options, as long as there are options."""
FILES_IN_INSPECTOR = 198
LINES_IN_WHEEL = 43_972
"""Of Python, in all packages of the wheel."""

SIBLINGS = {
    "__init__": "every package has one",
    "__main__": "what `python -m` runs",
    "config": "a command's options",
    "run": "a command's function",
    "console": "what a command prints",
    "report": "a command's function, and its line in the command line",
    "page": "an HTML report",
    "charts": "the charts of one",
    "wording": "the sentences of one",
}
"""Basenames that several modules may share: the same part of several commands."""


def test_modules_and_functions_fit(repository, own_files):
    too_long = []
    for path in own_files:
        if path.suffix != ".py":
            continue
        text = (repository / path).read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MODULE_LINES:
            too_long.append(f"{path}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
                if lines > FUNCTION_LINES:
                    too_long.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    assert not too_long


def shipped(modules) -> list[str]:
    """Dotted names of the modules in the wheel."""
    kept = tuple(folder.replace("/", ".") for folder in ONLY_IN_THE_REPOSITORY)
    return [name for name in modules if not f"{name}.".startswith(kept)]


def test_the_wheel_fits(repository, modules):
    files = [name for name in modules if name.split(".")[0] == "inspector"]
    assert len(files) <= FILES_IN_INSPECTOR
    lines = 0
    for name in shipped(modules):
        path = repository / name.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        lines += len(file.read_text(encoding="utf-8").splitlines())
    assert lines <= LINES_IN_WHEEL


def test_no_two_modules_share_a_basename(modules):
    """An editor's list of open files tells them apart."""
    packages = {name.rpartition(".")[0] for name in modules}
    named = defaultdict(list)
    for name in shipped(modules):
        if name not in packages:
            named[name.rpartition(".")[2]].append(name)
    doubled = {base: names for base, names in named.items() if len(names) > 1}
    assert {base: names for base, names in doubled.items() if base not in SIBLINGS} == {}
