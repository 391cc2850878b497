"""What the figures look like: one chart each, as SVG in the page's colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.core.text import printable
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
from inspector.model import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from inspector.evaluation.judged import JudgedImages
    from inspector.model.bundle import Thresholds

    Line = tuple[NDArray[np.float64], NDArray[np.float64]]

RELIABILITY_BINS = 10
HISTOGRAM_BINS = 25
LONGEST_NAME = 22


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart and what stands above and below it in the page."""

    title: str
    svg: str
    caption: str = ""


def short(name: str, limit: int = LONGEST_NAME) -> str:
    """A name fit for a legend."""
    text = printable(name)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def draw_roc(judged: JudgedImages) -> Drawn:
    """Cracks found against clear images called crack, at every threshold."""
    from sklearn.metrics import roc_curve

    def curve(truth_N: NDArray[np.bool_], p_N: NDArray[np.float32]) -> Line:
        false_rates, recalls, _ = roc_curve(truth_N, p_N)
        return false_rates, recalls

    with Chart("roc") as chart:
        axes = chart.axes()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, dashes=(2, 3))
        _lines_by_source(axes, judged, curve, metrics.roc_auc)
        axes.set(xlabel="clear images called crack", ylabel="cracks found")
        _unit_square(axes)
        axes.legend(loc="lower right")
    return Drawn("ROC", chart.svg, "The number beside each name is the area under its curve.")


def draw_precision_recall(judged: JudgedImages) -> Drawn:
    """How many of the images called crack are cracks, against cracks found."""
    from sklearn.metrics import precision_recall_curve

    def curve(truth_N: NDArray[np.bool_], p_N: NDArray[np.float32]) -> Line:
        precisions, recalls, _ = precision_recall_curve(truth_N, p_N)
        return recalls, precisions

    with Chart("precision-recall") as chart:
        axes = chart.axes()
        _lines_by_source(axes, judged, curve, metrics.average_precision)
        axes.set(xlabel="recall: cracks found", ylabel="precision: crack calls that are cracks")
        _unit_square(axes)
        axes.legend(loc="lower left")
    caption = "The number beside each name is the average precision. It depends on how many of the "
    return Drawn("Precision and recall", chart.svg, caption + "images show cracks.")


def _lines_by_source(
    axes: Axes,
    judged: JudgedImages,
    curve: Callable[[NDArray[np.bool_], NDArray[np.float32]], Line],
    score: Callable[[NDArray[np.float32], NDArray[np.bool_]], float],
) -> None:
    """The largest sources that hold both classes, as many as there are colours, and all."""
    truth_N, p_N = judged.is_crack_N, judged.p_crack_N
    rankable = [(n, w) for n, w in judged.by_source() if metrics.has_both(truth_N[w])]
    largest = sorted(rankable, key=lambda part: -part[1].sum())[: len(SERIES)]
    for k, (name, where_N) in enumerate(sorted(largest)):
        truth, p = truth_N[where_N], p_N[where_N]
        style = {"color": SERIES[k], "linestyle": DASHES[k % len(DASHES)]}
        axes.plot(*curve(truth, p), label=f"{short(name)} {score(p, truth):.3f}", **style)
    if metrics.has_both(truth_N) and len(judged.by_source()) > 1:
        label = f"all {score(p_N, truth_N):.3f}"
        axes.plot(*curve(truth_N, p_N), color=INK, linewidth=2.4, label=label)


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def draw_reliability(name: str, judged: JudgedImages, number: int) -> Drawn:
    """Observed share of cracks against probability, with how many images each point stands for."""
    p_N, truth_N = judged.p_crack_N.astype(np.float64), judged.is_crack_N
    bin_N = np.minimum((p_N * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    count_K = np.bincount(bin_N, minlength=RELIABILITY_BINS)
    used = count_K > 0
    share_K = np.bincount(bin_N, truth_N, RELIABILITY_BINS)[used] / count_K[used]
    mean_K = np.bincount(bin_N, p_N, RELIABILITY_BINS)[used] / count_K[used]
    low_K, high_K = _wilson(share_K, count_K[used])
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


def _wilson(
    share_K: NDArray[np.float64], count_K: NDArray[np.int64], z: float = 1.96
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's 95 % score interval of a share (1927), image by image."""
    shrunk = 1 + z**2 / count_K
    centre = (share_K + z**2 / (2 * count_K)) / shrunk
    spread = np.sqrt(share_K * (1 - share_K) / count_K + (z / (2 * count_K)) ** 2)
    return centre - z * spread / shrunk, centre + z * spread / shrunk


def draw_scores(name: str, judged: JudgedImages, thresholds: Thresholds, number: int) -> Drawn:
    """Cracks upwards, clear images downwards, by probability. Heights grow with the square root,
    so that the few images on the wrong side can be seen beside the many on the right one."""
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    truth_N, p_N = judged.is_crack_N, judged.p_crack_N
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


def draw_thresholds(judged: JudgedImages, thresholds: Thresholds) -> Drawn:
    """What each of the two thresholds would cost at every other place."""
    truth_N, p_N = judged.is_crack_N, np.sort(judged.p_crack_N)
    at = np.linspace(0, 1, 401)

    def below(
        sorted_N: NDArray[np.float32], where: NDArray[np.float64] | float
    ) -> NDArray[np.float64]:
        return 100 * np.asarray(np.searchsorted(sorted_N, where)) / max(1, len(sorted_N))

    cracks, clears = np.sort(judged.p_crack_N[truth_N]), np.sort(judged.p_crack_N[~truth_N])
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


def draw_history(
    title: str, unit: str, epochs: Sequence[int], lines: dict[str, Sequence[float]]
) -> Drawn:
    """A quantity epoch by epoch."""
    from matplotlib.ticker import MaxNLocator

    with Chart("history-" + title.lower().replace(" ", "-"), height=3.0, legend_rows=1) as chart:
        axes = chart.axes()
        for k, (label, values) in enumerate(lines.items()):
            axes.plot(epochs, values, color=SERIES[k], linestyle=DASHES[k], marker="os^"[k],
                      markersize=4, markeredgecolor=PAPER, label=label)  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=unit)
        if len(lines) > 1:
            legend_above(axes)
    return Drawn(title, chart.svg)
