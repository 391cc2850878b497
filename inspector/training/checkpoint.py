"""What a training needs to go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, cast

import torch

from inspector.core.durable import replacing
from inspector.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.training.config import TrainConfig

CHECKPOINT = "checkpoint.pt"
"""Its name in the training's notes, until there is a bundle."""
_MAY_CHANGE = frozenset(
    "data labels out groups validation rule resume workers device leak_audit strict_splits".split()
)
"""Options that do not change what is learned, so a resumed training may have others; the images
themselves are compared by their digest."""


def save_checkpoint(file: Path, config: TrainConfig, state: dict[str, Any]) -> None:
    """Write in one step: a kill leaves the old checkpoint or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Into a stream: on a full disk torch's own writer raises no OSError.
    with replacing(file) as draft, draft.open("wb") as stream:
        torch.save({"options": _options(config), **state}, stream)


def load_checkpoint(file: Path, config: TrainConfig, data_digest: str) -> dict[str, Any]:
    """Raises TrainingError when there is none or it belongs to another training."""
    if not file.is_file():
        raise TrainingError(f"nothing to resume: {file} does not exist; start without --resume")
    state = cast(dict[str, Any], torch.load(file, map_location="cpu", weights_only=True))
    options = _options(config)
    other = [name for name, value in options.items() if state["options"].get(name) != value]
    if other:
        raise TrainingError(
            f"{file} was made with other values of: {', '.join(other)}; repeat that command, or "
            "start without --resume"
        )
    if state["data_digest"] != data_digest:
        raise TrainingError(f"the images are not those that {file} was trained on")
    return state


def _options(config: TrainConfig) -> dict[str, Any]:
    kept = [f.name for f in fields(config) if f.name not in _MAY_CHANGE]
    values = asdict(config)
    return {name: values[name] for name in kept}
