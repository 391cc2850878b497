"""The page of a report as HTML, and its cover: what no table knows, from the command line and a
small TOML file."""

from __future__ import annotations

import base64
import io
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from inspector.core.layout import TABLE
from inspector.core.pages import ASSETS, data_uri, inline_script, page_environment
from inspector.core.text import display_path, quoted_word
from inspector.errors import UsageError
from inspector.model.bundle import ModelBundle
from inspector.model.stamp import find_bundle
from inspector.photos.address import SLASHES, text_of
from inspector.photos.drawing import chance
from inspector.reporting import wording
from inspector.reporting.contents import AT_REST
from inspector.reporting.counting import OUTCOMES
from inspector.reporting.listing import LISTED, MOST_REGIONS
from inspector.reporting.sites import METRES_PER_DEGREE, WIDTH, find_sites
from inspector.results import codes
from inspector.results.manifest import DENSE, THRESHOLDS
from inspector.results.query import FAILED
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Self

    from markupsafe import Markup

    from inspector.reporting.contents import Report
    from inspector.reporting.listing import Listing
    from inspector.reporting.lists import Links
    from inspector.reporting.shots import Box, Shot
    from inspector.types import JsonObject


TEMPLATES = Path(__file__).parent / "template"
SITES_DRAWN = 6
SPOTS_LISTED = 20
LARGE = {"crack": 48, "review": 12}
"""Photos of an outcome whose pictures are large: they stand in the page as they are, for paper and
for readers that run no script."""
_LOGO_SIDE = 600
_MOST_BYTES = 10_000_000
"""Of a logo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Texts of a cover, each empty where nobody says it; `logo` is a `data:` address."""

    title: str = ""
    structure: str = ""
    client: str = ""
    inspector: str = ""
    date: str = ""
    logo: str = ""

    @classmethod
    def read(cls, file: Path | None, title: str | None = None) -> Self:
        """Read a TOML file with any of these names; its `logo` is a picture's file, relative to it.
        `title` counts before the file's. Raises UsageError for anything else."""
        values = {} if file is None else _texts(file, [field.name for field in fields(cls)])
        if title is not None:
            values["title"] = title
        if file is not None and values.get("logo"):
            values["logo"] = _logo(file.parent / values["logo"])
        return cls(**values)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What stands below the title: names and texts."""
        names = ("structure", "client", "inspector", "date")
        return [(name, text) for name in names if (text := getattr(self, name))]


def _texts(file: Path, names: list[str]) -> dict[str, str]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read --cover {file}: {error}") from error
    for name, value in values.items():
        if name not in names:
            raise UsageError(f"--cover {file}: {name!r} is none of {', '.join(names)}")
        if isinstance(value, dict | list | bool):
            raise UsageError(f"--cover {file}: {name} must be a text")
    return {name: str(value) for name, value in values.items()}


def _logo(file: Path) -> str:
    """A small picture as a `data:` address; a page runs nothing that an SVG holds."""
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"the logo {file} has more than {_MOST_BYTES // 1_000_000} MB")
        if file.suffix.lower() == ".svg":
            return f"data:image/svg+xml;base64,{base64.b64encode(content).decode()}"
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((_LOGO_SIDE, _LOGO_SIDE))
            return data_uri(image.convert("RGBA"), "PNG", optimize=True)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"cannot read the logo {file}: {error}") from error


@dataclass(frozen=True, slots=True)
class Card:
    """A photo in the page: its row, its picture, its name below what all photos share, the link to
    its file, empty where there is none, and the outcome among which it stands, None if any."""

    row: JsonObject
    shot: Shot
    name: str
    link: str
    outcome: str | None

    @property
    def marks(self) -> list[tuple[Box, str, str]]:
        """Where its regions lie, as `Shot.parts` do, how likely each is, and what is said of it."""
        across, down = self.row["width"], self.row["height"]
        if not across or not down:
            return []
        return [
            (
                (r["x"] / across, r["y"] / down, r["width"] / across, r["height"] / down),
                chance(r),
                wording.region(self.row, number),
            )
            for number, r in enumerate((self.row["regions"] or [])[:MOST_REGIONS])
        ]

    @property
    def words(self) -> list[str]:
        """What stands below its name, line by line."""
        row = self.row
        known = [wording.said(row, self.outcome), wording.regions(row), wording.note(row)]
        lines = [*known, wording.when_and_where(row)]
        return [line for line in lines if line]


@dataclass(frozen=True, slots=True)
class Gallery:
    """All photos of an outcome: cards of the first of them, and data for the script."""

    kind: str
    title: str
    total: int
    listed: int
    cards: Sequence[Card]
    data: Iterable[Markup]


def shown_rows(report: Report) -> tuple[list[JsonObject], list[bool]]:
    """Return the rows of which the page needs pictures, and which of these are large."""
    rows, large = [*report.cracks, *report.review, *report.differing], []
    for shown, most in zip((report.cracks, report.review), LARGE.values(), strict=True):
        large += [place < most for place in range(len(shown))]
    return rows, large + [False] * len(report.differing)


def unseen(shots: Sequence[Shot]) -> str:
    """Say how many photos of a page have no picture; nothing if all have."""
    missing = sum(bool(shot.why) for shot in shots)
    return wording.unseen(missing, len(shots)) if missing else ""


def render_page(
    report: Report,
    lists: Mapping[str, Listing],
    shots: Sequence[Shot],
    cover: Cover,
    links: Links,
    model: Path | None,
) -> Iterator[str]:
    """Yield one HTML document that needs nothing but itself, piece by piece; everything from
    outside is escaped. `shots` are those of `shown_rows`; `links` are for the page's folder."""
    environment = page_environment(TEMPLATES)
    script, allowed = inline_script(
        ASSETS / "viewer.js", TEMPLATES / "closer.js", TEMPLATES / "gallery.js"
    )
    environment.filters |= {
        "count": "{:,}".format,
        "size": wording.size,
        "moment": lambda moment: moment.strftime("%Y-%m-%d %H:%M %z"),
        "lying": _lying,
    }
    cards = _cards(report, shots, links)
    sites = find_sites(report.places)
    yield from environment.get_template("summary.html.jinja").generate(
        report=report,
        cover=cover,
        title=cover.title or f"Crack inspection of {wording.photos(report.total.photos)}",
        version=__version__,
        keys=_keys(report),
        words=wording,
        script=script,
        script_allowed=allowed,
        at_rest=AT_REST,
        outcomes=OUTCOMES,
        codes=codes,
        chosen=_chosen(report, model),
        galleries=_galleries(lists, cards),
        differing=cards[len(cards) - len(report.differing) :],
        unseen=unseen(shots),
        sites=sites[:SITES_DRAWN],
        more_sites=len(sites[SITES_DRAWN:]),
        site_width=WIDTH,
        place_metres=max(1, round(METRES_PER_DEGREE * report.place_degrees)),
        spots_listed=SPOTS_LISTED,
        out=display_path(
            str(report.out.absolute() if isinstance(report.out, Path) else report.out)
        ),
        command=quoted_word(display_path(str(report.out))),
        in_bucket=isinstance(report.out, str),
        query=_query(report.out),
    )


