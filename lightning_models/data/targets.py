"""What a model is asked about the future: the horizon's return, or which barrier comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lightning_models.data.labels import Labels, label_returns
from lightning_models.data.triple_barrier import label_barriers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Market
    from lightning_models.data.horizons import Horizon

__all__ = ["HorizonReturn", "Target", "TripleBarrier", "label_candles"]


class HorizonReturn(BaseModel):
    """The return from the next bar's open to the horizon's close.

    Parameters
    ----------
    name
        Of the target in files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["horizon-return"] = "horizon-return"


class TripleBarrier(BaseModel):
    """The return from the next bar's open to the first of three barriers (López de Prado, 2018).

    The barriers lie above and below the entry, and at the horizon's close. What every forecast
    speaks of is the return at the exit, whichever barrier that is:

    - ``P(up)``, and with it the direction and `confidence`: the exit is above the entry. At a
      time-out the sign of the return counts, for a trade that ran out of time was still won or
      lost; so confidence stays the probability that the stated direction is right.
    - ``change_pct`` and its bounds: the median and the bounds of the return at the exit.
    - ``p_timeout``: the probability that neither price is reached before the horizon's close.

    A label belongs to a slice if it ended within it. In a slice's last rows, a horizon long, only
    those that were reached early have: touches are a little more frequent there.

    Parameters
    ----------
    name
        Of the target in files.
    upper, lower
        Distance of the two prices from the entry, in units of trailing volatility a candle times
        the root of the horizon in candles.
    both
        What a candle counts as that reaches both prices, which it does not tell the order of.
        ``drop`` labels no row with it: any other answer teaches a side that nobody knows, and
        which of the two is the bad one depends on the side that is traded. ``lower`` and
        ``upper`` settle it for one side: ``lower`` is the pessimistic choice of a model that is
        only bought on.
    weights
        ``uniqueness`` weighs each label in the loss by how much of its life it shares with no
        other, so that a stretch with many overlapping labels does not count many times;
        ``none`` counts all alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Literal["triple-barrier"] = "triple-barrier"
    upper: float = Field(default=1.0, gt=0)
    lower: float = Field(default=1.0, gt=0)
    both: Literal["drop", "lower", "upper"] = "drop"
    weights: Literal["uniqueness", "none"] = "uniqueness"


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Target = Annotated[
    Annotated[HorizonReturn | TripleBarrier, Field(discriminator="name")], BeforeValidator(_named)
]
"""Either of the targets; in a file also its name alone."""


def label_candles(
    target: HorizonReturn | TripleBarrier,
    time: npt.NDArray[np.int64],
    prices: npt.NDArray[np.float64],
    real: npt.NDArray[np.bool_],
    volatility: npt.NDArray[np.float64],
    *,
    horizons: Sequence[Horizon],
    period: int,
    market: Market = "continuous",
) -> Labels:
    """Return each row's labels, as a target asks for them.

    Parameters
    ----------
    target
        What is asked.
    time
        ``int64 [B]``, open times on the bridged grid, milliseconds.
    prices
        ``float64 [B, 4]``: open, high, low and close, quote currency.
    real
        ``bool [B]``, false on bridged rows.
    volatility
        ``float64 [B]``, trailing volatility a candle at each row's close, a fraction.
    horizons
        The label axis.
    period
        Length of a candle in milliseconds.
    market
        Of the candles.

    Returns
    -------
    Labels
        `BarrierLabels` where the target is a triple barrier.
    """
    if isinstance(target, HorizonReturn):
        return label_returns(
            time,
            prices[:, 0],
            prices[:, 3],
            real,
            horizons=horizons,
            period=period,
            market=market,
        )
    return label_barriers(
        time,
        prices,
        real,
        volatility,
        horizons=horizons,
        period=period,
        upper=target.upper,
        lower=target.lower,
        both=target.both,
    )
