"""Sphinx extension: pages that are written from the code before each build.

`reference/commands.md` from the Typer app and `reference/python.md` from `inspector.__all__`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import typer

import inspector
from inspector.cli import app
from inspector.cli.help import panels, purpose, spelling

API_INTRO = """# Python API

The library does what the command line does; every name below can be imported from `inspector`. A
function takes its options by name, or a config of them, prints nothing and returns the result; in a
notebook it shows how far it is. Errors are subclasses of `inspector.InspectorError`.

```python
import inspector

summary = inspector.scan("/photos", out="results")
print(summary.table.verdicts)
frame = inspector.Results("results").to_pandas()

with inspector.Model.load() as model:
    print(model.predict("/photos/IMG_0001.jpg"))
```

[In a notebook](../how-to/notebook.md) has more of it. A script that scans with
`loader="torch"` stands under `if __name__ == "__main__":`, because its workers import it.
"""


def setup(application: Any) -> dict[str, bool]:
    """Register with Sphinx."""
    application.connect("builder-inited", lambda sphinx: write_pages(Path(sphinx.srcdir)))
    # Napoleon, at 500, would take the words before a field's first colon for its type.
    texts: dict[str, list[str]] = {}

    def keep(_: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        if what == "attribute":
            texts[name] = list(lines)

    def restore(_: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        lines[:] = texts.get(name, lines)

    application.connect("autodoc-process-docstring", keep, priority=1)
    application.connect("autodoc-process-docstring", restore, priority=900)
    application.connect("autodoc-process-signature", _shorten_signature)
    return {"parallel_read_safe": True}


def _shorten_signature(
    _: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out a dataclass's arguments: its fields follow."""
    return ("(...)", returns) if what == "class" and is_dataclass(obj) else None


def write_pages(docs: Path) -> None:
    """Write the generated pages below `docs`."""
    for name, lines in (("commands", command_page()), ("python", python_page())):
        (docs / "reference" / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def command_page() -> Iterator[str]:
    """Lines of the command-line reference, every command and option."""
    yield "# Command line\n"
    yield "Generated from the code. `inspector COMMAND --help` shows the same.\n"
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield from _command(f"inspector {name}", command, "##")


def _command(words: str, command: Any, heading: str) -> Iterator[str]:
    yield f"{heading} {words}\n"
    yield f"{_text(command.help)}\n"
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        context = command.context_class(command)
        usage = " ".join([words, *command.collect_usage_pieces(context)])
        yield f"```text\n{usage}\n```\n"
        if command.epilog:
            yield f"```\n{command.epilog}\n```\n"
        for panel, params in panels(command, context).items():
            rows = [f"| `{_cell(spelling(param))}` | {_text(purpose(param))} |" for param in params]
            yield "\n".join([f"| {panel} | |", "| --- | --- |", *rows, ""])
    for name, below in inner.items():
        yield from _command(f"{words} {name}", below, f"{heading}#")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str | None) -> str:
    """Help text as Markdown, `<` and `*` as they are."""
    return re.sub(r"([<*_|])", r"\\\1", inspect.cleandoc(text or ""))


def python_page() -> Iterator[str]:
    """Lines of the API reference: every public name with the docstring of its object."""
    yield API_INTRO
    kinds: dict[str, list[str]] = {"Functions": [], "Options": [], "Results and errors": []}
    for name in inspector.__all__:
        called = getattr(inspector, name)
        if inspect.isclass(called):
            kind = "Options" if name.endswith("Config") else "Results and errors"
            directive = f".. autoclass:: {called.__module__}.{called.__name__}"
        else:
            kind, directive = "Functions", f".. autofunction:: inspector.{name}"
        kinds[kind].append(directive)
    for kind, directives in kinds.items():
        yield f"\n## {kind}\n"
        yield from (f"```{{eval-rst}}\n{directive}\n```\n" for directive in directives)
