"""A simulated market: fat tails, clustered volatility, regimes, and a driver of known strength."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.candles.candles import Candles
from lightning_models.candles.validation import validate
from lightning_models.errors import ConfigError
from lightning_models.timeframes import DAY_MS, TIMEFRAMES, period_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["START_MS", "simulate_market"]

# Monday 2020-01-06 00:00 UTC: the open of a candle in every timeframe.
START_MS: Final = 1_578_268_800_000

_YEAR_MS: Final = 365.25 * DAY_MS
_VOLATILITY_A_YEAR: Final = 0.70
_LARGEST_SIGNAL: Final = 0.95

# GARCH(1,1) on the innovation alone. With six degrees of freedom the fourth moment of the
# return exists (0.0216 + 0.1104 + 0.8464 < 1) and its kurtosis is 11.
_ARCH: Final = 0.06
_GARCH: Final = 0.92
_DEGREES_OF_FREEDOM: Final = 6.0
_CORRELATION: Final = 0.5

# Bull, sideways, bear: drift of the log price a year; a regime lasts a month on average and
# goes over to either other one with equal chance, so each holds a third of the time.
_DRIFT_A_YEAR: Final = (0.9, 0.0, -0.9)
_REGIME_MS: Final = 30 * DAY_MS

_FIRST_OPEN: Final = 100.0
_WICK: Final = 0.35
_VOLUME_AN_HOUR: Final = 1000.0
_VOLUME_OF_VOLATILITY: Final = 1.0
_VOLUME_OF_DRIVER: Final = 0.6
_VOLUME_NOISE: Final = 0.2


def simulate_market(
    *,
    candles: int,
    symbols: Sequence[str] = ("SIM/USDT",),
    timeframe: str = "1h",
    seed: int = 0,
    signal: float = 0.0,
) -> list[Candles]:
    r"""Return candles of a market whose predictability is known.

    Each symbol has a driver :math:`d_t \sim N(0, 1)`, independent over time and between
    symbols, that shows in the volume of candle ``t`` and moves the next candle:

    .. math::

        r_{t+1} = \sqrt{1 - \rho^2}\,(\mu_{t+1} + \sigma_{t+1} \varepsilon_{t+1})
                  + \rho\,\bar\sigma\,d_t

    where :math:`r` is the log return from open to close, :math:`\rho` is `signal`,
    :math:`\mu` the drift of the regime, :math:`\sigma` a GARCH(1,1) volatility (Bollerslev,
    1986) of Student-t innovations :math:`\varepsilon` (Bollerslev, 1987) and
    :math:`\bar\sigma^2` the unconditional variance of :math:`\mu + \sigma\varepsilon`, known
    from the parameters. The correlation of :math:`d_t` with :math:`r_{t+1}` is therefore
    :math:`\rho`. The log volume is a constant plus the log of the relative volatility, 0.6 times
    the driver and noise of standard deviation 0.2.

    Parameters
    ----------
    candles
        Number of candles, at least 2.
    symbols
        A name for each series. They share the regime, and their innovations correlate by
        0.5, extremes included, as those of coins do.
    timeframe
        One of `lightning_models.timeframes.TIMEFRAMES`. Volatility is scaled to it: 70 % a
        year.
    seed
        Not negative. A longer simulation of the same seed starts with the same candles, and
        a symbol's candles don't depend on which other symbols are simulated with it.
    signal
        Correlation of the driver with the next candle's return, from -0.95 to 0.95. With 0 the
        volume still shows the driver, and it predicts nothing.

    Returns
    -------
    list of Candles
        One for each symbol, in their order, opening at 2020-01-06T00:00:00Z, without holes.
        Each candle opens at the close before it; the first at 100.

    Raises
    ------
    ConfigError
        If an argument lies outside what is stated above, or a symbol is repeated.

    Examples
    --------
    >>> market = simulate_market(candles=500, symbols=("A/USDT", "B/USDT"), seed=7)
    >>> [(one.symbol, len(one)) for one in market]
    [('A/USDT', 500), ('B/USDT', 500)]
    >>> longer = simulate_market(candles=600, symbols=("B/USDT",), seed=7)[0]
    >>> bool((longer.ohlcv[:500] == market[1].ohlcv).all())
    True
    """
    simulated = _simulate(
        candles=candles, symbols=symbols, timeframe=timeframe, seed=seed, signal=signal
    )
    return [candles_of_symbol for candles_of_symbol, _ in simulated]


def _simulate(
    *, candles: int, symbols: Sequence[str], timeframe: str, seed: int, signal: float
) -> list[tuple[Candles, npt.NDArray[np.float64]]]:
    # The driver of each candle comes too: what a perfect reader of the volume would know.
    _check(candles, symbols, seed, signal)
    period = period_ms(timeframe)
    scale = _Scale.of_period(period)
    shared = _SharedMoves.draw(candles, seed, period)
    time = START_MS + period * np.arange(candles, dtype=np.int64)
    simulated = []
    for symbol in symbols:
        ohlcv, driver = _symbol_ohlcv(symbol, candles, seed, signal, scale, shared)
        series = Candles(
            symbol=symbol, timeframe=timeframe, market="continuous", time=time, ohlcv=ohlcv
        )
        simulated.append((validate(series), driver))
    return simulated


def _check(candles: int, symbols: Sequence[str], seed: int, signal: float) -> None:
    if candles < 2:
        raise ConfigError(f"candles is {candles}; simulate at least 2")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; give a seed that is not negative")
    if not abs(signal) <= _LARGEST_SIGNAL:
        raise ConfigError(
            f"signal is {signal}; a correlation here lies between -{_LARGEST_SIGNAL} and "
            f"{_LARGEST_SIGNAL}"
        )
    if isinstance(symbols, str):
        raise ConfigError(f"symbols is the text {symbols!r}; give a tuple: ({symbols!r},)")
    if not symbols:
        raise ConfigError("symbols is empty; name at least one, such as SIM/USDT")
    for position, symbol in enumerate(symbols):
        if not symbol.strip():
            raise ConfigError(f"symbols[{position}] is empty; give it a name such as SIM/USDT")
        if symbol in symbols[:position]:
            raise ConfigError(f"symbol {symbol!r} is repeated; name each symbol once")


@dataclass(frozen=True)
class _Scale:
    """What the length of a candle decides."""

    volatility: float
    drift: npt.NDArray[np.float64]
    volume: float

    @classmethod
    def of_period(cls, period: int) -> _Scale:
        years = period / _YEAR_MS
        return cls(
            volatility=_VOLATILITY_A_YEAR * math.sqrt(years),
            drift=np.array(_DRIFT_A_YEAR) * years,
            volume=_VOLUME_AN_HOUR * period / TIMEFRAMES["1h"],
        )

    @property
    def deviation(self) -> float:
        """Unconditional standard deviation of μ + σε; ε is independent of the regime."""
        return math.sqrt(self.volatility**2 + float(np.mean(self.drift**2)))


@dataclass(frozen=True)
class _SharedMoves:
    """What all symbols live through together."""

    regime: npt.NDArray[np.int64]
    factor: npt.NDArray[np.float64]
    tail: npt.NDArray[np.float64]

    @classmethod
    def draw(cls, candles: int, seed: int, period: int) -> _SharedMoves:
        uniform = _stream(seed, "regime").random((candles, 2))
        leaves = uniform[:, 0] < -math.expm1(-period / _REGIME_MS)
        moves = np.where(leaves, 1 + (uniform[:, 1] < 0.5), 0)
        moves[0] = int(uniform[0, 1] * len(_DRIFT_A_YEAR))  # any regime may hold at first
        chi_square = _stream(seed, "tail").chisquare(_DEGREES_OF_FREEDOM, candles)
        return cls(
            regime=np.cumsum(moves) % len(_DRIFT_A_YEAR),
            factor=_stream(seed, "factor").standard_normal(candles),
            # Turns a normal into a Student-t of variance one; shared, so that extremes are.
            tail=np.sqrt((_DEGREES_OF_FREEDOM - 2) / chi_square),
        )


def _symbol_ohlcv(
    symbol: str, candles: int, seed: int, signal: float, scale: _Scale, shared: _SharedMoves
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    own = _stream(seed, "own", symbol).standard_normal(candles)
    mixed = math.sqrt(_CORRELATION) * shared.factor + math.sqrt(1 - _CORRELATION) * own
    innovation = mixed * shared.tail
    volatility = _garch(innovation, scale.volatility)
    # One driver more than candles: the first candle was moved by the one before it.
    driver = _stream(seed, "driver", symbol).standard_normal(candles + 1)

    undriven = scale.drift[shared.regime] + volatility * innovation
    log_return = math.sqrt(1 - signal**2) * undriven + signal * scale.deviation * driver[:-1]
    close = _FIRST_OPEN * np.exp(np.cumsum(log_return))
    open_ = np.concatenate(([_FIRST_OPEN], close[:-1]))
    wicks = _stream(seed, "wicks", symbol).exponential(_WICK, (candles, 2))
    reach = np.exp(wicks * volatility[:, np.newaxis])
    high = np.maximum(open_, close) * reach[:, 0]
    low = np.minimum(open_, close) / reach[:, 1]
    log_volume = (
        _VOLUME_OF_VOLATILITY * np.log(volatility / scale.volatility)
        + _VOLUME_OF_DRIVER * driver[1:]
        + _VOLUME_NOISE * _stream(seed, "volume", symbol).standard_normal(candles)
    )
    volume = scale.volume * np.exp(log_volume)
    return np.column_stack([open_, high, low, close, volume]), driver[1:]


def _garch(innovation: npt.NDArray[np.float64], unconditional: float) -> npt.NDArray[np.float64]:
    # In units of the unconditional variance, from which it also starts, so that the expected
    # variance is the same at every candle.
    level = 1.0 - _ARCH - _GARCH
    variance = 1.0
    variances = []
    for factor in (_ARCH * innovation**2 + _GARCH).tolist():
        variances.append(variance)
        variance = level + factor * variance
    return np.asarray(unconditional * np.sqrt(np.array(variances)), dtype=np.float64)


def _stream(seed: int, *purpose: str) -> np.random.Generator:
    # A generator for each purpose and symbol: each is drawn from once and in order, so more
    # candles or more symbols change none of the numbers drawn before.
    digest = hashlib.sha256("\n".join(purpose).encode()).digest()
    key = int.from_bytes(digest[:8], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, key]))
