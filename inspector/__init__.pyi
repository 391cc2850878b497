"""The public names and their types; written by `python -m tests.stub`."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TypeAlias, overload

from bench.config import BenchConfig as BenchConfig
from bench.results import Results as BenchResults
from export.config import ExportConfig as ExportConfig
from inspector.calibration.run import CalibrateConfig as CalibrateConfig
from inspector.calibration.run import Calibrated as Calibrated
from inspector.calibration.thresholds import Rule
from inspector.core.progress import Progress
from inspector.errors import InspectorError as InspectorError
from inspector.evaluation.figures import Evaluation as Evaluation
from inspector.evaluation.run import EvaluateConfig as EvaluateConfig
from inspector.library.frames import Results as Results
from inspector.library.predictor import Model as Model
from inspector.library.predictor import Prediction as Prediction
from inspector.model.bundle import ModelBundle as ModelBundle
from inspector.photos.opened import DecodeLimits
from inspector.reporting.contents import Report as Report
from inspector.reporting.report import ReportConfig as ReportConfig
from inspector.results.merge import MergeConfig as MergeConfig
from inspector.results.merge import MergeResult as MergeResult
from inspector.results.publish import PublishConfig as PublishConfig
from inspector.results.publish import PublishResult as PublishResult
from inspector.results.verify import VerifyConfig as VerifyConfig
from inspector.results.verify import VerifyResult as VerifyResult
from inspector.reviewing.server import ReviewConfig as ReviewConfig
from inspector.reviewing.server import ReviewResult as ReviewResult
from inspector.reviewing.session import Session
from inspector.scanning import RejudgeConfig as RejudgeConfig
from inspector.scanning import RejudgeResult as RejudgeResult
from inspector.scanning import ScanConfig as ScanConfig
from inspector.scanning import ScanSummary as ScanSummary
from inspector.scanning.config import FailureBudget
from inspector.scanning.pipeline import Told
from inspector.scanning.summary import Watcher
from inspector.training import TrainConfig as TrainConfig
from inspector.training import TrainResult as TrainResult
from inspector.training.loop import Trainer

StrPath: TypeAlias = str | PathLike[str]

_CALLS: dict[str, tuple[str, str]]
_LINES: dict[str, str]
_HOME: dict[str, str]
__all__: list[str]

@overload
def bench(config: BenchConfig, /, *, progress: Progress = ...) -> BenchResults: ...
@overload
def bench(
    source: StrPath | None = ...,
    *,
    model: StrPath | None = ...,
    out: StrPath = ...,
    mode: str = ...,
    backends: str | Sequence[str] | None = ...,
    precisions: str | Sequence[str] | None = ...,
    batch_sizes: int | Sequence[int] | None = ...,
    workers: int | Sequence[int] | None = ...,
    peers: str | Sequence[str] | None = ...,
    device: str = ...,
    budget_s: float | None = ...,
    seed: int = ...,
    remember: bool = ...,
    progress: Progress = ...,
) -> BenchResults:
    """Measure engines, loaders and whole paths on this machine, and write the reports. `progress`
    is called with what is being measured, and the seconds gone and in all.

    Returns the results, as they stand in results.json. What cannot run on this machine is listed
    with the reason; a case that broke or gave wrong answers has the status `failed`. Raises
    InspectorError where there is nothing to measure, or the reports cannot be written.
    """

@overload
def calibrate(
    config: CalibrateConfig, /, *, progress: Progress = ..., say: Callable[[str], object] = ...
) -> Calibrated: ...
@overload
def calibrate(
    data: StrPath,
    *,
    model: StrPath | None = ...,
    out: StrPath | None = ...,
    rule: Rule = ...,
    allow_laxer: bool = ...,
    positive: str | str | Sequence[str] = ...,
    groups: StrPath | None = ...,
    view: str = ...,
    device: str = ...,
    batch_size: int = ...,
    workers: int = ...,
    progress: Progress = ...,
    say: Callable[[str], object] = ...,
) -> Calibrated:
    """Choose thresholds on a labelled folder, and write a copy of the bundle that has them. `say`
    is called with warnings, and remarks on the data such as photos that the model has learned from.

    After an error `config.out` is as it was, or holds no `bundle.json`. Raises DataError, also
    where the photos are too few for the targets, BundleError, BackendError, OutputError.
    """

@overload
def evaluate(
    config: EvaluateConfig, /, *, progress: Progress = ..., say: Callable[[str], object] = ...
) -> Evaluation: ...
@overload
def evaluate(
    data: StrPath,
    *,
    model: StrPath | None = ...,
    positive: str | str | Sequence[str] = ...,
    groups: StrPath | None = ...,
    by: str = ...,
    out: StrPath | None = ...,
    gallery: int = ...,
    trained_on: StrPath | None = ...,
    strict_splits: bool = ...,
    backend: str = ...,
    device: str = ...,
    view: str = ...,
    batch_size: int = ...,
    workers: int = ...,
    progress: Progress = ...,
    say: Callable[[str], object] = ...,
) -> Evaluation:
    """Measure a model on every image of a labelled folder. With `config.out`, writes `report.html`,
    `metrics.json` and `predictions.parquet` there. `say` is called with remarks on the data, such
    as labels that contradict each other or leaks.

    Raises DataError, BundleError, BackendError, LoaderError, OutputError.
    """

@overload
def export(config: ExportConfig, /, *, progress: Progress = ...) -> ModelBundle: ...
@overload
def export(
    bundle: StrPath | None = ...,
    *,
    onnx: bool = ...,
    torchscript: bool = ...,
    int8: bool = ...,
    fp16: bool = ...,
    out: StrPath | None = ...,
    calibration: StrPath | None = ...,
    images: StrPath | None = ...,
    images_limit: int | None = ...,
    held_back_minimum: int = ...,
    progress: Progress = ...,
) -> ModelBundle:
    """The bundle at the target, with the new variants and golden images; its other variants stay.
    `progress` is called as each phase begins.

    Raises BundleError when the source is damaged, ExportError when a variant predicts differently,
    OutputError when the target holds something else or cannot be written; after any of them the
    target is as it was.
    """

@overload
def merge(config: MergeConfig, /, *, progress: Progress = ...) -> MergeResult: ...
@overload
def merge(
    tables: StrPath | Sequence[StrPath],
    *,
    out: StrPath,
    overwrite: bool = ...,
    progress: Progress = ...,
) -> MergeResult:
    """Make one table of all rows of `config.tables`, and of what people said about them.

    Killed anywhere, `config.out` has the table before or the new one, and the same call completes
    it. Raises OutputError where the tables do not belong together, a shard is missing, a file has
    a row in two of them, one is damaged or its scan was not finished, or `config.out` holds rows of
    another origin.
    """

@overload
def publish(config: PublishConfig, /, *, progress: Progress = ...) -> PublishResult: ...
@overload
def publish(out: StrPath, *, delta: StrPath, progress: Progress = ...) -> PublishResult:
    """Make all rows of `config.out`, with what people said about them, the next version of a Delta
    table, in one transaction; where its last one has them, change nothing.

    Raises OutputError where the scan was not finished, a part is not as it was committed, the Delta
    table is somebody else's, or it cannot be written.
    """

@overload
def rejudge(config: RejudgeConfig, /, *, progress: Progress = ...) -> RejudgeResult: ...
@overload
def rejudge(
    out: StrPath,
    *,
    threshold: float | None = ...,
    model: StrPath | None = ...,
    mm_per_px: float | None = ...,
    min_crack_mm: float | None = ...,
    progress: Progress = ...,
) -> RejudgeResult:
    """Give every row of the table at `config.out` the verdict that other thresholds make of its
    scores; a scan with the same thresholds then continues the table.

    Killed anywhere, the table is the old one or the new one, and the same call completes it. Raises
    OutputError where there is no table, another model made it, it is damaged, or photos that must
    be judged again are not there; nothing has changed then.
    """

@overload
def report(config: ReportConfig, /, *, progress: Progress = ...) -> Report: ...
@overload
def report(
    out: StrPath,
    *,
    html: StrPath | None = ...,
    csv: StrPath | None = ...,
    xlsx: StrPath | None = ...,
    geojson: StrPath | None = ...,
    geoparquet: StrPath | None = ...,
    coco: StrPath | None = ...,
    annotate: StrPath | None = ...,
    crops: StrPath | None = ...,
    copy_cracks: StrPath | None = ...,
    pictures: int = ...,
    title: str | None = ...,
    cover: StrPath | None = ...,
    model: StrPath | None = ...,
    moved: str | None = ...,
    since: str | None = ...,
    progress: Progress = ...,
) -> Report:
    """Count the table of `config.out`, and write the files that are asked for.

    Nothing but these files is changed. Raises OutputError where there is no table, a scan keeps
    changing it, or a file cannot be written; BundleError where `config.model` is none.
    """

@overload
def review(config: ReviewConfig, /, *, ready: Callable[[str, Session], None]) -> ReviewResult: ...
@overload
def review(
    out: StrPath,
    *,
    port: int | None = ...,
    model: StrPath | None = ...,
    moved: str | None = ...,
    reviewer: str = ...,
    ready: Callable[[str, Session], None],
) -> ReviewResult:
    """Serve the review until SIGINT or SIGTERM; `ready` is told its address once it answers.

    Raises OutputError (no results, a second review of the same directory, labels that cannot be
    read), UsageError (the port is taken), BundleError (`config.model` is none).
    """

@overload
def scan(
    config: ScanConfig, /, *, watch: Watcher | None = ..., rows: Told | None = ...
) -> ScanSummary: ...
@overload
def scan(
    sources: StrPath | Sequence[StrPath],
    *,
    out: StrPath = ...,
    model: StrPath | None = ...,
    device: str = ...,
    backend: str = ...,
    view: str = ...,
    heatmaps: str | None = ...,
    overlap: float = ...,
    precision: str = ...,
    trust: bool = ...,
    batch_size: int | None = ...,
    workers: int | None = ...,
    loader: str = ...,
    engine: str = ...,
    address: str | None = ...,
    threshold: float | None = ...,
    mm_per_px: float | None = ...,
    min_crack_mm: float | None = ...,
    max_failures: FailureBudget | str | None = ...,
    limit: int | None = ...,
    shard: str | None = ...,
    follow_symlinks: bool = ...,
    exclude: str | Sequence[str] = ...,
    limits: DecodeLimits = ...,
    verify_content: bool = ...,
    retry_failed: bool = ...,
    prune: bool = ...,
    source_gone: str | Sequence[str] = ...,
    moved: str | None = ...,
    overwrite: bool = ...,
    watch: Watcher | None = ...,
    rows: Told | None = ...,
) -> ScanSummary:
    """Give every photo of `config.sources` one row in the table at `config.out`.

    What is in the table already is skipped, so a scan that was stopped goes on when it is called
    again. SIGINT, SIGTERM and SIGHUP stop it between two batches. `watch` is told of the start and
    of every batch; `rows` gets the rows of each batch as they are made, before any of them is
    committed, so that no row of the table was kept from it, and a scan that was killed may make
    some again.
    Raises InspectorError where the scan cannot start or go on; the rows that are done are kept.

    Example:
        >>> import inspector
        >>> summary = inspector.scan("photos", out="o")
        >>> summary.table.rows, summary.table.verdicts
        (3, {'crack': 1, 'clear': 1, 'review': 0})
    """

@overload
def train(
    config: TrainConfig,
    /,
    *,
    progress: Progress = ...,
    say: Callable[[str], object] = ...,
    warn: Callable[[str], object] = ...,
    detail: Callable[[str], object] = ...,
    make_trainer: Callable[..., Trainer] = ...,
) -> TrainResult: ...
@overload
def train(
    data: StrPath | None = ...,
    *,
    out: StrPath,
    labels: StrPath | Sequence[StrPath] = ...,
    positive: str | str | Sequence[str] = ...,
    groups: StrPath | None = ...,
    validation: StrPath | None = ...,
    init: StrPath = ...,
    epochs: int = ...,
    batch_size: int = ...,
    learning_rate: float | None = ...,
    weight_decay: float = ...,
    warmup: float = ...,
    freeze_backbone: bool = ...,
    size: int = ...,
    train_size: int | None = ...,
    synthetic: float = ...,
    validation_share: float = ...,
    patience: int = ...,
    ema_decay: float = ...,
    epoch_images: int | None = ...,
    rule: Rule = ...,
    seed: int = ...,
    device: str = ...,
    workers: int | None = ...,
    resume: bool = ...,
    leak_audit: bool = ...,
    strict_splits: bool = ...,
    progress: Progress = ...,
    say: Callable[[str], object] = ...,
    warn: Callable[[str], object] = ...,
    detail: Callable[[str], object] = ...,
    make_trainer: Callable[..., Trainer] = ...,
) -> TrainResult:
    """Fine-tune ResNet18 on labelled images, and write a bundle that scans to `config.out`.

    Everything that can fail early does so before the first epoch.

    Args:
        config: Data, options and place of the bundle.
        progress: Called as each phase begins, while leaks are looked for, and after each step.
        say: Called with each line of the log: the images, the network's parts, each epoch.
        warn: Called with lines that a person must see: leaks, groups without a match, what is left
            of an interrupted training.
        detail: Called with the lines of the whole network, which the log has, too.
        make_trainer: Makes the trainer of `config`, the network, training and validation images.

    Raises:
        DataError: Wrong layout, a wrong CSV, or leaks under `strict_splits`.
        DownloadError, BundleError: Initial weights cannot be had.
        BackendError: There is no such device.
        TrainingError: A loss is not finite, or there is nothing to resume.
        OutputError: The bundle cannot be written, or labels cannot be read.
        ExportError: The trained model cannot be exported; it is kept.
    """

@overload
def verify(config: VerifyConfig, /, *, progress: Progress = ...) -> VerifyResult: ...
@overload
def verify(out: StrPath, *, photos: bool = ..., progress: Progress = ...) -> VerifyResult:
    """Read the result directory `config.out` to the last byte and say what is wrong with it.

    Nothing that its files may hold raises. Raises OutputError where there is no result directory,
    where a scan changed it all the time, or where another version wrote it, which says nothing
    against it.
    """

@overload
def watch(
    config: ScanConfig,
    /,
    *,
    every_s: float = ...,
    stop: Callable[[], bool] = ...,
    status: Callable[[int, str], object] = ...,
    rows: Told | None = ...,
) -> ScanSummary: ...
@overload
def watch(
    sources: StrPath | Sequence[StrPath],
    *,
    out: StrPath = ...,
    model: StrPath | None = ...,
    device: str = ...,
    backend: str = ...,
    view: str = ...,
    heatmaps: str | None = ...,
    overlap: float = ...,
    precision: str = ...,
    trust: bool = ...,
    batch_size: int | None = ...,
    workers: int | None = ...,
    loader: str = ...,
    engine: str = ...,
    address: str | None = ...,
    threshold: float | None = ...,
    mm_per_px: float | None = ...,
    min_crack_mm: float | None = ...,
    max_failures: FailureBudget | str | None = ...,
    limit: int | None = ...,
    shard: str | None = ...,
    follow_symlinks: bool = ...,
    exclude: str | Sequence[str] = ...,
    limits: DecodeLimits = ...,
    verify_content: bool = ...,
    retry_failed: bool = ...,
    prune: bool = ...,
    source_gone: str | Sequence[str] = ...,
    moved: str | None = ...,
    overwrite: bool = ...,
    every_s: float = ...,
    stop: Callable[[], bool] = ...,
    status: Callable[[int, str], object] = ...,
    rows: Told | None = ...,
) -> ScanSummary:
    """Judge photos of `config.sources` as they arrive, each once, until `stop` or a signal.

    Sources are looked at every `every_s` seconds, or as long as a look takes. A photo is judged
    when size and time of change were the same in two looks, so not while it is being copied; one
    that changes later is judged again. Each time it is a scan, with the model kept open, so what a
    scan promises holds: killed at any moment, the same call goes on, and other scans may write to
    the table in between. `rows` as in `scan`; `status` is told after each look how many photos are
    arriving, and why nothing can be seen or judged for now, if so.

    Returns:
        The summary of the last scan, with all rows of this watch as its run.

    Raises UsageError for a config that speaks of one scan, BusyError where another watch has the
    same results, else what `scan` raises. A source that cannot be listed later on is waited for.
    """
