"""How many files hold the same bytes as another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from inspector.errors import OutputError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MOST = 20_000_000
"""Files whose hashes are kept, 8 bytes each; beyond, nothing is said about copies."""
_DIGITS = 16


class Copies:
    """Compares the first 64 bits of the files' SHA-256. Among 20 million different files two share
    them by chance with probability 1e-5."""

    def __init__(self) -> None:
        self._begins: list[NDArray[np.uint64]] = []
        self._files = 0

    def add(self, content_hashes: pa.ChunkedArray) -> None:
        """Raises OutputError for what is no hash."""
        self._files += len(content_hashes) - content_hashes.null_count
        if self._files > MOST:
            self._begins.clear()
            return
        begins = pc.utf8_slice_codeunits(pc.drop_null(content_hashes), 0, _DIGITS)
        try:
            data = bytes.fromhex("".join(begins.to_pylist()))
            self._begins.append(np.frombuffer(data, np.uint64))
        except ValueError as error:
            raise OutputError(
                "the table holds a content_hash that is none; see: inspector verify"
            ) from error

    def count(self) -> int | None:
        """Files beyond the first of each content; None where there are too many to tell."""
        if self._files > MOST:
            return None
        if not self._begins:
            return 0
        begins = np.concatenate(self._begins)
        begins.sort()
        return int(np.count_nonzero(begins[1:] == begins[:-1]))
