"""Study of what helps a model generalise: short trainings, judged on unseen walls."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bench.studies.training.measures import Development, development, figures, logits_of
from bench.studies.training.variations import VARIATIONS, Variation
from bench.studies.training.views import VIEWS, View, look
from inspector.core.untrusted import take_paths
from inspector.errors import DataError, InspectorError, OutputError, UsageError
from inspector.labelled.folder import find_labelled
from inspector.model.network import build_network
from inspector.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from bench.studies.report import Columns
    from inspector.labelled.folder import LabelledImage
    from inspector.types import JsonObject

LINES = "cases.jsonl"
"""One line for each variation as it ends: a run that is stopped goes on after the last."""

METHOD = (
    "Every variation is one short training from the same initial checkpoint, with the same seed, "
    "images and number of steps, that differs from the baseline in one thing; the last epoch's "
    "weights are judged, none is chosen. unseen: sources that gave no training image, all "
    "together, so that one threshold must do for all of them. AUC: area under the ROC curve; "
    "partial: up to 10 % false positives, standardised. missed: cracks below the threshold at "
    "which 5 % of the crack-free images are called crack. In brackets: differences to the "
    "baseline; those between the baseline's own seeds say how much is noise.",
    "shipped, mirrored, flipped, at-256, at-288, grey: the model that comes along, without any "
    "training, looked through in other ways; they, further and wise-ft are compared with shipped.",
    "A short training says which changes are worth a long one, not what the long one reaches.",
)


CASES: tuple[Variation | View, ...] = (*VIEWS, *VARIATIONS)
_COMPARED = ("roc_auc", "partial_roc_auc", "missed")


def _of(name: str) -> Callable[[JsonObject], str]:
    """A figure over the unseen sources, and how far it is from the base's."""

    def cell(case: JsonObject) -> str:
        if case["status"] != "ok":
            return "-"
        value = f"{case['unseen'][name]:.4f}"
        away = (case["against_base"] or {}).get(name)
        return value if away is None else f"{value} ({away:+.4f})"

    return cell


def _by_source(case: JsonObject) -> str:
    found = case.get("sources", {}).items()
    return ", ".join(f"{name} {of['roc_auc']:.3f}" for name, of in found if of["roc_auc"])


