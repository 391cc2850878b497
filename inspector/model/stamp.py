"""Which model it is: what an exported file says about it, so that it can be deployed alone, and
the bundle that made a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from inspector.errors import BundleError
from inspector.model.bundle import DEFAULT_PATH, FORMAT, ModelBundle
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WRITER = "tool_version"


def model_metadata(bundle: ModelBundle) -> dict[str, str]:
    """Strings by name; `labels` and `preprocess` are JSON, numbers read back exactly."""
    return {
        "format": str(FORMAT),
        "labels": json.dumps(list(bundle.labels)),
        "positive": bundle.positive,
        "temperature": repr(bundle.temperature),
        "clear_below": repr(bundle.thresholds.clear_below),
        "crack_from": repr(bundle.thresholds.crack_from),
        "out_of_domain": repr(bundle.thresholds.out_of_distribution),
        "preprocess": json.dumps(bundle.preprocess.to_json(), sort_keys=True),
        "digest": bundle.digest,
        _WRITER: __version__,
    }


def check_metadata(bundle: ModelBundle, file: str, found: Mapping[str, str]) -> None:
    """Raises BundleError naming the entries of `file` that are not this bundle's own."""
    expected = model_metadata(bundle)
    wrong = [name for name in expected if name != _WRITER and found.get(name) != expected[name]]
    if wrong:
        raise BundleError(
            f"{bundle.path / file} was exported from another model than this bundle's "
            f"(other {', '.join(wrong)}); export it again: inspector export {bundle.path}"
        )


def find_bundle(model: Path | None, digest: str) -> Path | None:
    """The path of the bundle that made a table, by the digest that the table names: `model`, or the
    one that comes with the package; None where neither has it. Raises BundleError where `model` is
    no bundle."""
    for path in (model, DEFAULT_PATH):
        if path is None:
            continue
        try:
            if ModelBundle.load(path, verify=False).digest == digest:
                return path
        except BundleError:
            if path == model:
                raise
    return None
