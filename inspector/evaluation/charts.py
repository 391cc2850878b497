"""Charts of the report: Matplotlib figures as SVG in the page's colours, in light and in dark."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, roc_curve

from inspector.evaluation import metrics
from inspector.evaluation.wording import short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from inspector.evaluation.predictions import LabelledPredictions
    from inspector.model.bundle import Thresholds

    Line = tuple[NDArray[np.float64], NDArray[np.float64]]

INK, MUTED, LINE, PAPER = "#010101", "#010102", "#010103", "#010104"
CRACK, CLEAR, REVIEW = "#010105", "#010106", "#010107"
SERIES = tuple(f"#0102{k:02x}" for k in range(7))
"""Placeholder colours; in the page they become CSS variables (`_VARIABLES`)."""
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
"""Lines differ in their dashes too, for those who do not see the colours apart."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    CRACK: "var(--crack)",
    CLEAR: "var(--clear)",
    REVIEW: "var(--review)",
    **{token: f"var(--series-{k})" for k, token in enumerate(SERIES)},
}
_COLOUR = re.compile("|".join(_VARIABLES))
_FAMILY = re.compile(r"font-family:[^;]*;?")
_DIGITS = re.compile(r"(\.\d\d)\d+")
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "inspector",
    "text.parse_math": False,  # a source may be called $x$
    "font.size": 12,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.handlelength": 1.5,
    "legend.handletextpad": 0.5,
    "legend.columnspacing": 0.8,
    "lines.linewidth": 1.6,
}
WIDTH_IN, HEIGHT_IN = 352 / 72, 3.9
"""Size of every chart: 72 units to the inch are the pixels of a page, where it is 22rem wide and
its text the smallest size of text."""
LINE_IN = 0.22
"""Height of a line of a legend."""


class Chart:
    """A figure being drawn: a context manager that sets the style, with the SVG afterwards."""

    def __init__(self, name: str, *, height: float = HEIGHT_IN, legend_rows: int = 0) -> None:
        """`height` in inches; `legend_rows`: lines of text above the plot."""
        from matplotlib.figure import Figure

        self.name = name
        self.svg = ""
        self.figure: Figure = Figure(figsize=(WIDTH_IN, height))
        self.figure.patch.set_alpha(0)
        # Fixed margins, in inches: a layout engine would draw every chart twice.
        self.figure.subplots_adjust(
            left=0.86 / WIDTH_IN,
            right=1 - 0.16 / WIDTH_IN,
            bottom=0.58 / height,
            top=1 - (0.12 + LINE_IN * legend_rows) / height,
            hspace=0.12,
        )
        self._style = ExitStack()

    def __enter__(self) -> Chart:
        import matplotlib as mpl

        self._style.enter_context(mpl.rc_context(cast(Any, _STYLE)))  # a union of 300 literals
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._style:
            if kind is None:
                self.svg = _to_svg(self.figure, self.name)

    def axes(self) -> Axes:
        """One plot that fills the chart."""
        return clean(self.figure.subplots())


def legend_above(axes: Axes, *, columns: int = 2) -> None:
    """A legend where no line can run into it."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=columns, borderaxespad=0,
                borderpad=0.2, labelspacing=0.25)  # fmt: skip


def clean(axes: Axes) -> Axes:
    """Axes without a background of their own."""
    axes.patch.set_alpha(0)
    return axes


def _to_svg(figure: Figure, name: str) -> str:
    """The SVG for use inside HTML: without namespaces, and with ids that begin with the figure's
    name, because figures of one page use the same ids."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(file.getvalue())
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
        changed = {key.rpartition("}")[2]: _changed(key, parent.get(key, ""), name)
                   for key in list(parent.attrib)}  # fmt: skip
        parent.attrib.clear()
        parent.attrib.update(changed)
    del root.attrib["width"], root.attrib["height"]  # the page decides
    root.attrib.update({"class": "chart", "role": "img"})
    return ElementTree.tostring(root, encoding="unicode")


