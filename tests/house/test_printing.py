"""What is shown has one home: names made printable, lines broken between words, one bar."""

from __future__ import annotations

import ast

HOMES = ("inspector.core.text", "inspector.core.progress")
PROGRAMS = ("bench.recipe.run", "bench.")
"""For developers, or for a program at the other end of a pipe."""


def test_nothing_is_printed_past_print_lines(modules):
    """But documents, JSON and Markdown, which no terminal may break."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in modules.items()
        if name not in HOMES and not name.startswith(PROGRAMS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "Console", "echo")
        if not any(word in ast.unparse(node) for word in ("json", "markdown", "__version__"))
    ]
    assert not wrong, "use inspector.core.text.print_lines"
