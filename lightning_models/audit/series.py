"""Models that follow one another: each bar by the one that had not seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from lightning_models.audit.forecasts import allowed_differences
from lightning_models.audit.report import Check, Finding, moment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.forecast_series import ForecastSeries

__all__ = ["audit_series"]

# Candles on either side of a change from one model to the next.
AROUND: Final = 4


def audit_series(series: ForecastSeries, candles: Sequence[Candles]) -> Check:
    """Forecast the bars around each change with the model they belong to, and compare.

    Parameters
    ----------
    series
        Of models.
    candles
        One entry for each symbol, of the series' timeframe.

    Returns
    -------
    Check
        A bar belongs to the newest model whose ``unseen_from`` is not after the bar's close;
        one that closes before the first has no forecast.
    """
    found: dict[tuple[str, str], Finding] = {}
    compared = 0
    starts = [member.bundle.unseen_from_ms for member in series.members]
    for one in candles:
        closes = one.time + one.period_ms
        for start in starts:
            place = int(np.searchsorted(closes, start))
            first = max(0, place - AROUND - series.required_bars)
            section = slice(first, place + AROUND)
            time, ohlcv = one.time[section], one.ohlcv[section]
            arrays = series.forecast_arrays(time, ohlcv)
            allowed = allowed_differences(series, time, ohlcv)
            for row in range(series.required_bars, len(time)):
                owner = int(np.searchsorted(starts, closes[first + row], side="right")) - 1
                stated = np.concatenate(
                    [arrays.probability[row][:, None], arrays.quantiles[row]], axis=1
                )
                compared += stated.size
                if owner < 0:
                    wrong = bool(np.isfinite(stated).any())
                else:
                    rows = slice(row + 1 - series.members[owner].required_bars, row + 1)
                    own = series.members[owner].forecast_latest(time[rows], ohlcv[rows])
                    expected = np.concatenate([own[0][:, None], own[1]], axis=1)
                    over = np.nan_to_num(np.abs(stated - expected) - allowed[row])
                    gaps = np.isfinite(stated) != np.isfinite(expected)
                    wrong = bool(gaps.any() or over.max() > 0)
                if wrong:
                    subject = "no model" if owner < 0 else f"model {owner + 1}"
                    found.setdefault((subject, one.symbol), _finding(subject, one, first + row))
    return Check(
        name="series: each bar by a model that had not seen it",
        what="bars around each change of models, forecast by the newest one that had not seen them",
        compared=compared,
        findings=tuple(found.values()),
        reason="" if compared else "none of these candles lies at a change of models",
    )


def _finding(subject: str, candles: Candles, row: int) -> Finding:
    return Finding(
        subject=subject,
        symbol=candles.symbol,
        time=moment(int(candles.time[row])),
        detail="a bar of its own is forecast by another one",
        cause="folds were joined by their position and not by their unseen_from: a model then "
        "forecasts what it was fitted on; run the walk-forward again",
    )
