"""Options of an export."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from inspector.core.untrusted import check_model_name, take_paths
from inspector.errors import UsageError
from inspector.model.bundle import DEFAULT_PATH, Variant
from inspector.types import View

DEFAULT_OUT = Path("inspector-model")
"""Directory for variants of the shipped bundle: the installed package is not written to."""
EXACT_LIMIT = 256
"""Photos on which an fp32 export is compared: a mistake shows on any of them."""
HELD_BACK_LIMIT = 6000
"""Photos on which a lower precision is compared, where differences are rare; three times what its
gate needs at least."""

FP32 = "onnx-fp32"
"""The variant that a lower precision is made from, and that it defers to."""
EXACT = {
    FP32: Variant(file="model.onnx", backend="onnxruntime", precision="fp32"),
    "torchscript-fp32": Variant(file="model.ts", backend="torchscript", precision="fp32"),
}
REDUCED = {
    "onnx-int8": Variant(file="model.int8.onnx", backend="onnxruntime", precision="int8"),
    "onnx-fp16": Variant(file="model.fp16.onnx", backend="onnxruntime", precision="fp16"),
}
DENSE = {
    f"dense-{tile.precision}": replace(
        tile, file=tile.file.replace("model", "dense"), view=View.DENSE
    )
    for tile in (EXACT[FP32], *REDUCED.values())
}
"""Made with the ONNX variant of the same precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """Options of an export. Raises UsageError for impossible values."""

    bundle: Path | None = None
    """The bundle to export; None is the one that ships with the package."""
    onnx: bool = False
    torchscript: bool = False
    int8: bool = False
    fp16: bool = False
    """The variants to make; none of them means the first two."""
    out: Path | None = None
    """Directory for the bundle with the variants; None is `bundle` itself, or `inspector-model` in
    the working directory for the shipped one."""
    calibration: Path | None = None
    """Photos that set the ranges of int8. Without `images`, a third of them does, and the rest is
    held back for the gate."""
    images: Path | None = None
    """Photos on which verdicts are compared, beside the golden images; for int8 and fp16, a third
    of them chooses the margin and the gate looks at the rest."""
    images_limit: int | None = None
    """Upper limit on their number; None is `EXACT_LIMIT` for fp32 and `HELD_BACK_LIMIT` below."""
    held_back_minimum: int = 2000
    """Least number of photos for the gate of a lower precision."""

    def __post_init__(self) -> None:
        take_paths(self)
        check_model_name(self.out)
        if self.images_limit is not None and self.images_limit < 1:
            raise UsageError(f"at least one image must be compared, not {self.images_limit}")
        if self.images is not None and not os.path.isdir(self.images):
            raise UsageError(f"{self.images} is not a folder with photos to compare on")
        if self.calibration is not None and not os.path.isdir(self.calibration):
            raise UsageError(f"{self.calibration} is not a folder with photos to calibrate on")
        if self.calibration is not None and not self.reduced:
            raise UsageError("--calibration serves --int8 and --fp16 only; add one of them")
        if self.int8 and self.images is not None and self.calibration is None:
            raise UsageError(
                "int8 needs other photos than those it is compared on to set its ranges: "
                "add --calibration DIR"
            )

    @property
    def source(self) -> Path:
        return self.bundle or DEFAULT_PATH

    @property
    def target(self) -> Path:
        if self.out is not None:
            return self.out
        return DEFAULT_OUT if self._is_shipped else self.source

    @property
    def _is_shipped(self) -> bool:
        return self.source.resolve() == DEFAULT_PATH.resolve()

    @property
    def exact(self) -> dict[str, Variant]:
        """The fp32 variants asked for."""
        wanted = {"onnxruntime": self.onnx, "torchscript": self.torchscript}
        everything = not (self.onnx or self.torchscript or self.reduced)
        return {k: v for k, v in EXACT.items() if everything or wanted[v.backend]}

    @property
    def reduced(self) -> dict[str, Variant]:
        """The variants of lower precision asked for."""
        wanted = {"int8": self.int8, "fp16": self.fp16}
        return {k: v for k, v in REDUCED.items() if wanted[v.precision]}

    @property
    def dense(self) -> dict[str, Variant]:
        """The dense variants that belong to them. With any of lower precision comes that of fp32,
        which they are compared with."""
        onnx = [
            v for v in (*self.exact.values(), *self.reduced.values()) if v.file.endswith("onnx")
        ]
        made = {"fp32", *(variant.precision for variant in onnx)} if onnx else set()
        return {name: variant for name, variant in DENSE.items() if variant.precision in made}

    @property
    def variants(self) -> dict[str, Variant]:
        """All variants that are made."""
        return {**self.exact, **self.reduced, **self.dense}
