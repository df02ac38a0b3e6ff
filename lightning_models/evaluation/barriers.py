"""Scores of triple-barrier forecasts: time-outs, and directions where a barrier was reached."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lightning_models.evaluation.outcomes import EvaluationError
from lightning_models.evaluation.scores import SCORES, ForecastScores, evaluate

if TYPE_CHECKING:
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["barrier_metrics", "score_timeouts", "score_touched"]


def score_timeouts(
    outcomes: Outcomes, *, rate: float, seed: int = 0, replications: int = 500, level: float = 0.95
) -> ForecastScores:
    """Score P(time-out) against whether labels timed out.

    Parameters
    ----------
    outcomes
        Of a model of triple-barrier labels.
    rate
        Share of time-outs among the train labels: the constant probability that the
        majority-class baseline states.
    seed, replications, level
        As `evaluate` takes them.

    Returns
    -------
    ForecastScores
        In which a time-out stands where a rise stands for directions.

    Raises
    ------
    EvaluationError
        If the outcomes are of another model.
    """
    if outcomes.timed_out is None or outcomes.probability_timeout is None:
        raise EvaluationError(
            "these outcomes know no time-outs: collect those of a model that was trained with "
            "data.target.name=triple-barrier"
        )
    as_directions = replace(
        outcomes,
        probability_up=outcomes.probability_timeout,
        actual=np.where(outcomes.timed_out, 1.0, -1.0),
        base_rate=rate,
    )
    return evaluate(as_directions, seed=seed, replications=replications, level=level)


def score_touched(
    outcomes: Outcomes,
    *,
    base_rate: float,
    seed: int = 0,
    replications: int = 500,
    level: float = 0.95,
) -> ForecastScores:
    """Score directions over the labels that a barrier ended.

    Parameters
    ----------
    outcomes
        Of a model of triple-barrier labels.
    base_rate
        Share of upper barriers among the train labels that a barrier ended.
    seed, replications, level
        As `evaluate` takes them.

    Returns
    -------
    ForecastScores

    Raises
    ------
    EvaluationError
        If the outcomes are of another model.
    """
    if outcomes.timed_out is None:
        raise EvaluationError(
            "these outcomes know no barriers: collect those of a model that was trained with "
            "data.target.name=triple-barrier"
        )
    touched = replace(outcomes.take(~outcomes.timed_out), base_rate=base_rate)
    return evaluate(touched, seed=seed, replications=replications, level=level)


def barrier_metrics(
    outcomes: Outcomes, data: CandleDataModule, *, horizon: int = 0, seed: int = 0
) -> dict[str, float | None]:
    """Return a test slice's scores of time-outs and of touched labels, as metrics.

    Parameters
    ----------
    outcomes
        Of the test slice.
    data
        What the model was fitted on; its train slice gives the constant forecasts to beat.
    horizon
        Position on the horizon axis.
    seed
        Of the bootstrap.

    Returns
    -------
    dict
        ``test/timeout_share``, ``test/effective_samples`` (the summed uniqueness of the labels of
        `data`'s own test slice, where it has one), and
        each score with its bounds as ``test/timeout/log_loss`` and
        ``test/touched/log_loss``; ``majority`` stands for the train labels' constant share.
        Empty for a model without barriers.
    """
    if data.timed_out is None or outcomes.timed_out is None or not len(outcomes):
        return {}
    train = data.samples["train"].ends
    timed_out = data.timed_out.numpy()[train, horizon] > 0
    rose = data.returns[train, horizon][~timed_out] > 0
    parts = {
        "timeout": score_timeouts(outcomes, rate=float(timed_out.mean()), seed=seed),
        "touched": score_touched(outcomes, base_rate=float(rose.mean()), seed=seed),
    }
    found: dict[str, float | None] = {
        "test/timeout_share": float(outcomes.timed_out.mean()),
    }
    if len(data.samples["test"]):
        found["test/effective_samples"] = data.effective_samples["test"]
    for part, scores in parts.items():
        found[f"test/{part}/n"] = float(scores.n)
        for score in SCORES:
            for bound in ("", "_low", "_high"):
                found[f"test/{part}/{score}{bound}"] = getattr(scores, f"{score}{bound}")
    return found
