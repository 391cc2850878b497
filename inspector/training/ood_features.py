"""What a network sees in its training images, as a domain head is fitted to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from inspector.errors import DataError
from inspector.model.ood import pool_for_ood

Stages = Callable[[Tensor], Sequence[Tensor]]
"""uint8 pixels (N, H, W, 3) -> the outputs of layer1 to layer4, (N, C, h, w) each."""


@torch.no_grad()  # inference_mode would leave buffers that cannot be loaded over
def collect_features(stages: Stages, batches: Iterable[Tensor], limit: int) -> Tensor:
    """Pooled features (N <= `limit`, F), float32 on the CPU, of the first images in `batches`,
    each uint8 (n, H, W, 3) on the network's device.

    `batches` decide what is familiar: they should show the training images as they are and as
    augmentation changes them, so that another light or distance is not foreign. Raises DataError
    if they hold no image.
    """
    collected: list[Tensor] = []
    count = 0
    for pixels_NHWC in batches:
        wanted = pixels_NHWC[: limit - count]
        if len(wanted):
            collected.append(pool_for_ood(stages(wanted)).cpu())
            count += len(wanted)
        if count >= limit:
            break
    if not count:
        raise DataError("no readable training image to learn from what is familiar")
    return torch.cat(collected)
