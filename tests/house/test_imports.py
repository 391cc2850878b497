"""Who may import whom. A module may use what stands below it, never its neighbours."""

from __future__ import annotations

import ast
from collections.abc import Iterator

LAYERS = (
    ("inspector.__main__",),
    ("inspector.cli",),
    ("bench",),
    ("inspector.reporting",),
    ("inspector.reviewing", "inspector.calibration.run"),
    ("inspector.scanning", "inspector.training", "inspector.doctor", "export"),
    ("inspector.evaluation",),
    ("inspector.calibration",),
    ("inspector.predict",),
    ("inspector.labelled",),
    ("inspector.results", "inspector.engines"),
    ("inspector.workers", "inspector.synthesis"),
    ("inspector.photos",),
    ("inspector.model",),
    ("inspector.core",),
    ("inspector.types", "inspector.errors", "inspector.version"),
)
"""From the top of the house to its ground; one tuple is one floor."""

FACADE = "inspector"
"""`inspector/__init__.py` names everything and loads it on demand (see test_lazy)."""

TORCH_ROOMS = (
    "inspector.model.network",
    "inspector.model.ood",
    "inspector.training",
    "inspector.engines.torch",
    "inspector.workers.torch_loader",
    "export",
    "bench",
)
"""The only places that may import torch or torchvision; elsewhere a scan would pay for it."""


def unit_of(module: str) -> str | None:
    """The entry of LAYERS that `module` belongs to."""
    units = [unit for layer in LAYERS for unit in layer]
    fitting = [u for u in units if module == u or module.startswith(f"{u}.")]
    return max(fitting, key=len, default=None)


def floor_of(unit: str) -> int:
    return next(floor for floor, layer in enumerate(LAYERS) if unit in layer)


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
        if here is None or name == FACADE:
            continue
        for line, target in imports_of(name, tree, set(modules)):
            there = unit_of(target)
            if target.split(".")[0] in ("tests", "samples"):
                wrong.append(f"{name}:{line} imports {target}, which is not shipped")
            elif there and there != here and floor_of(there) <= floor_of(here):
                wrong.append(f"{name}:{line} imports {target}: {here} may not use {there}")
    return wrong


def test_every_module_has_its_floor(modules):
    homeless = [name for name in modules if name != FACADE and unit_of(name) is None]
    assert not homeless, "add them to LAYERS"


def test_imports_point_downwards(modules):
    assert not wrong_imports(modules)


def test_torch_stays_in_its_rooms(modules):
    wrong = [
        f"{name}:{line} imports {target}"
        for name, tree in modules.items()
        if not any(name == room or name.startswith(f"{room}.") for room in TORCH_ROOMS)
        for line, target in imports_of(name, tree, set(modules))
        if target.split(".")[0] in ("torch", "torchvision")
    ]
    assert not wrong


def test_the_rule_sees_an_import_inside_a_function():
    modules = {
        "inspector.scanning.run": ast.parse(
            "import inspector.engines\nfrom inspector import types"
        ),
        "inspector.photos.decode": ast.parse("def f():\n    from inspector.scanning import run"),
        "inspector.model.metrics": ast.parse("import inspector.photos.decode"),
        "inspector.types": ast.parse("from samples import make"),
    }
    assert wrong_imports(modules) == [
        "inspector.photos.decode:2 imports inspector.scanning.run: "
        "inspector.photos may not use inspector.scanning",
        "inspector.model.metrics:1 imports inspector.photos.decode: "
        "inspector.model may not use inspector.photos",
        "inspector.types:1 imports samples, which is not shipped",
    ]
