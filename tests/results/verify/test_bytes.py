"""Every byte counts."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from inspector.results.lost import read_list
from inspector.results.verify import VerifyConfig, verify
from tests.results.verify.table import PARTS, write


@pytest.mark.timeout(120)
def test_no_byte_of_a_directory_can_change_unseen(original, tmp_path):
    """Bits flipped, cut and spliced anywhere: found, or of no meaning (JSON's white space, a note
    on the tool's version). It never raises."""
    out = Path(shutil.copytree(original, tmp_path / "out"))
    shutil.copy(write(tmp_path / "more", [77]) / PARTS[0], out / "table/part-000003.parquet")
    files = sorted(p for p in out.rglob("*") if p.is_file() and p.name != "lock")
    contents = {path: path.read_bytes() for path in files}
    known = verify(VerifyConfig(out=out))
    expected = sorted(ds.dataset(out).to_table()["uri"].to_pylist())
    dice = random.Random(4)
    for _ in range(120):
        path = dice.choice(files)
        content = mutated(contents[path], dice)
        path.write_bytes(content)
        result = verify(VerifyConfig(out=out))
        if content != contents[path] and not result.damage:
            assert path.suffix in (".json", ".photos") or path.name == "part-000003.parquet"
            assert result.rows == known.rows
            if path.suffix == ".json":
                meaning, before = (json.loads(text) for text in (content, contents[path]))
                assert {**meaning, "tool_version": ""} == {**before, "tool_version": ""}
            elif path.suffix == ".photos":
                changed = read_list(path, 99)
                path.write_bytes(contents[path])
                assert changed == read_list(path, 99)
            else:
                uris = sorted(ds.dataset(out).to_table()["uri"].to_pylist())
                assert uris == expected
        path.write_bytes(contents[path])


def mutated(content, dice):
    place = dice.randrange(len(content))
    kind = dice.choice(["bit", "byte", "cut", "drop", "splice"])
    if kind == "bit":
        return (
            content[:place]
            + bytes([content[place] ^ 1 << dice.randrange(8)])
            + content[place + 1 :]
        )
    if kind == "byte":
        return content[:place] + dice.randbytes(1) + content[place + 1 :]
    if kind == "cut":
        return content[:place]
    end = place + dice.randrange(1, 40)
    return content[:place] + (dice.randbytes(7) if kind == "splice" else b"") + content[end:]
