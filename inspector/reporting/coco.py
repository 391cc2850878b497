"""Regions as COCO JSON, which CVAT, Label Studio and others take to correct them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from inspector.core.durable import replacing
from inspector.core.text import quantity
from inspector.photos.address import SLASHES, text_of
from inspector.reporting.counting import common_folder
from inspector.reporting.wording import photos
from inspector.results.labels import box_of
from inspector.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.photos.address import Moved
    from inspector.results.query import Query
    from inspector.types import JsonObject

_CATEGORY = {"id": 1, "name": "crack", "supercategory": "damage"}
_LOOKED_AT = "regions IS NOT NULL AND width > 0 AND height > 0"
"""A photo that was judged whole has no regions, also where it shows a crack: a program that learns
from this file would take it for an example without one."""


def write_coco(query: Query, file: Path, moved: Moved | None = None) -> str:
    """Write the photos that were judged at their own scale, or in which people marked cracks, as
    `images`, and their regions as `annotations` with `bbox` and, of the model's, `score`; of a
    photo that is clear, only what people marked.

    `file_name` is relative to the folder that holds all of them, which `info` names. Returns what
    there is to say of the file. Raises OSError, OutputError, StaleTableError.
    """
    ((first, last),) = query.ask(
        ["uri", "regions", "width", "height"],
        f"SELECT min(uri), max(uri) FROM photos WHERE {_LOOKED_AT}",
    )
    root = common_folder(first or "", last or "")
    now = text_of(moved.apply(root) if moved else root).rstrip(SLASHES)
    about = {"description": "cracks found by inspector", "root": now}
    counts = {}
    with replacing(file) as draft, draft.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write(f'{{"info": {json.dumps(about)},\n"licenses": [],\n')
        stream.write(f'"categories": [{json.dumps(_CATEGORY)}]')
        lists = {"images": _images(query, root, moved), "annotations": _annotations(query)}
        for name, entries in lists.items():
            stream.write(f',\n"{name}": [')
            counts[name] = 0
            for entry in entries:
                stream.write(f"{',' if counts[name] else ''}\n{json.dumps(entry)}")
                counts[name] += 1
            stream.write("\n]")
        stream.write("}\n")
    left_out = query.table.streamed - counts["images"]
    return (
        f"{quantity(counts['annotations'], 'region')} in {photos(counts['images'])}; "
        f"{left_out:,} not judged at their own scale"
    )


def _images(query: Query, root: str, moved: Moved | None) -> Iterator[JsonObject]:
    names = ["uri", "width", "height", "regions", "p_crack", "verdict"]
    for row, human, note, uri, width, height, p_crack, verdict in query.each(
        names,
        f"""SELECT row, human, note, uri, width, height, p_crack, verdict
            FROM photos WHERE {_LOOKED_AT}""",
    ):
        yield {
            "id": row + 1,
            "file_name": text_of(uri.removeprefix(root)),
            "width": width,
            "height": height,
            "coco_url": moved.apply(uri) if moved else uri,
            "verdict": verdict,
            "human_verdict": human,
            "note": note,
            "p_crack": p_crack if p_crack is None else round(p_crack, 6),
        }


def _annotations(query: Query) -> Iterator[JsonObject]:
    number = 0
    for row, regions in query.each(
        ["regions", "width", "height"],
        f"""SELECT row, [r FOR r IN regions IF after <> '{Verdict.CLEAR}' OR r.p_crack IS NULL]
            FROM photos WHERE {_LOOKED_AT} AND len(regions) > 0""",
    ):
        for region in regions:
            number += 1
            box = box_of(region)
            score = {} if region["p_crack"] is None else {"score": round(region["p_crack"], 6)}
            yield {
                "id": number,
                "image_id": row + 1,
                "category_id": _CATEGORY["id"],
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
                "segmentation": [],
                **score,
            }
