"""The simulated exchange: orders, fills, margins, funding and liquidation, bar by bar."""

from __future__ import annotations

from lstm_strategies.broker.simulated import SimulatedBroker
from lstm_strategies.broker.upgrading import upgrade_broker
from lstm_strategies.funding import FundingPayment, FundingRates

__all__ = ["FundingPayment", "FundingRates", "SimulatedBroker", "upgrade_broker"]
