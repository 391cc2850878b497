"""Ways to calibrate, each fitted without one source and tried on it.

`python -m bench.studies.calibration PREDICTIONS`, the `predictions.parquet` that `inspector
evaluate` writes; development images only, never those that are reported on.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow.parquet as pq
import typer
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from bench.studies.photos.fit import balanced
from inspector.calibration.logits import LOWEST_TEMPERATURE, fit_calibration
from inspector.evaluation.metrics import ECE_BINS
from inspector.model.verdict import log_odds

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Map = Callable[[Floats], Floats]
    """From log odds to calibrated probabilities."""

_LEAST = 1e-7


def as_it_is(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    return lambda odds: expit(odds)


def temperature(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    (log_t,) = _minimum(lambda a: _nll(expit(odds_N / math.exp(a[0])), truth_N, weight_N), 1)
    return lambda odds: expit(odds / math.exp(log_t))


def temperature_with_floor(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    (log_t,) = _minimum(lambda a: _nll(expit(odds_N / math.exp(a[0])), truth_N, weight_N), 1)
    return lambda odds: expit(odds / max(math.exp(log_t), LOWEST_TEMPERATURE))


def shipped(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    """As `inspector train` fits it: Platt with bounds, and weights of its own."""
    found = fit_calibration(np.stack([np.zeros_like(odds_N), odds_N], axis=1), truth_N)
    return lambda odds: expit((odds + found.shift) / found.temperature)


def platt(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    """Platt (1999): slope and shift."""
    slope, shift = _minimum(
        lambda a: _nll(expit(math.exp(a[0]) * odds_N + a[1]), truth_N, weight_N), 2
    )
    return lambda odds: expit(math.exp(slope) * odds + shift)


def beta(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    """Kull et al. (2017): different slopes for log p and log(1 - p)."""

    def apply(a: Floats, odds: Floats) -> Floats:
        return np.asarray(
            expit(
                math.exp(a[0]) * np.log(expit(odds)) - math.exp(a[1]) * np.log(expit(-odds)) + a[2]
            )
        )

    fitted = _minimum(lambda a: _nll(apply(a, odds_N), truth_N, weight_N), 3)
    return lambda odds: apply(fitted, odds)


def isotonic(odds_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> Map:
    """Zadrozny and Elkan (2002), kept a thousandth from 0 and 1."""
    found = IsotonicRegression(y_min=1e-3, y_max=1 - 1e-3, out_of_bounds="clip")
    found.fit(odds_N, truth_N, sample_weight=weight_N)
    return lambda odds: np.asarray(found.predict(odds))


METHODS = (as_it_is, temperature_with_floor, temperature, shipped, platt, beta, isotonic)


def _minimum(loss: Callable[[Floats], float], count: int) -> Floats:
    return np.asarray(minimize(loss, np.zeros(count), method="Nelder-Mead").x)


def _nll(p_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> float:
    p_N = np.clip(p_N, _LEAST, 1 - _LEAST)
    return float(-(weight_N @ np.log(np.where(truth_N, p_N, 1 - p_N))))


def measure(p_N: Floats, truth_N: NDArray[np.bool_], weight_N: Floats) -> tuple[float, ...]:
    """Negative log-likelihood (nats), Brier score and expected calibration error."""
    bins = np.minimum((p_N * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, weights=(p_N - truth_N) * weight_N, minlength=ECE_BINS)
    brier = float(weight_N @ (p_N - truth_N) ** 2)
    return _nll(p_N, truth_N, weight_N), brier, float(np.abs(gaps).sum())


def main(
    predictions: Annotated[Path, typer.Argument(help="predictions.parquet of `evaluate`.")],
    shift: Annotated[
        float, typer.Option(help="Shift of the log odds that the model was given already.")
    ] = 0.0,
) -> None:
    """Print the comparison as Markdown tables, every source left out in turn."""
    with predictions.open("rb") as stream:
        table = pq.read_table(stream).to_pydict()
    odds_N = log_odds(np.array(table["p_crack"])) - shift
    truth_N, source_N = np.array(table["truth"]) == "crack", np.array(table["source"])
    sources = np.unique(source_N).tolist()
    print(f"| fitted on the other sources | weighed by | {' | '.join(sources)} | all |")
    print(f"| --- | --- |{' ---: |' * (len(sources) + 1)}")
    for weighed_by, part_N in (("image", np.full(len(truth_N), "")), ("source", source_N)):
        for method in METHODS:
            p_N = np.zeros(len(truth_N))
            for left_out in sources:
                rest = source_N != left_out
                fitted = method(odds_N[rest], truth_N[rest], balanced(truth_N[rest], part_N[rest]))
                p_N[~rest] = fitted(odds_N[~rest])
            found = [
                _cell(p_N, truth_N, source_N, np.isin(source_N, s)) for s in (*sources, sources)
            ]
            print(f"| {method.__name__.replace('_', ' ')} | {weighed_by} | {' | '.join(found)} |")


def _cell(
    p_N: Floats, truth_N: NDArray[np.bool_], source_N: NDArray[np.str_], of_N: NDArray[np.bool_]
) -> str:
    even_N = balanced(truth_N[of_N], source_N[of_N])
    nll, brier, ece = measure(p_N[of_N], truth_N[of_N], even_N / even_N.sum())
    return f"{nll:.3f} / {brier:.3f} / {ece:.3f}"


if __name__ == "__main__":
    typer.run(main)
