"""Render the page of a report as HTML."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.layout import TABLE
from inspector.core.pages import page_environment
from inspector.core.text import display_path
from inspector.model.bundle import ModelBundle, find_bundle
from inspector.photos.address import text_of
from inspector.reporting import wording
from inspector.reporting.contents import AT_REST
from inspector.reporting.counting import OUTCOMES
from inspector.reporting.sites import METRES_PER_DEGREE, WIDTH, find_sites
from inspector.results.query import FAILED
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.reporting.contents import Report
    from inspector.reporting.shots import Shot
    from inspector.types import JsonObject

SITES_DRAWN = 6
SPOTS_LISTED = 20


@dataclass(frozen=True, slots=True)
class Card:
    """A photo in the page: its row, its picture, and its name below what all photos share."""

    row: JsonObject
    shot: Shot
    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A number at the top of the page and what it counts."""

    kind: str
    number: int
    words: str
    note: str


def render_page(report: Report, shots: Sequence[Shot], model: Path | None) -> str:
    """Return one HTML document that needs nothing but itself; everything from outside is escaped.
    `shots` are pictures of the report's `cracks` and `differing`, in this order."""
    environment = page_environment(Path(__file__).parent / "template")
    environment.filters |= {
        "count": wording.count,
        "size": wording.size,
        "moment": lambda moment: moment.strftime("%Y-%m-%d %H:%M"),
    }
    cards = [
        Card(row, shot, _name(report, row))
        for row, shot in zip([*report.cracks, *report.differing], shots, strict=True)
    ]
    sites = find_sites(report.places)
    return environment.get_template("summary.html.jinja").render(
        report=report,
        version=__version__,
        keys=_keys(report),
        sentences=wording.sentences(report),
        share=wording.share,
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


def _query(out: Path) -> str:
    place = re.sub(r"[*?\[]", r"[\g<0>]", display_path(str(out))).replace("'", "''")
    table = f"'{place}/{TABLE}/*.parquet'"
    return f"SELECT path, failure_code, detail FROM {table} WHERE status = 'failed'"