COLUMNS: Columns = {
    "variation": lambda case: str(case["name"]),
    "what": lambda case: str(case["what"]),
    "AUC": _of("roc_auc"),
    "partial AUC": _of("partial_roc_auc"),
    "missed": _of("missed"),
    "AUC by source": _by_source,
    "status": lambda case: str(case["status"]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBenchConfig:
    """`data` holds `train` and `validation` as the recipe lays them out: SOURCE/CLASS/file.

    Raises UsageError for a variation that does not exist.
    """

    data: Path
    out: Path
    init: str = "imagenet"
    variations: tuple[str, ...] = ()
    """Names out of CASES; none: all."""
    epochs: int = 5
    epoch_images: int = 320
    batch_size: int = 20
    size: int = 224
    train_size: int = 112
    synthetic: float = 0.6
    per_class: int = 100
    """Validation images of each source and class, at most."""
    seed: int = 1
    device: str = "auto"
    threads: int = 0
    """Threads of torch; 0: its own choice."""

    def __post_init__(self) -> None:
        take_paths(self)
        known = {case.name for case in CASES}
        for name in self.variations:
            if name not in known:
                raise UsageError(f"no variation {name!r}; there are {', '.join(sorted(known))}")

    def training(self, variation: Variation) -> TrainConfig:
        plain = TrainConfig(
            data=self.data,
            out=self.out,
            init=self.init,
            epochs=self.epochs * variation.longer,
            epoch_images=self.epoch_images,
            batch_size=self.batch_size,
            size=self.size,
            train_size=self.train_size,
            synthetic=self.synthetic,
            seed=self.seed,
            device=self.device,
            workers=0,
        )
        return replace(plain, **variation.config)

    def settings(self) -> JsonObject:
        """Settings that decide a figure."""
        values = asdict(self)
        for name in ("data", "out", "variations", "threads"):
            del values[name]
        return values | {"init": self.init.replace("\\", "/").rsplit("/", 1)[-1]}


def bench_training(config: TrainingBenchConfig) -> JsonObject:
    """Raises DataError, BundleError or OutputError before the first training."""
    if config.threads:
        torch.set_num_threads(config.threads)
    training = find_labelled(config.data / "train")
    learned = frozenset(image.source for image in training)
    validation = find_labelled(config.data / "validation")
    held = development(validation, learned, config.per_class)
    build_network(config.init)
    settings = config.settings() | {"training_images": len(training), "judged": len(held.images)}
    done = _finished(config.out / LINES, settings)
    for wanted in CASES:
        if wanted.name in done or wanted.name not in (config.variations or _names()):
            continue
        case = _measured(config, wanted, training, held)
        done[wanted.name] = case
        _append(config.out / LINES, {"settings": settings, "case": case})
        print(f"{case['name']}: {case['reason'] or case['unseen']}", file=sys.stderr, flush=True)
    return {
        "benchmark": "training",
        "method": METHOD,
        "settings": settings | {"threads": torch.get_num_threads()},
        "cases": _compared([done[name] for name in _names() if name in done]),
    }


def _compared(cases: list[JsonObject]) -> list[JsonObject]:
    """With the differences to the case that each is to be compared with, where that is there."""
    base_of = {case.name: case.base for case in CASES}
    found = {case["name"]: case["unseen"] for case in cases if "unseen" in case}

    def away(case: JsonObject) -> JsonObject | None:
        base = base_of[case["name"]]
        if base == case["name"] or base not in found or "unseen" not in case:
            return None
        return {name: round(case["unseen"][name] - found[base][name], 6) for name in _COMPARED}

    return [case | {"against_base": away(case)} for case in cases]


def _names() -> list[str]:
    return [case.name for case in CASES]


def _measured(
    config: TrainingBenchConfig, wanted: Variation | View, training: Sequence[LabelledImage],
    held: Development,
) -> JsonObject:  # fmt: skip
    started = time.perf_counter()
    case: JsonObject = {"name": wanted.name, "what": wanted.what, "status": "ok", "reason": None}
    try:
        if isinstance(wanted, View):
            logits_N2 = look(wanted, held)
        else:
            logits_N2 = _train(config.training(wanted), wanted, training, held)
        case |= figures(logits_N2, held)
    except InspectorError as error:
        case |= {"status": "failed", "reason": str(error)}
    return case | {"seconds": round(time.perf_counter() - started, 1)}


def _train(
    config: TrainConfig, variation: Variation, training: Sequence[LabelledImage],
    held: Development,
) -> NDArray[np.float32]:  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build_network(config.init)
    trainer = variation.trainer(config, network, training, _glance(held.images))
    for epoch in range(config.epochs):
        trainer.run_epoch(epoch)
    model = trainer.judged.eval()

    def judge(pixels_NHWC: Tensor) -> Tensor:
        return trainer._logits(model, pixels_NHWC.to(trainer.device))

    return logits_of(judge, held, trainer.spec)


def _glance(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """One image of each class: the loop wants to validate, but nothing is chosen by it here."""
    return [next(i for i in images if i.is_crack is wanted) for wanted in (True, False)]


def _finished(lines: Path, settings: JsonObject) -> dict[str, JsonObject]:
    """Cases of an earlier run by name. Raises DataError where it had other settings."""
    done: dict[str, JsonObject] = {}
    if not lines.exists():
        return done
    for line in lines.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["settings"] != settings:
            raise DataError(f"{lines} was begun with other settings; choose another --out")
        done[row["case"]["name"]] = row["case"]
    return done


def _append(lines: Path, row: JsonObject) -> None:
    try:
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"cannot write {lines}: {error.strerror}") from error
