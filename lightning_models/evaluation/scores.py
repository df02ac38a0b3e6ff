"""Scores of direction forecasts, each with the interval that chance leaves it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from lightning_models.errors import ConfigError
from lightning_models.evaluation.bootstrap import (
    MINIMUM_MOMENTS,
    block_length,
    percentile_interval,
    resampled_counts,
)
from lightning_models.evaluation.reliability import bin_of

if TYPE_CHECKING:
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["SCORES", "ForecastScores", "evaluate"]

Score = Literal[
    "log_loss",
    "majority_log_loss",
    "log_loss_gain",
    "auc",
    "brier",
    "ece",
    "directional_accuracy",
]

SCORES: tuple[Score, ...] = (
    "log_loss",
    "majority_log_loss",
    "log_loss_gain",
    "auc",
    "brier",
    "ece",
    "directional_accuracy",
)
"""The scores that have a value, a ``_low`` and a ``_high``."""

# Nats of a coin.
_HALF: Final = math.log(2.0)

# Positions of the sums that each moment contributes; the bins' sums follow.
_ROWS, _LOG_LOSS, _MAJORITY, _BRIER, _CORRECT, _FIRST_BIN = range(6)


class ForecastScores(BaseModel):
    """How well probabilities of a direction met what happened.

    A score is None where the data does not define it (the AUC of outcomes that all went the
    same way, say), its bounds are None where there are too few moments for an interval.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    n: int
    """Forecasts scored: those whose return was not exactly zero."""
    zero_returns: int
    """Forecasts left out because the return was exactly zero."""
    moments: int
    """Distinct times among the scored forecasts; what the bootstrap resamples."""
    level: float
    """Confidence of the intervals."""
    block_length: int | None = None
    """Mean block of the bootstrap in moments, None where nothing was resampled."""

    log_loss: float | None = None
    """Mean negative log-likelihood in nats."""
    log_loss_low: float | None = None
    log_loss_high: float | None = None
    majority_log_loss: float | None = None
    """The same for a constant probability: the share of ups among the train labels."""
    majority_log_loss_low: float | None = None
    majority_log_loss_high: float | None = None
    log_loss_gain: float | None = None
    """`majority_log_loss` - `log_loss`: above zero, the model knows more than the base rate."""
    log_loss_gain_low: float | None = None
    log_loss_gain_high: float | None = None
    auc: float | None = None
    """Probability that an up was given more than a down, ties counting half."""
    auc_low: float | None = None
    auc_high: float | None = None
    brier: float | None = None
    """Mean squared error of the probability (Brier 1950)."""
    brier_low: float | None = None
    brier_high: float | None = None
    ece: float | None = None
    """Expected calibration error over at most ten bins of about equal counts."""
    ece_low: float | None = None
    ece_high: float | None = None
    directional_accuracy: float | None = None
    """Share of forecasts whose direction, up from a probability of 0.5, came true."""
    directional_accuracy_low: float | None = None
    directional_accuracy_high: float | None = None

    majority_brier: float | None = None
    majority_accuracy: float | None = None
    """Brier score and accuracy of always stating the train labels' share of ups."""
    skill: bool
    """True where the forecasts beat both constants that know nothing: the lower bound of
    `log_loss_gain` is above zero, and the upper bound of `log_loss` below that of one half."""
    verdict: str
    """The same in words."""

    def metrics(self, place: str = "test") -> dict[str, float | None]:
        """Return scores and their bounds as MLflow's metrics, all under one place."""
        return {
            f"{place}/majority_brier": self.majority_brier,
            f"{place}/majority_accuracy": self.majority_accuracy,
        } | {
            f"{place}/{name}{bound}": getattr(self, f"{name}{bound}")
            for name in SCORES
            for bound in ("", "_low", "_high")
        }


