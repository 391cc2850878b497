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
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
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
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}
WIDTH_IN, HEIGHT_IN = 4.4, 3.7
"""Size of a chart; at 72 units to the inch and the font size above, its text is as big as the
page's small print."""


class Chart:
    """A figure being drawn: a context manager that sets the style, with the SVG afterwards."""

    def __init__(
        self, name: str, *, width: float = WIDTH_IN, height: float = HEIGHT_IN, legend_rows: int = 0
    ) -> None:
        """`width` and `height` in inches; `legend_rows`: lines of text above the plot."""
        from matplotlib.figure import Figure

        self.name = name
        self.svg = ""
        self.figure: Figure = Figure(figsize=(width, height))
        self.figure.patch.set_alpha(0)
        # Fixed margins, in inches: a layout engine would draw every chart twice.
        self.figure.subplots_adjust(
            left=0.62 / width,
            right=1 - 0.12 / width,
            bottom=0.5 / height,
            top=1 - (0.12 + 0.2 * legend_rows) / height,
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


def legend_above(axes: Axes) -> None:
    """A legend where no line can run into it."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderaxespad=0, borderpad=0.2)


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
    if key == "style":
        value = _FAMILY.sub("", value)
        return _COLOUR.sub(lambda match: _VARIABLES[match[0]], value)
    return value.replace("#", f"#{name}-", 1)


RELIABILITY_BINS = 10
HISTOGRAM_BINS = 25


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart with its title and caption."""

    title: str
    svg: str
    caption: str = ""


def draw_roc(found: LabelledPredictions) -> Drawn:
    """Cracks found against clear images called crack, at every threshold."""
    with Chart("roc") as chart:
        axes = chart.axes()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(2, 3))
        _lines_by_source(axes, found, lambda y, p: roc_curve(y, p)[:2], metrics.roc_auc)
        axes.set(xlabel="clear images called crack", ylabel="cracks found")
        _unit_square(axes)
        axes.legend(loc="lower right")
    return Drawn("ROC", chart.svg, "The number beside each name is the area under its curve.")


def draw_precision_recall(found: LabelledPredictions) -> Drawn:
    """The share of crack calls that are cracks, against cracks found."""
    with Chart("precision-recall") as chart:
        axes = chart.axes()
        _lines_by_source(axes, found, lambda y, p: precision_recall_curve(y, p)[1::-1],
                         metrics.average_precision)  # fmt: skip
        axes.set(xlabel="recall: cracks found", ylabel="precision: crack calls that are cracks")
        _unit_square(axes)
        axes.legend(loc="lower left")
    caption = (
        "The number beside each name is the average precision. It depends on how many of the "
        "images show cracks."
    )
    return Drawn("Precision and recall", chart.svg, caption)


