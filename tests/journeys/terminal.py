"""A person at a terminal: real commands in a pseudo-terminal, and what is on its screen."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pyte

REPOSITORY = Path(__file__).parents[2]
ROWS = 300
"""So many that nothing scrolls off the screen."""
PATIENCE_S = 200.0
INSPECTOR = Path(sys.executable).with_name("inspector")
"""The console script, where the package is installed."""

Typed = tuple[str, str | Callable[[str], str]]
"""A pattern, and what is typed (or gives what is typed) once it is on the screen."""

BOXES = "│╭╮╰╯─┃━|+-"


@dataclass
class Seen:
    """What a command left behind: exit code, and the screen or its two streams."""

    code: int
    screen: list[str]
    frames: set[str] = field(default_factory=set)
    """Every line that was ever on the screen, those of a progress bar too."""
    title: str = ""
    out: str = ""
    err: str = ""

    @property
    def text(self) -> str:
        """Everything shown, its words as they were before lines were broken."""
        return "\n".join(self.screen) if self.screen else self.out + self.err

    @property
    def prose(self) -> str:
        """The same as one line, so that it does not matter where lines end."""
        return " ".join(self.text.split())


def command_line(words: Sequence[str]) -> list[str]:
    start = [str(INSPECTOR)] if INSPECTOR.exists() else [sys.executable, "-m", "inspector"]
    return [*start, *words]


def environment(**more: str) -> dict[str, str]:
    """Of a person who has not set anything."""
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    paths = [str(REPOSITORY), *filter(None, [plain.get("PYTHONPATH")])]
    return plain | {"TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(paths)} | more


def at_terminal(
    arguments: Sequence[str],
    cwd: Path,
    *,
    columns: int = 80,
    typed: Sequence[Typed] = (),
    env: Mapping[str, str] | None = None,
) -> Seen:
    """Run `arguments` in a terminal of so many columns. `typed`: one after the other; "\\x03" is
    Ctrl-C."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    process = subprocess.Popen(
        arguments, cwd=cwd, env=environment(**(env or {})), stdin=terminal, stdout=terminal,
        stderr=terminal, start_new_session=True, preexec_fn=_own_terminal,
    )  # fmt: skip
    os.close(terminal)
    screen = pyte.Screen(columns, ROWS)
    stream, frames, left = pyte.ByteStream(screen), set[str](), list(typed)
    try:
        _watch(main, screen, stream, frames, left)
        code = process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        os.close(main)
    assert not left, f"never on the screen: {left[0][0]}\n" + "\n".join(_lines(screen))
    return Seen(code, _lines(screen), frames, screen.title)


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored below a shell's `&`


def _watch(
    main: int,
    screen: pyte.Screen,
    stream: pyte.ByteStream,
    frames: set[str],
    left: list[Typed],
) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1.0)[0]:
            continue
        try:
            said = os.read(main, 65536)
        except OSError:  # the last one has closed it
            said = b""
        if not said:
            return
        stream.feed(said)
        lines = _lines(screen)
        frames.update(lines)
        if left and re.search(left[0][0], shown := "\n".join(lines)):
            answer = left.pop(0)[1]
            os.write(main, (answer if isinstance(answer, str) else answer(shown)).encode())
    raise AssertionError("it did not end:\n" + "\n".join(_lines(screen)))


def _lines(screen: pyte.Screen) -> list[str]:
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def in_pipe(
    arguments: Sequence[str],
    cwd: Path,
    *,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
) -> Seen:
    """Run it without a terminal, with `given` on stdin."""
    done = subprocess.run(
        arguments, cwd=cwd, env=environment(**(env or {})), capture_output=True,
        input=given, timeout=PATIENCE_S,
    )  # fmt: skip
    out, err = (text.decode(errors="surrogateescape") for text in (done.stdout, done.stderr))
    return Seen(done.returncode, [], out=out, err=err)


def in_shell(script: str, cwd: Path, *, env: Mapping[str, str] | None = None) -> Seen:
    """A line for bash, in which `inspector` is the command."""
    start = shlex.join(command_line([]))
    return in_pipe(["bash", "-c", f'inspector() {{ {start} "$@"; }}; {script}'], cwd, env=env)


def flaws(seen: Seen, columns: int) -> list[str]:
    """What no screen may show: a traceback, words cut at the right edge, controls from a name.

    A path or a command may run over the edge: it is copied as one."""
    found = [f"traceback: {line}" for line in seen.text.splitlines() if "Traceback" in line]
    found += [f"cut: {line}" for line in seen.frames if "\N{HORIZONTAL ELLIPSIS}" in line]
    full = ""
    for line, below in pairwise([*seen.screen, ""]):
        full += line
        if len(line) == columns and line[-1] not in BOXES and below[:1].strip():
            continue
        if len(full) > columns and not re.search(r"/|inspector \w|python -c|\.\w+\b", full):
            found.append(f"cut mid-word: {full}")
        full = ""
    if seen.title:
        found.append(f"title: {seen.title!r}")
    return found
