"""The page: what the template is given, and the finished HTML."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inspector.core.layout import TABLE
from inspector.core.pages import page_environment
from inspector.core.text import display_path
from inspector.model.bundle import ModelBundle
from inspector.photos.address import text_of
from inspector.reporting import wording
from inspector.reporting.sites import METRES_PER_DEGREE, WIDTH, find_sites
from inspector.reporting.state import AT_REST
from inspector.reporting.table import FAILED, OUTCOMES
from inspector.reviewing.heat import find_bundle
from inspector.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.reporting.contents import Summary
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


def render_page(summary: Summary, shots: Sequence[Shot], model: Path | None) -> str:
    """One HTML document that needs nothing but itself. `shots` belong to the summary's `cracks`
    and `differing`, in this order. Everything from outside is escaped."""
    environment = page_environment(Path(__file__).parent / "template")
    environment.filters |= {
        "count": wording.count,
        "size": wording.size,
        "moment": lambda moment: moment.strftime("%Y-%m-%d %H:%M"),
    }
    cards = [
        Card(row, shot, _name(summary, row))
        for row, shot in zip([*summary.cracks, *summary.differing], shots, strict=True)
    ]
    sites = find_sites(summary.places)
    return environment.get_template("summary.html.jinja").render(
        summary=summary,
        version=__version__,
        keys=_keys(summary),
        sentences=wording.sentences(summary),
        share=wording.share,
        at_rest=AT_REST,
        outcomes=OUTCOMES,
        reasons=wording.REASONS,
        failures=wording.FAILURES,
        chosen=_chosen(summary, model),
        cracks=cards[: len(summary.cracks)],
        differing=cards[len(summary.cracks) :],
        unseen=[card.shot.why for card in cards if card.shot.why],
        sites=sites[:SITES_DRAWN],
        more_sites=len(sites[SITES_DRAWN:]),
        site_width=WIDTH,
        place_metres=max(1, round(METRES_PER_DEGREE * summary.place_degrees)),
        spots_listed=SPOTS_LISTED,
        out=display_path(str(summary.out.absolute())),
        command=shlex.quote(display_path(str(summary.out))),
        query=_query(summary.out),
    )


def _keys(summary: Summary) -> list[Key]:
    total, said = summary.total, summary.model
    judged = total.photos - said[FAILED]

    def before(outcome: str) -> str:
        if not summary.people.looked_at:
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


def _chosen(summary: Summary, model: Path | None) -> str:
    """How the thresholds were chosen, where the model that made the table is at hand and the scan
    used its own."""
    path = find_bundle(model, summary.digest)
    if path is None:
        return ""
    own = ModelBundle.load(path, verify=False).thresholds
    scan = (summary.threshold("clear_below"), summary.threshold("crack_from"))
    return own.chosen if scan == (own.clear_below, own.crack_from) else ""


def _name(summary: Summary, row: JsonObject) -> str:
    """Below the folder that all photos share."""
    return text_of(row["uri"]).removeprefix(summary.root).lstrip("/")


def _query(out: Path) -> str:
    place = re.sub(r"[*?\[]", r"[\g<0>]", display_path(str(out))).replace("'", "''")
    table = f"'{place}/{TABLE}/*.parquet'"
    return f"SELECT path, failure_code, detail FROM {table} WHERE status = 'failed'"
