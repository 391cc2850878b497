"""Cases in groups, and figures and findings in words; the page, the Markdown and the terminal say
the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from bench.ceilings import limited_by, percent_of
from bench.results import ENGINE, PEER, Case, Images, Results
from bench.rounds import ratio_of
from inspector.core.text import printable, quantity

STAGES: Mapping[str, str] = {
    "start": "starting up",
    "load": "waiting for images",
    "engine": "waiting for the engine",
    "judge": "verdicts",
    "write": "writing the table",
}
"""Stages of a scan, which decodes and runs the engine beside its loop, so it can only wait."""
_TITLES: Mapping[str, str] = {"tiles": "Tiles", "photos": "Photos"}
_NOTHING = "-"


def inputs(results: Results) -> list[str]:
    """Kinds of images that whole paths ran on, tiles first."""
    found = {case.input for case in results.cases if case.level != ENGINE}
    return [*filter(found.__contains__, _TITLES), *sorted(found - _TITLES.keys())]


def right(cases: Iterable[Case]) -> list[Case]:
    """Cases whose figures count, fastest first."""
    return sorted((case for case in cases if case.counts), key=lambda case: -case.median)


def paths(results: Results, images: str) -> list[Case]:
    """Scans and peers on one kind of images, fastest first."""
    return right(c for c in results.cases if c.level != ENGINE and c.input == images)


def engines(results: Results) -> list[Case]:
    """Engines alone at each batch size, fastest first."""
    return right(case for case in results.cases if case.level == ENGINE)


def at_best(cases: Iterable[Case]) -> list[Case]:
    """The fastest case of each program; in the order given, which is fastest first."""
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.name, case)
    return list(first.values())


def curves(results: Results, most: int) -> list[tuple[str, list[Case]]]:
    """The `most` fastest engines with all their batch sizes, smallest first."""
    cases = engines(results)
    names = [case.name for case in at_best(cases)][:most]
    return [
        (name, sorted((c for c in cases if c.name == name), key=lambda c: c.batch_size or 0))
        for name in names
    ]


def without_figures(results: Results, status: str) -> list[Case]:
    """Cases that failed, or that this machine cannot run; an engine once, not for each batch
    size."""
    cases = (case for case in results.cases if case.status == status)
    return list({(c.level, c.name, c.input, c.reason): c for c in cases}.values())


def answered(results: Results) -> list[Case]:
    """Cases whose answers were compared; an engine's are those of all its batch sizes."""
    return list({answering(case): case for case in results.cases if case.answers}.values())


def label(case: Case) -> str:
    """Name of a case among its group: the program, and the settings that make it another case than
    the program as it comes."""
    if case.level == ENGINE:
        return f"{case.name}, batch {case.batch_size}" if case.batch_size else case.name
    given = ["1 worker" if part == "1 workers" else part for part in case.id.split("/")[3:]]
    return ", ".join([case.name, *given])


def called(case: Case) -> str:
    """The label where peers stand among scans."""
    return f"peer: {label(case)}" if case.level == PEER else label(case)


def subject(case: Case) -> str:
    """A case outside its group, as in `scan of photos: onnxruntime int8`."""
    if case.level == ENGINE:
        return f"engine {label(case)}"
    return f"{case.level} of {case.input}: {label(case)}"


def answering(case: Case) -> str:
    """Name of the program that gave a case's answers."""
    return f"engine {case.name}" if case.level == ENGINE else subject(case)


def figure(value: float | None) -> str:
    """At most three significant digits and three decimals, or all digits before the point."""
    if value is None:
        return _NOTHING
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.3f}"


def rate(case: Case) -> str:
    """Images per second with the interval, as in `312 (305..320)`."""
    return f"{figure(case.median)} ({between(case, '..')})" if case.rate else _NOTHING


def between(case: Case, to: str = " to ") -> str:
    """The interval of a rate, or how few rounds there were."""
    bounds = to.join(map(figure, case.rate.bounds if case.rate else ()))
    return bounds or quantity(len(case.rates), "round")


def seconds(value: float | None) -> str:
    """A duration, or a dash."""
    return _NOTHING if value is None else f"{figure(value)} s"


def shown(value: object, form: str = "{}") -> str:
    """A value in some form, or a dash."""
    return _NOTHING if value is None else form.format(value)


def latency(case: Case, *names: str) -> list[str]:
    """Milliseconds of a batch, by percentile."""
    return [figure(case.latency_ms[name]) if case.latency_ms else _NOTHING for name in names]


def other(case: Case) -> str:
    """Verdicts unlike the reference's, of how many."""
    answers = case.answers
    return f"{answers.other_verdicts} of {answers.images}" if answers else _NOTHING


