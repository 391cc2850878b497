"""The model bundle: weights, labels, preprocessing and thresholds as one value with one digest.

On disk it is a directory: `bundle.json`, `weights.safetensors`, the exported variants
(`model.onnx`, `model.ts`), `golden.npz` and `MODEL_CARD.md`. `bundle.json` holds the sha256 of
every other file; loading verifies them. Nothing in a bundle is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.durable import publish
from inspector.errors import BundleError, UsageError
from inspector.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.types import JsonObject

FORMAT = 2
"""Version of the bundle layout; a reader refuses any other."""

BUNDLE_JSON = "bundle.json"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.npz"
CARD = "MODEL_CARD.md"
STUDENT = "training/student.safetensors"
"""Weights of the cascade's first stage before its export; a scan has no use for them."""
DEFAULT_PATH = Path(__file__).parent / "models" / "default"
"""The bundle that ships inside the package."""

INPUT_NAME = "images"
OUTPUT_NAMES = ("probabilities", "cam", "domain")
OUTPUT_RANKS = (2, 3, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """`clear` below `clear_below`, `crack` from `crack_from` on, `review` between; `review` also,
    whatever the probability, from an out-of-domain score of `out_of_domain` on (None: never).

    Raises UsageError unless 0 <= clear_below <= crack_from <= 1 and 0 < out_of_domain.
    """

    clear_below: float = 0.5
    crack_from: float = 0.5
    out_of_domain: float | None = None
    chosen: str = "not chosen on data"
    """One sentence: on which data and by which rule, and what that guarantees."""
    evidence: JsonObject = field(default_factory=dict, hash=False)
    """The same as data: rule, targets, confidence, counts (`inspector.calibration.thresholds`)."""

    def __post_init__(self) -> None:
        if not 0 <= self.clear_below <= self.crack_from <= 1:
            raise UsageError(
                f"thresholds must satisfy 0 <= clear_below <= crack_from <= 1, "
                f"not {self.clear_below} and {self.crack_from}"
            )
        if self.out_of_domain is not None and not 0 < self.out_of_domain < inf:
            raise UsageError(f"out_of_domain must be positive, not {self.out_of_domain}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One exported form of the model inside a bundle."""

    file: str
    backend: str
    """Name of the engine that runs it: `onnxruntime` or `torchscript`."""
    precision: str
    parity: JsonObject = field(default_factory=dict)
    """The export gate's evidence: images compared, largest difference, verdicts that differ."""
    margin: float = 0.0
    """A probability whose logit is nearer than this to a threshold's is not final: the fp32
    variant judges that image again. 0: every answer is final."""
    domain_margin: float = 0.0
    """The same for the out-of-domain score, in its own units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """A first stage that sees photos at low resolution and decides only what is beyond doubt.

    `clear` below `clear_below`, `crack` from `crack_from` on; what lies between, and what is
    foreign to it, goes on to the model's own resolution. Chosen for the bundle's own thresholds.
    """

    file: str
    backend: str
    precision: str
    size: int
    """Side of its square input, pixels; the model's input shrunk to it (`preprocess.shrink`)."""
    clear_below: float
    crack_from: float
    familiar_below: float
    """Out-of-domain score, on the stage's own scale, from which on it decides nothing."""
    evidence: JsonObject = field(default_factory=dict)
    """How the band was chosen, and what the gate measured on other images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBundle:
    """A loaded `bundle.json`. `labels` are in the order of the model's outputs."""

    path: Path
    labels: tuple[str, ...]
    positive: str
    preprocess: PreprocessSpec
    temperature: float
    thresholds: Thresholds
    files: Mapping[str, str]
    """sha256 (hex) by file name."""
    variants: Mapping[str, Variant] = field(default_factory=dict)
    cascade: Cascade | None = None
    training: JsonObject = field(default_factory=dict)
    """Provenance: seed, data digest, versions, metrics."""

    def __post_init__(self) -> None:
        two = len(self.labels) == len(set(self.labels)) == 2
        if not two or self.positive not in self.labels:
            raise BundleError(f"labels {self.labels} must be two, one of them {self.positive!r}")
        if not 0 < self.temperature < inf:
            raise BundleError(f"temperature must be positive and finite, not {self.temperature}")

    @property
    def positive_index(self) -> int:
        """The crack class's place among the outputs."""
        return self.labels.index(self.positive)

    @property
    def digest(self) -> str:
        """sha256 of everything that decides a verdict; the same for every exported variant."""
        decisive = {
            "format": FORMAT,
            "labels": self.labels,
            "positive": self.positive,
            "preprocess": self.preprocess.to_json(),
            "temperature": self.temperature,
            "thresholds": [
                self.thresholds.clear_below,
                self.thresholds.crack_from,
                self.thresholds.out_of_domain,
            ],
            "weights": self.files[WEIGHTS],
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def variant(self, backend: str, precision: str) -> Variant:
        """The variant for an engine. Raises BundleError naming those there are."""
        for variant in self.variants.values():
            if (variant.backend, variant.precision) == (backend, precision):
                return variant
        have = ", ".join(sorted(self.variants)) or "none"
        raise BundleError(
            f"{self.path} has no {precision} variant for {backend} (it has: {have}); "
            f"make one with: inspector export {self.path} {_option(backend, precision)}"
        )

    def margins(self, precision: str) -> tuple[float, float]:
        """How far from a threshold an answer in `precision` must be to be final: its logit, and
        its out-of-domain score."""
        found = [v for v in self.variants.values() if v.precision == precision]
        return (
            max((v.margin for v in found), default=0.0),
            max((v.domain_margin for v in found), default=0.0),
        )

    def first_stage(self) -> Cascade:
        """The cascade's low-resolution stage. Raises BundleError when there is none."""
        if self.cascade is None:
            raise BundleError(
                f"{self.path} has no cascade; make one with: inspector export {self.path} "
                "--cascade --calibration PHOTOS"
            )
        return self.cascade

    def file(self, name: str) -> Path:
        return self.path / name

    @classmethod
    def load(cls, path: Path | str, *, verify: bool = True) -> ModelBundle:
        """Read a bundle. Raises BundleError: not there, not readable, another format, or (with
        `verify`) a file whose bytes are not those that were saved."""
        path = Path(path)
        values = _read_json(path / BUNDLE_JSON)
        if values.get("format") != FORMAT:
            raise BundleError(
                f"{path} has bundle format {values.get('format')}, this version reads {FORMAT}; "
                "install the matching crack-inspector or export the bundle again"
            )
        try:
            bundle = cls(
                path=path,
                labels=tuple(values["labels"]),
                positive=values["positive"],
                preprocess=PreprocessSpec.from_json(values["preprocess"]),
                temperature=values["temperature"],
                thresholds=Thresholds(**values["thresholds"]),
                files=dict(values["files"]),
                variants={name: Variant(**v) for name, v in values["variants"].items()},
                cascade=Cascade(**values["cascade"]) if values.get("cascade") else None,
                training=values["training"],
            )
            if verify:
                bundle.verify()
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            raise BundleError(f"{path / BUNDLE_JSON} is damaged: {error!r}") from error
        return bundle

    def verify(self) -> None:
        """Raises BundleError naming every file that is missing, has other bytes than saved, has no
        hash, or lies outside the bundle."""
        exported = {variant.file for variant in self.variants.values()}
        if self.cascade is not None:
            exported.add(self.cascade.file)
        unhashed = {WEIGHTS, *exported} - set(self.files)
        wrong = [f"{name} has no hash" for name in sorted(unhashed)]
        for name, expected in self.files.items():
            file = self.file(name)
            if os.path.basename(name) != name:
                wrong.append(f"{name} is not the name of a file in it")
            elif not file.is_file():
                wrong.append(f"{name} is missing")
            elif sha256_of(file) != expected:
                wrong.append(f"{name} was changed")
        if wrong:
            raise BundleError(
                f"{self.path} is damaged: {'; '.join(wrong)}; copy or export it again"
            )

    def with_files(self, *names: str, **changes: object) -> ModelBundle:
        """This bundle with the current hashes of `names` and other fields replaced."""
        hashes = {name: sha256_of(self.path / name) for name in names}
        return replace(self, files={**self.files, **hashes}, **changes)  # type: ignore[arg-type]

    def save(self) -> None:
        """Write `bundle.json` in one step; the other files are there already."""
        values = {
            "format": FORMAT,
            "digest": self.digest,
            "labels": self.labels,
            "positive": self.positive,
            "preprocess": self.preprocess.to_json(),
            "temperature": self.temperature,
            "thresholds": asdict(self.thresholds),
            "input": {"name": INPUT_NAME, "dtype": "uint8", "layout": "NHWC", "colour": "RGB"},
            "outputs": list(OUTPUT_NAMES),
            "variants": {name: asdict(v) for name, v in self.variants.items()},
            "cascade": asdict(self.cascade) if self.cascade else None,
            "files": dict(sorted(self.files.items())),
            "training": self.training,
        }
        publish((json.dumps(values, indent=2) + "\n").encode(), self.path / BUNDLE_JSON)


def _option(backend: str, precision: str) -> str:
    """What `inspector export` is told to make such a variant."""
    if precision == "fp32":
        return "--onnx" if backend == "onnxruntime" else f"--{backend}"
    return f"--{precision} --calibration PHOTOS"


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(file: Path) -> JsonObject:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{file.parent} is not a model bundle (no {file.name}); "
            "make one with: inspector train DATA --out BUNDLE"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {file}: {error}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{file} does not hold a JSON object")
    return values
