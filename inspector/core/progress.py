"""Progress: the callback of long-running library functions, and the line that shows it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import ProgressColumn
from rich.text import Text

from inspector.core.text import print_lines, printable

if TYPE_CHECKING:
    from rich.progress import Task

Progress = Callable[[str, int, int], None]
"""Called with the phase in words ("decoding"), how many are done and how many there are; 0 of 0
where nobody knows."""
SECONDS_PER_LINE = 10.0
"""Between lines where stderr is no terminal."""
SECONDS_TO_KNOW = 3.0
"""Of work before anything is said about the time that is left."""
ALWAYS = 100
_GAP = "  "
_LEAST_BAR, _MOST_BAR = 8, 30


def no_progress(phase: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """Words beside a bar. Where there is no room, those with the lowest `rank` are left out."""

    text: str
    rank: int = ALWAYS
    style: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What a line shows: how much of the whole is done, as shares with their colours (none: nobody
    knows), and what is said beside it, in order."""

    shares: Sequence[tuple[float, str]]
    parts: Sequence[Part]


def line_of(state: State, columns: int, *, plain: bool = False) -> Text:
    """Draw one line that fits: first the bar, as long as there is room; `plain`: in ASCII."""
    parts = list(state.parts)
    columns -= len("^C") + 1  # a terminal echoes what is typed
    room = columns - _LEAST_BAR
    while sum(len(part.text) + len(_GAP) for part in parts) > room:
        if (least := min(parts, key=lambda part: part.rank)).rank >= ALWAYS:
            break
        parts.remove(least)
    left = columns - sum(len(part.text) + len(_GAP) for part in parts)
    cells = min(max(left, 0), _MOST_BAR)
    done, todo = ("#", ".") if plain else ("━", "─")
    line = Text(no_wrap=True, overflow="crop")
    drawn, reached = 0, 0.0
    for share, colour in state.shares:
        reached += share
        until = min(round(reached * cells), cells)
        line.append(done * (until - drawn), colour)
        drawn = until
    line.append(todo * (cells - drawn), "dim")
    for part in parts:
        line.append(_GAP)
        line.append(part.text, part.style)
    return line


def words_of(state: State) -> str:
    """The same in one line of a log, with every part."""
    return ", ".join(part.text for part in state.parts)


def time_left(done: int, total: int, seconds: float) -> str:
    """Say how long the rest takes at the pace so far; empty until that is known."""
    if not 0 < done < total or seconds < SECONDS_TO_KNOW:
        return ""
    return f"{duration(seconds / done * (total - done))} left"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


class Line:
    """One line on stderr that changes: drawn on a terminal, removed at the end; elsewhere a line
    now and then. Use it as a context manager; lines printed meanwhile appear above it."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        console = Console(stderr=True)
        self._progress = RichProgress(
            _Drawn(self, console),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # else it would go to stderr
        )
        self._progress.add_task("", total=None)
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def state(self) -> State:
        """What is to be seen now."""
        raise NotImplementedError

    def tell(self) -> None:
        """Something has changed: where there is no terminal, say so, but not too often."""
        if self._progress.disable and not self._quiet:
            now = time.monotonic()
            if now - self._said >= SECONDS_PER_LINE:
                self._said = now
                print_lines([words_of(self.state())], to_stderr=True)


class _Drawn(ProgressColumn):
    def __init__(self, line: Line, console: Console) -> None:
        super().__init__()
        self._line = line
        self._console = console

    def render(self, task: Task) -> Text:
        plain = not self._console.encoding.startswith("utf")
        return line_of(self._line.state(), self._console.width, plain=plain)


class CountingBar(Line):
    """A `Progress` drawn as a line, one phase after the other. What stands behind two blanks in
    its name is left out where there is no room."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._phase, self._done, self._total = "getting ready", 0, 0
        self._since = self._last = time.monotonic()
        super().__init__(quiet=quiet)

    def __call__(self, phase: str, done: int, total: int) -> None:
        self._last = time.monotonic()
        if phase.split(_GAP)[0] != self._phase.split(_GAP)[0]:
            self._since = self._last
        self._phase, self._done, self._total = printable(phase), done, total
        self.tell()

    def state(self) -> State:
        name, *more = self._phase.split(_GAP)
        parts = [Part(name, 60, "bold"), *(Part(text, 20) for text in more)]
        if not self._total:
            parts.append(Part(duration(time.monotonic() - self._since), 10))
            return State((), parts)
        parts.append(Part(f"{self._done:,} of {self._total:,}"))
        if left := time_left(self._done, self._total, self._last - self._since):
            parts.append(Part(left, 40))
        return State(((self._done / self._total, "cyan"),), parts)
