"""Notes of a training, the folder beside its weights: log, checkpoint, and report at the end."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch

from inspector.core.durable import check_writable, replacing
from inspector.core.progress import Progress, no_progress
from inspector.core.text import printable, quoted_word
from inspector.engines import open_backend
from inspector.errors import BundleError, OutputError, TrainingError
from inspector.evaluation.figures import assess
from inspector.evaluation.gallery import misclassified
from inspector.evaluation.page import Subject, TrainingRun, write_report
from inspector.evaluation.predictions import LabelledPredictions, predict_labelled
from inspector.model.bundle import BUNDLE_JSON, WEIGHTS, ModelBundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from inspector.labelled.folder import LabelledImage
    from inspector.labelled.leaks import LeakAudit
    from inspector.training.config import TrainConfig
    from inspector.training.loop import EpochResult


NOTES = "training"
"""Folder in the bundle for the report, the log and the checkpoint."""
CHECKPOINT = "checkpoint.pt"
"""File in the notes, until there is a bundle."""
LOG = "log.txt"
"""File in the notes with all that the training said, also before interruptions."""
_MAY_CHANGE = frozenset(
    "data labels out groups validation rule resume workers device leak_audit strict_splits".split()
)
"""Options that do not change what is learned, so a resumed training may have others; the images
themselves are compared by their digest."""


def logged(file: Path, passed_on: Callable[[str], object]) -> Callable[[str], None]:
    """Make a function that passes on what a training says, line by line, and appends it to a
    file."""

    def tell(text: str) -> None:
        with file.open("a", encoding="utf-8") as log:
            for line in map(printable, text.split("\n")):
                passed_on(line)
                log.write(f"{line}\n")

    return tell


def prepare_notes(config: TrainConfig) -> Path:
    """Create the notes' folder. Raises TrainingError, BundleError or OutputError rather than
    overwrite anything."""
    out, notes = config.out, config.out / NOTES
    begun = os.path.isfile(notes / CHECKPOINT)
    if config.resume and not begun:
        is_done = os.path.exists(out / BUNDLE_JSON)
        finished = "it is finished" if is_done else "no epoch was completed"
        raise TrainingError(f"{out} holds nothing to resume ({finished}); leave out --resume")
    if begun and not config.resume:
        raise TrainingError(
            f"{out} holds a training that was not finished; go on with --resume, delete it, or "
            "choose another --out"
        )
    check_writable(out)
    try:
        others = sorted(set(os.listdir(out)) - {NOTES, WEIGHTS}) if out.exists() else []
        if others and not config.resume:
            if BUNDLE_JSON in others:
                raise BundleError(
                    f"{out} already holds a bundle; choose another --out, or delete it"
                )
            raise OutputError(f"{out} holds other files ({others[0]}); choose another --out")
        notes.mkdir(parents=True, exist_ok=True)
        with (notes / LOG).open("a" if config.resume else "w", encoding="utf-8"):
            return notes
    except OSError as error:
        raise OutputError(
            f"cannot write to {out}: {error.strerror}; choose another --out"
        ) from error


@contextmanager
def telling_what_is_left(config: TrainConfig, warn: Callable[[str], object]) -> Iterator[None]:
    """Say, whatever stops the training, what is left of it. Raises OutputError for errors of the
    file system, TrainingError for those of loader processes and of a GPU."""

    def left() -> str:
        if os.path.exists(config.out / NOTES / CHECKPOINT):
            return "the epochs done are kept: go on with the same command and --resume"
        if os.path.exists(config.out / BUNDLE_JSON):
            return f"the model is kept: go on with: inspector export {quoted_word(str(config.out))}"
        return "no epoch was done"

    try:
        yield
    except KeyboardInterrupt:
        warn(f"interrupted; {left()}")
        raise
    except OSError as error:
        raise OutputError(
            f"cannot write to {config.out}: {error.strerror or error}; {left()}"
        ) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the GPU has no room for {config.batch_size} photos of {config.size} px; {left()}. "
            "Where that runs out of memory again, start anew with a smaller --batch-size and "
            "another --out"
        ) from error
    except RuntimeError as error:  # a loader's process
        raise TrainingError(f"{str(error).partition(chr(10))[0]}; {left()}") from error


def save_checkpoint(file: Path, config: TrainConfig, state: dict[str, Any]) -> None:
    """Write in one step: a kill leaves the old checkpoint or the new one."""
    # Into a stream: on a full disk torch's own writer raises no OSError.
    with replacing(file) as draft, draft.open("xb") as stream:
        torch.save({"options": _options(config), **state}, stream)


def load_checkpoint(file: Path, config: TrainConfig, data_digest: str) -> dict[str, Any]:
    """Read a checkpoint. Raises TrainingError where it is another training's."""
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
    return {name: value for name, value in asdict(config).items() if name not in _MAY_CHANGE}


def write_artifacts(
    config: TrainConfig,
    bundle: ModelBundle,
    history: Sequence[EpochResult],
    validation: Sequence[LabelledImage],
    notes: Path,
    leaks: LeakAudit | None = None,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Write the report on the validation images to `notes`; return the misclassified images, the
    most confident first. Raises OutputError."""
    with closing(open_backend(bundle, "eager", device=config.device)) as backend:
        workers = 1 if config.workers is None else min(1, config.workers)
        judged = predict_labelled(
            validation, bundle, backend, batch_size=config.batch_size, workers=workers,
            progress=partial(progress, "judging the validation photos"),
        )  # fmt: skip
    progress("writing the report: figures, charts, mistakes", 0, 0)
    epochs = [asdict(result) for result in history]
    place = config.validation or config.data
    settings = {name: str(value) for name, value in asdict(config).items() if value is not None}
    subject = Subject(
        title="How far to trust this model: its validation images",
        data=", ".join(map(str, [place] if place else config.labels)),
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        training=TrainingRun(epochs, (notes / LOG).read_text(encoding="utf-8"), settings),
    )
    write_report(notes, subject, assess(judged, bundle, leaks=leaks), judged, bundle, leaks)
    return _missed(judged)


def _missed(judged: LabelledPredictions) -> list[dict[str, Any]]:
    return [
        {
            "path": judged.images[k].path,
            "truth": "crack" if judged.images[k].is_crack else "clear",
            "p_crack": round(float(judged.p_crack_N[k]), 4),
        }
        for k in misclassified(judged)
    ]
