"""Standard output and standard error, in whatever state the program was given them.

A reader that has gone (`| head`), a full disk or a name that the encoding cannot say must neither
end the work nor change what it comes to.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from inspector.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_STANDARD = (0, 1, 2)


class _Patient(io.RawIOBase):
    """The end of a stream that takes everything: after the first error it drops what comes."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.refused: OSError | None = None
        """Why what was written is lost."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        if self.refused is None:
            try:
                while (count := self._raw.write(data)) is None:  # somebody made it non-blocking
                    select.select((), (self._raw,), ())
                return int(count)
            except OSError as error:
                self.refused = error
        return len(data)


@contextmanager
def patient_streams() -> Iterator[None]:
    """While entered, writing to stdout and stderr never fails. At the end, where stdout could not
    take what it was given (and its reader has not just gone), says so and makes exit code 0 a 1."""
    _fill_closed()
    if sys.stdout is not sys.__stdout__:  # a caller's own, as in tests
        yield
        return
    sys.stdout, refused = _patient(sys.stdout)
    sys.stderr, _ = _patient(sys.stderr)
    code: object = 0
    try:
        yield
    except SystemExit as ended:
        code = ended.code
    sys.stdout.flush()
    if (error := refused.refused) is not None and error.errno != errno.EPIPE:
        text = f"inspector: cannot write to standard output: {error.strerror}; its text is lost"
        print(printable(text), file=sys.stderr)
        code = code or 1
    sys.exit(code)  # type: ignore[arg-type]


def _fill_closed() -> None:
    """Put something that swallows everything in the place of a standard stream that was closed: its
    number would go to the next file that is opened, and a library's message into that file."""
    for number in _STANDARD:
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        if getattr(sys, name) is None:
            nowhere = os.fdopen(number, "w", encoding="utf-8", closefd=False)
            setattr(sys, name, nowhere)
            setattr(sys, f"__{name}__", nowhere)


def _patient(stream: Any) -> tuple[TextIO, _Patient]:
    """The same stream; what its encoding cannot say is spelled out."""
    raw = getattr(stream.buffer, "raw", stream.buffer)  # without a buffer with `python -u`
    end = _Patient(raw)
    buffer: Any = end if raw is stream.buffer else io.BufferedWriter(cast("Any", end))
    text = io.TextIOWrapper(
        buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=raw is stream.buffer,
    )
    return text, end