def _lines_by_source(
    axes: Axes,
    found: LabelledPredictions,
    curve: Callable[[NDArray[np.bool_], NDArray[np.float32]], Line],
    score: Callable[[NDArray[np.float32], NDArray[np.bool_]], float],
) -> None:
    """The largest sources that hold both classes, as many as there are colours, and all."""
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


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def draw_reliability(name: str, found: LabelledPredictions, number: int) -> Drawn:
    """Observed share of cracks against probability, with the count of images at each point."""
    p_N, truth_N = found.p_crack_N.astype(np.float64), found.is_crack_N
    bin_N = np.minimum((p_N * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    count_K = np.bincount(bin_N, minlength=RELIABILITY_BINS)
    used = count_K > 0
    share_K = np.bincount(bin_N, truth_N, RELIABILITY_BINS)[used] / count_K[used]
    mean_K = np.bincount(bin_N, p_N, RELIABILITY_BINS)[used] / count_K[used]
    hits_K = np.rint(share_K * count_K[used]).astype(int)
    low_K, high_K = np.transpose(
        [binomtest(hits, count).proportion_ci(method="wilson")
         for hits, count in zip(hits_K.tolist(), count_K[used].tolist(), strict=True)]
    )  # fmt: skip
    with Chart(f"reliability-{number}", height=4.2) as chart:
        upper, lower = chart.figure.subplots(2, sharex=True, height_ratios=(3, 1))
        clean(upper).plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(2, 3))
        reach = np.maximum(0, np.stack([share_K - low_K, high_K - share_K]))
        upper.errorbar(mean_K, share_K, reach, color=SERIES[0], fmt="o-", elinewidth=1, capsize=2)
        upper.set(ylabel="really cracks")
        _unit_square(upper)
        _count_bars(clean(lower), count_K)
        lower.set(xlabel="probability of a crack", ylabel="images")
    return Drawn(name, chart.svg)


def _count_bars(axes: Axes, count_K: NDArray[np.int64]) -> None:
    centre_K = (np.arange(len(count_K)) + 0.5) / len(count_K)
    axes.bar(centre_K, count_K, width=0.8 / len(count_K), color=SERIES[0])
    for centre, count in zip(centre_K, count_K, strict=True):
        if count:
            axes.annotate(f"{count:,}", (centre, count), (0, 1), textcoords="offset points",
                          ha="center", fontsize=7.5)  # fmt: skip
    axes.set(yticks=[], ylim=(0, 1.3 * count_K.max()))
    axes.grid(False)


def draw_scores(
    name: str, found: LabelledPredictions, thresholds: Thresholds, number: int
) -> Drawn:
    """Cracks upwards, clear images downwards, by probability. Heights grow with the square root,
    so that the few images on the wrong side can be seen beside the many on the right one."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    truth_N, p_N = found.is_crack_N, found.p_crack_N
    with Chart(f"scores-{number}", height=3.0, legend_rows=1) as chart:
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
        ticks = [0, *(n for n in (1, 10, 100, 1000, 10_000, 100_000) if most / 400 < n <= most)]
        places = sorted({s * np.sqrt(n) for n in ticks for s in (1, -1)})
        axes.set_yticks(places, [f"{round(place**2):,}" for place in places])
        reach = 1.1 * np.sqrt(most)
        axes.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="probability of a crack",
                 ylabel="images")  # fmt: skip
        legend_above(axes)
    return Drawn(name, chart.svg)


def draw_thresholds(found: LabelledPredictions, thresholds: Thresholds) -> Drawn:
    """Errors and reviews, were one of the two thresholds anywhere else."""
    truth_N, p_N = found.is_crack_N, np.sort(found.p_crack_N)
    at = np.linspace(0, 1, 401)

    def below(
        sorted_N: NDArray[np.float32], where: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        return 100 * np.asarray(np.searchsorted(sorted_N, where)) / max(1, len(sorted_N))

    cracks, clears = np.sort(found.p_crack_N[truth_N]), np.sort(found.p_crack_N[~truth_N])
    low, high = at[at <= thresholds.crack_from], at[at >= thresholds.clear_below]
    with Chart("thresholds", width=7.0, height=4.0, legend_rows=2) as chart:
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
        axes.set(xlim=(0, 1), ylim=(0, 50), xlabel="probability of a crack", ylabel="%")
        legend_above(axes)
    return Drawn("What other thresholds would cost", chart.svg)


def _mark_thresholds(axes: Axes, thresholds: Thresholds) -> None:
    axes.axvspan(thresholds.clear_below, thresholds.crack_from, color=REVIEW, alpha=0.12, zorder=0)
    for threshold in (thresholds.clear_below, thresholds.crack_from):
        axes.axvline(threshold, color=MUTED, linewidth=1, dashes=(4, 2), zorder=0.5)


def draw_history(history: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    """Loss, accuracy and learning rate epoch by epoch; rows as in `TrainingRun.history`."""
    from matplotlib.ticker import MaxNLocator

    if not history:
        return []
    both = ("training", "train_{}"), ("validation", "validation_{}")
    charts = []
    for title, unit, measure, scale, lines in (
        ("Loss", "cross-entropy, nats", "loss", 1, both),
        ("Accuracy", "%", "accuracy", 100, both),
        ("Learning rate", "at the end of the epoch", "rate", 1, (("rate", "learning_{}"),)),
    ):
        with Chart(f"history-{measure}", height=3.0, legend_rows=1) as chart:
            axes = chart.axes()
            for k, (label, column) in enumerate(lines):
                values = [scale * row[column.format(measure)] for row in history]
                axes.plot([row["epoch"] for row in history], values, color=SERIES[k],
                          linestyle=DASHES[k], marker="os"[k], markersize=4,
                          markeredgecolor=PAPER, label=label)  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set(xlabel="epoch", ylabel=unit)
            if len(lines) > 1:
                legend_above(axes)
        charts.append(Drawn(title, chart.svg))
    return charts
