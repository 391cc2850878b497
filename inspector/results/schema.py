"""The result table: its columns, what they mean, and how a row is made."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from inspector.core.text import calendar_time
from inspector.core.untrusted import finite
from inspector.photos.address import text_of
from inspector.types import PREVIEW, Failure, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from inspector.types import Judgement, Photo


def leave_pandas_out() -> None:
    """Let PyArrow, which looks once for pandas, find none, unless it is loaded already: that would
    take each command half a second and 40 MB, and none needs it. `to_pandas` still works."""
    hidden = _Hidden()
    sys.meta_path.insert(0, hidden)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(hidden)


class _Hidden:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


SCHEMA_VERSION = 7
"""Changes whenever a column does; parts of different versions do not mix."""
METADATA_PREFIX = "inspector."
"""Prefix of our keys in a part's schema metadata."""
JUDGED_AT = "judged_at"
"""Name of the column by which what is new is told from what was there."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table, and what a reader must know about it."""

    name: str
    type: Any
    doc: str
    nullable: bool = True

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, nullable=self.nullable)


BOX = [pa.field(name, pa.int32(), nullable=False) for name in ("x", "y", "width", "height")]
"""A rectangle in pixels of the upright photo."""
REGION = pa.struct(
    [
        *BOX,
        pa.field("p_crack", pa.float32(), nullable=False),
        pa.field("length_at_least", pa.float32(), nullable=False),
        pa.field("length_at_most", pa.float32(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
    ]
)
"""One of a photo's `regions`; the fields of `inspector.types.Region`."""

COLUMNS = (
    Column(
        "uri",
        pa.string(),
        "The file's address, exact and unique, however its directory was spelled; pure ASCII.",
        nullable=False,
    ),
    Column(
        "path",
        pa.string(),
        r"The same as a path, for people; bytes that are not UTF-8 appear as \xNN.",
        nullable=False,
    ),
    Column(
        "status",
        pa.string(),
        "`ok`, or `failed` where the file could not be judged.",
        nullable=False,
    ),
    Column("verdict", pa.string(), "`crack`, `clear` or `review`; null when failed."),
    Column("p_crack", pa.float32(), "Calibrated probability of a crack; null when failed."),
    Column(
        "ood_score",
        pa.float32(),
        "Out-of-distribution score: 1 is usual among the photos the model learned from, 2 as odd "
        "as the oddest hundredth of them; null when failed.",
    ),
    Column("reason", pa.string(), "Why the verdict is what it is; null when failed."),
    Column(
        "stage",
        pa.string(),
        "Which engine decided, as precision@pixels; cheaper ones hand on what they are not sure "
        "of; null when failed.",
    ),
    Column("failure_code", pa.string(), "Why the file could not be judged; null when ok."),
    Column("detail", pa.string(), "What exactly went wrong; null when ok."),
    Column(
        "peak_x",
        pa.float32(),
        "Where the evidence for a crack peaks, as a share of the width (0 left, 1 right), in the "
        "upright photo; null when clear or failed, or where `inspector rejudge` turned a clear "
        "photo into another.",
    ),
    Column("peak_y", pa.float32(), "The same along the height (0 top, 1 bottom)."),
    Column(
        "view",
        pa.string(),
        "How the photo was judged: `whole`, brought to the model's input as one image, or at its "
        "own scale, `dense` or in `tiles`; null when failed.",
    ),
    Column("windows", pa.int32(), "Windows that were judged, 1 if whole; null when failed."),
    Column(
        "crack_windows",
        pa.int32(),
        "Windows among them that show a crack; null when judged whole or failed.",
    ),
    Column("crack_fraction", pa.float32(), "Their share of all windows."),
    Column(
        "regions",
        pa.list_(REGION),
        "Where there is evidence for a crack, likeliest first: boxes in pixels of the upright "
        "photo, the probability of a crack in each, its length along the axis (at least, at "
        "most; pixels), and the stage that decided; null when judged whole or failed.",
    ),
    Column("width", pa.int32(), "Pixels, upright (after EXIF orientation)."),
    Column("height", pa.int32(), "Pixels, upright (after EXIF orientation)."),
    Column(
        "format",
        pa.string(),
        "The content's format, whatever the name says; of camera raw "
        "photos of which only the preview could be read it ends in ` preview`.",
    ),
    Column("size_bytes", pa.int64(), "Of the file."),
    Column("mtime", pa.timestamp("us"), "When the file was last changed; UTC, no time zone."),
    Column("content_hash", pa.string(), "SHA-256 of the file, hexadecimal."),
    Column("taken_at", pa.timestamp("us"), "The camera's local time, no time zone (EXIF, XMP)."),
    Column("gps_lat", pa.float64(), "Degrees north, WGS 84 (EXIF, XMP)."),
    Column("gps_lon", pa.float64(), "Degrees east, WGS 84 (EXIF, XMP)."),
    Column("gps_alt", pa.float64(), "Metres above sea level (EXIF, XMP)."),
    Column("camera", pa.string(), "EXIF: maker and model."),
    Column(
        "camera_yaw",
        pa.float32(),
        "Where the camera looked: degrees clockwise from north, 0 to 360 (XMP of drones).",
    ),
    Column("camera_pitch", pa.float32(), "Degrees: -90 straight down, 0 level, above 0 upwards."),
    Column("camera_roll", pa.float32(), "Degrees, as the drone writes it."),
    Column("relative_altitude", pa.float32(), "Metres above the place of the take-off (XMP)."),
    Column("laser_distance", pa.float32(), "Metres, by the drone's range finder (XMP)."),
    Column(
        "mm_per_px",
        pa.float32(),
        "Millimetres of the surface that a pixel shows, at full resolution, at the photo's centre; "
        "null where nobody says it.",
    ),
    Column(
        "mm_per_px_source",
        pa.string(),
        "`flag` (`--mm-per-px`), `laser` (range and focal length) or `altitude` (height and focal "
        "length, of photos that look straight down).",
    ),
    Column(
        "smallest_visible_mm",
        pa.float32(),
        "Width of the thinnest crack that the photo can show: two pixels of it as it was judged; "
        "null without a scale, or when failed.",
    ),
    Column(
        JUDGED_AT,
        pa.timestamp("us"),
        "When the row was made, by the clock of the machine that ran the scan; UTC, no time zone.",
        nullable=False,
    ),
)

SCHEMA = pa.schema([column.field for column in COLUMNS])


def make_row(item: Photo | Failure, judgement: Judgement | None) -> dict[str, Any]:
    """Make the row of one file: a photo with its judgement, or a failure without one."""
    ref, facts = item.ref, item.facts
    row: dict[str, Any] = {
        "uri": ref.uri,
        "path": text_of(ref.uri),
        "status": Status.FAILED if isinstance(item, Failure) else Status.OK,
        "size_bytes": ref.size,
        "mtime": calendar_time(ref.mtime_us),
        **asdict(facts),
        "format": _text(facts.format),
        "camera": _text(facts.camera),
    }
    if isinstance(item, Failure):
        assert judgement is None
        return row | {"failure_code": item.code, "detail": _text(item.detail)}
    assert judgement is not None
    return row | asdict(judgement) | {"smallest_visible_mm": item.smallest_visible_mm}


def are_previews(formats: Any) -> NDArray[np.bool_]:
    """Tell of which rows only the photo's preview was read, by their column `format`."""
    return held(pc.ends_with(formats, PREVIEW))


def held(values: Any, *, null: bool = False) -> NDArray[np.bool_]:
    """Convert a boolean column to a mask, in which `null` stands where the column says nothing."""
    mask: NDArray[np.bool_] = pc.fill_null(values, null).to_numpy(zero_copy_only=False)
    return mask


def to_table(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, str]) -> pa.Table:
    """Make a table of rows with exactly `SCHEMA`, and run facts as its key-value metadata. Rows
    that do not say when they were judged were judged now."""
    metadata = {f"{METADATA_PREFIX}{name}": value for name, value in facts.items()}
    unsaid = {JUDGED_AT: _now()}
    columns = [
        pa.array([row.get(c.name, unsaid.get(c.name)) for row in rows], type=c.type)
        for c in COLUMNS
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata(metadata))


def judged_now(table: pa.Table) -> pa.Table:
    """Rows that another machine has made, as of now by the clock of this one."""
    at = SCHEMA.get_field_index(JUDGED_AT)
    moments = pa.array([_now()] * len(table), SCHEMA.field(at).type)
    return table.set_column(at, SCHEMA.field(at), moments)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def json_line(row: Mapping[str, Any], names: Sequence[str] = SCHEMA.names) -> str:
    """A row as a line of JSON, all columns or some; times as ISO 8601, pure ASCII."""
    values = finite({name: row.get(name) for name in names})
    return json.dumps(values, default=datetime.isoformat) + "\n"


def _text(value: str | None) -> str | None:
    """Escape lone surrogates, which no UTF-8 column can hold."""
    return None if value is None else value.encode("utf-8", "backslashreplace").decode()
