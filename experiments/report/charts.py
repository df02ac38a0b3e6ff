"""The report's pictures: each function draws one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.report.seen import seen_until
from experiments.report.thinning import join_candles, joined_count
from experiments.report.time_lines import add_line, empty_figure, shade_until
from lightning_models.evaluation.reliability import bin_of, reliability_bins
from lightning_models.timeframes import bar_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from experiments.result import BacktestResult, EquityPoint, TradeRecord
    from lightning_models.candles.candles import Candles
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = [
    "MAXIMUM_CANDLES",
    "MAXIMUM_POINTS",
    "Chart",
    "candle_chart",
    "confidence_chart",
    "drawdown_chart",
    "equity_chart",
    "outcome_chart",
    "reliability_chart",
]

MAXIMUM_CANDLES = 5_000
"""With more candles than this, neighbours are joined in the picture."""

MAXIMUM_POINTS = 4_000
"""With more points than this, a curve is drawn by each stretch's extremes."""

# Tones that read on white and on near-black.
_BLUE, _GREY, _ORANGE, _GREEN, _RED = "#3f83c8", "#8b919b", "#d9822b", "#2f9e6e", "#d1495b"
_RED_WASH = "rgba(209, 73, 91, 0.18)"
_DOTTED = {"color": _GREY, "width": 1.2, "dash": "dot"}
_OUTLINE = {"color": "white", "width": 1}


@dataclass(frozen=True)
class Chart:
    """A picture with its heading and what there is to know about it."""

    key: str
    title: str
    caption: str
    figure: Any
    """`plotly.graph_objects.Figure`, without colours of text and ground: the page sets them."""


def equity_chart(result: BacktestResult) -> Chart:
    """Return the equity of the strategy against that of buy-and-hold."""
    figure = empty_figure("equity, quote currency")
    drawn = _add_curve(figure, result.equity_curve, result.strategy_name, _BLUE)
    if result.buy_and_hold is not None:
        _add_curve(figure, result.buy_and_hold.equity_curve, "buy-and-hold", _GREY)
    shade_until(figure, [point.time for point in result.equity_curve], seen_until(result))
    caption = "Equity at each bar's close, the same cash in both at the start."
    return Chart("equity", "Equity against buy-and-hold", caption + drawn, figure)


def drawdown_chart(result: BacktestResult) -> Chart:
    """Return how far equity lay below its highest value so far."""
    figure = empty_figure("drawdown, %")
    times = [point.time for point in result.drawdown_curve]
    depth = np.array([-point.drawdown_pct for point in result.drawdown_curve])
    drawn = _add_line(
        figure, times, depth, result.strategy_name, _RED, fill="tozeroy", fillcolor=_RED_WASH
    )
    if result.buy_and_hold is not None:
        held = np.array([point.equity for point in result.buy_and_hold.equity_curve])
        peak = np.maximum.accumulate(held)
        times = [point.time for point in result.buy_and_hold.equity_curve]
        _add_line(figure, times, 100.0 * (held / peak - 1.0), "buy-and-hold", _GREY)
    shade_until(figure, times, seen_until(result))
    return Chart(
        "drawdown", "Drawdown", "Distance below the highest equity so far." + drawn, figure
    )


def candle_chart(result: BacktestResult, candles: Candles, forecasts: pd.DataFrame | None) -> Chart:
    """Return the candles with every entry and exit, and the forecast's interval on demand."""
    figure = empty_figure("price, quote currency")
    count = joined_count(len(candles), MAXIMUM_CANDLES)
    time, ohlcv = join_candles(candles.time, candles.ohlcv, count)
    figure.add_candlestick(
        x=_iso(time),
        open=ohlcv[:, 0],
        high=ohlcv[:, 1],
        low=ohlcv[:, 2],
        close=ohlcv[:, 3],
        name="candles",
        increasing={"line": {"color": _GREEN, "width": 1}},
        decreasing={"line": {"color": _RED, "width": 1}},
    )
    caption = "Triangles mark entries, crosses exits."
    if forecasts is not None:
        _add_forecast_interval(figure, candles, forecasts, count)
        caption = (
            "Triangles mark entries, crosses exits; the interval of the forecasts is in the legend."
        )
    _add_trades(figure, result.trades)
    shade_until(figure, _iso(time), seen_until(result))
    figure.update_layout(xaxis_rangeslider_visible=False, hovermode="closest")
    if count > 1:
        caption += (
            f" Drawn with {count} neighbouring candles joined into one: {len(time):,} in place of "
            f"{len(candles):,}."
        )
    return Chart("candles", "Candles, entries and exits", caption, figure)