def _cards(report: Report, shots: Sequence[Shot], links: Links) -> list[Card]:
    rows, _ = shown_rows(report)
    kinds = [LISTED[0]] * len(report.cracks) + [LISTED[1]] * len(report.review)
    outcomes = [*kinds, *[None] * len(report.differing)]
    names = [text_of(row["uri"]).removeprefix(report.root).lstrip(SLASHES) for row in rows]
    return [
        Card(row, shot, name, links.photo(row["uri"]), outcome)
        for row, shot, name, outcome in zip(rows, shots, names, outcomes, strict=True)
    ]


def _galleries(lists: Mapping[str, Listing], cards: Sequence[Card]) -> list[Gallery]:
    titles = {"crack": "Cracks", "review": "Review: left to a person"}
    galleries = []
    for kind, listing in lists.items():
        own = [card for card in cards if card.outcome == kind]
        first, rest = own[: LARGE[kind]], own[LARGE[kind] :]
        pictures = {k: c.shot.whole for k, c in enumerate(rest, len(first)) if c.shot.whole}
        unseen = {k: c.shot.why for k, c in enumerate(own) if c.shot.why}
        data = listing.to_script(pictures, unseen)
        galleries.append(Gallery(kind, titles[kind], listing.total, listing.listed, first, data))
    return galleries


def _keys(report: Report) -> list[tuple[str, int, str]]:
    """The numbers at the top of the page: what is counted, how many, and a note."""
    total, said = report.total, report.model
    looked_at = report.people.looked_at

    def before(outcome: str) -> str:
        return f"the model: {said[outcome]:,}" if looked_at else "by the model"

    notes = {
        "crack": (total.crack, before("crack")),
        "review": (total.review,
                   f"left to a person{'; ' + before('review') if looked_at else ''}"),
        "clear": (total.clear, before("clear")),
        FAILED: (total.failed,
                 f"the model judged {total.photos - said[FAILED]:,}"),
    }  # fmt: skip
    return [
        (kind, number, f"{wording.share(number, total.photos)} of all; {note}")
        for kind, (number, note) in notes.items()
    ]


def _chosen(report: Report, model: Path | None) -> list[str]:
    """Say how the thresholds were chosen, where the model that made the table is at hand and the
    scan used its own: of photos judged whole, and at their own scale."""
    path = find_bundle(model, report.digest)
    if path is None:
        return []
    bundle = ModelBundle.load(path, verify=False)
    judged = report.total.photos - report.model[FAILED]
    own = [("", bundle.thresholds, judged - report.own_scale, "judged whole")]
    if bundle.dense is not None:
        own.append((DENSE, bundle.dense.thresholds, report.own_scale, "at their own scale"))
    return [
        f"Thresholds for photos {words} were chosen {limits.chosen}."
        for prefix, limits, photos, words in own
        if photos and all(
            report.threshold(prefix + name) == getattr(limits, name) for name in THRESHOLDS[:2]
        )
    ]  # fmt: skip


def _lying(box: Box) -> str:
    """Say in CSS where a part of a photo lies."""
    sides = zip(("left", "top", "width", "height"), box, strict=True)
    return ";".join(f"{side}:{100 * share:.3f}%" for side, share in sides)


def _query(out: Path | str) -> str:
    place = re.sub(r"[*?\[]", r"[\g<0>]", display_path(str(out))).replace("'", "''")
    table = f"'{place}/{TABLE}/*.parquet'"
    return f"SELECT path, failure_code, detail FROM {table} WHERE status = 'failed'"
