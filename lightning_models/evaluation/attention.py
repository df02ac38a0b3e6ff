"""Which candles of its window a network with attention looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lightning_models.candles.reading import read_candles
from lightning_models.errors import ConfigError
from lightning_models.timeframes import period_ms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lightning_models.candles.candles import Candles
    from lightning_models.networks.attention import AttentionTrunk
    from lightning_models.predictor import Predictor

__all__ = ["attention_figure", "attention_weights"]

_INK = "#3b4252"
_BLUE = "#2f6db3"
_DAY_MS = 86_400_000


def attention_weights(predictor: Predictor, candles: pd.DataFrame | Candles) -> pd.DataFrame:
    """Return how much each candle of the last window weighs in its forecast.

    Parameters
    ----------
    predictor
        Of a network with attention.
    candles
        At least `Predictor.required_bars`, oldest first; earlier ones are not looked at.

    Returns
    -------
    pandas.DataFrame
        A row for each candle of the window, oldest first: ``timestamp``, its open time in
        UTC, and ``weight``, a fraction of the whole; weights sum to 1. A missing candle of a
        market that never closes has a row too: the network read it as a flat one.

    Raises
    ------
    ConfigError
        If the network has no attention.
    CandleError, BundleError
        Where there is no forecast to explain, as `Predictor.predict_latest` raises them.
    """
    # Imported here: torch takes two seconds, and scores need none of it.
    import torch

    trunk = _attentive_trunk(predictor)
    predictor.predict_latest(candles)
    read = _read(predictor, candles)
    last = slice(-predictor.required_bars, None)
    table = predictor.feature_table(read.time[last], read.ohlcv[last])
    window = torch.from_numpy(predictor.scaled(table)[-predictor.lookback :])
    with torch.inference_mode():
        weights = trunk.attention(window[None])[0].numpy().astype(np.float64)
    time = pd.to_datetime(table.time[-predictor.lookback :], unit="ms", utc=True)
    return pd.DataFrame({"timestamp": time, "weight": weights})


def attention_figure(predictor: Predictor, candles: pd.DataFrame | Candles) -> Figure:
    """Return the close of each candle of the last window, and its weight beneath.

    Parameters
    ----------
    predictor, candles
        As in `attention_weights`, whose errors it raises.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    weights = attention_weights(predictor, candles)
    read = _read(predictor, candles)
    opened = weights["timestamp"].dt.tz_localize(None).to_numpy().astype("datetime64[ms]")
    shown = read.time >= opened[0].astype(np.int64)

    figure = Figure(figsize=(8.0, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    price, share = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    price.plot(
        read.time[shown].astype("datetime64[ms]"),
        read.ohlcv[shown, 3],
        color=_INK,
        linewidth=1.4,
        marker="o",
        markersize=2.5,
    )
    width = 0.8 * period_ms(predictor.timeframe) / _DAY_MS
    share.bar(opened, weights["weight"], width=width, color=_BLUE)
    share.axhline(
        1.0 / len(weights), color=_INK, linewidth=1.0, linestyle=":", label="all candles alike"
    )
    # Room for the legend above the tallest bar.
    share.set_ylim(0.0, 1.4 * float(weights["weight"].max()))
    share.legend(frameon=False, loc="upper left")
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    share.xaxis.set_major_locator(locator)
    share.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    price.set(ylabel="close", title=f"{read.symbol}: candles that weighed in the last forecast")
    share.set(ylabel="weight", xlabel="open time, UTC")
    for axes in (price, share):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color="#d8dee9", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def _attentive_trunk(predictor: Predictor) -> AttentionTrunk:
    from lightning_models.networks.attention import AttentionConfig, AttentionTrunk

    config = predictor.bundle.network
    if not isinstance(config, AttentionConfig):
        raise ConfigError(
            f"{predictor.model} is of kind {config.kind!r}, which has no attention over its "
            "candles: train one with --preset attention"
        )
    trunk = predictor.network.trunk
    assert isinstance(trunk, AttentionTrunk)
    return trunk


def _read(predictor: Predictor, candles: pd.DataFrame | Candles) -> Candles:
    return read_candles(candles, timeframe=predictor.timeframe, market=predictor.bundle.market)
