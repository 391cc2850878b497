"""The deployed model as a TorchScript file, for programs that embed libtorch."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import torch

from inspector.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inspector.model.network import DeployedModel

_EXAMPLE_IMAGES = 2
_DEBUG_SUFFIX = ".debug_pkl"
_EXTRA = "extra/"
"""Begins the names of records that hold metadata."""
_WRITERS_OWN = ("version", "byteorder", ".data/serialization_id")
"""Records that torch's archive writer adds by itself."""


def export_torchscript(
    model: DeployedModel, size: int, metadata: Mapping[str, str], file: Path
) -> None:
    """Write `model` as `file`; `metadata` goes along as extra files of the archive.

    Traced: the network has no branch that depends on data, and a trace leaves the batch free.
    Raises ExportError when tracing fails.
    """
    example = torch.zeros(_EXAMPLE_IMAGES, size, size, 3, dtype=torch.uint8)
    archive = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # TorchScript is deprecated as a whole; the README says so once, not every export.
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.*", category=FutureWarning)
            traced = torch.jit.trace(model, (example,), check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, archive, _extra_files=dict(metadata))
    except RuntimeError as error:
        raise ExportError(f"the TorchScript exporter failed: {error}") from error
    archive.seek(0)
    _copy(archive, file, {})


def restamp_torchscript(source: Path, target: Path, metadata: Mapping[str, str]) -> None:
    """Write `target`: the same model with `metadata` instead of its own."""
    _copy(io.BytesIO(source.read_bytes()), target, metadata)


def _copy(archive: io.BytesIO, file: Path, metadata: Mapping[str, str]) -> None:
    """Copy with other metadata, and without the debug records: stack traces with the paths of the
    machine it ran on."""
    reader = torch._C.PyTorchFileReader(archive)
    writer = torch._C.PyTorchFileWriter(str(file))
    for name in reader.get_all_records():
        if name in _WRITERS_OWN or name.endswith(_DEBUG_SUFFIX):
            continue
        text = metadata.get(name.removeprefix(_EXTRA))
        record = reader.get_record(name) if text is None else text.encode()
        writer.write_record(name, record, len(record))
    writer.write_end_of_file()
