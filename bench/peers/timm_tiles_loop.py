"""timm on photos that are too large for the model, as one would write it in an afternoon: tiles of
the full-size photo that overlap by a fifth, normalised in torch, 32 at a time through timm's
ResNet18 with the bundle's weights, in inference mode and channels-last. A photo's probability is
the mean over its tiles."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from bench.peers.common import finish, peer_arguments
from bench.peers.plain_loop import BATCH, photos_in
from bench.peers.tiles import cut, read_photo
from bench.peers.timm_loop import load_model
from inspector.model.bundle import ModelBundle

if TYPE_CHECKING:
    from numpy.typing import NDArray


def main() -> None:
    """`python -m bench.peers.timm_tiles_loop SOURCE BUNDLE TABLE [--device cpu|cuda]`."""
    args = peer_arguments().parse_args()
    bundle = ModelBundle.load(args.bundle, verify=False)
    model = load_model(bundle).to(args.device, memory_format=torch.channels_last)
    started = time.perf_counter()
    paths = photos_in(args.source)
    photos = (read_photo(path, bundle.preprocess.size) for path in paths)
    with torch.inference_mode():
        found = [None if p is None else judge(model, bundle, p, args.device) for p in photos]
    names = [str(path) for path in paths]
    finish(args.table, names, found, started=started, device=args.device)


def judge(model: Any, bundle: ModelBundle, photo_HWC: NDArray[Any], device: str) -> float:
    """Mean probability of a crack over the tiles of a photo, uint8 (H, W, 3)."""
    spec = bundle.preprocess
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (spec.mean, spec.std))
    tiles_NHWC = torch.from_numpy(cut(photo_HWC, spec.size))
    found = []
    for start in range(0, len(tiles_NHWC), BATCH):
        x_NCHW = (
            tiles_NHWC[start : start + BATCH].to(device).permute(0, 3, 1, 2)
        )  # channels-last already
        logits_NC = model((x_NCHW / 255 - mean) / std).float()
        found.append(torch.softmax(logits_NC / bundle.temperature, dim=1))
    return float(torch.cat(found)[:, bundle.positive_index].mean())


if __name__ == "__main__":
    main()
