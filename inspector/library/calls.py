"""The functions of `inspector`: each takes its config, or in its place what the config is made of.

    inspector.scan("photos", out="o")        is    scan(ScanConfig(sources=("photos",), out="o"))

`inspector/__init__.pyi` has their whole signatures, for editors and type checkers.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import MISSING, fields
from functools import wraps
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any, Self

from inspector import _CALLS, _LINES
from inspector.core.text import printable
from inspector.errors import InspectorError
from inspector.photos.source import count_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from inspect import Parameter

    from _typeshed import DataclassInstance

    from inspector.scanning.config import ScanConfig
    from inspector.scanning.executor import Engine
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import Counts, Tally

    Config = type[DataclassInstance]

WATCHES = ("progress", "watch")
"""Names of arguments that are told how far a function is."""
_SECONDS = 0.2
"""Between two drawings of a notebook's bar."""


def find(place: str) -> Any:
    """Import what `module:name` says."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def load(name: str) -> Callable[..., Any]:
    """The function of that name, which takes a config or its fields, the first of them by place. In
    a notebook it shows how far it is and prints remarks, unless it is told whom to tell, and its
    result is shown in words."""
    function, kind = map(find, _CALLS[name])
    own = list(inspect.signature(function).parameters.values())[1:]
    names = {parameter.name for parameter in own}
    first = fields(kind)[0].name

    @wraps(function)
    def call(*given: Any, **options: Any) -> Any:
        rest = {key: options.pop(key) for key in names & options.keys()}
        if given and isinstance(given[0], kind):
            if len(given) > 1 or options:
                raise TypeError(f"{name}() takes a config or its fields, not both")
            config = given[0]
        else:
            if len(given) > 1:
                raise TypeError(f"{name}() takes one argument by place; name the others")
            named = {first: given[0]} if given else {}
            config = kind(**_fitting(kind, options | named))
        with ExitStack() as stack:
            if in_a_notebook():
                for each in names.intersection(WATCHES) - rest.keys():
                    rest[each] = stack.enter_context(NotebookBar(config))
                if "say" in names:
                    rest.setdefault("say", print)
            result = function(config, **rest)
        if name in _LINES and in_a_notebook():
            _worded(type(result), find(_LINES[name]))
        return result

    call.__name__ = call.__qualname__ = name
    call.__signature__ = signature(kind, own)  # type: ignore[attr-defined]
    return call


def signature(kind: Config, own: list[Parameter]) -> inspect.Signature:
    """The fields of a config, the first of them by place, and a function's own arguments."""
    taken = []
    for field, each in zip(fields(kind), inspect.signature(kind).parameters.values(), strict=True):
        if field.default_factory is not MISSING:
            each = each.replace(default=field.default_factory())
        taken.append(each)
    first = taken[0].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
    by_name = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    return inspect.Signature([first, *taken[1:], *by_name])


def _fitting(kind: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Options with one text, or a list, where a config wants a tuple: a tuple of the letters of a
    word is nobody's wish."""
    tuples = {field.name for field in fields(kind) if str(field.type).startswith("tuple")}
    fitting = dict(options)
    for name in tuples & options.keys():
        value = options[name]
        fitting[name] = (value,) if isinstance(value, str | os.PathLike) else tuple(value)
    return fitting


def in_a_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def _worded(kind: type, lines: Callable[[Any], Iterable[str]]) -> None:
    """Let notebooks show what is of that kind by the lines that a terminal would print."""
    formatters = sys.modules["IPython"].get_ipython().display_formatter.formatters
    formatters["text/plain"].for_type(
        kind, lambda found, p, cycle: p.text("\n".join(map(printable, lines(found))))
    )


class NotebookBar:
    """A `Progress` and a scan's `Watcher` in one: a line of HTML that is drawn anew while it is
    entered, without widgets, and then removed."""

    def __init__(self, config: object) -> None:
        """`config` is that of the function that is watched."""
        self._config = config
        self._total = 0
        self._drawn = 0.0
        self._handle: Any = None

    def __enter__(self) -> Self:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        self._html = HTML
        self._handle = display(HTML("starting"), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.update(self._html(""))

    def __call__(self, phase: str, done: int, total: int) -> None:
        if time.monotonic() - self._drawn >= _SECONDS:
            self._drawn = time.monotonic()
            of = f" of {total:,}" if total else ""
            share = f' value="{done}" max="{total}"' if total else ""
            said = f"<progress{share}></progress> {escape(phase)} {done:,}{of}"
            self._handle.update(self._html(said))

    def start(self, plan: Plan, backend: Engine, table: Counts, notes: Sequence[str]) -> None:
        threading.Thread(target=self._count, daemon=True).start()

    def update(self, tally: Tally) -> None:
        seen = tally.already_done + tally.looked_at
        found = ", ".join(f"{word} {n:,}" for word, n in tally.run.verdicts.items() if n)
        self(
            f"photos ({found})" if found else "photos", seen, self._total and max(self._total, seen)
        )

    def _count(self) -> None:
        """Count the photos beside the scan; until that is done, the bar has no end."""
        config: ScanConfig = self._config  # type: ignore[assignment]
        with suppress(InspectorError):  # the scan itself has said so
            total = count_images(config.discover())
            self._total = min(total, config.limit or total)
