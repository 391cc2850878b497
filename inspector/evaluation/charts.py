"""The charts of the report, each one SVG in the page's colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, roc_curve

from inspector.evaluation.svg import (
    CLEAR,
    CRACK,
    DASHES,
    INK,
    MUTED,
    PAPER,
    REVIEW,
    SERIES,
    Chart,
    clean,
    legend_above,
)
from inspector.evaluation.wording import short
from inspector.model import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from inspector.evaluation.predictions import LabelledPredictions
    from inspector.model.bundle import Thresholds

    Line = tuple[NDArray[np.float64], NDArray[np.float64]]

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
