"""A budget of size: what does not fit has more than one reason to exist."""

from __future__ import annotations

import ast

MODULE_LINES = 400
FUNCTION_LINES = 60
"""Of its body: a command's signature is a table of options, as long as there are options."""


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