def _changed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "d":
        return _DIGITS.sub(r"\1", " ".join(value.split()))
    if value in _VARIABLES:
        return _VARIABLES[value]
    if key == "style":
        value = _FAMILY.sub("", value).replace("url(#", f"url(#{name}-")
        return _COLOUR.sub(lambda match: _VARIABLES[match[0]], value)
    return value.replace("#", f"#{name}-", 1)


_FIFTHS = (0, 0.2, 0.4, 0.6, 0.8, 1)
RELIABILITY_BINS = 10
HISTOGRAM_BINS = 25


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart with its title and caption, and what it shows for those who do not see it."""

    title: str
    svg: str
    alt: str
    caption: str = ""


def draw_roc(found: LabelledPredictions) -> list[Drawn]:
    """Cracks found against clear images called crack, at every threshold; nothing where no source
    has both."""
    with Chart("roc") as chart:
        axes = chart.axes()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(2, 3))
        named = _lines_by_source(axes, found, lambda y, p: roc_curve(y, p)[:2], metrics.roc_auc)
        axes.set(xlabel="clear images called crack", ylabel="cracks found")
        _unit_square(axes)
        if named:
            axes.legend(loc="lower right")
    caption = "Beside each name: the area under its curve."
    return [Drawn("ROC", chart.svg, f"Areas under the curves: {named}.", caption)] if named else []


def draw_precision_recall(found: LabelledPredictions) -> list[Drawn]:
    """The share of crack calls that are cracks, against cracks found; nothing where no source has
    both."""
    with Chart("precision-recall") as chart:
        axes = chart.axes()
        named = _lines_by_source(axes, found, lambda y, p: precision_recall_curve(y, p)[1::-1],
                                 metrics.average_precision)  # fmt: skip
        axes.set(xlabel="recall: cracks found", ylabel="precision: crack calls that are right")
        _unit_square(axes)
        if named:
            axes.legend(loc="lower left")
    caption = (
        "Beside each name: the average precision, which depends on how many images show cracks."
    )
    alt = f"Average precision: {named}."
    return [Drawn("Precision and recall", chart.svg, alt, caption)] if named else []


def _lines_by_source(
    axes: Axes,
    found: LabelledPredictions,
    curve: Callable[[NDArray[np.bool_], NDArray[np.float32]], Line],
    score: Callable[[NDArray[np.float32], NDArray[np.bool_]], float],
) -> str:
    """Draw the largest sources that hold both classes, as many as there are colours, and all;
    returns their names and scores."""
    truth_N, p_N = found.is_crack_N, found.p_crack_N
    rankable = [(n, w) for n, w in found.by_source() if metrics.has_both(truth_N[w])]
    largest = sorted(rankable, key=lambda part: -part[1].sum())[: len(SERIES)]
    for k, (name, where_N) in enumerate(sorted(largest)):
        truth, p = truth_N[where_N], p_N[where_N]
        style = {"color": SERIES[k], "linestyle": DASHES[k % len(DASHES)]}
        axes.plot(*curve(truth, p), label=f"{short(name)} {score(p, truth):.3f}", **style)
    if metrics.has_both(truth_N) and len(found.by_source()) > 1:
        label = f"all {score(p_N, truth_N):.3f}"
        axes.plot(*curve(truth_N, p_N), color=INK, linewidth=2.4, label=label)
    labels: list[str] = axes.get_legend_handles_labels()[1]
    return ", ".join(labels)


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=_FIFTHS, yticks=_FIFTHS)


def draw_reliability(name: str, found: LabelledPredictions, number: int) -> list[Drawn]:
    """Observed share of cracks against probability, with the count of images at each point; nothing
    where there is one point."""
    p_N, truth_N = found.p_crack_N.astype(np.float64), found.is_crack_N
    bin_N = np.minimum((p_N * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    count_K = np.bincount(bin_N, minlength=RELIABILITY_BINS)
    used = count_K > 0
    if used.sum() < 2:
        return []
    share_K = np.bincount(bin_N, truth_N, RELIABILITY_BINS)[used] / count_K[used]
    mean_K = np.bincount(bin_N, p_N, RELIABILITY_BINS)[used] / count_K[used]
    hits_K = np.rint(share_K * count_K[used]).astype(int)
    low_K, high_K = np.transpose(
        [binomtest(hits, count).proportion_ci(method="wilson")
         for hits, count in zip(hits_K.tolist(), count_K[used].tolist(), strict=True)]
    )  # fmt: skip
    with Chart(f"reliability-{number}") as chart:
        upper, lower = chart.figure.subplots(2, sharex=True, height_ratios=(3, 1))
        clean(upper).plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(2, 3))
        reach = np.maximum(0, np.stack([share_K - low_K, high_K - share_K]))
        upper.errorbar(mean_K, share_K, reach, color=SERIES[0], fmt="o-", elinewidth=1, capsize=2)
        upper.set(ylabel="really cracks")
        _unit_square(upper)
        _count_bars(clean(lower), count_K)
        lower.set(xlabel="probability of a crack", ylabel="images")
    points = zip(mean_K, hits_K.tolist(), count_K[used].tolist(), strict=True)
    told = "; ".join(f"{p:.2f}: {hits:,} of {count:,}" for p, hits, count in points)
    return [Drawn(name, chart.svg, f"Images that are cracks, by probability: {told}.")]


def _count_bars(axes: Axes, count_K: NDArray[np.int64]) -> None:
    centre_K = (np.arange(len(count_K)) + 0.5) / len(count_K)
    axes.bar(centre_K, count_K, width=0.8 / len(count_K), color=SERIES[0])
    for centre, count in zip(centre_K, count_K, strict=True):
        if count:
            axes.annotate(_short_count(int(count)), (centre, count), (0, 1), ha="center",
                          textcoords="offset points", fontsize=10)  # fmt: skip
    axes.set(yticks=[], ylim=(0, 1.5 * count_K.max()))
    axes.grid(False)


def _short_count(count: int) -> str:
    """At most four letters, for ten of them side by side."""
    if count < 1000:
        return f"{count}"
    return f"{count / 1000:.1f}k" if count < 9950 else f"{count / 1000:.0f}k"


def draw_scores(
    name: str, found: LabelledPredictions, thresholds: Thresholds, number: int
) -> Drawn:
    """Cracks upwards, clear images downwards, by probability. Heights grow with the square root,
    so that the few images on the wrong side can be seen beside the many on the right one."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    truth_N, p_N = found.is_crack_N, found.p_crack_N
    with Chart(f"scores-{number}", legend_rows=1) as chart:
        axes = chart.axes()
        _mark_thresholds(axes, thresholds)
        most = 1
        for part_N, sign, colour, label in ((truth_N, 1, CRACK, "cracks"),
                                            (~truth_N, -1, CLEAR, "clear images")):  # fmt: skip
            counts, _ = np.histogram(p_N[part_N], edges)
            height = sign * np.sqrt(counts)
            axes.bar(edges[:-1], height, width=0.85 / HISTOGRAM_BINS, align="edge", color=colour,
                     label=f"{label} ({part_N.sum():,})")  # fmt: skip
            most = max(most, int(counts.max()))
        axes.axhline(0, color=INK, linewidth=0.8)
        # Of the round numbers, those that do not run into each other.
        ticks = [0, *(n for n in (1, 10, 100, 1000, 10_000, 100_000) if most / 40 < n <= most)]
        places = sorted({s * np.sqrt(n) for n in ticks for s in (1, -1)})
        axes.set_yticks(places, [f"{round(place**2):,}" for place in places])
        reach = 1.1 * np.sqrt(most)
        axes.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="probability of a crack",
                 ylabel="images", xticks=_FIFTHS)  # fmt: skip
        legend_above(axes)
    low, high = thresholds.clear_below, thresholds.crack_from
    told = [
        f"of {part_N.sum():,} {label} {(p_N[part_N] < low).sum():,} lie below {low:g} and "
        f"{(p_N[part_N] >= high).sum():,} from {high:g}"
        for part_N, label in ((truth_N, "cracks"), (~truth_N, "clear images")) if part_N.any()
    ]  # fmt: skip
    return Drawn(name, chart.svg, f"By probability, {'; '.join(told)}.")


