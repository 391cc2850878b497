"""What an exported file says about the model that it holds, so that it can be deployed alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from inspector.errors import BundleError
from inspector.model.bundle import FORMAT
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.model.bundle import ModelBundle

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
