"""Scores of parts of the rows: of a symbol, of a market's regime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lightning_models.evaluation.auc import auc_terms
from lightning_models.evaluation.bootstrap import block_length, percentile_interval
from lightning_models.evaluation.comparison import log_losses
from lightning_models.evaluation.moments import Moments, resampled_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["MINIMUM_GROUP_MOMENTS", "GroupScores", "score_groups"]

MINIMUM_GROUP_MOMENTS: Final = 100
"""Fewer moments than this are too few to say anything about a part."""


class GroupScores(BaseModel):
    """How a model did on a part of the rows; nothing but counts where they are too few."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    n: int
    """Rows that moved."""
    moments: int
    too_few: bool
    """True below 100 moments, below eight labels that do not overlap, or where all rows went
    the same way."""
    log_loss_gain: float | None = None
    """Over the majority class of the train labels, in nats."""
    log_loss_gain_low: float | None = None
    log_loss_gain_high: float | None = None
    directional_accuracy: float | None = None
    directional_accuracy_low: float | None = None
    directional_accuracy_high: float | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None


def score_groups(
    outcomes: Outcomes,
    group: npt.NDArray[np.int64],
    names: Sequence[str],
    *,
    seed: int = 0,
    replications: int = 500,
    level: float = 0.95,
) -> tuple[GroupScores, ...]:
    """Score each part of the rows by itself.

    Parameters
    ----------
    outcomes
        Forecasts and what followed.
    group
        ``int64 [N]``, position in `names` of each row's part; -1 belongs to none.
    names
        Of the parts, in the order of the result.
    seed, replications, level
        As `evaluate` takes them. The moments of a part are closed up: a block of the
        bootstrap may span what lies between two stretches of a regime.

    Returns
    -------
    tuple of GroupScores
        One for each name.
    """
    scored = []
    for position, name in enumerate(names):
        rows = (group == position) & (outcomes.actual != 0.0)
        moments = Moments(outcomes.time[rows])
        up = outcomes.actual[rows] > 0.0
        area = auc_terms(outcomes.probability_up[rows], up)
        few = len(moments) < max(MINIMUM_GROUP_MOMENTS, 8 * outcomes.overlap)
        fields: dict[str, object] = {
            "name": name,
            "n": int(rows.sum()),
            "moments": len(moments),
            "too_few": few or area is None,
        }
        if not few and area is not None:
            probability = outcomes.probability_up[rows]
            majority = log_losses(np.full(len(up), outcomes.base_rate), up)
            gain = majority - log_losses(probability, up)
            columns = np.stack([gain, (probability >= 0.5) == up, area], axis=1)
            means = resampled_means(
                moments,
                columns,
                block=block_length(moments.means(gain), minimum=outcomes.overlap),
                replications=replications,
                seed=seed,
            )
            kinds = ("log_loss_gain", "directional_accuracy", "auc")
            for kind, column, replicates in zip(kinds, columns.T, means.T, strict=True):
                bounds = percentile_interval(replicates, level)
                fields[kind] = float(column.mean())
                if bounds is not None:
                    fields[f"{kind}_low"], fields[f"{kind}_high"] = bounds
        scored.append(GroupScores.model_validate(fields))
    return tuple(scored)
