"""The journal of a manifest: what a table has become since that was last written whole.

    {"follows":"5d1c..."}
    {"parts":[{"file":"part-000007.parquet","rows":1730,"sha256":"..."}],"rows":13840}

Its first line names the manifest that it continues; every other is one step of a scan: parts that
are new or were replaced, the rows of all parts by then, and where it is not as before or not empty,
`lost`, `rewriting` and `ended` as in the manifest. A line that a crash has torn was never
acknowledged and is left out, and so is a journal of an older manifest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from inspector.core.durable import append_synced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inspector.results.manifest import Manifest, Part
    from inspector.types import JsonObject

FEW_LINES = 1000
"""Lines before the manifest is written whole again; a manifest of more parts waits for as many
lines, so that over a scan less than twice its final size is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of a table at once; `lost`, `rewriting` and `ended` as in `Manifest`."""

    parts: tuple[Part, ...]
    """Parts that are new or were replaced since the last step."""
    rows: int
    """Rows of all parts."""
    lost: tuple[Part, ...] = ()
    rewriting: Mapping[str, Part] = field(default_factory=dict)
    ended: str = ""

    def to_json(self, lost_before: tuple[Part, ...]) -> JsonObject:
        line: JsonObject = {"parts": [asdict(part) for part in self.parts], "rows": self.rows}
        if self.lost != lost_before:
            line["lost"] = [asdict(part) for part in self.lost]
        if self.rewriting:
            line["rewriting"] = states_to_json(self.rewriting)
        return line | ({"ended": self.ended} if self.ended else {})


def states_to_json(states: Mapping[str, Part]) -> JsonObject:
    return {file: {"rows": part.rows, "sha256": part.sha256} for file, part in states.items()}


class Journal:
    """Writes the journal of the manifest that it was last told to follow."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._follows = ""
        self._room = 0
        self._lost: tuple[Part, ...] = ()
        self.lines = 0
        """Steps since the manifest was written whole."""

    def follow(self, manifest: Manifest, token: str) -> None:
        """From now on, continue a manifest that was written under this token; earlier versions
        gave it none, and it cannot be continued."""
        self._follows, self._lost, self.lines = token, manifest.lost, 0
        self._room = max(FEW_LINES, len(manifest.parts)) if token else 0

    def append(self, step: Step) -> bool:
        """Note a step, and wait until it is on disk; False, and nothing is written, where the
        manifest is to be written whole instead. Raises OSError."""
        if self.lines >= self._room:
            return False
        lines = [] if self.lines else [{"follows": self._follows}]
        lines.append(step.to_json(self._lost))
        content = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        append_synced(content.encode(), self._file)
        self._lost = step.lost
        self.lines += 1
        return True
