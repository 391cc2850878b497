"""Render the page of a report as HTML, with the places of photos drawn to scale."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.layout import TABLE
from inspector.core.pages import ASSETS, inline_script, page_environment
from inspector.core.text import display_path
from inspector.model.bundle import ModelBundle
from inspector.model.stamp import find_bundle
from inspector.photos.address import LOCAL, MEMBER, WEB, text_of
from inspector.reporting import wording
from inspector.reporting.contents import AT_REST
from inspector.reporting.counting import OUTCOMES
from inspector.results.query import FAILED
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.photos.address import Moved
    from inspector.reporting.contents import Report
    from inspector.reporting.counting import Group
    from inspector.reporting.shots import Box, Shot
    from inspector.types import JsonObject

    Places = Sequence[tuple[float, float, Group]]


TEMPLATES = Path(__file__).parent / "template"
SITES_DRAWN = 6
SPOTS_LISTED = 20
REGIONS_DRAWN = 50
"""Of a photo, those likeliest to be a crack."""


@dataclass(frozen=True, slots=True)
class Card:
    """A photo in the page: its row, its picture, its name below what all photos share, and the
    address of its file, where a browser may open that."""

    row: JsonObject
    shot: Shot
    name: str
    address: str

    @property
    def marks(self) -> list[tuple[Box, str, str]]:
        """Where its regions lie (as `Shot.parts` do), how likely each is, and what is known of
        it."""
        across, down = self.row["width"], self.row["height"]
        if not across or not down:
            return []
        return [
            (
                (r["x"] / across, r["y"] / down, r["width"] / across, r["height"] / down),
                f"{r['p_crack']:.2f}",
                wording.region(self.row, number),
            )
            for number, r in enumerate((self.row["regions"] or [])[:REGIONS_DRAWN])
        ]


@dataclass(frozen=True, slots=True)
class Key:
    """A number at the top of the page and what it counts."""

    kind: str
    number: int
    words: str
    note: str


def render_page(
    report: Report, shots: Sequence[Shot], model: Path | None, moved: Moved | None = None
) -> str:
    """Return one HTML document that needs nothing but itself; everything from outside is escaped.
    `shots` are pictures of the report's `cracks` and `differing`, in this order; `moved` says where
    photos lie now."""
    environment = page_environment(TEMPLATES)
    script, allowed = inline_script(ASSETS / "viewer.js", TEMPLATES / "closer.js")
    environment.filters |= {
        "count": wording.count,
        "size": wording.size,
        "moment": lambda moment: moment.strftime("%Y-%m-%d %H:%M"),
        "lying": _lying,
    }
    cards = [
        Card(row, shot, _name(report, row), _address(row, moved))
        for row, shot in zip([*report.cracks, *report.differing], shots, strict=True)
    ]
    sites = find_sites(report.places)
    return environment.get_template("summary.html.jinja").render(
        report=report,
        version=__version__,
        keys=_keys(report),
        sentences=wording.sentences(report),
        share=wording.share,
        regions=wording.regions,
        script=script,
        script_allowed=allowed,
        at_rest=AT_REST,
        outcomes=OUTCOMES,
        reasons=wording.REASONS,
        failures=wording.FAILURES,
        chosen=_chosen(report, model),
        cracks=cards[: len(report.cracks)],
        differing=cards[len(report.cracks) :],
        unseen=[card.shot.why for card in cards if card.shot.why],
        sites=sites[:SITES_DRAWN],
        more_sites=len(sites[SITES_DRAWN:]),
        site_width=WIDTH,
        place_metres=max(1, round(METRES_PER_DEGREE * report.place_degrees)),
        spots_listed=SPOTS_LISTED,
        out=display_path(str(report.out.absolute())),
        command=shlex.quote(display_path(str(report.out))),
        query=_query(report.out),
    )


def _keys(report: Report) -> list[Key]:
    total, said = report.total, report.model
    judged = total.photos - said[FAILED]

    def before(outcome: str) -> str:
        if not report.people.looked_at:
            return "by the model"
        return f"the model: {wording.count(said[outcome])}"

    return [
        Key("crack", total.crack, "with cracks",
            f"{wording.share(total.crack, total.photos)} of all; {before('crack')}"),
        Key("review", total.review, "to be decided by a person",
            f"{wording.share(total.review, total.photos)} of all; {before('review')}"),
        Key("clear", total.clear, "clear",
            f"{wording.share(total.clear, total.photos)} of all; {before('clear')}"),
        Key("failed", total.failed, "not judged",
            f"{wording.share(total.failed, total.photos)} of all; {wording.count(judged)} were "
            "judged by the model"),
    ]  # fmt: skip


def _chosen(report: Report, model: Path | None) -> str:
    """Say how the thresholds were chosen, where the model that made the table is at hand and the
    scan used its own."""
    path = find_bundle(model, report.digest)
    if path is None:
        return ""
    own = ModelBundle.load(path, verify=False).thresholds
    scan = (report.threshold("clear_below"), report.threshold("crack_from"))
    return own.chosen if scan == (own.clear_below, own.crack_from) else ""


def _name(report: Report, row: JsonObject) -> str:
    """Return the photo's name below the folder that all photos share."""
    return text_of(row["uri"]).removeprefix(report.root).lstrip("/")


