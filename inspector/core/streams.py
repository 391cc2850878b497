"""Standard output and standard error that never fail.

A reader that has gone (`| head`), a full disk or a name that the encoding cannot express must
neither end the work nor change its result.
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
    """A raw stream that never raises: after its first error it drops everything."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.refused: OSError | None = None
        """The error since which output is dropped."""

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
    """Make writing to stdout and stderr never fail.

    At the end, if output to stdout was lost for another reason than a closed pipe, one line on
    stderr says so and exit code 0 becomes 1.
    """
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
    """Open the null device in place of standard streams that are closed: otherwise the next file
    that is opened gets their number, and with it the messages of libraries."""
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
    """Wrap a text stream; characters that its encoding lacks are escaped."""
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
