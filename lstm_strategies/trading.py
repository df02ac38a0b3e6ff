"""What every strategy of this project does with a decision: enter, protect, leave, size, stop."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import backtrader as bt

from lstm_strategies.bar_times import is_closed
from lstm_strategies.breakers import Breakers
from lstm_strategies.broker import SimulatedBroker, upgrade_broker
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import candle_timeframe_of, milliseconds_of_date
from lstm_strategies.given_values import check_count, check_fraction, check_positive
from lstm_strategies.no_trade import why_no_position
from lstm_strategies.parameters import CheckedParameters
from lstm_strategies.sizer import RiskSizer, mean_true_range
from lstm_strategies.standing import Standing
from lstm_strategies.trades import fills_of

__all__ = ["DOWN", "LEAVE", "STAY", "UP", "TradingStrategy"]

_log = logging.getLogger(__name__)

UP: Final = 1
"""Be long: enter, or turn a short."""

DOWN: Final = -1
"""Be short, or with ``long_only`` out of the market."""

STAY: Final = 0
"""Change nothing."""

LEAVE: Final = 2
"""Close whatever is held."""


class TradingStrategy(bt.Strategy, CheckedParameters):
    """Carry out a decision a bar: entries with stop and target, exits, sizes, breakers.

    A subclass registers the feeds it trades with `trade` and answers `decide` once a bar of
    each. Decisions at a bar's close are filled at the next bar's open. Stop and target lie a
    multiple of the mean true range from the fill and are live from it, on the entry bar too. A
    decision the other way closes the position and, unless ``long_only``, opens the opposite
    one. Slower and faster feeds that were not registered are left alone. A stock broker is
    turned into a `SimulatedBroker`, and without a sizer of the user's own positions are sized
    by `RiskSizer`.

    Params:
      - ``long_only`` (False): a decision to be short only closes.
      - ``risk_per_trade`` (0.02): fraction of equity lost where the stop is hit.
      - ``position_size`` (0.0): largest fraction of equity put up as margin; 0 is off.
      - ``volatility_target`` (0.0): fraction of equity that one standard deviation of the
        position may move; 0 is off.
      - ``max_exposure`` (0.0): largest correlated exposure over all feeds, times equity; 0 is
        off.
      - ``atr_period`` (14), ``atr_stop`` (2.0), ``atr_target`` (3.0): bars and multiples of the
        mean true range; a multiple of 0 leaves the stop or the target out.
      - ``trailing_stop`` (0.0): multiple of the mean true range that a stop follows the closes
        at; 0 is off. With ``atr_stop`` too, whichever is nearer counts.
      - ``time_stop`` (0): bars after which a position is closed; 0 is off.
      - ``cooldown`` (0): bars after an exit without an entry; 0 is off.
      - ``max_daily_loss`` (0.0): fraction of equity; once lost within a UTC day, positions are
        closed and none is opened before the next day; 0 is off.
      - ``max_drawdown`` (0.0): fraction below the highest equity at which trading ends; 0 is
        off.
      - ``trade_from`` (0): moment from which on bars that close are decided on, milliseconds
        since the epoch.

      - ``history`` (0): bars of each feed before the first that is decided on.

    Attributes
    ----------
    traded : list
        The feeds that are traded.
    counts : collections.Counter
        What became of each bar: ``bars``, of which ``signals`` asked for a position; of those
        that might have opened one ``cooling``, ``blocked``, or ``passed``, and of these
        ``short_refused`` or ``unsized``; and of each order ``orders_completed``,
        ``orders_margin``, ``orders_rejected``, ``orders_canceled``.

    needs_model : bool
        Whether it has the parameter ``model``.
    fixed_parameters : frozenset of str
        Inherited parameters that would make another strategy of it, and are not offered.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.

    Notes
    -----
    Strategies of one cerebro share its account, and what they hold of a feed is one position
    to the broker, whose stops and targets end when that position does. Compare strategies in
    a cerebro of their own each.

    A subclass with a ``next()`` of its own is not called before every feed and indicator has
    its history, as anywhere in backtrader.
    """

    needs_model: ClassVar[bool] = False
    fixed_parameters: ClassVar[frozenset[str]] = frozenset()

    params: Any = (
        ("long_only", False),
        ("risk_per_trade", 0.02),
        ("position_size", 0.0),
        ("volatility_target", 0.0),
        ("max_exposure", 0.0),
        ("atr_period", 14),
        ("atr_stop", 2.0),
        ("atr_target", 3.0),
        ("trailing_stop", 0.0),
        ("time_stop", 0),
        ("cooldown", 0),
        ("max_daily_loss", 0.0),
        ("max_drawdown", 0.0),
        ("trade_from", 0),
        ("history", 0),
    )

    def __init__(self) -> None:
        super().__init__()
        self._check_parameters()
        self.counts: Counter[str] = Counter()
        self._feeds: dict[Any, Standing] = {}
        self._breakers = Breakers(
            max_daily_loss=self.p.max_daily_loss, max_drawdown=self.p.max_drawdown
        )
        self._watched = bool(self.p.max_daily_loss or self.p.max_drawdown)
        self._measured: tuple[int, int, float] | None = None
        self._spread = math.nan
        self._first_sizer = self._sizer
        upgrade_broker(self.broker)

    @classmethod
    def bars_needed(cls, parameters: Mapping[str, Any]) -> int:
        """Return after how many bars where its indicators began no longer matters.

        Parameters
        ----------
        parameters
            Its own, by name; what a model needs comes beside that.
        """
        return int(parameters["atr_period"]) + 1

    @property
    def traded(self) -> list[Any]:
        """The feeds that are traded, in the order they were registered."""
        return list(self._feeds)

    def trade(self, data: Any, *, first_bar: int = 1) -> None:
        """Register a feed to be traded; call it in ``__init__``.

        Parameters
        ----------
        data
            The feed.
        first_bar
            Number of the first bar, from 1, that can be decided on.
        """
        self._feeds[data] = Standing(data, max(first_bar, int(self.p.history) + 1))
        # With exactbars=1 a feed keeps as many bars as its lines were asked for. Elsewhere that
        # would lengthen the warm-up of the next run of an optimisation.
        if int(self.cerebro.p.exactbars) == 1:
            for line in data.lines:
                line.updateminperiod(int(self.p.atr_period) + 1)

    def decide(self, feed: Standing) -> int:
        """Return `UP`, `DOWN`, `STAY` or `LEAVE` for the bar that has just closed.

        Called once a bar of each feed, from its ``first_bar`` on; whatever it reads must be
        known at that bar's close.

        Parameters
        ----------
        feed
            Where the strategy stands in it.
        """
        raise NotImplementedError(f"{type(self).__name__} decides nothing: give it decide()")

    def observe(self, feed: Standing) -> None:
        """Take note of a bar before ``trade_from``, which nothing is decided on.

        Parameters
        ----------
        feed
            Where the strategy stands in it.
        """

    def start(self) -> None:
        """Size by risk, unless the user chose a sizer."""
        if len(self._feeds) > 1 and int(self.cerebro.p.exactbars) == 1:
            _log.warning(
                "exactbars=1 with several feeds: where one has a bar that another lacks, "
                "backtrader loses bars; run with exactbars=0 or exactbars=-1"
            )
        if self._sizer is self._first_sizer:
            self.setsizer(
                RiskSizer(
                    risk=self.p.risk_per_trade,
                    position_size=self.p.position_size,
                    volatility_target=self.p.volatility_target,
                    max_exposure=self.p.max_exposure,
                )
            )
        self._warn_of_shared_feeds()

    def prenext(self) -> None:
        """Trade the feeds that have their history while another one still lacks it."""
        # A subclass's own next() may count on every feed and indicator to be there.
        if type(self).next is TradingStrategy.next:
            self.next()

    def next(self) -> None:
        """Act on the decision for each traded feed, once a bar."""
        if self._watched:
            self._watch_equity()
        for feed in self._feeds.values():
            bar = len(feed.data)
            # With several feeds next() comes again while a slower one stands still.
            if bar == feed.bar or bar < feed.first_bar or self.is_unfinished(feed.data):
                continue
            feed.bar = bar
            if not feed.begun and not self._begins(feed):
                self.observe(feed)
                continue
            decision = self.decide(feed)
            self.counts["bars"] += 1
            if decision in (UP, DOWN):
                self.counts["signals"] += 1
                self._act(feed, decision)
            elif decision == LEAVE:
                self._leave(feed, "signal")
            if (
                feed.held
                and self.p.time_stop
                and bar - feed.entry_bar + 1 >= self.p.time_stop
                and not feed.leaves
            ):
                self._leave(feed, "time")

    def notify_order(self, order: Any) -> None:
        """Count and log what became of each order."""
        if order.status in (order.Submitted, order.Accepted):
            return
        feed = self._feeds.get(order.data)
        if feed is not None and order.executed.size:
            for fill in fills_of(order):
                feed.add_fill(fill.closed + fill.opened, len(feed.data))
            # What is left of an exit must not open the other side.
            if feed.leaves and feed.held * feed.exit.size >= 0.0:
                self.cancel(feed.exit)
        if order.status == order.Partial:
            return
        fate = order.getstatusname().lower()
        self.counts[f"orders_{fate}"] += 1
        refused = order.status in (order.Margin, order.Rejected)
        # A SimulatedBroker tells of its refusals itself.
        if refused and not isinstance(self.broker, SimulatedBroker):
            _log_order(logging.WARNING, order, fate, order.created)
        elif _log.isEnabledFor(logging.DEBUG):
            _log_order(logging.DEBUG, order, fate, order.executed)

    def stop(self) -> None:
        """Say why, where no order was ever filled."""
        asked = self.counts["bars"] or not self.p.trade_from
        if asked and not self.counts["orders_completed"]:
            _log.warning("%s", self.why_no_trade())

    def stop_distance(self, data: Any) -> float:
        """Return the distance of a stop from the entry, quote currency.

        Returns
        -------
        float
            Of the nearer one, where there are two; infinite without a stop, NaN where the mean
            true range is unknown.
        """
        multiples = [each for each in (self.p.atr_stop, self.p.trailing_stop) if each]
        return self._ranges(data, min(multiples)) if multiples else math.inf

    def target_distance(self, data: Any) -> float:
        """Return the distance of the target from the entry, quote currency.

        Returns
        -------
        float
            0 without a target, NaN where the mean true range is unknown.
        """
        return self._ranges(data, self.p.atr_target) if self.p.atr_target else 0.0

    def why_no_trade(self) -> str:
        """Return in words why no position was opened."""
        return why_no_position(self.counts)

    def is_unfinished(self, data: Any) -> bool:
        """Return whether the present bar of a feed is a part of one only, as in a replay."""
        timeframe = candle_timeframe_of(data) if data.replaying else None
        return timeframe is not None and not is_closed(
            milliseconds_of_date(data.datetime[0]), timeframe
        )

    def may_enter(self, feed: Standing, direction: int) -> bool:
        """Return whether a decision may open a position; what says no is counted."""
        if self._watched and self._breakers.blocked:
            self.counts["blocked"] += 1
            return False
        if feed.exit_bar and feed.bar - feed.exit_bar < self.p.cooldown:
            self.counts["cooling"] += 1
            return False
        self.counts["passed"] += 1
        if self.p.long_only and direction < 0:
            self.counts["short_refused"] += 1
            return False
        return True

    def _once(self) -> None:
        base: Any = super()
        try:
            base._once()
        except IndexError:
            # backtrader's own indicators write behind the end of a feed that is shorter than
            # what they need; nothing can be decided on it anyway.
            shortest = min(data.buflen() for data in self.datas)
            if shortest >= self._minperiod:
                raise
            _log.warning(
                "%d bars are too short a history: the indicators need %d",
                shortest,
                self._minperiod,
            )

    def _act(self, feed: Standing, direction: int) -> None:
        present = feed.direction
        if direction == present or feed.leaves:
            return
        if present:
            self._leave(feed, "reversal")
            if self.p.cooldown:
                return
        if self.may_enter(feed, direction):
            self._enter(feed, direction)

    def _leave(self, feed: Standing, reason: str) -> None:
        # First of all no entry may be left waiting, also where an exit is on its way already.
        for order in feed.bracket:
            if order.alive():
                self.cancel(order)
        feed.bracket = []
        if feed.held and not feed.leaves:
            leave = self.sell if feed.held > 0 else self.buy
            feed.exit = leave(data=feed.data, size=abs(feed.held), exit_reason=reason)

    def _enter(self, feed: Standing, direction: int) -> None:
        data = feed.data
        distance = self.stop_distance(data)
        size = self.getsizing(data, isbuy=direction > 0) if distance > 0 else 0
        if not size:
            self.counts["unsized"] += 1
            return
        children = self._protection(data)
        enter, leave = (self.buy, self.sell) if direction > 0 else (self.sell, self.buy)
        entry = enter(data=data, size=abs(size), transmit=not children)
        if entry is None:
            return  # whoever confirms entries said no
        price = data.close[0]
        feed.bracket = [entry]
        for number, (kind, offset, trails) in enumerate(children, start=1):
            # Offsets let the broker set each level from the fill instead of from this close.
            feed.bracket.append(
                leave(
                    data=data,
                    size=abs(size),
                    exectype=kind,
                    price=price if trails else price + direction * offset,
                    trailamount=abs(offset) if trails else None,
                    parent=entry,
                    transmit=number == len(children),
                    offset=direction * offset,
                )
            )

    def _protection(self, data: Any) -> list[tuple[int, float, bool]]:
        # Kind of each child, its signed distance for a long position, whether it trails.
        kinds = (
            (bt.Order.Stop, -self.p.atr_stop, False),
            (bt.Order.StopTrail, -self.p.trailing_stop, True),
            (bt.Order.Limit, self.p.atr_target, False),
        )
        return [
            (kind, math.copysign(self._ranges(data, abs(multiple)), multiple), trails)
            for kind, multiple, trails in kinds
            if multiple
        ]

    def _ranges(self, data: Any, multiple: float) -> float:
        # Stop, target and size of one entry all ask for it.
        bar = (id(data), len(data), data.close[0])
        if bar != self._measured:
            spread = mean_true_range(data, int(self.p.atr_period))
            self._measured, self._spread = bar, math.nan if spread is None else spread
        return multiple * self._spread

    def _watch_equity(self) -> None:
        before = self._breakers.blocked
        time = milliseconds_of_date(self.datetime[0])
        reason = self._breakers.observe(time, self.broker.getvalue())
        if reason and reason != before:
            self.counts[f"breaker_{reason}"] += 1
            _log.warning(
                "%s: positions are closed and none is opened %s",
                {
                    "daily_loss": f"the day's loss reached {self.p.max_daily_loss:.1%} of equity",
                    "drawdown": f"the drawdown reached {self.p.max_drawdown:.1%}",
                }[reason],
                "before the next UTC day" if reason == "daily_loss" else "any more",
            )
            for feed in self._feeds.values():
                self._leave(feed, reason)

    def _begins(self, feed: Standing) -> bool:
        # Stamps lie a millisecond before a candle's end, or on it.
        close = milliseconds_of_date(feed.data.datetime[0]) + 1
        feed.begun = close >= self.p.trade_from
        return feed.begun

    def _warn_of_shared_feeds(self) -> None:
        for other in self.cerebro.runningstrats:
            if other is self:
                return
            if isinstance(other, TradingStrategy):
                _log.warning(
                    "strategies %d and %d trade the same feeds of one account: to the broker they "
                    "hold one position, and the stops of one end with what the other closes; run "
                    "each in a cerebro of its own to compare them",
                    other._id,
                    self._id,
                )

    def _check_parameters(self) -> None:
        for name in ("risk_per_trade", "atr_period"):
            check_positive(name, getattr(self.p, name))
        for name in ("atr_stop", "atr_target", "trailing_stop", "max_exposure"):
            check_positive(name, getattr(self.p, name), or_zero=True)
        for name in ("position_size", "volatility_target", "max_daily_loss", "max_drawdown"):
            check_fraction(name, getattr(self.p, name))
        for name in ("time_stop", "cooldown", "trade_from", "history"):
            check_count(name, getattr(self.p, name), or_zero=True)
        if self.p.atr_period != int(self.p.atr_period):
            raise ParameterError(f"atr_period={self.p.atr_period!r}: give a whole number of bars")


def _log_order(level: int, order: Any, fate: str, numbers: Any) -> None:
    _log.log(
        level,
        "%s %s order %d: %s, %.8g at %.8g",
        order.data._name,
        "buy" if order.isbuy() else "sell",
        order.ref,
        fate,
        numbers.size,
        numbers.price or math.nan,
    )
