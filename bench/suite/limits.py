"""This machine's own ceilings: how fast it copies, multiplies, decodes and reads at most.

What a case reaches of them says what limits it. Run in a process of its own, because it loads every
library there is: `python -m bench.suite.limits REQUEST`, see `main`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.suite.limits_ceiling import measure
from bench.suite.limits_cuda import cuda_ceilings
from bench.suite.limits_files import decode_ceiling, disk_ceiling
from bench.suite.limits_memory import memory_ceiling
from bench.suite.limits_products import product_ceilings
from inspector.engines.device import has_nvidia_driver
from inspector.model.preprocess import PreprocessSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.types import JsonObject


def measure_limits(
    tiles: Sequence[Path],
    photos: Sequence[Path],
    spec: PreprocessSpec,
    *,
    seconds: float,
    device: str,
) -> JsonObject:
    """Every ceiling by name: `what`, `unit`, `samples`, their `median` (None where it cannot be
    measured, with the `reason`) and `how`. Takes about `seconds`.

    A GPU's are among them unless `device` is `cpu`; with `auto`, where there is an NVIDIA driver.
    """
    ceilings = [
        memory_ceiling(),
        *product_ceilings(),
        decode_ceiling("tiles", tiles, spec),
        decode_ceiling("photos", photos, spec),
        disk_ceiling([*photos, *tiles]),
    ]
    if device.startswith("cuda") or (device == "auto" and has_nvidia_driver()):
        ceilings += cuda_ceilings()
    return measure(ceilings, seconds)


def main() -> None:
    """`python -m bench.suite.limits REQUEST`: a JSON file with `tiles` and `photos` (paths),
    `preprocess` (a PreprocessSpec's), `seconds` and `device`; prints the limits as JSON."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    limits = measure_limits(
        [Path(path) for path in request["tiles"]],
        [Path(path) for path in request["photos"]],
        PreprocessSpec.from_json(request["preprocess"]),
        seconds=request["seconds"],
        device=request["device"],
    )
    print(json.dumps(limits))


if __name__ == "__main__":
    main()
