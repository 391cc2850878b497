"""Who may import whom: the tables of the architecture page, held against every import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"


def names_below(marker: str) -> list[tuple[str, ...]]:
    """Names in backticks in the first column of the table below a marker, row by row."""
    table = PAGE.read_text(encoding="utf-8").partition(marker)[2].lstrip().partition("\n\n")[0]
    return [tuple(re.findall(r"`([^`]+)`", row.split("|")[1])) for row in table.splitlines()[2:]]


LAYERS = names_below("<!-- layers -->")
"""From top to bottom, one tuple per layer."""

TORCH_MODULES = tuple(name for row in names_below("<!-- torch -->") for name in row)
"""The only modules and packages that may import torch or torchvision."""

LOADS_ON_DEMAND = "inspector"
"""`inspector/__init__.py` names everything and loads it when it is used (see test_lazy)."""


def unit_of(module: str) -> str | None:
    """The entry of LAYERS that `module` belongs to."""
    units = [unit for layer in LAYERS for unit in layer]
    fitting = [u for u in units if module == u or module.startswith(f"{u}.")]
    return max(fitting, key=len, default=None)


def layer_of(unit: str) -> int:
    return next(place for place, layer in enumerate(LAYERS) if unit in layer)


def imports_of(name: str, tree: ast.Module, known: set[str]) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: relative import; write the whole name"
            base = str(node.module)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node.lineno, full if full in known else base


def wrong_imports(modules: dict[str, ast.Module]) -> list[str]:
    wrong = []
    for name, tree in modules.items():
        here = unit_of(name)
        if here is None or name == LOADS_ON_DEMAND:
            continue
        for line, target in imports_of(name, tree, set(modules)):
            there = unit_of(target)
            if target.split(".")[0] in ("tests", "samples"):
                wrong.append(f"{name}:{line} imports {target}, which is not shipped")
            elif there and there != here and layer_of(there) <= layer_of(here):
                wrong.append(f"{name}:{line} imports {target}: {here} may not use {there}")
    return wrong


def test_every_module_is_in_a_layer(modules):
    missing = [name for name in modules if name != LOADS_ON_DEMAND and unit_of(name) is None]
    assert not missing, f"add them to {PAGE.name}"


def test_the_page_lists_every_name_once():
    names = [name for layer in LAYERS for name in layer]
    assert len(names) > 15 and len(names) == len(set(names))


def test_imports_point_downwards(modules):
    assert not wrong_imports(modules)


def test_torch_is_imported_only_where_the_page_says(modules):
    wrong = [
        f"{name}:{line} imports {target}"
        for name, tree in modules.items()
        if not any(name == one or name.startswith(f"{one}.") for one in TORCH_MODULES)
        for line, target in imports_of(name, tree, set(modules))
        if target.split(".")[0] in ("torch", "torchvision")
    ]
    assert not wrong


def test_wrong_imports_sees_an_import_inside_a_function():
    modules = {
        "inspector.scanning.run": ast.parse(
            "import inspector.engines\nfrom inspector import types"
        ),
        "inspector.photos.decode": ast.parse("def f():\n    from inspector.scanning import run"),
        "inspector.model.verdict": ast.parse("import inspector.photos.decode"),
        "inspector.types": ast.parse("from samples import make"),
    }
    assert wrong_imports(modules) == [
        "inspector.photos.decode:2 imports inspector.scanning.run: "
        "inspector.photos may not use inspector.scanning",
        "inspector.model.verdict:1 imports inspector.photos.decode: "
        "inspector.model may not use inspector.photos",
        "inspector.types:1 imports samples, which is not shipped",
    ]
