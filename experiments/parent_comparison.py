"""A fine-tuned model beside its parent, on test rows that neither has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lightning_models.evaluation import BaselineForecasts, Comparison, Outcomes, compare
from lightning_models.evaluation.collect import collect_outcomes

if TYPE_CHECKING:
    import numpy.typing as npt

    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.predictor import Predictor

__all__ = ["compare_with_parent", "judgement_of", "parent_metrics"]


def compare_with_parent(
    outcomes: Outcomes, parent: Predictor, data: CandleDataModule, *, seed: int = 0
) -> Comparison | None:
    """Compare forecasts of a test slice with those of the model they were continued from.

    Parameters
    ----------
    outcomes
        Of the test slice of `data`, its candles in their order.
    parent
        With a calibration of its own.
    data
        Slices that begin after everything the parent has seen.
    seed
        Of the bootstrap.

    Returns
    -------
    Comparison or None
        On the rows that both forecast: a state that warms up longer begins to speak later.
        None where there are none.
    """
    start, end = data.slices.bounds("test")
    theirs = collect_outcomes(parent, data.candles, start=start, end=end)
    ours, of_parent = _shared_rows(outcomes, theirs)
    if not ours.any():
        return None
    shared = theirs.take(of_parent)
    baseline = BaselineForecasts("parent", shared.probability_up, shared.predicted)
    return compare(outcomes.take(ours), [baseline], seed=seed)[0]


def _shared_rows(
    first: Outcomes, second: Outcomes
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    symbols = 1 + max(int(one.symbol.max(initial=0)) for one in (first, second))
    keys = [one.time * symbols + one.symbol for one in (first, second)]
    return np.isin(keys[0], keys[1]), np.isin(keys[1], keys[0])


def parent_metrics(comparison: Comparison) -> dict[str, float | None]:
    """Return the parent's scores and the gains over it as MLflow's metrics."""
    metrics: dict[str, float | None] = {"test/parent/log_loss_p": comparison.log_loss_p}
    for score in ("log_loss", "auc", "directional_accuracy", "brier"):
        metrics[f"test/parent/{score}"] = getattr(comparison, score)
        for bound in ("", "_low", "_high"):
            gain = f"{score}_gain{bound}"
            metrics[f"test/parent/{gain}"] = getattr(comparison, gain)
    return metrics


def judgement_of(comparison: Comparison | None, parent: str) -> str:
    """Return in words whether fine-tuning helped.

    Parameters
    ----------
    comparison
        Of the fine-tuned model with its parent; None where there is nothing to compare on.
    parent
        Its name.
    """
    if comparison is None or comparison.log_loss_gain is None or comparison.log_loss is None:
        return (
            "Whether fine-tuning helped cannot be said: there are no later candles to compare the "
            "two on."
        )
    gain, low, high = (
        comparison.log_loss_gain,
        comparison.log_loss_gain_low,
        comparison.log_loss_gain_high,
    )
    told = (
        f"log-loss {comparison.log_loss - gain:.4f} against {comparison.log_loss:.4f} of {parent} "
        f"on the same {comparison.n} later forecasts, a gain of {gain:+.4f}"
    )
    if low is None or high is None:
        return f"Too few forecasts to say whether fine-tuning helped: {told}."
    told = f"{told} (95 % interval {low:+.4f} to {high:+.4f})"
    if low > 0.0:
        return f"Fine-tuning helped: {told}."
    if high < 0.0:
        return f"Fine-tuning did harm: {told}. Keep the parent."
    return f"These forecasts do not tell whether fine-tuning helped: {told}."
