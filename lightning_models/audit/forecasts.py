"""Forecasts of many pasts: neither the future nor the way of asking may change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.futures import (
    CUT,
    FUTURES,
    exchanged_future,
    section_before_end,
)
from lightning_models.audit.report import Check, Finding, moment
from lightning_models.timeframes import bar_stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.predictor import Predictor

__all__ = ["FORECAST_TOLERANCE", "allowed_differences", "audit_forecasts"]

FORECAST_TOLERANCE: Final = 1e-5
"""Largest difference of a probability, a return or a bound as a share of the price."""

SECTION: Final = 96
CUTS: Final = 16
BARS_ASKED: Final = 12

NUMBERS: Final = ("P(up)", "change_pct", "predicted_price", "lower", "upper")

Floats = npt.NDArray[np.float64]


def audit_forecasts(
    predictor: Predictor, candles: Sequence[Candles], *, seed: int = 0
) -> list[Check]:
    """Forecast many pasts and compare them with the forecasts on the whole series.

    Parameters
    ----------
    predictor
        In window or in sequence mode.
    candles
        One entry for each symbol, of the model's timeframe. A section at each one's end is used.
    seed
        Of the cuts and of the exchanged futures.

    Returns
    -------
    list of Check
        ``forecasts: future cut off``, ``forecasts: future exchanged`` (`predict_batch`), and
        ``forecasts: one bar at a time``: `forecast_latest`, and a stream that goes over the
        bars, against all bars at once.

    Raises
    ------
    CandleError, BundleError
        If the candles cannot be forecast at all.
    """
    found: dict[str, dict[tuple[str, str], Finding]] = {name: {} for name in (*FUTURES, "one")}
    compared = dict.fromkeys((*FUTURES, "one"), 0)
    short = []
    for one in candles:
        section = section_before_end(one, predictor.required_bars + SECTION)
        if len(section) < predictor.required_bars + 2:
            short.append(one.symbol)
            continue
        whole = _stated(predictor, section)
        random = np.random.default_rng([seed, len(section)])
        choice = np.arange(predictor.required_bars, len(section))
        cuts = np.sort(random.choice(choice, size=min(CUTS, len(choice)), replace=False))
        for known in cuts.tolist():
            for future in FUTURES:
                if future == CUT:
                    past = section.between(None, int(section.time[known]))
                else:
                    past = _with_ohlcv(section, exchanged_future(section.ohlcv, known, seed))
                mine = _stated(predictor, past)[:known]
                compared[future] += int(np.isfinite(mine).sum())
                _compare(found[future], mine, whole[:known], section, predictor)
        compared["one"] += _one_at_a_time(found["one"], predictor, section)
    tolerance = f"equal to {FORECAST_TOLERANCE:g}"
    told = {
        CUT: f"predict_batch on candles up to a bar and on all of them; {tolerance}",
        "exchanged": "the same, with the candles that follow shuffled and at half or twice the "
        "price",
        "one": f"forecast_latest, and a stream over the bars, against all bars at once; {tolerance}"
        + (
            f", or {predictor.bundle.burn_in_tolerance:g} of a logit after a restart"
            if predictor.bundle.burn_in_tolerance
            else ""
        ),
    }
    names = {CUT: "future cut off", "exchanged": "future exchanged", "one": "one bar at a time"}
    reason = f"too few candles: {', '.join(short)}" if short else ""
    return [
        Check(
            name=f"forecasts: {names[key]}",
            what=told[key],
            compared=compared[key],
            findings=tuple(found[key].values()),
            reason=reason or ("" if compared[key] else "no bar of the section has a forecast"),
        )
        for key in (*FUTURES, "one")
    ]


def _stated(predictor: Predictor, candles: Candles) -> Floats:
    # [T, horizon, number]. P(up) is continuous where the direction it gives is not, and shares
    # of the price are comparable between markets.
    columns = []
    close = candles.ohlcv[:, 3]
    for horizon in predictor.horizons:
        frame = predictor.predict_batch(candles, horizon=horizon)
        confidence = frame["confidence"].to_numpy()
        up = np.where(frame["direction"].to_numpy() < 0, 1.0 - confidence, confidence)
        prices = frame[["predicted_price", "lower", "upper"]].to_numpy() / close[:, None]
        columns.append(np.column_stack([up, frame["change_pct"].to_numpy() / 100.0, prices]))
    return np.stack(columns, axis=1)


def _compare(
    found: dict[tuple[str, str], Finding],
    mine: Floats,
    whole: Floats,
    candles: Candles,
    predictor: Predictor,
) -> None:
    gaps = np.isfinite(mine) != np.isfinite(whole)
    size = np.nan_to_num(np.abs(mine - whole))
    changed = gaps | (size > FORECAST_TOLERANCE)
    for horizon, number in np.argwhere(changed.any(axis=0)).tolist():
        rows = np.flatnonzero(changed[:, horizon, number])
        name = f"{NUMBERS[number]} {predictor.horizons[horizon]}"
        largest = float(size[rows, horizon, number].max())
        before = found.get((name, candles.symbol))
        first = moment(int(candles.time[rows[0]]))
        if before is not None and before.time is not None and before.time <= first:
            continue
        found[name, candles.symbol] = Finding(
            subject=name,
            symbol=candles.symbol,
            time=first,
            size=largest if largest else None,
            unit="a fraction",
            detail="a forecast of the past changes with later candles",
            cause="a feature that looks ahead (the feature checks name it), or a network that "
            "reads the series both ways: run it over closed windows",
        )


def _one_at_a_time(
    found: dict[tuple[str, str], Finding], predictor: Predictor, section: Candles
) -> int:
    stamps = bar_stamp(section.time, section.timeframe)
    arrays = predictor.forecast_arrays(stamps, section.ohlcv)
    allowed = allowed_differences(predictor, stamps, section.ohlcv)
    bars = np.unique(
        np.linspace(predictor.required_bars, len(section), BARS_ASKED).round().astype(np.int64)
    )
    compared = 0

    def compare(way: str, known: int, probability: Floats, quantiles: Floats) -> None:
        nonlocal compared
        row = known - 1
        given = np.concatenate([probability[:, None], quantiles], axis=1)
        whole = np.concatenate([arrays.probability[row][:, None], arrays.quantiles[row]], axis=1)
        compared += int(np.isfinite(given).sum())
        gaps = bool((np.isfinite(given) != np.isfinite(whole)).any())
        over = np.nan_to_num(np.abs(given - whole) - allowed[row])
        if gaps or over.max() > 0:
            size = float(np.nan_to_num(np.abs(given - whole)).max())
            found.setdefault(
                (way, section.symbol),
                Finding(
                    subject=way,
                    symbol=section.symbol,
                    time=moment(int(section.time[row])),
                    size=size if size else None,
                    unit="a fraction",
                    detail="differs from the forecast of the same bar among all bars at once",
                    cause="the forecast in bulk knows more than the bars so far, or less than "
                    "the history that a single forecast needs: backtests and live trading differ",
                ),
            )

    for known in bars.tolist():
        rows = slice(known - predictor.required_bars, known)
        latest = predictor.forecast_latest(stamps[rows], section.ohlcv[rows])
        compare("forecast_latest", known, *latest)
    if predictor.bundle.mode == "sequence":
        stream = predictor.stream()
        for known in range(int(bars[0]), len(section) + 1):
            answer = stream.forecast(_history(stamps, section.ohlcv, known))
            compare("stream", known, *answer)
    return compared


def _history(
    stamps: npt.NDArray[np.int64], ohlcv: Floats, known: int
) -> Callable[[int], tuple[npt.NDArray[np.int64], Floats]]:
    def history(count: int) -> tuple[npt.NDArray[np.int64], Floats]:
        rows = slice(max(0, known - count), known)
        return stamps[rows], ohlcv[rows]

    return history


def allowed_differences(predictor: Predictor, time: npt.NDArray[np.int64], ohlcv: Floats) -> Floats:
    """Return how far a forecast may lie from the same one after a restart.

    Parameters
    ----------
    predictor
        In window or in sequence mode.
    time
        ``int64 [T]``, open times or bar stamps in milliseconds.
    ohlcv
        ``float64 [T, 5]``.

    Returns
    -------
    numpy.ndarray
        ``float64 [T, H, 1 + columns]``: of the probability, then of each quantile and bound.
    """
    units = np.nan_to_num(predictor.units(time, ohlcv))
    columns = predictor.no_forecast()[1].shape[-1]
    restart = predictor.bundle.burn_in_tolerance or 0.0
    bundles = [one.bundle for one in getattr(predictor, "members", (predictor,))]
    # The logistic function rises by a quarter at most.
    steepest = np.max(
        [[0.25 / one.temperature for one in bundle.calibration] for bundle in bundles], axis=0
    )
    probability = np.maximum(FORECAST_TOLERANCE, restart * steepest)[None, :, None]
    quantiles = np.maximum(FORECAST_TOLERANCE, restart * units)[:, :, None]
    return np.concatenate(
        [
            np.broadcast_to(probability, (len(units), *probability.shape[1:])),
            np.broadcast_to(quantiles, (*quantiles.shape[:2], columns)),
        ],
        axis=2,
    )


def _with_ohlcv(candles: Candles, ohlcv: Floats) -> Candles:
    return type(candles)(
        symbol=candles.symbol,
        timeframe=candles.timeframe,
        market=candles.market,
        time=candles.time,
        ohlcv=ohlcv,
        incomplete=candles.incomplete,
    )
