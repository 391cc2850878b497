"""Figures in words, for the page and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.core.text import TITLE, Whole, display_path, quantity, quoted_word, wrapped
from inspector.model.scale import cannot_show
from inspector.reporting.contents import AT_REST
from inspector.reporting.counting import OUTCOMES
from inspector.results.manifest import DENSE
from inspector.results.query import FAILED
from inspector.types import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from inspector.reporting.contents import People, Report
    from inspector.reporting.counting import Group
    from inspector.types import JsonObject


def photos(number: int) -> str:
    return quantity(number, "photo")


def unseen(number: int, total: int) -> str:
    """Say that there are no pictures of some photos, and what helps."""
    return (
        f"{number:,} of {photos(total)} could not be shown; where they lie elsewhere now: "
        "--moved OLD=NEW"
    )


def copies(number: int) -> str:
    return f"{quantity(number, 'file')} {_verb(number, 'hold')} the very bytes of another one"


def share(part: int, whole: int) -> str:
    """Return a share in percent; what is not none never reads 0.0, what is not all never 100."""
    if not whole:
        return "-"
    percent = 100 * part / whole
    if 0 < percent < 0.05:
        return "< 0.1 %"
    if 99.95 <= percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def size(size_bytes: int) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.1f} {unit}"
    return f"{size_bytes / 1e3:,.1f} kB"


def verdict(report: Report) -> str:
    """Say in one sentence what the table says."""
    total = report.total
    if not total.photos:
        since = "" if report.since is None else f" since {report.since:%Y-%m-%d %H:%M}"
        return f"No photo was scanned{since}."
    found = f"{total.crack:,} of {photos(total.photos)} {_verb(total.crack, 'show')} a crack"
    if not total.crack:
        found = f"None of {photos(total.photos)} shows a crack"
    seen = " as the model sees them" if not report.people.looked_at else ""
    left = []
    if total.review:
        left.append(f"{total.review:,} {_verb(total.review, 'is', 'are')} left to a person")
    if total.failed:
        left.append(f"{total.failed:,} could not be judged")
    return f"{found}{seen}{'; ' if left else ''}{' and '.join(left)}."


def _verb(number: int, one: str, more: str = "") -> str:
    """Return the form of a verb that fits a number."""
    return (one if more else f"{one}s") if number == 1 else more or one


def limit(report: Report, name: str) -> str:
    """Give a threshold, as far as there are such photos: of whole ones, and at their own scale."""
    judged = report.total.photos - report.model[FAILED]
    whole = report.facts.get(name, "?")
    own = report.facts.get(DENSE + name, whole)
    if own == whole or not report.own_scale:
        return whole
    if report.own_scale == judged:
        return own
    return f"{own} ({whole} for photos judged whole)"


def sentences(report: Report) -> list[str]:
    """Return the sentences that a reader must know before the tables."""
    total = report.total
    found = [said_by_people(report.people, total.photos)]
    if report.min_crack_mm is not None:
        found.append(f"{_cannot_show(report)}. The model calls none of them clear.")
    found += [f"Most cracks: {in_folder(group)}." for group in report.most_cracks[:1]]
    if report.copies:
        found.append(f"{copies(report.copies)}; each counts here.")
    if report.placed and report.without_place:
        found.append(
            f"{photos(report.without_place)} {_verb(report.without_place, 'has', 'have')} no place "
            "and cannot be on the map."
        )
    return found


def said(row: JsonObject, outcome: str | None) -> str:
    """Say how a photo came to stand among those of an outcome, as the page's script does."""
    model, human, reason = row["verdict"] or FAILED, row["human_verdict"], row["reason"]
    parts = [] if row["p_crack"] is None else [f"p {row['p_crack']:.3f}"]
    if model != outcome:
        parts.append(f"the model says {model}")
    if human:
        parts.append(by_person(human))
    if (reason or row["failure_code"]) not in (None, Reason.MODEL):
        parts.append(reason or row["failure_code"])
    return " · ".join(parts)


def by_person(human: str) -> str:
    return "a person is unsure" if human == "unsure" else f"a person says {human.replace('_', ' ')}"


def note(row: JsonObject) -> str:
    return f"note: {row['note']}" if row["note"] else ""


def when_and_where(row: JsonObject) -> str:
    """Say when and where a photo was taken, as far as it is known."""
    north, east, taken = row["gps_lat"], row["gps_lon"], row["taken_at"]
    parts = [] if taken is None else [taken.strftime("%Y-%m-%d %H:%M")]
    if north is not None and east is not None and (north or east):
        parts.append(f"{north:.6f}, {east:.6f}")
    return " · ".join(parts)


def _cannot_show(report: Report) -> str:
    assert report.min_crack_mm is not None
    judged = report.total.photos - report.model[FAILED]
    return cannot_show(report.coarse, report.unknown_scale, judged, report.min_crack_mm)


def regions(row: JsonObject) -> str:
    """Say how many regions a photo has, how long the longest is, and how many places a person
    marked; nothing if judged whole."""
    found = row["regions"]
    if found is None:
        return ""
    if not found:
        return "no region"
    seen, parts = [region for region in found if region["p_crack"] is not None], []
    if seen:
        number = "1 region," if len(seen) == 1 else f"{len(seen):,} regions, the longest"
        parts.append(f"{number} {length(longest(seen), row)}")
    if marked := len(found) - len(seen):
        parts.append(f"{quantity(marked, 'place')} marked by a person")
    return "; ".join(parts)


