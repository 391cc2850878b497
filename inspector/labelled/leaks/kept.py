"""The fingerprints of what a model was trained on, kept in its bundle."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspector.core.durable import replacing
from inspector.core.text import printable
from inspector.errors import BundleError, OutputError
from inspector.labelled.leaks.fingerprints import Fingerprints
from inspector.labelled.leaks.looks import HASH_BYTES, TRAITS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.model.bundle import ModelBundle

FINGERPRINTS = "training/fingerprints.parquet"
"""Where a bundle keeps them. They decide no verdict, so they are not part of its digest."""
_VERSION = {b"inspector.fingerprints": b"1"}
"""Of what the looks mean, not only of the columns: another version cannot be compared."""
_TRAITS_BYTES = 2 * TRAITS
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("is_crack", pa.bool_(), nullable=False),
        pa.field("decoded", pa.bool_(), nullable=False),
        pa.field("pixels", pa.uint64(), nullable=False),
        pa.field("hash", pa.binary(HASH_BYTES), nullable=False),
        pa.field("traits", pa.binary(_TRAITS_BYTES), nullable=False),
    ],
    metadata=_VERSION,
)


def save(found: Fingerprints, file: Path) -> None:
    """Write `found` to `file`: about 70 bytes an image; names from their common folder on, so that
    a bundle does not tell where its training data lay. Raises OutputError."""
    columns = [
        pa.array(_short(found.paths)),
        pa.array([printable(source) for source in found.sources], pa.string()),
        pa.array([printable(group) for group in found.groups], pa.string()),
        pa.array(found.is_crack_N),
        pa.array(found.decoded_N),
        pa.array(found.pixels_N),
        _rows(np.ascontiguousarray(found.hashes_NB), HASH_BYTES),
        _rows(found.traits_NF.astype("<f2"), _TRAITS_BYTES),
    ]
    try:
        with replacing(file) as draft, draft.open("wb") as stream:
            pq.write_table(pa.table(columns, schema=_SCHEMA), stream, compression="zstd")
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror or error}") from error


def _short(paths: tuple[str, ...]) -> list[str]:
    # Absolute, for reviewed photos are, whatever DATA is.
    places = [os.path.abspath(path) for path in paths]
    folder = os.path.commonpath([os.path.dirname(place) for place in places]) if places else ""
    return [printable(os.path.relpath(place, folder).replace(os.sep, "/")) for place in places]


def _rows(values: NDArray[np.generic], width: int) -> pa.Array:
    return pa.Array.from_buffers(
        pa.binary(width), len(values), [None, pa.py_buffer(values.tobytes())]
    )


def load(file: Path) -> Fingerprints:
    """What `save` wrote. Raises BundleError for anything else."""
    try:
        with file.open("rb") as stream:  # Arrow takes a name with a colon for an address
            table = pq.read_table(stream)
    except (OSError, pa.ArrowException) as error:
        raise BundleError(f"cannot read {file}: {printable(str(error))}; {_HELP}") from error
    if not table.schema.equals(_SCHEMA, check_metadata=True):
        raise BundleError(f"{file} was written by another version of inspector; {_HELP}")
    columns = table.to_pydict()
    return Fingerprints(
        paths=tuple(columns["path"]),
        sources=tuple(columns["source"]),
        groups=tuple(columns["group"]),
        is_crack_N=np.array(columns["is_crack"], bool),
        decoded_N=np.array(columns["decoded"], bool),
        pixels_N=np.array(columns["pixels"], np.uint64),
        hashes_NB=np.frombuffer(b"".join(columns["hash"]), np.uint8).reshape(-1, HASH_BYTES),
        traits_NF=np.frombuffer(b"".join(columns["traits"]), "<f2").reshape(-1, TRAITS),
    )


_HELP = "delete it (leaks from training are then not found), or train again"


def trained_on_of(bundle: ModelBundle) -> Fingerprints | None:
    """The fingerprints of the images that `bundle` was trained on; None where it keeps none.
    Raises BundleError when they cannot be read."""
    file = bundle.path / FINGERPRINTS
    return load(file) if file.exists() else None