def _address(row: JsonObject, moved: Moved | None) -> str:
    """Return the address of a photo's own file; empty where it is none."""
    uri: str = moved.apply(row["uri"]) if moved else row["uri"]
    is_file = uri.startswith(LOCAL) and MEMBER not in uri
    return uri if is_file or uri.startswith(WEB) else ""


def _lying(box: Box) -> str:
    """Say in CSS where a part of a photo lies."""
    sides = zip(("left", "top", "width", "height"), box, strict=True)
    return ";".join(f"{side}:{100 * share:.3f}%" for side, share in sides)


def _query(out: Path) -> str:
    place = re.sub(r"[*?\[]", r"[\g<0>]", display_path(str(out))).replace("'", "''")
    table = f"'{place}/{TABLE}/*.parquet'"
    return f"SELECT path, failure_code, detail FROM {table} WHERE status = 'failed'"


METRES_PER_DEGREE = 111_195.0
"""One degree of latitude, on a sphere with the Earth's mean radius (6,371,008.8 m, IUGG)."""
WIDTH = 640.0
"""Width of a drawing, in its own units; about pixels."""
_LEAST_HEIGHT, _MOST_HEIGHT, _MARGIN = 180.0, 440.0, 28.0
STRIP = 30.0
"""Below the places, for the scale."""
_APART_DEGREES = 0.02
"""Places further apart than this or twice this, some 2 to 4 km, belong to different sites."""
_LEAST_METRES = 20.0
"""Drawn across at least: less would only show how far off GPS is."""
KINDS = ("failed", "clear", "review", "crack")
"""From below to above: the most pressing of a place's photos gives it its mark."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the drawing's units, `x` to the right and `y` down."""

    x: float
    y: float
    kind: str
    north: float
    east: float
    group: Group


@dataclass(frozen=True, slots=True)
class Site:
    """Places near each other, drawn to scale: north is up, `bar` units are `bar_metres`. `north`
    and `east` are degrees of the middle."""

    north: float
    east: float
    height: float
    bar: float
    bar_metres: float
    marks: tuple[Mark, ...]

    @property
    def photos(self) -> int:
        return sum(mark.group.photos for mark in self.marks)

    @property
    def cracks(self) -> int:
        return sum(mark.group.crack for mark in self.marks)


def find_sites(places: Places) -> list[Site]:
    """Places in sites, the one with the most cracks first."""
    sites = [_site([places[k] for k in members]) for members in _clusters(places)]
    return sorted(sites, key=lambda site: (-site.cracks, -site.photos, site.north, site.east))


def _clusters(places: Places) -> list[list[int]]:
    """Group the places that share a square or lie in squares that touch."""
    squares: dict[tuple[int, int], list[int]] = {}
    for k, (north, east, _) in enumerate(places):
        across = _APART_DEGREES / _narrowing(north)
        square = math.floor(north / _APART_DEGREES), math.floor(east / across)
        squares.setdefault(square, []).append(k)
    clusters = []
    while squares:
        square, members = squares.popitem()
        waiting, found = [square], list(members)
        while waiting:
            row, column = waiting.pop()
            for near in ((row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1)):
                if near in squares:
                    found += squares.pop(near)
                    waiting.append(near)
        clusters.append(found)
    return clusters


def _site(places: Places) -> Site:
    """Draw one site. Degrees are taken for a plane around their middle: right to a pixel over a
    building site."""
    norths, easts = [place[0] for place in places], [place[1] for place in places]
    north, east = (max(norths) + min(norths)) / 2, (max(easts) + min(easts)) / 2
    metres_east = METRES_PER_DEGREE * _narrowing(north)
    wide = max(_LEAST_METRES, (max(easts) - min(easts)) * metres_east)
    high = (max(norths) - min(norths)) * METRES_PER_DEGREE
    inner = WIDTH - 2 * _MARGIN
    per_unit = max(wide / inner, high / (_MOST_HEIGHT - 2 * _MARGIN))
    height = max(_LEAST_HEIGHT, high / per_unit + 2 * _MARGIN)
    marks = [
        Mark(
            x=WIDTH / 2 + (e - east) * metres_east / per_unit,
            y=height / 2 - (n - north) * METRES_PER_DEGREE / per_unit,
            kind=next(kind for kind in reversed(KINDS) if getattr(group, kind)),
            north=n,
            east=e,
            group=group,
        )
        for n, e, group in places
    ]
    marks.sort(key=lambda mark: KINDS.index(mark.kind))
    metres = _round_down(per_unit * inner / 4)
    return Site(north, east, height + STRIP, metres / per_unit, metres, tuple(marks))


def _narrowing(north: float) -> float:
    """Return the length of a degree of longitude as a share of one of latitude."""
    return max(0.01, math.cos(math.radians(north)))


def _round_down(length: float) -> float:
    """Round down to 1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9))
