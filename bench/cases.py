"""What `python -m bench scan` can compare: settings of the scan, and other programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bench import afternoon
from bench.checks import Answers, Outcome, Rule
from bench.system import without_folders
from inspector.backends import open_backend
from inspector.errors import InspectorError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.mistakes import Mistaken
    from inspector.bundle import ModelBundle
    from inspector.types import JsonObject


@dataclass(frozen=True, slots=True)
class Engine:
    """What a setting of the scan demands."""

    backend: str
    precision: str
    cascade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to judge a folder. `module` and `options` are what is run."""

    module: str
    rule: Rule
    options: tuple[str, ...] = ()
    trial: Engine | None = None
    """An engine that must come up for it to run at all."""
    full_size: bool = False
    """It decodes JPEGs at full size, so its right answers are those to such pixels."""
    needs: str = ""
    """A package that must be installed."""
    about: str = ""


SCAN = "inspector"


def _scan(about: str, *options: str, trial: Engine | None = None) -> Setting:
    exact = trial is not None and trial.precision == "fp32" and not trial.cascade
    return Setting(
        module=SCAN,
        rule=Rule.PROBABILITIES if exact else Rule.VERDICTS,
        options=options,
        trial=trial,
        about=f"inspector scan {' '.join(options)}".strip() + f", {about}",
    )


def _full(precision: str, backend: str = "onnxruntime") -> Setting:
    """Every photo at full resolution, in one precision."""
    options = ["--precision", precision, "--cascade", "off"]
    if backend != "onnxruntime":
        options += ["--backend", backend]
    return _scan("full resolution", *options, trial=Engine(backend, precision))


SETTINGS: Mapping[str, Setting] = {
    "scan": _scan("all left to it"),
    "scan-fp32": _full("fp32"),
    "scan-int8": _full("int8"),
    "scan-fp16": _full("fp16"),
    "scan-cascade": _scan(
        "low resolution first", "--cascade", "on", trial=Engine("onnxruntime", "fp32", True)
    ),
    "scan-openvino-fp32": _full("fp32", "openvino"),
    "scan-openvino-int8": _full("int8", "openvino"),
    "scan-openvino-cascade": _scan(
        "low resolution first",
        *("--cascade", "on", "--backend", "openvino"),
        trial=Engine("openvino", "fp32", True),
    ),
    "scan-tensorrt-fp16": _full("fp16", "tensorrt"),
    "afternoon": Setting(
        module="bench.afternoon",
        rule=Rule.PROBABILITIES,
        full_size=True,
        about=" ".join((afternoon.__doc__ or "").split()),
    ),
    "timm": Setting(
        module="bench.timm_loop",
        rule=Rule.OWN_PIXELS,
        needs="timm",
        about="timm's own loader, transforms and model with the bundle's weights, in the fastest "
        "of its settings on a few of the photos",
    ),
    "eager": Setting(
        module="bench.eager_loop",
        rule=Rule.PROBABILITIES,
        about="the weights in eager torch behind this project's decoder, a plain loop",
    ),
}
DEFAULT_CASES = ("scan", "scan-fp32", "scan-int8", "scan-cascade", "afternoon", "timm", "eager")
PHOTO_CASES = ("scan", "scan-fp32", "scan-int8", "scan-cascade", "afternoon")
MOST_IN_MEMORY = 512
"""Decoded photos, spread evenly over all, that an engine alone is measured on."""
TIMM, AFTERNOON = "timm", "afternoon"


@dataclass(slots=True)
class Case:
    """A setting, its right answers, and what was measured; lists have one entry per round."""

    name: str
    setting: Setting
    expected: Answers
    mistakes: Mistaken
    status: str = "ok"
    """`ok`; `unavailable`: it cannot run here; `failed`: it crashed or was wrong."""
    reason: str = ""
    said: JsonObject = field(default_factory=dict)
    """What its last run printed."""
    wall_s: list[float] = field(default_factory=list)
    start_up_s: list[float] = field(default_factory=list)
    alone_batch: int = 0
    """The engine's fastest batch size; 0 where it is not measured alone."""
    alone_rates: list[float] = field(default_factory=list)
    """Images per second of the engine alone, measured right after each run."""
    outcomes: list[Outcome] = field(default_factory=list)

    def end(self, status: str, reason: str) -> None:
        self.status, self.reason = status, without_folders(reason)

    @property
    def is_scan(self) -> bool:
        return self.setting.module == SCAN

    def command(self, source: Path, table: Path, bundle: Path, device: str) -> list[str]:
        """Arguments of `python -m` that judge `source`."""
        if self.is_scan:
            common = ["--model", str(bundle), "--device", device, "--json", "--quiet"]
            wanted = ["scan", str(source), "--out", str(table), *self.setting.options]
            return [self.setting.module, *wanted, *common]
        given = [str(source), str(bundle), str(table), "--device", device]
        return [self.setting.module, *given, *self.setting.options]


def chosen(names: Sequence[str]) -> dict[str, Setting]:
    """Settings by name. Raises UsageError naming those there are."""
    unknown = [name for name in names if name not in SETTINGS]
    if unknown or not names:
        raise UsageError(
            f"unknown case {', '.join(unknown) or '(none)'}; choose some of: {', '.join(SETTINGS)}"
        )
    return {name: SETTINGS[name] for name in names}


def try_out(case: Case, bundle: ModelBundle, device: str) -> None:
    """Mark a case that cannot run here, with the reason."""
    needs, trial = case.setting.needs, case.setting.trial
    if needs and find_spec(needs) is None:
        case.end("unavailable", f"{needs} is not installed; see the bench extra")
    elif trial is not None:
        try:
            open_backend(
                bundle,
                trial.backend,
                device=device,
                precision=trial.precision,
                cascade=trial.cascade,
            ).close()
        except InspectorError as error:
            case.end("unavailable", str(error))
