"""Photos on a map: GeoJSON with view directions and footprints, and GeoParquet."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inspector.core.durable import replacing
from inspector.photos.address import text_of
from inspector.photos.pose import STRAIGHT_DOWN, off_nadir
from inspector.reporting.lists import FIELDS, PLACE_DIGITS, each_photo, round_place
from inspector.reporting.sites import METRES_PER_DEGREE
from inspector.reporting.wording import photos

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from inspector.photos.address import Moved
    from inspector.results.query import Query
    from inspector.types import JsonObject

_PLACED = "isfinite(gps_lat) AND isfinite(gps_lon)"
_VIEW_METRES = 10.0
"""Length of a line that shows where a camera looked, where nothing measured how far."""
_MOST_NORTH, _MOST_EAST = 85.0, 179.9
"""Beyond them degrees and metres part company, or a polygon would have to be cut (RFC 7946, 3.1.9).
"""

Position = tuple[float, float]
"""Degrees east and north."""


def write_geojson(query: Query, file: Path, moved: Moved | None = None) -> str:
    """Write the photos whose place is known as a FeatureCollection (RFC 7946): a point for each,
    `kind` `photo`, and where the camera's direction is known a line from there, `view`, or of a
    photo that looks straight down what it shows, `footprint`.

    A point's properties are columns of the table, `human_verdict`, `note`, and `after_review`: what
    stands after people had their say; `uri` and `path` say where the photo lies now. Returns what
    there is to say of the file. Raises OSError, OutputError, StaleTableError.
    """
    count = 0
    with replacing(file) as draft, draft.open("x", encoding="utf-8", newline="\n") as stream:
        stream.write('{"type": "FeatureCollection", "features": [\n')
        for count, feature in enumerate(_points(query, moved), start=1):
            stream.write(f",\n{feature}" if count > 1 else feature)
        for shape in _shapes(query, moved):
            stream.write(f",\n{json.dumps(shape)}")
        stream.write("\n]}\n")
    return _without_place(count, query)


def _without_place(placed: int, query: Query) -> str:
    without = query.table.streamed - placed
    return f"{photos(placed)}, {without:,} {'has' if without == 1 else 'have'} no place"


def _points(query: Query, moved: Moved | None) -> Iterator[str]:
    columns = """path uri p_crack reason failure_code taken_at camera gps_lat gps_lon gps_alt
                 regions camera_yaw camera_pitch mm_per_px smallest_visible_mm""".split()
    numbers = ("camera_yaw", "camera_pitch", "mm_per_px", "smallest_visible_mm")
    rounded = ", ".join(f"{n}: if(isfinite({n}), round({n}::DOUBLE, 4), NULL)" for n in numbers)
    place = f"{round_place('gps_lon')}, {round_place('gps_lat')}"
    found = query.each(
        columns,
        f"""SELECT to_json({{
             type: 'Feature',
             geometry: {{type: 'Point', coordinates: if(coalesce(isfinite(gps_alt), false),
               [{place}, round(gps_alt, 2)], [{place}])}},
             properties: {{kind: 'photo', path: path, uri: uri, verdict: verdict,
               p_crack: if(isfinite(p_crack), round(p_crack::DOUBLE, 6), NULL), reason: reason,
               failure_code: failure_code, human_verdict: human, note: note, camera: camera,
               taken_at: strftime(taken_at, '%Y-%m-%dT%H:%M:%S'), after_review: after,
               regions: len(regions), {rounded}}}
           }})
           FROM photos WHERE {_PLACED}""",
    )
    for (feature,) in found:
        yield feature if moved is None else _moved_feature(feature, moved)


def _moved_feature(feature: str, moved: Moved) -> str:
    found = json.loads(feature)
    found["properties"] |= _where(found["properties"], moved)
    return json.dumps(found)


def _where(photo: Mapping[str, Any], moved: Moved | None) -> JsonObject:
    """Where a photo lies now: its address and its path."""
    if moved is None or (uri := moved.apply(photo["uri"])) == photo["uri"]:
        return {"path": photo["path"], "uri": photo["uri"]}
    return {"path": text_of(uri), "uri": uri}


def _shapes(query: Query, moved: Moved | None) -> Iterator[JsonObject]:
    columns = """path uri gps_lat gps_lon camera_yaw camera_pitch relative_altitude laser_distance
                 mm_per_px width height""".split()
    for values in query.each(
        columns,
        f"SELECT after, {', '.join(columns)} FROM photos WHERE {_PLACED} AND isfinite(camera_yaw)",
    ):
        after, path, uri, lat, lon, yaw, pitch, height, laser, scale, *sides = values
        about = {**_where({"path": path, "uri": uri}, moved), "after_review": after}
        if abs(lat) > _MOST_NORTH or abs(lon) > _MOST_EAST:
            continue
        if off_nadir(pitch) is None:
            ends = view_line((lon, lat), yaw, pitch or 0.0, laser)
            yield _feature("view", "LineString", ends, about)
        elif scale is not None and None not in sides:
            metres = (sides[0] * scale / 1000, sides[1] * scale / 1000)
            ring = footprint((lon, lat), yaw, metres, ahead_of(pitch, height, laser))
            yield _feature("footprint", "Polygon", [ring], about)


def _feature(kind: str, shape: str, coordinates: Any, about: JsonObject) -> JsonObject:
    geometry = {"type": shape, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": {"kind": kind, **about}}


def view_line(at: Position, yaw: float, pitch: float, laser: float | None) -> list[Position]:
    """The way on the ground from the camera to what it looks at, as far as that was measured."""
    metres = laser * math.cos(math.radians(pitch)) if laser else _VIEW_METRES
    return [at, _moved(at, yaw, 0.0, max(1.0, metres))]


def ahead_of(pitch: float, height: float | None, laser: float | None) -> float:
    """Metres ahead of the camera at which the middle of a photo from above lies."""
    tilt = math.radians(pitch - STRAIGHT_DOWN)
    if laser is not None:
        return laser * math.sin(tilt)
    return height * math.tan(tilt) if height is not None and height > 0 else 0.0


def footprint(
    at: Position, yaw: float, metres: tuple[float, float], ahead: float
) -> list[Position]:
    """The corners, closed and counter-clockwise, of what a photo from above shows: `metres` wide
    and high, its upper edge towards `yaw`, its middle `ahead` metres that way."""
    right, up = metres[0] / 2, metres[1] / 2
    corners = ((-right, -up), (right, -up), (right, up), (-right, up), (-right, -up))
    return [_moved(at, yaw, x, y + ahead) for x, y in corners]


def _moved(at: Position, yaw: float, x: float, y: float) -> Position:
    """The place `y` metres from `at` towards `yaw`, and `x` to the right of that."""
    lon, lat = at
    turn = math.radians(yaw)
    east = x * math.cos(turn) + y * math.sin(turn)
    north = y * math.cos(turn) - x * math.sin(turn)
    narrow = math.cos(math.radians(lat))
    place = (lon + east / (METRES_PER_DEGREE * narrow), lat + north / METRES_PER_DEGREE)
    return round(place[0], PLACE_DIGITS), round(place[1], PLACE_DIGITS)


_TYPES = {
    "text": pa.string(),
    "count": pa.int64(),
    "number": pa.float64(),
    "time": pa.timestamp("us"),
}
_ATTRIBUTES = [
    pa.field("uri", pa.string()),
    *(pa.field(field.name, _TYPES[field.kind]) for field in FIELDS if field.kind in _TYPES),
]
_POINT = np.dtype([("order", "u1"), ("type", "<u4"), ("lon", "<f8"), ("lat", "<f8")])
"""A point as well-known binary, little-endian (OGC 06-103r4, 8.2.4)."""
_ROWS_PER_GROUP = 10_000
_AXES = ("lon", "lat")


def write_geoparquet(query: Query, file: Path, moved: Moved | None = None) -> str:
    """Write the photos whose place is known as GeoParquet 1.1.0: points in WGS 84, the columns of
    the lists as attributes, and `uri`, where the photo lies now. Returns and raises as
    `write_geojson`."""
    ends = (f"{end}({round_place(f'gps_{name}')})" for end in ("min", "max") for name in _AXES)
    (bounds,) = query.ask(
        ["gps_lat", "gps_lon"], f"SELECT count(*), {', '.join(ends)} FROM photos WHERE {_PLACED}"
    )
    column: JsonObject = {"encoding": "WKB", "geometry_types": ["Point"]}
    if bounds[0]:
        column["bbox"] = list(bounds[1:])
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    schema = pa.schema([*_ATTRIBUTES, pa.field("geometry", pa.binary(), nullable=False)])
    schema = schema.with_metadata({"geo": json.dumps(geo)})
    with (
        replacing(file) as draft,
        draft.open("xb") as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        waiting: list[dict[str, Any]] = []
        for photo in each_photo(query, _PLACED):
            waiting.append(photo if moved is None else {**photo, "uri": moved.apply(photo["uri"])})
            if len(waiting) == _ROWS_PER_GROUP:
                writer.write_batch(_batch(waiting, schema))
                waiting.clear()
        if waiting:
            writer.write_batch(_batch(waiting, schema))
    return _without_place(bounds[0], query)


def _batch(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    points_N = np.zeros(len(rows), _POINT)
    points_N["order"], points_N["type"] = 1, 1
    points_N["lon"] = [photo["gps_lon"] for photo in rows]
    points_N["lat"] = [photo["gps_lat"] for photo in rows]
    columns = [
        pa.array([photo.get(field.name) for photo in rows], field.type) for field in _ATTRIBUTES
    ]
    points = pa.array([point.tobytes() for point in points_N], pa.binary())
    return pa.RecordBatch.from_arrays([*columns, points], schema=schema)
