"""How many rows the model judged how, and what stands of that: counted by anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from inspector.reporting.table import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Cells = NDArray[np.int64]
    """Counts, (4, 4): what the model said by what stands, each in the order of OUTCOMES."""

KINDS = len(OUTCOMES)
_CELLS = KINDS * KINDS


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that have something in common, with how many of them are what after people had their
    say; `model_crack` before."""

    name: str
    photos: int
    model_crack: int
    crack: int
    review: int
    clear: int
    failed: int

    @classmethod
    def of(cls, name: str, cells: Cells) -> Group:
        model, after = cells.sum(axis=1).tolist(), cells.sum(axis=0).tolist()
        return cls(name, sum(after), model[0], *after)


def no_cells() -> Cells:
    return np.zeros((KINDS, KINDS), np.int64)


def cell_of_rows(rows: pa.Table) -> NDArray[np.int64]:
    """Each row's place in the cells, as one number from 0 to 15 (N,)."""
    words = pa.array(OUTCOMES)
    model_N, after_N = (
        pc.index_in(rows[name], value_set=words).to_numpy().astype(np.int64)
        for name in ("model", "after")
    )
    cell_N: NDArray[np.int64] = model_N * KINDS + after_N
    return cell_N


def count(cell_N: NDArray[np.int64]) -> Cells:
    return np.bincount(cell_N, minlength=_CELLS).reshape(KINDS, KINDS).astype(np.int64)


def count_by(keys: pa.Array, cell_N: NDArray[np.int64]) -> Iterator[tuple[Any, Cells]]:
    """The cells of each key; `keys` (N,) are texts or whole numbers."""
    encoded = keys.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    place_N = encoded.indices.to_numpy() * _CELLS + cell_N
    cells = np.bincount(place_N, minlength=len(values) * _CELLS)
    yield from zip(values, cells.reshape(-1, KINDS, KINDS).astype(np.int64), strict=True)
