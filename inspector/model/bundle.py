"""The model bundle: weights, labels, preprocessing and thresholds as one value with one digest.

On disk it is a directory: `bundle.json`, `weights.safetensors`, the exported variants
(`model.onnx`, `model.ts`), `golden.npz` and `MODEL_CARD.md`. `bundle.json` holds the sha256 of
every other file and of its own values; loading verifies them and admits nothing else: numbers are
finite, an ONNX file reads only files that are listed. A link counts as what it leads to.

A bundle is data, except for `model.ts`: TorchScript is a program. It runs only in an engine that
was asked for by name, and only from a bundle that is `trusted`. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.durable import publish
from inspector.core.untrusted import (
    checked,
    finite,
    is_number,
    is_plain_name,
    read_json,
    sha256_of,
    texts,
)
from inspector.errors import BundleError, UsageError
from inspector.model.onnx_files import unlisted
from inspector.model.preprocess import PreprocessSpec
from inspector.types import JsonObject, View

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FORMAT = 2
"""Version of the bundle layout; a reader refuses any other."""

BUNDLE_JSON = "bundle.json"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.npz"
CARD = "MODEL_CARD.md"
DEFAULT_PATH = Path(__file__).parent / "default"
"""The bundle that ships inside the package."""

INPUT_NAME = "images"
OUTPUT_NAMES = ("probabilities", "cam", "domain")
OUTPUT_RANKS = (2, 3, 1)
DENSE_OUTPUTS = ("log_odds", "window_domain")
"""Of the variants for the dense view, both of rank 3 (`inspector.model.network.DenseModel`)."""
NARROW = "narrow"
"""Precision of variants that are another, smaller network, taught by the model: a first stage that
decides only what is beyond doubt."""
_ONNX = ".onnx"
_ENDINGS = {"onnxruntime": _ONNX, "torchscript": ".ts"}
"""Engines go by a file's ending as to what they read it as, so each engine's is fixed."""
_CHECKSUM = "checksum"
_MOST_FILES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """`clear` below `clear_below`, `crack` from `crack_from` on, `review` between; `review` also,
    whatever the probability, from an OOD score of `out_of_distribution` on (None: never).

    Raises UsageError unless 0 <= clear_below <= crack_from <= 1 and 0 < out_of_distribution.
    """

    clear_below: float = 0.5
    crack_from: float = 0.5
    out_of_distribution: float | None = None
    chosen: str = "not chosen on data"
    """One sentence: on which data and by which rule, and what that guarantees."""
    evidence: JsonObject = field(default_factory=dict, hash=False)
    """`chosen` as data: rule, targets, confidence, counts (`inspector.calibration.thresholds`)."""

    def __post_init__(self) -> None:
        if not 0 <= self.clear_below <= self.crack_from <= 1:
            raise UsageError(
                f"thresholds must satisfy 0 <= clear_below <= crack_from <= 1, "
                f"not {self.clear_below} and {self.crack_from}"
            )
        if self.out_of_distribution is not None and not 0 < self.out_of_distribution < inf:
            raise UsageError(
                f"out_of_distribution must be positive, not {self.out_of_distribution}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseView:
    """Numbers by which photos are judged at their own scale. Everything here decides verdicts.

    Raises UsageError for numbers out of range.
    """

    temperature: float
    """Divides the log odds of a window; inside a larger photo they are not those of a tile, whose
    border the network pads with zeros."""
    shift: float
    """Added to the log odds after the temperature."""
    offset_x: float = 0.0
    """Pixels to the right by which evidence lies off its cell's centre, as measured."""
    offset_y: float = 0.0
    thresholds: Thresholds = field(default_factory=Thresholds)
    """Of the photo's probability, with guarantees counted in photos."""
    photo: JsonObject = field(default_factory=dict, hash=False)
    """The rule that makes regions and one probability of a photo's windows
    (`inspector.model.evidence`)."""

    def __post_init__(self) -> None:
        if not 0 < self.temperature < inf:
            raise UsageError(f"the dense view's temperature must be positive: {self.temperature}")
        if max(abs(self.shift), abs(self.offset_x), abs(self.offset_y)) > 1000:
            raise UsageError("a number of the dense view is out of range")

    @property
    def decisive(self) -> JsonObject:
        """What of it decides verdicts: all but how the thresholds were chosen."""
        values = asdict(self)
        for name in ("chosen", "evidence"):
            del values["thresholds"][name]
        return values


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
    """A probability whose logit is nearer than this to a threshold's is not final: the next variant
    (`ModelBundle.after`) judges that image again. 0: every answer is final. Of a narrow variant for
    the dense view: how far below `clear_below` a photo is clear of which the next one saw parts."""
    ood_margin: float = 0.0
    """Distance to the out-of-distribution threshold within which a score is not final, in units of
    the score. Of a narrow variant every score beyond it is not final, either."""
    crack_margin: float | None = None
    """Of a narrow variant, which decides nothing between the thresholds: the margin above
    `crack_from`, where `margin` is that below `clear_below`."""
    view: View = View.WHOLE
    """`whole`: it judges images of the model's size, so also tiles. `dense`: photos of any size."""

    @property
    def kind(self) -> tuple[str, str, str]:
        """What a bundle has one variant of."""
        return self.backend, self.precision, self.view

    def __post_init__(self) -> None:
        ending = _ENDINGS.get(self.backend, "/")
        if not is_plain_name(self.file) or not self.file.endswith(ending):
            what = f"{self.file!r:.80} is not the name of a file in it"
            raise UsageError(f"{what} for {self.backend!r:.40}")
        if View(self.view) not in (View.WHOLE, View.DENSE):
            raise UsageError(f"{self.file}: no variant is for the view {self.view}")
        if min(self.margin, self.ood_margin, self.crack_margin or 0.0) < 0:
            raise UsageError(f"{self.file}: a margin must not be negative")
        decides_first = self.precision == NARROW and self.view == View.WHOLE
        if (self.crack_margin is not None) != decides_first:
            raise UsageError(f"{self.file}: a crack_margin is what narrow variants for tiles have")


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
    dense: DenseView | None = None
    """None: photos are judged whole, whatever their size."""
    training: JsonObject = field(default_factory=dict)
    """Provenance: seed, data digest, versions, metrics."""
    trusted: bool = field(default=False, compare=False)
    """Its TorchScript may run: somebody said so, or it is the bundle inside the package."""

    def __post_init__(self) -> None:
        two = len(self.labels) == len(set(self.labels)) == 2
        if not two or self.positive not in self.labels:
            raise BundleError(f"labels {self.labels} must be two, one of them {self.positive!r}")
        if not is_number(self.temperature) or self.temperature <= 0:
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
                self.thresholds.out_of_distribution,
            ],
            "weights": self.files[WEIGHTS],
        }
        if self.dense is not None:
            decisive["dense"] = self.dense.decisive
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def find(self, backend: str, precision: str, view: View = View.WHOLE) -> Variant | None:
        """The variant for an engine; None where there is none."""
        kind = backend, precision, view
        return next((each for each in self.variants.values() if each.kind == kind), None)

    def variant(self, backend: str, precision: str, view: View = View.WHOLE) -> Variant:
        """The variant for an engine. Raises BundleError naming those there are."""
        if (found := self.find(backend, precision, view)) is not None:
            return found
        have = ", ".join(sorted(self.variants)) or "none"
        kind = f"dense {precision}" if view == View.DENSE else precision
        option = f"--{precision} --calibration PHOTOS"
        if precision == "fp32":
            option = "--onnx" if backend == "onnxruntime" else f"--{backend}"
        remedy = f"make one with: inspector export {self.path} {option}"
        if precision == NARROW:
            remedy = (
                "choose another --precision, and another --out where a table was begun with this"
            )
        what = f"{self.path} has no {kind} variant for {backend} (it has: {have})"
        raise BundleError(f"{what}; {remedy}")

    def after(self, precision: str) -> str | None:
        """The precision that judges again what a variant of `precision` for images of the model's
        size is not sure of; None: its answers are final."""
        if precision == NARROW:
            return "int8" if self.find("onnxruntime", "int8") else "fp32"
        own = (v for v in self.whole.values() if v.precision == precision)
        return "fp32" if any(v.margin or v.ood_margin for v in own) else None

    @property
    def whole(self) -> dict[str, Variant]:
        """The variants that judge images of the model's size."""
        return {name: v for name, v in self.variants.items() if v.view == View.WHOLE}

    @property
    def exported(self) -> set[str]:
        """Names of the files that engines run."""
        return {variant.file for variant in self.variants.values()}

    def file(self, name: str) -> Path:
        return self.path / name

    @classmethod
    def load(cls, path: Path | str, *, verify: bool = True, trust: bool = False) -> ModelBundle:
        """Read a bundle; `trust` it with running programs. Raises BundleError: not there, not
        readable, another format, or (with `verify`) a file whose bytes are not those saved."""
        path = Path(path)
        values = _read(path / BUNDLE_JSON)
        if values.get("format") != FORMAT:
            raise BundleError(
                f"{path} has bundle format {values.get('format')}, this version reads {FORMAT}; "
                "install the matching crack-inspector or export the bundle again"
            )
        dense = values.get("dense")
        try:
            bundle = cls(
                path=path,
                labels=tuple(texts(values["labels"])),
                positive=values["positive"],
                preprocess=checked(PreprocessSpec, values["preprocess"], "preprocess"),
                temperature=values["temperature"],
                thresholds=checked(Thresholds, values["thresholds"], "thresholds"),
                files=_files(values["files"]),
                variants={
                    name: checked(Variant, variant, f"variants[{name!r:.40}]")
                    for name, variant in values["variants"].items()
                },
                dense=None if dense is None else checked(DenseView, dense, "dense"),
                training=dict(values["training"]),
                trusted=trust or path.resolve() == DEFAULT_PATH.resolve(),
            )
            if values[_CHECKSUM] != _checksum(values):
                raise ValueError("its values are not those that were saved")
            if len({v.kind for v in bundle.variants.values()}) < len(bundle.variants):
                raise ValueError("two variants are for the same engine")
            if unhashed := {WEIGHTS, *bundle.exported} - set(bundle.files):
                raise ValueError(f"{', '.join(sorted(unhashed))} has no hash")
            if verify:
                bundle.verify()
        except PermissionError as error:
            raise BundleError(
                f"this user may not read {error.filename or path}; try: chmod -R a+rX {path}"
            ) from error
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            raise BundleError(
                f"{path / BUNDLE_JSON} is damaged ({error!r:.200}); copy or export it again, and "
                "for other thresholds use inspector calibrate"
            ) from error
        return bundle

    def verify(self) -> None:
        """Raises BundleError naming every file that is missing, has other bytes than saved, or
        reads others that are not listed."""
        wrong = []
        for name, expected in self.files.items():
            file = self.file(name)
            if not file.is_file():
                wrong.append(f"{name} is missing")
            elif sha256_of(file) != expected:
                wrong.append(f"{name} was changed")
            elif name.endswith(_ONNX):
                wrong += unlisted(file, self.files)
        if wrong:
            raise BundleError(
                f"{self.path} is damaged: {'; '.join(wrong)}; copy or export it again"
            )

    def without(self, files: Collection[str]) -> ModelBundle:
        """This bundle without those files, and without the variants that are in them."""
        return replace(
            self,
            files={name: sha256 for name, sha256 in self.files.items() if name not in files},
            variants={n: v for n, v in self.variants.items() if v.file not in files},
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
            "thresholds": finite(asdict(self.thresholds)),
            "input": {"name": INPUT_NAME, "dtype": "uint8", "layout": "NHWC", "colour": "RGB"},
            "outputs": list(OUTPUT_NAMES),
            "variants": {name: finite(asdict(v)) for name, v in self.variants.items()},
            "files": dict(sorted(self.files.items())),
            "training": finite(self.training),
        }
        if self.dense is not None:
            values["dense"] = finite(asdict(self.dense))
        values[_CHECKSUM] = _checksum(json.loads(json.dumps(values)))
        publish((json.dumps(values, indent=2) + "\n").encode(), self.path / BUNDLE_JSON)


def _checksum(values: JsonObject) -> str:
    """sha256 of all of `bundle.json` but itself: margins decide verdicts, too."""
    rest = {name: value for name, value in values.items() if name != _CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _files(values: JsonObject) -> dict[str, str]:
    """Raises ValueError for what names no file in the bundle."""
    if len(values) > _MOST_FILES:
        raise ValueError(f"{len(values)} files are more than {_MOST_FILES}")
    texts(list(values.values()))
    for name in values:
        if not is_plain_name(name):
            raise ValueError(f"{name!r:.80} is not the name of a file in it")
    return dict(values)


def _read(file: Path) -> JsonObject:
    try:
        values = read_json(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"{file.parent} is not a model bundle (no {file.name}); "
            "make one with: inspector train DATA --out BUNDLE"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot read {file}: {error}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{file} does not hold a JSON object")
    return values
