"""Places of photos near each other, drawn to scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.reporting.counting import Group, Places

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
    sites = [_site(tuple(places[k] for k in members)) for members in _clusters(places)]
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
    """Draw one site, in a plane around its middle: right to a pixel over a building site."""
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
