"""How a walk-forward cuts time into folds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

__all__ = ["Scheme", "WalkForwardConfig"]

Scheme = Literal["anchored", "rolling"]


class WalkForwardConfig(BaseModel):
    """Folds of a walk-forward.

    Parameters
    ----------
    folds
        How many times the model is fitted again.
    scheme
        ``anchored`` trains each fold from the first candle on; ``rolling`` on a stretch of
        fixed length that moves along.
    test_length
        Of each fold: a number of candles, or a duration such as ``90d``. By default the first
        fold is cut by the shares of ``data.slices``, and every test is as long as its test.
    embargo
        Candles to leave out after each cut, in addition to the reach of the furthest label.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folds: PositiveInt = Field(default=5, le=1000)
    scheme: Scheme = "anchored"
    test_length: PositiveInt | str | None = None
    embargo: NonNegativeInt = 0
