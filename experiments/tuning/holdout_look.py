"""What a look at a study's holdout says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from experiments.significance import MINIMUM_TRADES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LEVEL", "EarlierLook", "HoldoutLook", "no_first_look"]

LEVEL: Final = 0.95
"""Confidence of the intervals, two-sided."""


class EarlierLook(BaseModel):
    """A look that another study took at a part of the same stretch.

    Parameters
    ----------
    study
        Which.
    opened_at
        UTC, ISO-8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    opened_at: str


def no_first_look(before: Sequence[EarlierLook]) -> str:
    """Return what earlier looks make of a later one, in a sentence; empty without any.

    Parameters
    ----------
    before
        The looks that other studies took.

    Examples
    --------
    >>> no_first_look([EarlierLook(study="btc", opened_at="2024-03-01T00:00:00+00:00")])
    'Part of this stretch was looked at before, by study btc on 2024-03-01: this is no first look.'
    """
    if not before:
        return ""
    named = " and ".join(f"by study {one.study} on {one.opened_at[:10]}" for one in before)
    return f"Part of this stretch was looked at before, {named}: this is no first look."


class HoldoutLook(BaseModel):
    """What a study's chosen trial came to on the holdout.

    Sharpe ratios are annualised, at a risk-free rate of 0. None stands where the bars do not
    give a figure.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    opened_at: str
    """UTC, ISO-8601."""
    trial: int
    objectives: tuple[str, ...]
    values: tuple[float, ...]
    """One for each objective; of one fold there is no dispersion that would make it worse."""
    start: str
    end: str
    """Stamps of the first and the last bar, UTC, ISO-8601."""
    bars: int
    trades: int
    """Closed trades; 0 where nothing is traded."""
    traded: bool
    """Whether the returns are those of a strategy; otherwise of positions by the forecasts."""
    sharpe: float | None = None
    sharpe_low: float | None = None
    sharpe_high: float | None = None
    """Bounds of its 95 % interval by the stationary bootstrap. One look is one trial."""
    sharpe_p: float | None = None
    """One-sided p-value that it is above zero."""
    market_sharpe: float
    """Of buy-and-hold over the same bars."""
    excess: float | None = None
    """Mean difference to buy-and-hold's returns, a year (fraction); withheld under 90 days."""
    excess_low: float | None = None
    excess_high: float | None = None
    excess_p: float | None = None
    """One-sided p-value that it is above zero."""
    exposure: float | None = None
    """Mean size of all positions, long or short (fraction of the account)."""
    exposure_p: float | None = None
    """One-sided p-value that the same positions at random times return less; None where none was
    held, or the bars are too few."""
    log_loss: float | None = None
    """Of the direction's probability, nats."""
    majority_log_loss: float | None = None
    """The same of always saying the train labels' share of ups."""
    seen_before: tuple[EarlierLook, ...] = ()
    """Looks that other studies took at a part of the stretch before this one."""

    @property
    def is_above_luck(self) -> bool:
        """Whether the Sharpe ratio is above zero at 95 % confidence, two-sided."""
        return self._is_enough and _passes(self.sharpe_p)

    @property
    def beats_market(self) -> bool:
        """Whether the return is above buy-and-hold's at 95 % confidence, two-sided."""
        return self._is_enough and _passes(self.excess_p)

    @property
    def beats_random_times(self) -> bool:
        """Whether it returns more than its own positions at random times, at 95 % confidence."""
        return self._is_enough and _passes(self.exposure_p)

    @property
    def words(self) -> str:
        """What the look says, in a few sentences."""
        days = f"{self.start[:10]} to {self.end[:10]}"
        opened = f"Holdout, {self.bars:,} bars from {days}, opened once for trial {self.trial}:"
        parts = (
            f"{opened} {self._conclusion()}",
            no_first_look(self.seen_before),
            self._figures(),
            self._forecasts(),
        )
        return " ".join(part for part in parts if part)

    @property
    def _is_enough(self) -> bool:
        return not self.traded or self.trades >= MINIMUM_TRADES

    def _conclusion(self) -> str:
        if self.traded and not self.trades:
            return "no position was ever closed, so it says nothing."
        if self.sharpe_p is None:
            return "its returns are too few, or do not vary, so they say nothing."
        if not self._is_enough:
            return (
                f"{self.trades} trade{'' if self.trades == 1 else 's'} cannot tell skill from "
                f"luck, {MINIMUM_TRADES} are the least."
            )
        if self.is_above_luck:
            found = f"what was found is above luck at {LEVEL:.0%} confidence"
            alike = self._alike()
            return f"{found}{f', and not distinguishable from {alike}' if alike else ''}."
        return "what was found is not confirmed: it is not distinguishable from luck."

    def _alike(self) -> str:
        # Exposure earns without any skill where the market rises.
        alike = [] if self.beats_market else ["buy-and-hold"]
        if self.exposure_p is not None and not self.beats_random_times:
            alike.append("the same exposure at random times")
        return " or ".join(alike)

    def _figures(self) -> str:
        if self.sharpe is None:
            return ""
        found = f"Sharpe ratio {self.sharpe:.2f}"
        if self.sharpe_low is not None and self.sharpe_high is not None:
            found += f" ({LEVEL:.0%} interval {self.sharpe_low:.2f} to {self.sharpe_high:.2f})"
        found += f", buy-and-hold {self.market_sharpe:.2f}"
        if self.excess is not None:
            found += f"; return above buy-and-hold {self.excess:+.1%} a year"
        if self.exposure is not None and self.exposure_p is not None:
            found += (
                f"; an exposure of {self.exposure:.0%} at random times does as well with a "
                f"probability of {self.exposure_p:.3f}"
            )
        return f"{found}."

    def _forecasts(self) -> str:
        if self.log_loss is None or self.majority_log_loss is None:
            return ""
        better = self.log_loss < self.majority_log_loss
        return (
            f"Log-loss of its forecasts {self.log_loss:.4f}, of the majority class "
            f"{self.majority_log_loss:.4f}: {'better' if better else 'no better'} than knowing "
            "nothing."
        )


def _passes(p: float | None) -> bool:
    return p is not None and p <= (1.0 - LEVEL) / 2.0