def longest(found: Sequence[JsonObject]) -> JsonObject:
    """Return the region that may be the longest; a person's mark has no length."""
    return max(found, key=lambda region: float(region["length_at_most"] or 0))


def region(row: JsonObject, number: int) -> str:
    """Say what is known of one region of a photo."""
    found = row["regions"][number]
    said = "marked by a person, {width:,} x {height:,} px".format(**found)
    if found["p_crack"] is not None:
        said = f"p {found['p_crack']:.3f}, {length(found, row)}"
    return f"region {number + 1} of {len(row['regions'])}: {said}"


def length(found: JsonObject, row: JsonObject) -> str:
    """Give a region's length along its axis in pixels, and in millimetres with a known scale."""
    ends = found["length_at_least"], found["length_at_most"]
    text = f"{_between(*ends)} px long"
    scale = row.get("mm_per_px")
    return f"{text} ({_between(*(scale * end for end in ends))} mm)" if scale else text


def _between(least: float, most: float) -> str:
    low, high = f"{least:,.0f}", f"{most:,.0f}"
    return low if low == high else f"{low} to {high}"


def said_by_people(people: People, rows: int) -> str:
    """Say how many photos people looked at, and where they differ from the model."""
    if not people.looked_at:
        return "Nobody has looked at these photos yet: every figure is the model's alone."
    differences = [
        f"found {quantity(people.missed_cracks, 'crack')} among those it had called clear",
        f"called {people.false_alarms:,} of its cracks clear",
        f"decided {people.decided:,} that it had left open",
    ]
    return (
        f"People looked at {people.looked_at:,} of {photos(rows)} "
        f"({share(people.looked_at, rows)}). They agree with {people.agree:,} of the model's "
        f"verdicts, {', '.join(differences[:2])}, and {differences[2]}. "
        "What they say counts; of the others, the model's verdict does."
    )


def in_folder(group: Group) -> str:
    return f"{group.name} with {group.crack:,} in {photos(group.photos)}"


_FOLDERS = 3
_TITLES = {
    "--html": "report",
    "--csv": "list",
    "--xlsx": "Excel",
    "--geojson": "map",
    "--geoparquet": "map",
    "--coco": "regions",
    "--annotate": "marked",
    "--crops": "cut out",
    "--copy-cracks": "copies",
}


def file_lines(report: Report, files: Mapping[str, Path]) -> list[str]:
    """Say where the files are, by option, and what there is to say of each."""
    lines = []
    for option, file in files.items():
        lines.append(_whole(_TITLES[option], display_path(str(file))))
        lines += wrapped("", told) if (told := report.said.get(option)) else []
    return lines


def report_lines(report: Report) -> list[str]:
    """Say what is in the table; paths and commands are never cut."""
    total, people = report.total, report.people
    failed = report.model[FAILED]
    lines = wrapped(
        "photos", f"{total.photos:,}, of them {failed:,} failed ({share(failed, total.photos)})"
    )
    if report.since is not None:
        lines += wrapped("since", f"{report.since:%Y-%m-%d %H:%M}: only what was judged from then")
    if report.state.shard is not None:
        lines += wrapped("shard", f"{report.state.shard}; inspector merge makes one table of all")
    if report.state.kind != AT_REST:
        lines += wrapped(report.state.kind, report.state.note)
    judged = [outcome for outcome in OUTCOMES if outcome != FAILED]
    lines += wrapped("model", _counts({o: report.model[o] for o in judged}))
    lines += wrapped("reasons", _counts(report.reasons)) if report.reasons else []
    lines += wrapped("failed", _counts(report.failures)) if report.failures else []
    if people.looked_at:
        lines += wrapped(
            "people",
            f"looked at {people.looked_at:,}: agree with {people.agree:,}, cracks that "
            f"the model called clear {people.missed_cracks:,}, its false alarms "
            f"{people.false_alarms:,}, left open and decided {people.decided:,}, unsure "
            f"{people.unsure:,}",
        )
        lines += wrapped("after", _counts({o: getattr(total, o) for o in OUTCOMES}))
    else:
        lines += wrapped("people", "nobody has looked at these photos yet")
    if most := report.most_cracks[:_FOLDERS]:
        lines += wrapped("folders", "most cracks: " + "; ".join(map(in_folder, most)))
    if report.min_crack_mm is not None:
        lines += wrapped("scale", _cannot_show(report))
    if report.copies:
        lines += wrapped("copies", copies(report.copies))
    if report.without_place:
        said = f"known of {photos(report.placed)}, not of {report.without_place:,}"
        lines += wrapped("places", said)
    if total.review:
        out = quoted_word(display_path(str(report.out)))
        here = f"merge {out} --out DIR" if isinstance(report.out, str) else f"review {out}"
        words = ("is", "it") if total.review == 1 else ("are", "them")
        seen = f", {people.unsure:,} of them seen and unsure" if people.unsure else ""
        said = f"{total.review:,} {words[0]} left to a person{seen}; look at {words[1]} with:"
        lines += wrapped("review", said)
        lines.append(_whole("", f"inspector {here}"))
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _whole(title: str, text: str) -> str:
    return Whole(f"{title:<{TITLE}}{text}")
