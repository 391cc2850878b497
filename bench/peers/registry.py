"""Peers that are known, and readers of what they and scans say and write. Peers do not import it:
their start-up is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.dataset as ds

from bench.answers import Answer, Answers, Rule
from inspector.types import JsonObject, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A program that judges a folder: a module with the arguments of `peers.common`."""

    module: str
    about: str
    rule: Rule = Rule.PROBABILITIES
    full_size: bool = False
    """It decodes JPEGs at full size, so its right answers are those to such pixels."""
    needs: str = ""
    """A package that must be installed."""
    view: View = View.WHOLE
    """`tiles`: it judges photos at their own scale, and is compared with scans that do so, too."""
    tunes: bool = False
    """With `--tune` it searches its fastest setting, for `--setting`."""

    @property
    def sees_as_scans(self) -> bool:
        """Whether the model gets the same pixels from it."""
        return not self.full_size and self.view is View.WHOLE

    def arguments(self, source: str, bundle: str, table: str) -> list[str]:
        """Arguments of `python -m`."""
        tiles = ["--tiles"] if self.view is View.TILES else []
        return [self.module, source, bundle, table, *tiles]


PEERS: Mapping[str, Peer] = {
    "plain": Peer(
        module="bench.peers.plain_loop", full_size=True,
        about="a loop of Pillow and ONNX Runtime, as one would write it in an afternoon",
    ),
    "eager": Peer(
        module="bench.peers.eager_loop",
        about="the weights in eager PyTorch behind this project's decoder, in a loop",
    ),
    "timm": Peer(
        module="bench.peers.timm_loop", needs="timm", rule=Rule.OWN_PIXELS, tunes=True,
        about="timm's loader, transforms and model with the bundle's weights, in the fastest "
        "of its settings on a few of the photos",
    ),
    "tiles": Peer(
        module="bench.peers.plain_loop", view=View.TILES,
        about="a loop that cuts photos into tiles that overlap by a fifth, and runs them "
        "through ONNX Runtime, as one would write it in an afternoon",
    ),
    "timm-tiles": Peer(
        module="bench.peers.timm_loop", needs="timm", view=View.TILES,
        about="the same tiles through timm's model with the bundle's weights",
    ),
    "ray": Peer(
        module="bench.peers.ray_loop", needs="ray", full_size=True,
        about="Ray Data, map_batches with the bundle's file in ONNX Runtime",
    ),
    "daft": Peer(
        module="bench.peers.daft_loop", needs="daft", full_size=True,
        about="Daft, a function over batches with the bundle's file in ONNX Runtime",
    ),
}  # fmt: skip


def loop_seconds(said: JsonObject) -> float:
    """Seconds of a run between its start-up and its end, by its own clock."""
    if "loop_seconds" in said:
        return float(said["loop_seconds"])
    return float(said["seconds"] - said["stage_seconds"].get("start", 0.0))


def read_answers(table: Path) -> tuple[Answers, int]:
    """The answers in a table of a scan or a peer, and its number of rows."""
    dataset = ds.dataset(table.absolute())  # a relative name with a colon is an address to Arrow
    columns = [name for name in ("path", "p_crack", "verdict") if name in dataset.schema.names]
    rows = dataset.to_table(columns=columns).to_pylist()
    return {row["path"]: Answer(row["p_crack"], row.get("verdict")) for row in rows}, len(rows)
