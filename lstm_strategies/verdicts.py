"""What a strategy may do with a forecast: one verdict a bar."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "BEFORE_UNSEEN",
    "CONFIDENT_DOWN",
    "CONFIDENT_UP",
    "DISAGREEING",
    "UNDER_THRESHOLD",
    "WITHOUT_FORECAST",
    "judge",
]

Floats = npt.NDArray[np.float64]

WITHOUT_FORECAST: Final = "without_forecast"
BEFORE_UNSEEN: Final = "before_unseen"
UNDER_THRESHOLD: Final = "under_threshold"
DISAGREEING: Final = "disagreeing"
CONFIDENT_UP: Final = "confident_up"
CONFIDENT_DOWN: Final = "confident_down"


def judge(
    confidence: Floats,
    signal: Floats,
    closes: npt.NDArray[np.int64],
    *,
    threshold: float | Floats,
    unseen_from: int | None,
) -> list[str]:
    """Return the verdict on each bar's forecast.

    Parameters
    ----------
    confidence, signal
        ``float64 [T]``, lines of a `lstm_strategies.indicator.LSTMForecast` without a
        ``min_confidence`` of its own; NaN where there is no forecast.
    closes
        ``int64 [T]``, when each bar closed, milliseconds.
    threshold
        Confidence that a trade needs; of every bar, or ``float64 [T]``.
    unseen_from
        First moment that the model has not seen, milliseconds; None lets all bars trade.

    Returns
    -------
    list of str
        ``without_forecast``, ``before_unseen``, ``under_threshold``, ``disagreeing`` (the
        median points the other way), ``confident_up`` or ``confident_down``; the first that
        holds.

    Examples
    --------
    >>> confidence, signal = np.array([np.nan, 0.7, 0.51]), np.array([np.nan, -1.0, 1.0])
    >>> judge(confidence, signal, np.arange(3), threshold=0.6, unseen_from=1)
    ['without_forecast', 'confident_down', 'under_threshold']
    """
    seen = np.zeros(len(closes), dtype=np.bool_) if unseen_from is None else closes < unseen_from
    verdicts = np.full(len(closes), CONFIDENT_UP, dtype=object)
    # The last one written is the first that holds.
    verdicts[signal < 0] = CONFIDENT_DOWN
    verdicts[signal == 0] = DISAGREEING
    verdicts[confidence < threshold] = UNDER_THRESHOLD
    verdicts[seen] = BEFORE_UNSEEN
    verdicts[np.isnan(confidence)] = WITHOUT_FORECAST
    chosen: list[str] = verdicts.tolist()
    return chosen
