"""Photos that know their place, as a file that maps open."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from inspector.core.durable import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.reporting.table import Table
    from inspector.types import JsonObject

_COLUMNS = (
    "path uri verdict p_crack reason failure_code human_verdict after camera gps_lat gps_lon "
    "gps_alt"
).split()


def write_geojson(table: Table, file: Path) -> int:
    """A FeatureCollection (RFC 7946) with one point per photo whose place is known; how many those
    are. Its properties are columns of the table, `taken_at`, `human_verdict`, and `after_review`:
    what stands after people had their say. Raises OSError, StaleTableError, OutputError."""
    count = 0
    with replacing(file) as draft, draft.open("w", encoding="ascii", newline="\n") as stream:
        stream.write('{"type": "FeatureCollection", "features": [')
        for feature in _features(table):
            stream.write(",\n" if count else "\n")
            json.dump(feature, stream, allow_nan=False)
            count += 1
        stream.write("\n]}\n")
    return count


def _features(table: Table) -> Iterator[JsonObject]:
    for piece in table.pieces():
        degrees = (piece.rows["gps_lat"], piece.rows["gps_lon"])
        rows = piece.rows.filter(pc.and_(*map(pc.is_valid, degrees)))
        times = pc.strftime(rows["taken_at"], format="%Y-%m-%dT%H:%M:%S").to_pylist()
        for row, taken_at in zip(rows.select(_COLUMNS).to_pylist(), times, strict=True):
            yield _feature({**row, "taken_at": taken_at and taken_at[:19]})


def _feature(row: JsonObject) -> JsonObject:
    place = [row.pop("gps_lon"), row.pop("gps_lat")]
    altitude = row.pop("gps_alt")
    if altitude is not None and math.isfinite(altitude):
        place.append(altitude)
    row["after_review"] = row.pop("after")
    if row["p_crack"] is not None:
        row["p_crack"] = round(row["p_crack"], 6)
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": place},
            "properties": row}  # fmt: skip