def outcome_chart(outcomes: Outcomes) -> Chart:
    """Return what the median forecast said against the return that followed."""
    figure = empty_figure("return that followed, %", x_title="forecast of the return, %")
    predicted, actual = 100.0 * outcomes.predicted, 100.0 * outcomes.actual
    kept = np.unique(np.linspace(0, len(outcomes) - 1, MAXIMUM_POINTS // 2).astype(np.int64))
    figure.add_scatter(
        x=predicted[kept],
        y=actual[kept],
        mode="markers",
        name="forecasts",
        marker={"color": _GREY, "size": 4, "opacity": 0.35},
        hoverinfo="skip",
    )
    index = bin_of(predicted)
    counts = np.bincount(index)
    centre = np.bincount(index, weights=predicted) / counts
    mean = np.bincount(index, weights=actual) / counts
    square = np.bincount(index, weights=np.square(actual)) / counts
    error = np.sqrt(np.maximum(0.0, square - np.square(mean)) / counts)
    figure.add_scatter(
        x=centre,
        y=mean,
        error_y={"array": 1.96 * error, "color": _BLUE, "thickness": 1.4},
        mode="markers",
        name="mean of a tenth",
        marker={"color": _BLUE, "size": 9},
    )
    reach = [float(predicted.min()), float(predicted.max())]
    figure.add_scatter(x=reach, y=reach, mode="lines", name="perfect", line=_DOTTED)
    # Single wild returns would flatten everything else.
    low, high = np.quantile(actual, [0.02, 0.98])
    figure.update_layout(hovermode="closest")
    figure.update_yaxes(range=_padded(low, high))
    caption = (
        "Large dots: the mean return that followed each tenth of the forecasts, in order of size, "
        "with 1.96 standard errors (too narrow where labels overlap). Skill would tilt them "
        "along the dotted line."
    )
    if len(kept) < len(outcomes):
        caption += f" Small dots: {len(kept):,} of the {len(outcomes):,} forecasts."
    return Chart("outcomes", "Forecast against outcome", caption, figure)


def reliability_chart(outcomes: Outcomes) -> Chart:
    """Return the observed share of ups against the predicted probability."""
    figure = empty_figure("observed share of ups", x_title="predicted probability of up")
    moved = outcomes.actual != 0.0
    bins = reliability_bins(outcomes.probability_up[moved], outcomes.actual[moved] > 0.0)
    observed = np.array([each.observed for each in bins])
    predicted = np.array([each.predicted for each in bins])
    figure.add_scatter(
        x=predicted,
        y=observed,
        error_y={
            "array": np.array([each.high for each in bins]) - observed,
            "arrayminus": observed - np.array([each.low for each in bins]),
            "symmetric": False,
            "color": _BLUE,
            "thickness": 1.4,
        },
        customdata=[each.count for each in bins],
        hovertemplate="predicted %{x:.3f}, observed %{y:.3f}, %{customdata:,} forecasts",
        mode="lines+markers",
        name="forecasts",
        line={"color": _BLUE, "width": 1.2},
        marker={"size": 8},
    )
    ends = [float(predicted.min(initial=0.45)), float(predicted.max(initial=0.55))]
    figure.add_scatter(x=ends, y=ends, mode="lines", name="perfect", line=_DOTTED)
    figure.update_layout(hovermode="closest")
    caption = (
        "Bins of about equal counts, bars are 95% Wilson intervals (too narrow where labels "
        "overlap). On the dotted line, probabilities mean what they say."
    )
    return Chart("reliability", "Reliability", caption, figure)


def confidence_chart(forecasts: pd.DataFrame, minimum: float | None) -> Chart:
    """Return how sure the forecasts were, with the least confidence that may trade."""
    figure = empty_figure("forecasts", x_title="confidence")
    confidence = forecasts["confidence"].to_numpy(dtype=np.float64)
    given = confidence[np.isfinite(confidence)]
    counts, edges = np.histogram(given, bins=50, range=(0.5, max(0.75, given.max(initial=0.5))))
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2.0,
        y=counts,
        width=np.diff(edges),
        name="forecasts",
        marker={"color": _BLUE, "line": {"width": 0}},
        showlegend=False,
    )
    caption = f"{len(given):,} forecasts on {len(confidence):,} candles, warm-up included."
    if minimum is not None:
        figure.add_vline(x=minimum, line={"color": _ORANGE, "width": 1.5})
        passing = int(np.sum(given >= minimum))
        caption += (
            f" The line is the least confidence that trades, {minimum:g}: {passing:,} reach it."
        )
    figure.update_layout(bargap=0.0)
    return Chart("confidence", "Confidence", caption, figure)


def _add_curve(figure: Any, points: Sequence[EquityPoint], name: str, colour: str) -> str:
    equity = np.array([point.equity for point in points])
    return _add_line(figure, [point.time for point in points], equity, name, colour)


def _add_line(
    figure: Any,
    times: Sequence[str],
    values: npt.NDArray[np.float64],
    name: str,
    colour: str,
    **style: Any,
) -> str:
    line = {"color": colour, "width": 1.4}
    return add_line(figure, times, values, name, line, limit=MAXIMUM_POINTS, **style)


def _add_trades(figure: Any, trades: Sequence[TradeRecord]) -> None:
    size = 10 if len(trades) <= 100 else 7
    for direction, symbol, colour in (
        ("LONG", "triangle-up", _BLUE),
        ("SHORT", "triangle-down", _ORANGE),
    ):
        of_kind = [trade for trade in trades if trade.direction == direction]
        if not of_kind:
            continue
        _add_marks(
            figure,
            [(trade.entry_time, trade.entry_price, "") for trade in of_kind],
            f"{direction.lower()} entry",
            {"symbol": symbol, "size": size, "color": colour, "line": _OUTLINE},
        )
        _add_marks(
            figure,
            [
                (trade.exit_time, trade.exit_price, f"<br>{trade.pnl_pct:+.2f}%")
                for trade in of_kind
                if trade.exit_time is not None and trade.exit_price is not None
            ],
            f"{direction.lower()} exit",
            {"symbol": "x", "size": 0.7 * size, "color": colour, "line": _OUTLINE},
        )


def _add_marks(
    figure: Any, marks: Sequence[tuple[str, float, str]], name: str, marker: dict[str, Any]
) -> None:
    figure.add_scatter(
        x=[mark[0] for mark in marks],
        y=[mark[1] for mark in marks],
        customdata=[mark[2] for mark in marks],
        hovertemplate="%{x}<br>%{y:,.6~g}%{customdata}",
        mode="markers",
        name=name,
        marker=marker,
    )


def _add_forecast_interval(
    figure: Any, candles: Candles, forecasts: pd.DataFrame, count: int
) -> None:
    # A joined candle shows the forecast made at its end.
    last = np.minimum(np.arange(0, len(candles), count) + count, len(candles)) - 1
    bounds = forecasts[["lower", "upper"]].to_numpy(dtype=np.float64)[last]
    if not np.isfinite(bounds).any():
        return
    stamps = _iso(bar_stamp(candles.time[last], candles.timeframe))
    for column, name, fill in ((0, "", None), (1, "forecast interval", "tonexty")):
        figure.add_scatter(
            x=stamps,
            y=bounds[:, column],
            name=name,
            mode="lines",
            line={"color": _BLUE, "width": 0.8},
            fill=fill,
            fillcolor="rgba(63, 131, 200, 0.18)",
            legendgroup="interval",
            showlegend=bool(name),
            visible="legendonly",
            hoverinfo="skip",
        )


def _iso(time: npt.NDArray[np.int64]) -> list[str]:
    return [f"{text}Z" for text in np.datetime_as_string(time.astype("datetime64[ms]"))]


def _padded(low: float, high: float) -> list[float]:
    margin = 0.08 * (high - low) or 1.0
    return [float(low - margin), float(high + margin)]
