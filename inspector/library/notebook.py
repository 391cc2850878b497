"""Progress in a notebook: one line of HTML that is drawn anew, without widgets."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Any, Self

from inspector.errors import InspectorError
from inspector.photos.source import count_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.scanning.config import ScanConfig
    from inspector.scanning.executor import Engine
    from inspector.scanning.plan import Plan
    from inspector.scanning.summary import Counts, Tally

_SECONDS = 0.2
"""Between two drawings."""


def in_a_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


class NotebookBar:
    """A `Progress` and a scan's `Watcher` in one, drawn while it is entered and then removed."""

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
