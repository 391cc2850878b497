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
from dataclasses import asdict
from typing import TYPE_CHECKING

from inspector.core.durable import append_synced

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.results.manifest import Manifest, Part
    from inspector.types import JsonObject

FEW_LINES = 1000
"""Lines before the manifest is written whole again; a manifest of more parts waits for as many
lines, so that over a scan less than twice its final size is written."""


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
        """From now on, continue a manifest that was written under this token; one without a token
        cannot be continued."""
        self._follows, self._lost, self.lines = token, manifest.lost, 0
        self._room = max(FEW_LINES, len(manifest.parts)) if token else 0

    def append(self, step: Manifest, rows: int) -> bool:
        """Note a step, and wait until it is on disk; False, and nothing is written, where the
        manifest is to be written whole instead. `step` is the manifest as it is now, but only with
        the parts that are new or were replaced; `rows` are those of all parts. Raises OSError."""
        if self.lines >= self._room:
            return False
        line: JsonObject = {"parts": [asdict(part) for part in step.parts], "rows": rows}
        if step.lost != self._lost:
            line["lost"] = [asdict(part) for part in step.lost]
        if step.rewriting:
            line["rewriting"] = [asdict(part) for part in step.rewriting.values()]
        if step.ended:
            line["ended"] = step.ended
        lines = [line] if self.lines else [{"follows": self._follows}, line]
        content = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        append_synced(content.encode(), self._file)
        self._lost = step.lost
        self.lines += 1
        return True
