"""Options of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from inspector.calibration.thresholds import Rule, for_unseen_walls
from inspector.core.untrusted import check_model_name, take_paths
from inspector.engines import Device
from inspector.errors import UsageError

MOST_SYNTHETIC = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Options of a training. Raises UsageError for a value that cannot be right."""

    data: Path | None = None
    """Labelled folder; None: `labels` alone."""
    out: Path
    labels: tuple[Path, ...] = ()
    """Result directories of scans whose photos people labelled (`inspector review`), as more
    training images."""
    positive: str | tuple[str, ...] = ()
    """Names of the crack class's folders, where they are not the usual ones."""
    groups: Path | None = None
    """CSV with columns `file`, `group`: images of one group stay on one side of the split."""
    validation: Path | None = None
    """Labelled folder to validate on, from another place than DATA; None: DATA's `val/`, or a share
    of the training images."""
    init: str = "imagenet"
    """Initial weights: `imagenet` (download), `default` (shipped model), `random`, or the path of a
    bundle or of a file of weights."""
    epochs: int = 6
    batch_size: int = 100
    learning_rate: float | None = None
    """Peak rate of AdamW; None: 3e-4, or 1e-3 when only the last layer learns."""
    weight_decay: float = 0.02
    warmup: float = 0.1
    """Share of all steps during which the rate rises linearly; a cosine to zero follows."""
    freeze_backbone: bool = False
    size: int = 224
    """Side of the model's input, pixels."""
    train_size: int | None = None
    """Side during training, pixels; smaller is faster, and the last epoch runs at `size` so that
    the network has seen the scale at which it will judge (Touvron et al. 2019). None: `size`."""
    synthetic: float = 0.0
    """Share of the crack-free training images that get a synthetic crack or distractor."""
    validation_share: float = 0.15
    patience: int = 4
    """Epochs without a better validation ROC AUC (or loss, where that is equal) before it stops;
    with a `train_size` all epochs run."""
    ema_decay: float = 0.998
    """Decay per step of the averaged weights that are validated and kept; 0 switches it off."""
    epoch_images: int | None = None
    """Images drawn per epoch; None: the number of training images."""
    rule: Rule = field(default_factory=lambda: for_unseen_walls(Rule()))
    """How the thresholds are chosen on the validation images."""
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    """Loader processes; None: all usable cores but one, at most 16."""
    resume: bool = False
    leak_audit: bool = True
    """Look for near-duplicates and other leaks between training and validation images."""
    strict_splits: bool = False
    """Refuse to train when there are leaks."""

    def __post_init__(self) -> None:
        take_paths(self)
        check_model_name(self.out)
        checks = (
            (self.data is not None or self.labels, "name a labelled folder DATA, or --labels OUT"),
            (self.data is not None or self.validation is not None
             or not (self.groups or self.positive),
             "--groups and --positive are about a labelled folder: name DATA or --validation"),
            (not Device.parse(self.device).every,
             "a training uses one GPU: --device cuda, or cuda:<i>"),
            (self.epochs >= 1, f"epochs must be at least 1, not {self.epochs}"),
            (self.batch_size >= 2, f"batch size must be at least 2, not {self.batch_size}"),
            (self.learning_rate is None or self.learning_rate > 0, "learning rate must be > 0"),
            (0 <= self.warmup < 1, "warm-up must be a share from 0 to below 1"),
            (0 < self.validation_share < 0.5, "validation share must be between 0 and 0.5"),
            (0 <= self.synthetic <= MOST_SYNTHETIC,
             f"synthetic must be a share from 0 to {MOST_SYNTHETIC}: beyond it no photo of a crack "
             "would be learned from"),
            (0 <= self.ema_decay < 1, "EMA decay must be from 0 to below 1"),
            (self.patience >= 1, "patience must be at least 1"),
            (self.workers is None or self.workers >= 0, "workers cannot be negative"),
            (self.train_size is None or 32 <= self.train_size <= self.size,
             "the training size must be between 32 and the input size"),
            (self.epoch_images is None or self.epoch_images >= self.batch_size,
             "an epoch must hold at least one batch"),
            (self.leak_audit or not self.strict_splits,
             "strict splits need the leak audit: leave out one of the two options"),
        )  # fmt: skip
        for fine, message in checks:
            if not fine:
                raise UsageError(message)

    @property
    def peak_rate(self) -> float:
        return self.learning_rate or (1e-3 if self.freeze_backbone else 3e-4)

    def size_in(self, epoch: int) -> int:
        """Input side in an epoch (from 0): `size` in the last one, `train_size` before."""
        last = epoch == self.epochs - 1
        return self.size if last or self.train_size is None else self.train_size
