"""Let a registered model's forecasts confirm or refuse the entries of any strategy."""

from __future__ import annotations

import functools
import importlib
import logging
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import backtrader as bt

from lstm_strategies.errors import ParameterError
from lstm_strategies.forecast_verdicts import ForecastVerdicts, feeds_of_model
from lstm_strategies.given_values import check_fraction, check_model, check_positive
from lstm_strategies.indicator import LSTMForecast
from lstm_strategies.models import predictor_of
from lstm_strategies.opening_orders import OrdersMade, parts_of, traded_feed
from lstm_strategies.parameters import CheckedParameters, attach
from lstm_strategies.vote import ABSTAINED, CONFIRMED, CONTRADICTED, Verdict, Vote, tally

__all__ = ["ConfirmationReport", "LSTMConfirm", "confirmed"]

_log = logging.getLogger(__name__)

# Of the wrapped strategy itself, beside which the others are heard.
_OWN_WEIGHT: Final = 1.0

# backtrader's order of what buy() and sell() take.
_ARGUMENTS: Final = (
    "data",
    "size",
    "price",
    "plimit",
    "exectype",
    "valid",
    "tradeid",
    "oco",
    "trailamount",
    "trailpercent",
    "parent",
    "transmit",
)

# What the class adds to a strategy under a name of its own.
_ADDED: Final = ("confirmations", "confirmation_report", "votes")

_MADE: Final = "confirmed"


