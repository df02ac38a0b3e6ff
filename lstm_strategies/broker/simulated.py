"""A simulated exchange of perpetual futures: what happens within a bar, and in what order."""

from __future__ import annotations

from lstm_strategies.broker.stepping import SteppingBroker
from lstm_strategies.broker.turns import AT_OPEN
from lstm_strategies.commission import CryptoCommission
from lstm_strategies.intrabar import has_level
from lstm_strategies.parameters import CheckedParameters, takes_params

__all__ = ["SimulatedBroker"]


class SimulatedBroker(SteppingBroker, CheckedParameters):
    """backtrader's broker with what a trader on a perpetual-futures exchange meets.

    Params: those of ``backtrader.brokers.BackBroker``, with ``shortcash`` off by default, and
      - ``margin_mode`` ("isolated"): or ``cross``; see *Liquidation*.
      - ``funding_rate`` (0.0): fraction of the notional every 8 hours; see *Funding*.
      - ``slip_impact`` (0.0): fraction of the price by which an order as large as the bar's
        volume moves it; see *Slippage*.

    Attributes
    ----------
    funding_payments : list of FundingPayment
        Each with ``time``, ``data``, ``amount`` (positive = paid) and ``rate``.

    Raises
    ------
    ParameterError
        If a parameter is out of its range.

    Notes
    -----
    Leverage, fees, maintenance margin, lot step and least notional are those of the feed's
    `CryptoCommission`. Under other commission schemes, and with ``shortcash`` on, there is no
    liquidation and no refusal of sizes.

    *Brackets.* Children become active the moment their parent is filled, or the first part of
    it, and are checked on that same bar; once one of them is filled, what is left of the parent
    is cancelled. An ``offset`` given with a child (``buy(..., offset=-5.0)`` or
    ``stopargs=dict(offset=-5.0)``: signed distance from the entry, quote currency) moves its
    level to the fill price + offset, if the parent was filled at once; filled in parts, or
    without an offset, the level stays. After a fill at the open the whole bar counts. After a
    limit order filled inside the bar, only the close is known to come later on the favourable
    side, so the target fills on that bar only if the close lies beyond it, while the bar's
    extreme on the adverse side counts in full. A child never opens or enlarges a position: it
    is cut to what is left, and cancelled, with a notification, when its position is closed or
    turned by another order. One child filled cancels the other on that bar. The children of a
    parent that was refused never live.

    *Order within a bar.* First what happens at the open: liquidations that the open lies at or
    beyond, then market orders, and orders that the open has jumped over, which fill at it.
    Then levels on the adverse side of the position, then those on the favourable side, on
    either side the nearest to the open first: a stop at -2 % comes before a liquidation at
    -33 %, a liquidation before a target. Without a position stops come before limits. An order
    is checked once a bar of its own feed and never against a bar that was already closed when
    it was made.

    *Finer candles.* Where `add_detail` gave a feed finer candles, a bar in which one of its
    orders could be touched is gone through candle by candle, those of several feeds in order
    of time, each by the rules above: stop or target, liquidation and funding are decided by
    what came first. Market orders still fill at the bar's open, and fills bear the bar's
    stamp. Where finer candles are missing, or don't reach the bar's high and low, the rules
    above hold for the whole bar.

    *Cash and margin.* Opening a position takes its notional over the leverage, the initial
    margin, and the fee out of the cash; shorts as well as longs. Closing gives the margin back
    with the profit. Equity is cash and, of each position, margin and unrealised profit. An
    order that the cash doesn't cover ends in Margin, with a notification and a warning, and
    takes its children with it. Orders that only reduce a position are never refused for lack
    of cash. Bracket children need no cash of their own.

    *Liquidation.* While a position is held, a stop of the exchange's own waits at the price
    where what stands behind the position is its maintenance margin
    (`lstm_strategies.liquidation.liquidation_price`). Isolated, that is the position's own
    initial margin: from a long's entry ``entry * (1 - 1 / leverage) / (1 -
    maintenance_margin)``, from a short's ``entry * (1 + 1 / leverage) / (1 +
    maintenance_margin)``, so that a short without leverage is liquidated too, near twice its
    entry, and a long without leverage never. In cross mode it is the whole account: a position
    is liquidated where equity falls to the sum of all maintenance margins, other positions
    valued at their last known price: the bar's open or the last finer candle, where their feed
    has one, or their last close. Of several that the open lies beyond, the one whose order is
    oldest goes first, and the levels of the others follow. The strategy that opened the
    position is notified of a completed order with ``order.info["exit_reason"]`` of
    ``"liquidation"``; it pays the taker fee and the ``liquidation_fee``. A gap beyond the level
    fills at the open. Stops and targets of the position are cancelled, and so is every order
    of its feed that only reduced the position when it was accepted. The volume filler doesn't
    hold it up. Isolated, no fill closes a position beyond the price where its margin is gone,
    a liquidation's fees take at most what is left of it, and no closing fee takes the cash
    below zero: so the account cannot go below zero. In cross mode a gap can take it there.

    *Funding.* Each time funding falls due, every 8 hours at ``funding_rate`` or as
    `set_funding` says, a position pays size * price * rate out of the cash: longs pay a
    positive rate, shorts receive it. What falls due just as a bar opens is charged at its
    open, before its fills; inside a bar after what happens at its open, before stops and
    limits, at the open's price, or with finer candles at theirs; in a hole between two bars at
    the close before it. A replayed bar counts part by part. What the cash lacks is taken from
    an isolated position's margin, which brings its liquidation nearer.

    *Sizes.* An order whose size is no multiple of the lot step, or whose notional at its price
    (a market order's at the last close) is under the least one, ends in Rejected, with a
    notification and a warning that says the nearest allowed size. Orders that only reduce a
    position may be as small as they like, and one that closes it whole has any size. Volume
    fillers fill whole lots.

    *Slippage.* backtrader's own ``slip_perc`` or ``slip_fixed``, and on top ``slip_impact`` *
    (size / the bar's volume)**2 of the price, at most 10 % of it, which a bar without volume
    takes, too. It moves what is filled at market: market and close orders, stops, trailing
    stops and liquidations, also beyond the bar's range, never a limit.

    *Fees.* Limit orders that rested pay the maker fee of a `CryptoCommission`, all other fills
    the taker fee.
    """

    @takes_params
    def __init__(self) -> None:
        super().__init__()

    def next(self) -> None:
        """Fill what the new bar fills."""
        while self._toactivate:
            self._toactivate.popleft().activate()
        if self.p.checksubmit:
            self.check_submitted()
        self._charge_interest()
        self._process_order_history()
        if self._funded:
            self._fund_at_open()
        if self.p.margin_mode == "cross":
            self._value_at_open()
        # Most bars of a held position lie between its stop and its target.
        changed = self._bands is None
        untouched = self._all_untouched()
        if not untouched:
            self._work(self._is_decided_at_open, last_stage=AT_OPEN)
        stepped = self._bars_to_step() if self._details else {}
        if self._funded and self._fund_inside(without=stepped):
            # A payment out of a margin has brought its liquidation nearer.
            untouched = untouched and self._all_untouched()
        if stepped:
            self._go_through(stepped)
        if not untouched:
            self._work(lambda order: not (order.data in stepped and has_level(order)))
        self._end_bar()
        if changed or self._bands is None:
            self._end_orders()

    def _take_over(self) -> None:
        # backtrader's own broker has become one of this class, without its parameters.
        given = self.p._getkwargs()
        self.p = self.params = type(self).params()
        for name, value in given.items():
            setattr(self.p, name, value)
        self._forget()

    def _charge_interest(self) -> None:
        for data, position in self.positions.items():
            if position:
                comminfo = self.getcommissioninfo(data)
                if type(comminfo) is CryptoCommission and not comminfo.p.interest:
                    continue  # asking for the time of the bar costs more than it brings
                now = data.datetime.datetime()
                credit = comminfo.get_credit_interest(data, position, now)
                self.d_credit[data] += credit
                self.cash -= credit
                position.datetime = now

    def _end_bar(self) -> None:
        for data, position in self.positions.items():
            if position:
                comminfo = self.getcommissioninfo(data)
                if comminfo.stocklike:
                    continue  # nothing is settled day by day
                close = data.close[0]
                self.cash += comminfo.cashadjust(position.size, position.adjbase, close)
                position.adjbase = close
        if self._funded:
            self._fund_done()
        if self.p.margin_mode == "cross":
            self._value_at_close()
        self._get_value()

    def _end_orders(self) -> None:
        # Where no order has changed, what is known of them hasn't either.
        self._rested = {order.ref for order in self.pending if order.active()}
        self._entries.clear()
        self._checked = {ref: self._checked[ref] for ref in self._rested & self._checked.keys()}
        if self._reducing:
            self._reducing &= {order.ref for order in self.pending}
