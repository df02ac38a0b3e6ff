"""The candles that a study's trials see, and the time from which on none of them does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_models.candles import Candles, fingerprint_of
from lightning_models.candles.validation import validate
from lightning_models.errors import CandleError, ConfigError

__all__ = ["Development", "cut_holdout"]


@dataclass(frozen=True)
class Development:
    """Candles cut in two by time.

    Parameters
    ----------
    candles
        What the trials see, sorted by symbol.
    whole
        The same symbols with the holdout.
    holdout_from
        Moment of the cut, milliseconds: nothing that closes later is given to a trial.
    holdout
        Candles of the span after the cut; 0 where nothing is held out.
    """

    candles: tuple[Candles, ...]
    whole: tuple[Candles, ...]
    holdout_from: int
    holdout: int

    @property
    def fingerprint(self) -> str:
        """Of all candles, the holdout's too."""
        return fingerprint_of(self.whole)


def cut_holdout(candles: Candles | Sequence[Candles], share: float) -> Development:
    """Cut off the end of the time span, at one moment for all symbols.

    Parameters
    ----------
    candles
        One entry for each symbol, all of one timeframe.
    share
        Of the span that is held out; 0 for none.

    Returns
    -------
    Development

    Raises
    ------
    ConfigError, CandleError
        If there are none, a symbol is there twice, or they differ in timeframe or market.

    Examples
    --------
    >>> from lightning_models import simulate_market
    >>> market = simulate_market(candles=1000)
    >>> development = cut_holdout(market, 0.15)
    >>> len(development.candles[0]), development.holdout
    (850, 150)
    """
    whole = _sorted(candles)
    period = whole[0].period_ms
    start = min(int(one.time[0]) for one in whole)
    total = (max(int(one.time[-1]) for one in whole) + period - start) // period
    held = round(total * share)
    cut = start + (total - held) * period
    seen = tuple(part for one in whole if len(part := one.between(None, cut)))
    return Development(seen, whole, cut, held)


def _sorted(candles: Candles | Sequence[Candles]) -> tuple[Candles, ...]:
    listed = [candles] if isinstance(candles, Candles) else list(candles)
    for one in listed:
        if not isinstance(one, Candles):
            raise ConfigError(
                f"a study runs on Candles, not on a {type(one).__name__}: read it with "
                "read_candles(…) first"
            )
    if not listed:
        raise ConfigError("no candles were given: name at least one file or frame")
    given = tuple(sorted((validate(one) for one in listed), key=lambda one: one.symbol))
    for what in ("timeframe", "market"):
        values = sorted({getattr(one, what) for one in given})
        if len(values) > 1:
            raise CandleError(
                f"the symbols differ in {what}: {', '.join(values)}; one study takes one. "
                f"Give --{what}"
            )
    symbols = [one.symbol for one in given]
    doubled = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if doubled:
        raise ConfigError(f"symbol {doubled[0]} was given more than once: name each file once")
    return given