class LSTMConfirm(bt.Strategy, CheckedParameters):
    """Put the entries of a strategy to a vote in which a model's forecast has a say.

    Name it before the strategy: ``class Confirmed(LSTMConfirm, MyStrategy)``, or let
    `confirmed` make that class. Nothing in the strategy changes. Each order that would open or
    enlarge a position, or the part of it that would, is put to a vote: the strategy's own has
    the weight 1.0, the forecast's ``weight``, and `votes` may add others. Where the weights in
    the order's direction are more than those against it, the order is sent; otherwise it is
    not, and `buy` and its like return None, as they do for a size of 0. With strategy and
    forecast alone a forecast the other way refuses the entry if ``weight`` is at least 1.0.

    The forecast is that of the last closed bar of the order's feed. It confirms, contradicts,
    or has no say: where there is none yet, where its confidence is under ``min_confidence``,
    where its median points the other way, before the model's ``unseen_from`` unless
    ``in_sample`` says so (the strategy trades there on its own), and on feeds of another
    timeframe than the model's.

    Orders that only reduce or close a position are never put to a vote, nor are orders with a
    parent. Of a refused reversal the part that closes is sent. A refused bracket is
    ``[None, None, None]``, and where it would have closed a position first,
    ``[that order, None, None]``.

    Params:
      - ``model``: ``models:/name@champion``, ``models:/name/3`` or a bundle's folder; or
        ``statistical``, which was never trained.
      - ``min_confidence`` (0.6): calibrated probability below which a forecast has no say.
      - ``weight`` (1.5): of the forecast's vote.
      - ``horizon`` (""): such as ``1d``; the model's first by default.
      - ``log_predictions`` (False): a line in the log, at INFO, for each entry.
      - ``in_sample`` (False): let forecasts on candles the model has seen vote, too.
      - ``home`` (""): folder of the registry; ``$LSTM_HOME`` or the user's by default.
      - ``fallback`` (""): what to forecast with, and warn, where there is no such model, such
        as ``statistical``.

    Attributes
    ----------
    confirmations : collections.Counter
        ``entries`` put to the vote; of these ``confirmed``, ``contradicted`` and ``abstained``,
        and why it abstained: ``without_forecast``, ``before_unseen``, ``under_threshold``,
        ``disagreeing``, ``no_model_for_feed``; ``passed`` and ``refused``, and of the refused
        ``refused_confirmed``, ``refused_contradicted``, ``refused_abstained``; ``closed_only``,
        refused reversals whose closing part was sent; ``withheld``, see the notes.

    Raises
    ------
    ParameterError
        When the class is made, if it is not named before the strategy, or the strategy has
        parameters or attributes of the same names. At the start, if a parameter is out of its
        range, or no feed has the model's timeframe.
    ModelNotFoundError, BundleError, ConfigError
        If the model cannot be loaded, has no such horizon, or the only feed has another
        timeframe.

    Notes
    -----
    *What counts as an entry.* A position is what the broker says, and market orders of the
    strategy that are on their way: after ``self.close()`` a ``self.sell()`` on the same bar is
    an entry. Limit and stop orders that wait are not counted, so that a stop and a target
    beside each other both only reduce. An entry is put to the vote when it is ordered, not when
    it is filled.

    *Stops that were made with a refused entry.* Orders the other way on the bar of a refused
    market entry would have reduced it, and so would orders made with ``parent=None`` because
    that parent was refused. Alone they would open the opposite position: they are withheld,
    without a vote, up to the refused size.

    *What the strategy notices.* It starts when it would without a model: the history that a
    forecast needs does not hold it up. A ``buy`` or ``sell`` of its own is called with the size
    that may be sent. Orders that it gives to the broker itself pass unseen.

    Examples
    --------
    >>> class Buys(bt.Strategy):
    ...     params = (("every", 5),)
    ...     def next(self):
    ...         if len(self) % self.p.every == 0:
    ...             self.buy()
    >>> class ConfirmedBuys(LSTMConfirm, Buys):
    ...     params = (("min_confidence", 0.55),)
    >>> ConfirmedBuys.params.every, ConfirmedBuys.params.min_confidence
    (5, 0.55)
    """

    # backtrader adds up the lines of all bases: without this, the strategy's come twice.
    linesoverride: Any = True
    params: Any = (
        ("model", ""),
        ("min_confidence", 0.6),
        ("weight", 1.5),
        ("horizon", ""),
        ("log_predictions", False),
        ("in_sample", False),
        ("home", ""),
        ("fallback", ""),
    )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse bases in the wrong order, and names that both of them have."""
        super().__init_subclass__(**kwargs)
        _check_bases(cls)

    @classmethod
    def doinit(cls, _obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Attach the forecasts, then call `__init__`; backtrader's metaclass calls this.

        Whatever the strategy's ``__init__`` takes and whether it calls that of its base, the
        forecasts are there.
        """
        _obj._attach_forecasts()
        metaclass: Any = type(cls)
        return metaclass.doinit(cls, _obj, *args, **kwargs)

    @property
    def confirmations(self) -> Counter[str]:
        """What became of the entries."""
        counts: Counter[str] = self._confirmation.counts
        return counts

    def votes(self, data: Any, direction: int) -> Mapping[str, Vote]:
        """Return the votes of further modules on an entry; override it to add some.

        Parameters
        ----------
        data
            Feed of the order.
        direction
            +1 for a buy, -1 for a sell.

        Returns
        -------
        Mapping
            From a module's name to its vote. ``strategy`` and ``lstm`` are taken.
        """
        del data, direction
        return {}

    def confirmation_report(self) -> dict[str, Any]:
        """Return what became of the entries, as JSON can hold it.

        Returns
        -------
        dict
            ``model``; ``entries`` = ``confirmed`` + ``contradicted`` + ``abstained`` =
            ``passed`` + ``refused``; ``abstained_because`` and ``refused_when``, counts by
            reason and by verdict; ``closed_only``, ``withheld``.
        """
        state, counts = self._confirmation, self.confirmations
        named = ("entries", CONFIRMED, CONTRADICTED, ABSTAINED, "passed", "refused")
        return {
            "model": state.verdicts.predictor.model,
            **{name: counts[name] for name in named},
            "abstained_because": dict(sorted(state.reasons.items())),
            "refused_when": {
                outcome: counts[f"refused_{outcome}"]
                for outcome in (CONFIRMED, CONTRADICTED, ABSTAINED)
            },
            "closed_only": counts["closed_only"],
            "withheld": counts["withheld"],
        }

    def buy(self, *args: Any, **kwargs: Any) -> Any:
        """Send a buy, or what the vote leaves of it; None where that is nothing."""
        return self._put_to_vote(super().buy, 1, args, kwargs)

    def sell(self, *args: Any, **kwargs: Any) -> Any:
        """Send a sell, or what the vote leaves of it; None where that is nothing."""
        return self._put_to_vote(super().sell, -1, args, kwargs)

    def buy_bracket(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Send a bracket around a buy; three times None where the vote refuses it."""
        base: Any = super()
        return self._send_bracket(base.buy_bracket, args, kwargs)

    def sell_bracket(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Send a bracket around a sell; three times None where the vote refuses it."""
        base: Any = super()
        return self._send_bracket(base.sell_bracket, args, kwargs)

    def _periodset(self) -> None:
        base: Any = super()
        base._periodset()
        # Later than that: the history of a forecast would hold up the strategy's first bar.
        forecasts = self._confirmation.verdicts.forecasts
        self._lineiterators[bt.LineIterator.IndType].extend(forecasts.values())

    def _attach_forecasts(self) -> None:
        check_model(type(self).__name__, self.p.model)
        check_fraction("min_confidence", self.p.min_confidence)
        check_positive("weight", self.p.weight, or_zero=True)
        predictor = predictor_of(
            self.p.model,
            self.p.home,
            fallback=self.p.fallback,
            data=self.datas[0] if self.datas else None,
        )
        indicators = self._lineiterators[bt.LineIterator.IndType]
        before = len(indicators)
        forecasts = {
            # An alias may move while a backtest runs; its version doesn't.
            data: attach(
                LSTMForecast,
                data,
                model=predictor.model,
                horizon=self.p.horizon,
                home=self.p.home,
            )
            for data in feeds_of_model(predictor, self.datas)
        }
        del indicators[before:]
        self._confirmation = _Confirmation(
            ForecastVerdicts(
                predictor,
                forecasts,
                min_confidence=self.p.min_confidence,
                unseen_from=None if self.p.in_sample else predictor.bundle.unseen_from_ms,
            )
        )

    def _put_to_vote(
        self, make: Callable[..., Any], direction: int, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        given = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
        if given.get("parent") is not None:
            return make(**given)
        state = self._confirmation
        data = self._feed_named(given.get("data"))
        size = given.get("size")
        size = abs(self.getsizing(data, isbuy=direction > 0) if size is None else size)
        held = self.getposition(traded_feed(data)).size + state.made.on_their_way(data)
        refused = state.made.refused_on(len(self), data, resting="parent" in given)
        parts = parts_of(size, direction * held, direction * refused)
        passed = parts.opening > 0.0 and self._passes(data, direction)
        if parts.opening and not passed:
            kind = given.get("exectype")
            state.made.refuse(len(self), data, direction * parts.opening, kind)
            if parts.closing:
                state.counts["closed_only"] += 1
        if parts.withheld:
            state.counts["withheld"] += 1
        if parts.withheld or (parts.opening and not passed):
            size = parts.closing + (parts.opening if passed else 0.0)
        given |= {"data": data, "size": size}
        if state.in_bracket and not passed and (parts.opening or parts.withheld or not size):
            # Its children belong to the entry, and the last of them would have transmitted it.
            given["transmit"] = True
            raise _EntryRefusedError(self._send(make, given))
        return self._send(make, given)

    def _send(self, make: Callable[..., Any], given: dict[str, Any]) -> Any:
        order = make(**given) if given["size"] else None
        self._confirmation.made.add(order)
        return order

    def _send_bracket(self, send: Callable[..., Any], args: Any, kwargs: Any) -> list[Any]:
        self._confirmation.in_bracket = True
        try:
            orders: list[Any] = send(*args, **kwargs)
        except _EntryRefusedError as refused:
            orders = [refused.sent, None, None]
        finally:
            self._confirmation.in_bracket = False
        return orders

    def _passes(self, data: Any, direction: int) -> bool:
        state = self._confirmation
        told = state.verdicts.on_entry(data, direction)
        own = self.votes(data, direction)
        taken = {"strategy", "lstm"} & own.keys()
        if taken:
            raise ParameterError(
                f"votes() of {type(self).__name__} returned one of {taken.pop()!r}, which is taken "
                "by the strategy's own and the forecast's: give it another name"
            )
        passed = tally(
            {
                "strategy": Vote(direction, _OWN_WEIGHT),
                "lstm": told.verdict.vote(direction, self.p.weight),
                **own,
            }
        ).passes(direction)
        state.count(told.verdict, passed)
        if self.p.log_predictions:
            _log.info("%s", told.in_words(data, direction, passed))
        return passed

    def _feed_named(self, data: Any) -> Any:
        if isinstance(data, str):
            return self.getdatabyname(data)
        return self.datas[0] if data is None else data


class ConfirmationReport(bt.Analyzer, CheckedParameters):
    """What became of the entries of an `LSTMConfirm`, also where ``optstrategy`` drops it.

    The analysis is `LSTMConfirm.confirmation_report`.

    Raises
    ------
    ParameterError
        If the strategy is none.
    """

    def start(self) -> None:
        """Refuse other strategies."""
        if not isinstance(self.strategy, LSTMConfirm):
            raise ParameterError(
                f"{type(self.strategy).__name__} has no confirmations: add "
                f"confirmed({type(self.strategy).__name__}) in its place"
            )

    def stop(self) -> None:
        """Keep the report, which has to outlive the strategy."""
        self.rets = self.strategy.confirmation_report()


@functools.cache
def confirmed(strategy: Any) -> Any:
    """Return a strategy whose entries need the consent of a model's forecasts.

    Parameters
    ----------
    strategy
        A ``backtrader.Strategy`` class.

    Returns
    -------
    type
        ``Confirmed`` + its name, with its parameters and those of `LSTMConfirm`; the same class
        for the same strategy. Where the strategy itself can be imported, workers of
        ``optstrategy`` find the class too, however they are started.

    Raises
    ------
    ParameterError
        If it is no strategy, is confirmed already, or has parameters or attributes that
        `LSTMConfirm` has.

    Examples
    --------
    >>> class Holds(bt.Strategy):
    ...     params = (("target", 0.5),)
    ...     def next(self):
    ...         self.order_target_percent(target=self.p.target)
    >>> confirmed(Holds).__name__, confirmed(Holds).params.target
    ('ConfirmedHolds', 0.5)
    """
    if not (isinstance(strategy, type) and issubclass(strategy, bt.Strategy)):
        raise ParameterError(f"{strategy!r} is no backtrader.Strategy class: give one")
    if issubclass(strategy, LSTMConfirm):
        raise ParameterError(f"{strategy.__name__} is an LSTMConfirm already: use it as it is")
    # A dot would send pickle looking for an attribute of an attribute.
    name = f"{_MADE}:{strategy.__module__}:{strategy.__qualname__}".replace(".", "/")
    body = {"__module__": __name__, "__qualname__": name, "__doc__": strategy.__doc__}
    metaclass: Any = type(strategy)
    made = metaclass(name, (LSTMConfirm, strategy), body)
    made.__name__ = f"Confirmed{strategy.__name__}"
    return made


def __getattr__(name: str) -> Any:
    # How pickle comes to a class of `confirmed` in a process that has not made it yet.
    made, _, place = name.partition(":")
    module, _, path = place.replace("/", ".").partition(":")
    if made != _MADE or not path:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return confirmed(operator.attrgetter(path)(importlib.import_module(module)))


class _EntryRefusedError(Exception):
    """Leaves backtrader's way of making brackets, which needs an entry."""

    def __init__(self, sent: Any) -> None:
        super().__init__()
        self.sent = sent


@dataclass(eq=False)
class _Confirmation:
    """What an `LSTMConfirm` keeps, apart from the strategy's own attributes."""

    verdicts: ForecastVerdicts
    made: OrdersMade = field(default_factory=OrdersMade)
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    in_bracket: bool = False

    def count(self, verdict: Verdict, passed: bool) -> None:
        self.counts.update(["entries", verdict.outcome, "passed" if passed else "refused"])
        if verdict.reason:
            self.counts[verdict.reason] += 1
            self.reasons[verdict.reason] += 1
        if not passed:
            self.counts[f"refused_{verdict.outcome}"] += 1


def _check_bases(cls: type) -> None:
    comes_first = False
    for base in cls.__bases__:
        if issubclass(base, LSTMConfirm):
            comes_first = True
        elif issubclass(base, bt.Strategy):
            if not comes_first:
                raise ParameterError(
                    f"{cls.__name__} names {base.__name__} before LSTMConfirm, so that its orders "
                    f"would pass unseen: class {cls.__name__}(LSTMConfirm, {base.__name__})"
                )
            _check_names(base)


def _check_names(strategy: Any) -> None:
    both = [name for name in LSTMConfirm.params._getkeys() if hasattr(strategy.params, name)]
    if both:
        raise ParameterError(
            f"{strategy.__name__} has parameters that LSTMConfirm has too, {', '.join(both)}, and "
            f"one value cannot mean both: rename them in {strategy.__name__}"
        )
    taken = [name for name in _ADDED if hasattr(strategy, name)]
    if taken:
        raise ParameterError(
            f"{strategy.__name__} has attributes that LSTMConfirm adds, {', '.join(taken)}: rename "
            f"them in {strategy.__name__}"
        )
