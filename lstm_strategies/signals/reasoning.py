"""Why a signal is what it is, in one line."""

from __future__ import annotations

from typing import Final

from lstm_strategies.signals.signal import IndicatorValues, Side, TechnicalAnalysis
from lstm_strategies.signals.technical import READING_NAMES

__all__ = ["reasoning_of"]

_NAMES: Final = {"rsi": "RSI", "macd": "MACD", "bollinger": "%b", "trend": "trend"}
_FORMATS: Final = {"rsi": ".1f", "macd": "+.3f", "bollinger": ".2f", "trend": "+.2f"}


def reasoning_of(
    values: IndicatorValues,
    *,
    direction: Side | None,
    price: float,
    stop: float | None,
    target: float | None,
    obstacle: str,
) -> str:
    """Return the reasoning of a signal.

    Parameters
    ----------
    values
        What the signal was made of; each number in the line is one of these, or a price, rounded.
    direction
        Side of the position; None where there is none to speak of.
    price, stop, target
        Quote currency, None for none.
    obstacle
        Why nothing is entered, on one line; empty where something is.

    Returns
    -------
    str
        Without line breaks: label and score, each part that is present, and the position or
        why there is none.
    """
    head: str = values.ai_signal
    if values.score is not None:
        head = f"{head}, score {values.score:+.2f}"
    parts = "; ".join(_parts(values))
    opening = f"{head}: {parts}" if parts else head
    if obstacle or direction is None:
        return f"{opening}; no entry: {obstacle}"
    position = f"{direction} at {price:.8g}"
    if stop is not None:
        position += f", stop {stop:.8g}"
    if target is not None:
        position += f", target {target:.8g}"
    return f"{opening}; {position}"


def _parts(values: IndicatorValues) -> list[str]:
    # Of a part that has no weight, so that nobody takes it for a reason.
    silent = {
        name: "" if name in values.weights_used else ", without a weight"
        for name in values.part_scores
    }
    said = []
    lstm = values.lstm_prediction
    if lstm is not None:
        change = f"change {lstm.change_pct:+.2f} %, to {lstm.predicted_price:.8g}"
        said.append(f"LSTM {lstm.score:+.2f} ({change}{silent['lstm']})")
    technical = values.technical_analysis
    if technical is not None:
        mean = values.part_scores["technical"]
        said.append(f"technical {mean:+.2f} ({_readings(technical)}{silent['technical']})")
    if values.llm_analysis is not None:
        weightless = f" ({silent['llm'].removeprefix(', ')})" if silent["llm"] else ""
        said.append(f"LLM {values.llm_analysis.score:+.2f}{weightless}")
    return said


def _readings(technical: TechnicalAnalysis) -> str:
    readings = {name: getattr(technical, name) for name in READING_NAMES}
    return ", ".join(
        f"{_NAMES[name]} {reading.value:{_FORMATS[name]}} {reading.reading}"
        for name, reading in readings.items()
    )