def evaluate(
    outcomes: Outcomes, *, seed: int = 0, replications: int = 500, level: float = 0.95
) -> ForecastScores:
    """Return every score with its interval, and whether there is skill.

    Intervals come from the stationary bootstrap (Politis & Romano 1994) over moments, all
    symbols of a moment together: coins move together, and rows resampled one by one would
    feign independence. The block length is chosen automatically on the gain over the
    majority class, and is at least ``outcomes.overlap``.

    Parameters
    ----------
    outcomes
        Forecasts and what followed.
    seed
        Seed of the bootstrap.
    replications
        Number of bootstrap replicates.
    level
        Confidence of the two-sided intervals.

    Returns
    -------
    ForecastScores
        Free of not-a-number, whatever the outcomes.

    Raises
    ------
    ConfigError
        If `level` lies outside (0, 1) or `replications` is below 1.

    Notes
    -----
    Resampling adds noise to every bin's calibration gap, so replicates of the expected
    calibration error lie above it; its interval is shifted down by their mean excess.

    The majority class alone is too low a bar. Its probability is an estimate, and a constant
    that happens to lie closer to one half is better than it without knowing anything. So skill
    takes a log-loss below that of one half too.
    """
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level is {level}: give a confidence between 0 and 1, such as 0.95")
    if replications < 1:
        raise ConfigError(f"replications is {replications}: give at least 1, such as 500")
    moved = outcomes.actual != 0.0
    n = int(moved.sum())
    zeros = len(outcomes) - n
    if n == 0:
        return ForecastScores(
            n=0,
            zero_returns=zeros,
            moments=0,
            level=level,
            skill=False,
            verdict="No forecast met an outcome that moved: nothing can be said about skill.",
        )
    rows = _Rows(outcomes, moved)
    estimates = rows.scores(np.ones((1, rows.moments)))
    values: dict[str, float | None] = {
        name: float(estimates[name][0]) if np.isfinite(estimates[name][0]) else None
        for name in SCORES
    }
    block = None
    if rows.moments >= MINIMUM_MOMENTS and rows.both_classes:
        gain = rows.sums[:, _MAJORITY] - rows.sums[:, _LOG_LOSS]
        block = block_length(gain / rows.sums[:, _ROWS], minimum=outcomes.overlap)
        batches = [
            rows.scores(counts)
            for counts in resampled_counts(
                rows.moments, block=block, replications=replications, seed=seed
            )
        ]
        for name in SCORES:
            replicates = np.concatenate([batch[name] for batch in batches])
            bounds = percentile_interval(replicates, level)
            if bounds is None:
                continue
            low, high = bounds
            if name == "ece":
                excess = float(replicates.mean() - estimates[name][0])
                low, high = max(0.0, low - excess), max(0.0, high - excess)
            values[f"{name}_low"], values[f"{name}_high"] = low, high
    low_gain = values.get("log_loss_gain_low")
    fields = {
        "n": n,
        "zero_returns": zeros,
        "moments": rows.moments,
        "level": level,
        "block_length": block,
        **values,
        **_majority(outcomes.actual[moved] > 0.0, outcomes.base_rate),
        "skill": low_gain is not None and low_gain > 0.0 and _beats_a_coin(values),
    }
    return ForecastScores.model_validate(
        {**fields, "verdict": _verdict(values, n, rows, level=level)}
    )


def _beats_a_coin(values: dict[str, float | None]) -> bool:
    high = values.get("log_loss_high")
    return high is not None and high < _HALF


def _majority(up: npt.NDArray[np.bool_], base_rate: float) -> dict[str, float]:
    share = float(np.mean(up))
    return {
        "majority_brier": float(np.mean(np.square(base_rate - up))),
        "majority_accuracy": share if base_rate >= 0.5 else 1.0 - share,
    }


