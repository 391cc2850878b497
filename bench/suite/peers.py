"""Other programs that judge a folder: what one would use without this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.checks import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A module that is run as `python -m MODULE SOURCE BUNDLE TABLE --device D`."""

    module: str
    about: str
    rule: Rule = Rule.PROBABILITIES
    full_size: bool = False
    """It decodes JPEGs at full size, so its right answers are those to such pixels."""
    needs: str = ""
    """A package that must be installed."""
    tunes: bool = False
    """With `--tune` it searches its fastest setting, for `--setting`."""


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "afternoon": Peer(
            module="bench.afternoon",
            full_size=True,
            about="a plain loop of Pillow and ONNX Runtime, as one would write it in an afternoon",
        ),
        "eager": Peer(
            module="bench.eager_loop",
            about="the weights in eager PyTorch behind this project's decoder, a plain loop",
        ),
        "timm": Peer(
            module="bench.timm_loop",
            rule=Rule.OWN_PIXELS,
            needs="timm",
            tunes=True,
            about="timm's loader, transforms and model with the bundle's weights, in the fastest "
            "of its settings on a few of the photos",
        ),
        "ray": Peer(
            module="bench.ray_loop",
            full_size=True,
            needs="ray",
            about="Ray Data, map_batches with the bundle's file in ONNX Runtime",
        ),
        "daft": Peer(
            module="bench.daft_loop",
            full_size=True,
            needs="daft",
            about="Daft, a function over batches with the bundle's file in ONNX Runtime",
        ),
    }
)
