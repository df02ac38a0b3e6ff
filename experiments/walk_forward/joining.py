"""Join what the folds said of candles they had not seen into one series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_models.evaluation.assessment import Assessment, assess_forecasts
from lightning_models.evaluation.comparison import BaselineForecasts
from lightning_models.evaluation.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.walk_forward.running import FittedFold
    from lightning_models.candles import Candles

__all__ = ["assess_joined", "join_outcomes"]


def join_outcomes(folds: Sequence[FittedFold]) -> Outcomes:
    """Return the outcomes of all folds as those of one model.

    Its base rate, what the majority-class score is computed with, is the mean of the folds'
    own: the same as the registered series states.

    Parameters
    ----------
    folds
        In order of time. Each has the bars that are its own, so that no bar comes twice.
    """
    parts = [fold.outcomes for fold in folds]
    rates = [fold.bundle.base_rate[0] for fold in folds]
    return Outcomes.joined(parts, base_rate=float(np.mean(rates)))


def assess_joined(
    folds: Sequence[FittedFold], candles: Sequence[Candles], *, seed: int = 0
) -> Assessment:
    """Score the joined forecasts, beside baselines that were fitted anew in each fold too.

    Parameters
    ----------
    folds
        In order of time.
    candles
        As the folds counted them.
    seed
        Of the bootstrap.

    Returns
    -------
    Assessment
    """
    outcomes = join_outcomes(folds)
    # A fold without a row to compare on has no baselines either.
    spoken = [fold for fold in folds if fold.baselines]
    baselines: tuple[BaselineForecasts, ...] = ()
    if spoken:
        baselines = tuple(
            BaselineForecasts(
                first.name,
                np.concatenate([fold.baselines[place].probability_up for fold in spoken]),
                np.concatenate([fold.baselines[place].predicted for fold in spoken]),
            )
            for place, first in enumerate(spoken[0].baselines)
        )
    shared = outcomes.take(np.concatenate([fold.compared for fold in folds]))
    return assess_forecasts(
        outcomes,
        shared,
        baselines,
        candles=candles,
        horizon=folds[0].bundle.horizons[0].name,
        seed=seed,
    )