def difference(case: Case) -> str:
    """Largest difference of a probability from the reference's."""
    value = case.answers.largest_difference if case.answers else None
    return "no number" if value is None else f"{value:.1g}" if value < 0.001 else f"{value:.3f}"


def marked(case: Case) -> str:
    """Word beside a case in a table; peers, which stand among scans, compete with each other."""
    word = "fastest" if case.best else "tied" if case.tied else ""
    return f"{word} peer" if word and case.level == PEER else word


def shares(case: Case) -> str:
    """All shares of ceilings, the largest first."""
    found = sorted(case.shares.items(), key=lambda share: -share[1])
    return ", ".join(f"{name} {percent_of(value)}" for name, value in found) or _NOTHING


def limit(case: Case) -> str:
    """Name of the ceiling that limits a case."""
    return limited_by(case) or "no single ceiling"


def trouble(case: Case) -> str:
    """Why a case has no figures."""
    return case.reason or "no reason is known"


def heading(name: str, facts: Images | None) -> str:
    """One kind of images, such as `Tiles, 227 x 227 px`."""
    title = _TITLES.get(name, name)
    if facts is None:
        return title
    millions = facts.width * facts.height / 1e6
    size = f"{facts.width} x {facts.height} px"
    return f"{title}, {size}" + (f", {millions:.0f} MP" if millions >= 1 else "")


def scale(results: Results) -> str:
    """Mode, duration and date of the run, for the head of a report."""
    minutes, spent = divmod(round(results.seconds), 60)
    lasted = f"{minutes} min {spent} s" if minutes else f"{spent} s"
    return f"{results.mode} mode, {lasted}, begun {results.began.replace('T', ' ')}"


def machine(results: Results) -> str:
    """The system in one line."""
    system = results.system
    cores, memory = system.get("usable_cores"), system.get("memory_gib")
    words = [str(system.get("cpu") or "unknown processor"), f"{cores} cores" if cores else ""]
    words += [f"{memory} GiB" if memory else "", *map(str, system.get("gpus") or ())]
    return ", ".join(filter(None, [*words, str(system.get("platform") or "")]))


def plain(value: object) -> str:
    """A setting or a fact of the system."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(of)}" for name, of in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return "unknown" if value is None else str(value)


def findings(cases: Sequence[Case]) -> list[str]:
    """Sentences about a group of cases that were right, fastest first."""
    if not cases:
        return ["Nothing here ran and was right."]
    own = [case for case in cases if case.level != PEER]
    peers = [case for case in cases if case.level == PEER]
    best = next((case for case in own if case.best), None)
    return [*(_tie(best, own) if best else ()), *_against_peers(own, peers)]


def _tie(best: Case, cases: Sequence[Case]) -> Iterator[str]:
    others = [label(case) for case in cases if case.tied]
    if others:
        yield f"Fastest: {label(best)}. Not distinguishable from it: {', '.join(others)}."
    elif len(cases) == 1:
        yield f"Only {label(best)} was measured."
    elif best.rate is None or not best.rate.bounds:
        yield f"Fastest: {label(best)}; too few rounds to say whether by chance."
    else:
        yield f"Fastest: {label(best)}, beyond what chance explains."


def _against_peers(own: Sequence[Case], peers: Sequence[Case]) -> Iterator[str]:
    """Comparison of the fastest scan with the fastest peer."""
    if not own or not peers:
        return
    ratio, name = ratio_of(own[0].with_start_up, peers[0].with_start_up), label(peers[0])
    if not ratio.bounds:
        yield f"The fastest peer is {name}; too few rounds to compare it with the fastest scan."
    elif not ratio.differs_from_one:
        yield f"The fastest peer, {name}, is not distinguishable from the fastest scan."
    else:
        interval = "..".join(f"{bound:.2f}" for bound in ratio.bounds)
        yield (
            f"Start-up included, the fastest scan, {label(own[0])}, does {ratio.median:.2f} times "
            f"as many images/s as the fastest peer, {name} (95 %: {interval})."
        )


def markdown_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: Collection[str] = ()
) -> list[str]:
    """Lines of a table, the first column and those of `words`, by their heads, to the left,
    figures to the right; what could be taken for Markdown or a tag is made harmless."""
    cells = [[escaped(text) for text in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|".join(
        "-" * (w + 1) + (":" if k and head not in words else "-")
        for k, (w, head) in enumerate(zip(widths, heads, strict=True))
    )
    return [lines[0], f"|{rule}|", *lines[1:]]


def escaped(text: str) -> str:
    """Text from outside for Markdown: no tags, links, pictures, emphasis or columns of its own."""
    safe = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", safe)