def draw_thresholds(
    name: str, found: LabelledPredictions, thresholds: Thresholds, number: int
) -> Drawn:
    """Errors and reviews, were one of the two thresholds anywhere else."""
    truth_N, p_N = found.is_crack_N, np.sort(found.p_crack_N)
    at = np.linspace(0, 1, 401)

    def below(
        sorted_N: NDArray[np.float32], where: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        return 100 * np.asarray(np.searchsorted(sorted_N, where)) / max(1, len(sorted_N))

    cracks, clears = np.sort(found.p_crack_N[truth_N]), np.sort(found.p_crack_N[~truth_N])
    low, high = at[at <= thresholds.crack_from], at[at >= thresholds.clear_below]
    with Chart(f"thresholds-{number}", legend_rows=4) as chart:
        axes = chart.axes()
        _mark_thresholds(axes, thresholds)
        axes.plot(at, below(cracks, at), color=CRACK,
                  label="cracks missed, were “clear below” here")  # fmt: skip
        axes.plot(at, 100 - below(clears, at), color=CLEAR, linestyle=DASHES[1],
                  label="false alarms, were “crack from” here")  # fmt: skip
        review = below(p_N, thresholds.crack_from) - below(p_N, low)
        axes.plot(low, review, color=REVIEW, linestyle=DASHES[2],
                  label="to review, were “clear below” here")  # fmt: skip
        review = below(p_N, high) - below(p_N, thresholds.clear_below)
        axes.plot(high, review, color=REVIEW, linestyle=DASHES[3],
                  label="to review, were “crack from” here")  # fmt: skip
        axes.set(xlim=(-0.02, 1.02), ylim=(-1, 50), xlabel="probability of a crack", ylabel="%",
                 xticks=_FIFTHS)  # fmt: skip
        legend_above(axes, columns=1)
    told = [f"{float(below(cracks, p)):.1f} % and {100 - float(below(clears, p)):.1f} % at {p:g}"
            for p in _FIFTHS[1:-1]]  # fmt: skip
    alt = f"Cracks missed and false alarms, were the threshold there: {'; '.join(told)}."
    return Drawn(name, chart.svg, alt)


def _mark_thresholds(axes: Axes, thresholds: Thresholds) -> None:
    axes.axvspan(thresholds.clear_below, thresholds.crack_from, color=REVIEW, alpha=0.12, zorder=0)
    for threshold in (thresholds.clear_below, thresholds.crack_from):
        axes.axvline(threshold, color=MUTED, linewidth=1, dashes=(4, 2), zorder=0.5)


def draw_history(history: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """Loss, accuracy and learning rate epoch by epoch; rows as in `TrainingRun.history`. Nothing
    of a single epoch."""
    from matplotlib.ticker import MaxNLocator

    if len(history) < 2:
        return []
    both = ("training", "train_{}"), ("validation", "validation_{}")
    charts = []
    for title, unit, measure, scale, lines in (
        ("Loss", "cross-entropy, nats", "loss", 1, both),
        ("Accuracy", "%", "accuracy", 100, both),
        ("Learning rate at the end of each epoch", "thousandths", "rate", 1000,
         (("rate", "learning_{}"),)),
    ):  # fmt: skip
        told = []
        with Chart(f"history-{measure}", legend_rows=1) as chart:
            axes = chart.axes()
            for k, (label, column) in enumerate(lines):
                values = [scale * row[column.format(measure)] for row in history]
                axes.plot([row["epoch"] for row in history], values, color=SERIES[k],
                          linestyle=DASHES[k], marker="os"[k], markersize=4,
                          markeredgecolor=PAPER, label=label)  # fmt: skip
                told.append(f"{label} from {values[0]:.3g} to {values[-1]:.3g}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="epoch", ylabel=unit)
            if len(lines) > 1:
                legend_above(axes)
        charts.append(Drawn(title, chart.svg, f"{unit}, over the epochs: {', '.join(told)}."))
    return charts
