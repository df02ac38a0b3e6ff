"""What trials are measured by: fields that no search may change, or a search finds the mildest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["refuse_fixed", "refuse_searched"]

_BACKTEST: Final = "backtest."

_COSTS: Final = (
    "taker_fee",
    "maker_fee",
    "slippage",
    "slip_impact",
    "funding_rate",
    "funding",
    "cash",
    "lot_step",
    "min_notional",
    "maintenance_margin",
    "liquidation_fee",
    "seed",
    "replications",
    "doubled_costs",
    # The share of a fold that it is fitted on is not traded.
    "calibrate_score",
)
"""Of a backtest: the same for all trials, and whatever the user says."""

_BY_FOLD: Final = ("model", "in_sample", "any_timeframe", "start", "end", "days_back", "trials")
"""Of a backtest: the folds decide these."""

_BY_SETTINGS: Final = (
    "training.seed",
    "training.threads",
    "training.accelerator",
    "training.checkpoint_seconds",
    "data.slices",
    # Rows that are hard to forecast could be left out.
    "data.bridged_share",
)

# What is asked of a model: a score of one question says nothing of another's.
_QUESTION: Final = ("data.horizons", "data.target")


def refuse_searched(fields: Iterable[str], *, forecasts: bool) -> None:
    """Refuse a space over what trials are measured by.

    Parameters
    ----------
    fields
        Dotted, of the space.
    forecasts
        Whether an objective scores forecasts. Those of other horizons or targets answer other
        questions, and their losses cannot be compared; what they earn can.

    Raises
    ------
    ValueError
        Naming the field and where it belongs instead.

    Examples
    --------
    >>> refuse_searched(["backtest.leverage", "data.horizons"], forecasts=False)
    >>> refuse_searched(["training.seed"], forecasts=True)
    Traceback (most recent call last):
    ...
    ValueError: space.training.seed is what trials are measured by: give it under settings instead
    """
    for field in fields:
        name = field.removeprefix(_BACKTEST)
        if field == "preset":
            raise ValueError(
                "space.preset only says what the starting point is called: make a study of each "
                "preset, or search network.kind"
            )
        if field.startswith(_BACKTEST) and _lies_within(name, _BY_FOLD):
            raise ValueError(f"space.{field} is decided by the folds: leave it out")
        if field.startswith(_BACKTEST) and _lies_within(name, _COSTS):
            raise ValueError(_instead(field, "backtest"))
        if _lies_within(field, _BY_SETTINGS):
            raise ValueError(_instead(field, "settings"))
        if forecasts and _lies_within(field, _QUESTION):
            raise ValueError(
                f"space.{field} asks each trial another question, and the losses of their answers "
                "cannot be compared: make a study of each, or give an objective of kind trading "
                "alone, since money can be"
            )
        held = [one for one in (*_BY_SETTINGS, *_QUESTION) if one.startswith(f"{field}.")]
        if held:
            raise ValueError(
                f"space.{field} is a whole section, {held[0]} with it, which is what trials are "
                "measured by: name the fields that are searched one by one"
            )


def refuse_fixed(fields: Iterable[str]) -> None:
    """Refuse fields of a study's ``backtest`` that its folds decide.

    Parameters
    ----------
    fields
        Of the backtest.

    Raises
    ------
    ValueError
        Naming the field.

    Examples
    --------
    >>> refuse_fixed(["strategy", "days_back"])
    Traceback (most recent call last):
    ...
    ValueError: backtest.days_back is decided by the folds: leave it out
    """
    for field in fields:
        if _lies_within(field, _BY_FOLD):
            raise ValueError(f"backtest.{field} is decided by the folds: leave it out")


def _lies_within(field: str, wholes: Iterable[str]) -> bool:
    return any(field == one or field.startswith(f"{one}.") for one in wholes)


def _instead(field: str, section: str) -> str:
    return f"space.{field} is what trials are measured by: give it under {section} instead"
