"""timm's own loader and model with the bundle's weights, as a user of timm would judge a folder.
Its transforms (Resize, CenterCrop, ToTensor, Normalize) see the whole photo at the bundle's input
size. The fastest setting is searched on a few photos, and measured. With `--tiles` it judges tiles
of photos, as one would write it in an afternoon: normalised in torch, 32 at a time, channels-last.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from bench.peers.common import finish, judge_photo, peer_arguments, photos_in
from inspector.core.machine import usable_cores
from inspector.model.bundle import WEIGHTS, ModelBundle
from inspector.model.network import from_storage, read_weights
from inspector.photos.formats import IMAGE_SUFFIXES
from inspector.types import JsonObject

Pass = tuple[list[str], list[float | None], float]


timm_data: Any = timm.data
"""Only partly typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimmSetting:
    """Settings that a user of timm can turn without changing the model."""

    batch_size: int = 32
    workers: int = 1
    channels_last: bool = True
    prefetcher: bool = False
    """Send uint8 from the loader and normalise on the device."""
    amp: bool = False


class TimmProgram:
    """The model once, and any number of passes over a folder, which return paths, crack
    probabilities (None where a photo cannot be read), and when (time.perf_counter) the loop
    began."""

    def __init__(self, bundle: ModelBundle, device: str) -> None:
        self.bundle, self.device = bundle, torch.device(device)
        model: Any = timm.create_model("resnet18", num_classes=len(bundle.labels))
        model.load_state_dict(from_storage(read_weights(bundle.file(WEIGHTS))).state_dict())
        self.model = model.eval().to(self.device)
        timm_data.add_img_extensions(sorted(IMAGE_SUFFIXES))

    def run(self, source: Path, setting: TimmSetting) -> Pass:
        """Photos as a whole, by timm's own loader."""
        layout = torch.channels_last if setting.channels_last else torch.contiguous_format
        model = self.model.to(memory_format=layout)
        dataset: Any = timm_data.create_dataset("", root=os.path.abspath(source))
        batches = iter(self._loader(dataset, setting))
        probabilities: list[float | None] = []
        started = time.perf_counter()
        amp = torch.autocast(self.device.type, enabled=setting.amp)
        with torch.inference_mode(), amp:
            for images, _ in batches:
                probabilities += self._p_crack(model(images.to(self.device, memory_format=layout)))
        return dataset.filenames(absolute=True), probabilities, started

    def _loader(self, dataset: Any, setting: TimmSetting) -> Any:
        spec = self.bundle.preprocess
        return timm_data.create_loader(
            dataset,
            input_size=(3, spec.size, spec.size),
            batch_size=setting.batch_size,
            use_prefetcher=setting.prefetcher,
            interpolation="bilinear",
            mean=spec.mean,
            std=spec.std,
            num_workers=setting.workers,
            # The whole photo, as the model saw it in training; the default cuts its edges off.
            crop_pct=1.0,
            crop_mode="squash",
            pin_memory=self.device.type == "cuda",
            device=self.device,
            persistent_workers=False,
        )

    def run_tiles(self, source: Path) -> Pass:
        """Photos in tiles."""
        model = self.model.to(memory_format=torch.channels_last)
        started = time.perf_counter()
        paths, judge = photos_in(source), partial(self._judge_tiles, model)
        with torch.inference_mode():
            found = [judge_photo(path, self.bundle.preprocess.size, judge) for path in paths]
        return list(map(str, paths)), found, started

    def _judge_tiles(self, model: Any, tiles_NHWC: NDArray[np.uint8]) -> list[float]:
        spec, device = self.bundle.preprocess, self.device
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
        # Channels-last already.
        x_NCHW = torch.from_numpy(tiles_NHWC).to(device).permute(0, 3, 1, 2)
        return self._p_crack(model((x_NCHW / 255 - mean) / std))

    def _p_crack(self, logits_NC: torch.Tensor) -> list[float]:
        shares_NC = torch.softmax(logits_NC.float() / self.bundle.temperature, dim=1)
        return shares_NC[:, self.bundle.positive_index].tolist()


def tune(program: TimmProgram, source: Path) -> JsonObject:
    """The fastest setting, one field after the other, and every rate (images/s) on the way."""
    best, best_rate, cores = TimmSetting(), 0.0, usable_cores()
    alternatives: dict[str, tuple[Any, ...]] = {
        "workers": tuple(sorted({0, max(1, cores // 2), cores})),
        "channels_last": (True, False),
        "batch_size": (32, 128),
        "prefetcher": (False, True),
        "amp": (False, True) if program.device.type == "cuda" else (),
    }
    tried: list[JsonObject] = []
    program.run(source, replace(best, workers=0))  # the first pass plans kernels
    for name, values in alternatives.items():
        for value in values:
            setting = replace(best, **{name: value})
            if any(asdict(setting).items() <= known.items() for known in tried):
                continue
            paths, _, started = program.run(source, setting)
            rate = len(paths) / (time.perf_counter() - started)
            tried.append(asdict(setting) | {"images_per_second": round(rate, 2)})
            if rate > best_rate:
                best, best_rate = setting, rate
    return {"best": asdict(best), "tried": tried}


def main() -> None:
    """`python -m bench.peers.timm_loop SOURCE BUNDLE TABLE [--device D] [--tiles]
    [--setting JSON]`; with `--tune` it searches its fastest setting."""
    parser = peer_arguments()
    parser.add_argument("--setting", type=json.loads, default={})
    parser.add_argument("--tune", action="store_true")
    args = parser.parse_args()
    program = TimmProgram(ModelBundle.load(args.bundle, verify=False), args.device)
    if args.tiles:
        paths, probabilities, started = program.run_tiles(args.source)
    elif args.tune:
        print(json.dumps(tune(program, args.source)))
        return
    else:
        paths, probabilities, started = program.run(args.source, TimmSetting(**args.setting))
    finish(args.table, paths, probabilities, started=started, device=args.device)


if __name__ == "__main__":
    main()
