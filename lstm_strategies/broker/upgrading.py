"""Turn backtrader's own broker into the simulated exchange."""

from __future__ import annotations

import logging
from typing import Any

import backtrader as bt

from lstm_strategies.broker.simulated import SimulatedBroker
from lstm_strategies.commission import CryptoCommission

__all__ = ["upgrade_broker"]

logger = logging.getLogger("lstm_strategies.broker")


def upgrade_broker(broker: Any) -> bool:
    """Turn backtrader's own broker into a `SimulatedBroker` where it stands.

    Call it before the first bar, for instance from a strategy's ``__init__`` or ``start``. What
    the user has set stays: cash, commissions, slippage, volume filler. Two things change:
    shorts need cash, and where no default commission was ever set, `CryptoCommission` becomes
    it, with a warning in the log.

    Parameters
    ----------
    broker
        Such as ``cerebro.broker`` or ``strategy.broker``.

    Returns
    -------
    bool
        True if the broker now is a `SimulatedBroker`; False for any other broker, which is
        left alone, with a warning in the log.
    """
    if type(broker) is bt.brokers.BackBroker:
        broker.__class__ = SimulatedBroker
        broker._take_over()
    elif not isinstance(broker, SimulatedBroker):
        logger.warning(
            "%s is not backtrader's own broker and is left as it is: its brackets may miss the "
            "entry bar; use cerebro.setbroker(SimulatedBroker()) for a backtest",
            type(broker).__name__,
        )
        return False
    broker.set_shortcash(False)
    if _is_pristine(broker):
        fees = CryptoCommission()
        broker.addcommissioninfo(fees)
        logger.warning(
            "no commission was set: each fill pays the taker fee of %g of its notional, resting "
            "limit orders the maker fee of %g; set others with "
            "cerebro.broker.addcommissioninfo(CryptoCommission(taker_fee=..., maker_fee=...))",
            fees.p.taker_fee,
            fees.p.maker_fee,
        )
    return True


def _is_pristine(broker: Any) -> bool:
    scheme = broker.comminfo.get(None)
    if scheme is not broker.p.commission or type(scheme) is not bt.CommInfoBase:
        return False
    # In a worker of optstrategy the default is a pickled copy: equal, no longer identical.
    default = bt.brokers.BackBroker.params.commission
    return bool(scheme is default or scheme.p._getkwargs() == default.p._getkwargs())