class _Rows:
    """Per-row losses, summed by moment once so that a replicate costs one product."""

    def __init__(self, outcomes: Outcomes, moved: npt.NDArray[np.bool_]) -> None:
        probability = outcomes.probability_up[moved]
        self.up = outcomes.actual[moved] > 0.0
        times, self.moment = np.unique(outcomes.time[moved], return_inverse=True)
        self.moments = len(times)
        self.both_classes = bool(self.up.any() and not self.up.all())

        tiny = float(np.finfo(np.float64).eps)
        likely = np.clip(probability, tiny, 1.0 - tiny)
        base = outcomes.base_rate
        bin_index = bin_of(probability)
        self.bins = int(bin_index.max()) + 1
        per_row = np.zeros((len(probability), _FIRST_BIN + self.bins))
        per_row[:, _ROWS] = 1.0
        per_row[:, _LOG_LOSS] = -np.log(np.where(self.up, likely, 1.0 - likely))
        per_row[:, _MAJORITY] = -np.log(np.where(self.up, base, 1.0 - base))
        per_row[:, _BRIER] = np.square(probability - self.up)
        per_row[:, _CORRECT] = (probability >= 0.5) == self.up
        # A bin's share of the calibration error is |sum of (probability - outcome)| / rows.
        per_row[np.arange(len(probability)), _FIRST_BIN + bin_index] = probability - self.up
        self.sums = np.stack(
            [np.bincount(self.moment, weights=column) for column in per_row.T], axis=1
        )

        self._order = np.argsort(probability, kind="stable")
        ordered = probability[self._order]
        self._starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        self._moment_ordered = self.moment[self._order]
        self._up_ordered = self.up[self._order].astype(np.float64)

    def scores(self, counts: npt.NDArray[np.float64]) -> dict[Score, npt.NDArray[np.float64]]:
        """Return each score [R] under counts of the moments [R, T]."""
        totals = counts @ self.sums
        means = totals / totals[:, [_ROWS]]
        return {
            "log_loss": means[:, _LOG_LOSS],
            "majority_log_loss": means[:, _MAJORITY],
            "log_loss_gain": means[:, _MAJORITY] - means[:, _LOG_LOSS],
            "auc": np.array([self._auc(row) for row in counts]),
            "brier": means[:, _BRIER],
            "ece": np.abs(means[:, _FIRST_BIN:]).sum(axis=1),
            "directional_accuracy": means[:, _CORRECT],
        }

    def _auc(self, counts: npt.NDArray[np.float64]) -> float:
        weight = counts[self._moment_ordered]
        ups = weight * self._up_ordered
        downs = weight - ups
        if len(self._starts) < len(ups):  # ties: a group of equal probabilities ranks as one
            ups = np.add.reduceat(ups, self._starts)
            downs = np.add.reduceat(downs, self._starts)
        below = np.cumsum(downs)
        pairs = ups.sum() * below[-1]
        if pairs == 0.0:
            return float("nan")
        return float(ups @ (below - downs / 2.0) / pairs)


def _verdict(values: dict[str, float | None], n: int, rows: _Rows, *, level: float) -> str:
    scored = f"{n:,} forecast{'s' if n > 1 else ''}"
    if not rows.both_classes:
        way = "up" if rows.up[0] else "down"
        return (
            f"Skill cannot be measured: all of the {scored} were followed by a move {way}, "
            "so nothing could tell them apart."
        )
    low, high = values.get("log_loss_gain_low"), values.get("log_loss_gain_high")
    gain = values["log_loss_gain"]
    if low is None or high is None or gain is None:
        return (
            f"Skill cannot be measured: {scored} at {rows.moments:,} different times are too "
            f"few for an interval; {MINIMUM_MOMENTS} times are the least."
        )
    figures = (
        f"over {scored} the log-loss is {abs(gain):.5f} nats "
        f"{'below' if gain >= 0 else 'above'} the majority class's ({level:.0%} interval of the "
        f"gain {low:+.5f} to {high:+.5f})"
    )
    if low > 0.0 and not _beats_a_coin(values):
        return (
            f"No skill found: {figures}, but not surely below {_HALF:.5f}, that of always stating "
            "one half."
        )
    if low > 0.0:
        return f"Skill found: {figures}."
    if high < 0.0:
        return f"No skill found, worse than the majority class: {figures}."
    return f"No skill found: {figures}, which is not distinguishable from none."
