"""A predictor for a symbol that has no model: the statistical forecaster, fitted to nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, cast

from lightning_models.bundle import Bundle, Golden, Thresholds
from lightning_models.calibration import DirectionCalibration
from lightning_models.candles.candles import fingerprint_of
from lightning_models.data.horizons import resolve_horizons
from lightning_models.data.scaling import Scaler
from lightning_models.errors import ConfigError
from lightning_models.features import FeatureSpec
from lightning_models.features.compute import warmup_of
from lightning_models.forecasters.statistical import Statistical, StatisticalConfig
from lightning_models.inference import NetworkRunner
from lightning_models.loading import UNTRAINED
from lightning_models.predictor import Predictor
from lightning_models.spelling import nearest_names
from lightning_models.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Market

__all__ = ["UNTRAINED_NOTE", "predictor_of_name", "statistical_predictor"]

_log = logging.getLogger(__name__)

UNTRAINED_NOTE: Final = (
    "The model was not trained: drift, volatility and bounds come from the last candles alone, "
    "and its probabilities were never calibrated."
)
"""What output says of such a predictor."""

LOOKBACK: Final = 120
BRIDGED_SHARE: Final = 0.05
MARKETS: Final[tuple[Market, ...]] = ("continuous", "sessions")


def statistical_predictor(
    timeframe: str,
    *,
    market: Market = "continuous",
    horizons: Sequence[int | str] = (1,),
    lookback: int = LOOKBACK,
    config: StatisticalConfig | None = None,
) -> Predictor:
    """Return a predictor that needs no training, registry or file, for any symbol.

    Parameters
    ----------
    timeframe, market
        Of the candles.
    horizons
        Numbers of candles or durations such as ``1d``.
    lookback
        Candles it estimates from, at least 60.
    config
        Of the `Statistical` forecaster.

    Returns
    -------
    Predictor
        Its bundle is `unseen_from` 1970, because nothing was fitted, and names no symbols, no
        metrics and no slices. No share of bars is its top share: without a calibration slice
        all thresholds are 1.

    Raises
    ------
    ConfigError
        If the timeframe or market is unknown, or a horizon or the lookback does not fit.

    Examples
    --------
    >>> statistical_predictor("6h", horizons=(1, "1d")).horizons
    ('6h', '1d')
    """
    if timeframe not in TIMEFRAMES:
        raise ConfigError(
            f"unknown timeframe {timeframe!r}: {nearest_names(timeframe, TIMEFRAMES)}"
        )
    if market not in MARKETS:
        raise ConfigError(f"unknown market {market!r}: {nearest_names(market, MARKETS)}")
    config = config or StatisticalConfig()
    resolved = resolve_horizons(tuple(horizons), timeframe)
    features = (FeatureSpec(name="close"),)
    forecaster = Statistical(config, len(features), len(resolved))
    forecaster.set_up(lookback, [horizon.candles for horizon in resolved])
    bundle = Bundle(
        weights_sha256="",
        network=config,
        features=features,
        lookback=lookback,
        warmup=warmup_of(features),
        bridged_share=BRIDGED_SHARE,
        scaler=Scaler(mean=(0.0,), deviation=(1.0,)),
        calibration=tuple(DirectionCalibration() for _ in resolved),
        base_rate=tuple(0.5 for _ in resolved),
        thresholds=Thresholds(confidence_quantiles=tuple((1.0,) * 101 for _ in resolved)),
        horizons=resolved,
        symbols=(),
        timeframe=timeframe,
        market=market,
        slices={},
        unseen_from=datetime.fromtimestamp(0, UTC),
        data_fingerprint=fingerprint_of(()),
        evaluated_by=None,
        metrics={},
        versions=_versions(),
        git_commit=None,
        created_at=datetime.fromtimestamp(0, UTC),
        golden=Golden(time=(), ohlcv=(), probability=(), quantiles=()),
    )
    manifest = json.dumps(bundle.model_dump(mode="json"), sort_keys=True)
    return Predictor(
        bundle,
        NetworkRunner(cast("Any", forecaster), lookback),
        model=f"{UNTRAINED}:{timeframe}" + ("" if market == MARKETS[0] else f":{market}"),
        sha256=hashlib.sha256(manifest.encode()).hexdigest(),
    )


@cache
def predictor_of_name(name: str) -> Predictor:
    """Return the predictor that a name such as ``statistical:6h`` stands for, and say so once.

    Parameters
    ----------
    name
        ``statistical:TIMEFRAME``, or ``statistical:TIMEFRAME:MARKET`` such as
        ``statistical:1d:sessions``.

    Raises
    ------
    ConfigError
        If the timeframe is missing, or it or the market is unknown.
    """
    _, timeframe, market, *rest = [*name.split(":"), "", ""]
    if not timeframe or any(rest):
        raise ConfigError(
            f"model={name!r} does not say which candles it reads: give statistical:TIMEFRAME, such "
            f"as {UNTRAINED}:1h, or {UNTRAINED}:1d:sessions for a market with closing hours"
        )
    predictor = statistical_predictor(timeframe, market=cast("Market", market or MARKETS[0]))
    _log.warning("%s: %s", name, UNTRAINED_NOTE)
    return predictor


def _versions() -> dict[str, str]:
    # Part of the hash that cached forecasts are kept under: another release may forecast
    # otherwise.
    names = ("lstm-strategies", "numpy", "torch")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
