"""Everything that is said of a model's test slice: scores, tests, baselines, parts, a verdict."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from lightning_models.evaluation.baselines import baseline_forecasts, rows_of
from lightning_models.evaluation.comparison import (
    GAINS,
    BaselineForecasts,
    Comparison,
    compare,
)
from lightning_models.evaluation.groups import GroupScores, score_groups
from lightning_models.evaluation.pesaran_timmermann import DirectionTest, pesaran_timmermann
from lightning_models.evaluation.regimes import REGIMES, regime_of_outcomes
from lightning_models.evaluation.scores import ForecastScores, evaluate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["Assessment", "assess", "assess_forecasts"]

DIRECTION_LEVEL: Final = 0.05
LOGGED_SYMBOLS: Final = 20

CONSTANTS: Final = ("zero-return", "majority-class")
"""Baselines that know nothing: who does not beat both of them has no skill."""

# What MLflow takes in the name of a metric, less the slash, which makes a folder.
_UNNAMEABLE: Final = re.compile(r"[^\w.\- ]")


class Assessment(BaseModel):
    """An evaluation in breadth, as the artifact ``evaluation.json`` holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    horizon: str
    scores: ForecastScores
    direction: DirectionTest
    baselines: tuple[Comparison, ...]
    compared: int
    """Forecasts that the baselines were compared on: those that are samples of the slice."""
    regimes: tuple[GroupScores, ...]
    symbols: tuple[GroupScores, ...]
    verdict: str
    """Whether there is skill, which baselines are beaten, and what the directions are worth."""

    def metrics(self) -> dict[str, float | None]:
        """Return the figures as MLflow's metrics, all under ``test/``.

        A baseline's stand under its name (``test/logistic-regression/log_loss_gain``), a
        regime's and a symbol's under theirs (``test/regime/bull/auc``). With more than 20
        symbols, theirs are in the artifact alone.
        """
        found = self.scores.metrics() | {
            "test/pesaran_timmermann": self.direction.statistic,
            "test/pesaran_timmermann_p": self.direction.p_value,
        }
        for one in self.baselines:
            place = f"test/baseline/{one.name}"
            for gain in GAINS:
                found[f"{place}/{gain}"] = getattr(one, gain)
                found |= _with_bounds(one, place, f"{gain}_gain")
            for loss in ("log_loss", "squared_error", "pinball"):
                found[f"{place}/{loss}_p"] = getattr(one, f"{loss}_p_corrected")
            found[f"{place}/beaten"] = float(one.beaten)
        found |= _of_groups("regime", self.regimes)
        return found | _of_groups("symbol", self.symbols)


def _of_groups(kind: str, groups: tuple[GroupScores, ...]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    if len(groups) > LOGGED_SYMBOLS:
        return found
    for group in groups:
        place = f"test/{kind}/{_UNNAMEABLE.sub('_', group.name)}"
        found[f"{place}/n"] = float(group.n)
        for name in ("log_loss_gain", "directional_accuracy", "auc"):
            found |= _with_bounds(group, place, name)
    return found


def _with_bounds(scored: BaseModel, place: str, name: str) -> dict[str, float | None]:
    return {
        f"{place}/{name}{bound}": getattr(scored, f"{name}{bound}")
        for bound in ("", "_low", "_high")
    }


def assess(
    outcomes: Outcomes,
    data: CandleDataModule,
    *,
    horizon: int = 0,
    seed: int = 0,
    replications: int = 500,
    level: float = 0.95,
) -> Assessment:
    """Score forecasts of a test slice, beside every baseline and part by part.

    Parameters
    ----------
    outcomes
        Of `CandleDataModule.candles`, in their order, over the test slice.
    data
        What the model was fitted on: the baselines are fitted on the same train slice.
    horizon
        Position on the horizon axis that `outcomes` are of.
    seed, replications, level
        As `evaluate` takes them.

    Returns
    -------
    Assessment

    Raises
    ------
    ConfigError
        If `level` or `replications` is out of range.
    """
    rows = rows_of(data, outcomes)
    shared = outcomes.take(rows >= 0)
    forecasts: tuple[BaselineForecasts, ...] = ()
    if len(shared):
        forecasts = baseline_forecasts(data, shared, rows[rows >= 0], horizon=horizon, seed=seed)
    return assess_forecasts(
        outcomes,
        shared,
        forecasts,
        candles=data.candles,
        horizon=data.horizons[horizon].name,
        seed=seed,
        replications=replications,
        level=level,
    )


def assess_forecasts(
    outcomes: Outcomes,
    shared: Outcomes,
    forecasts: Sequence[BaselineForecasts],
    *,
    candles: Sequence[Candles],
    horizon: str,
    seed: int = 0,
    replications: int = 500,
    level: float = 0.95,
) -> Assessment:
    """Score forecasts beside baselines that have spoken already.

    Parameters
    ----------
    outcomes
        Of `candles`, in their order.
    shared
        Those of them that the baselines speak of.
    forecasts
        Of the baselines, one row for each of `shared`; none where `shared` is empty.
    candles
        One entry for each symbol, for its name and its regimes.
    horizon
        Name of the one that `outcomes` are of.
    seed, replications, level
        As `evaluate` takes them.

    Returns
    -------
    Assessment

    Raises
    ------
    ConfigError
        If `level` or `replications` is out of range.
    """
    scores = evaluate(outcomes, seed=seed, replications=replications, level=level)
    moved = outcomes.actual != 0.0
    direction = pesaran_timmermann(
        outcomes.probability_up[moved] >= 0.5,
        outcomes.actual[moved] > 0.0,
        outcomes.time[moved],
        overlap=outcomes.overlap,
    )
    compared: tuple[Comparison, ...] = ()
    if len(shared):
        compared = compare(shared, forecasts, seed=seed, replications=replications, level=level)
    grouped = partial(score_groups, outcomes, seed=seed, replications=replications, level=level)
    return Assessment(
        horizon=horizon,
        scores=scores,
        direction=direction,
        baselines=compared,
        compared=len(shared),
        regimes=grouped(regime_of_outcomes(outcomes, candles), REGIMES),
        symbols=grouped(outcomes.symbol, tuple(one.symbol for one in candles)),
        verdict=_verdict(outcomes, scores, direction, compared, level),
    )


def _verdict(
    outcomes: Outcomes,
    scores: ForecastScores,
    direction: DirectionTest,
    compared: tuple[Comparison, ...],
    level: float,
) -> str:
    if scores.log_loss_gain_low is None:
        return scores.verdict
    sentences = [scores.verdict]
    if scores.skill and any(one.name in CONSTANTS and not one.beaten for one in compared):
        # The interval alone says so; the test that allows for the other comparisons does not.
        sentences = [scores.verdict.replace("Skill found", "Skill in doubt", 1)]
    if compared:
        sentences.append(_comparison_words(compared, level))
    ups = outcomes.probability_up[outcomes.actual != 0.0] >= 0.5
    if ups.all() or not ups.any():
        sentences.append(
            f"Every forecast says {'up' if ups[0] else 'down'}: there are no two directions to "
            "test."
        )
    elif direction.p_value is not None:
        sentences.append(_direction_words(direction, direction.p_value, outcomes.overlap))
    return " ".join(sentences)


def _direction_words(direction: DirectionTest, p_value: float, overlap: int) -> str:
    right = p_value <= DIRECTION_LEVEL
    return (
        f"Directions came true {direction.accuracy:.1%} of the time, "
        f"{direction.expected_accuracy:.1%} expected of unrelated ones: "
        f"{'more' if right else 'not more'} than chance explains (Pesaran-Timmermann"
        f"{f' corrected for labels over {overlap} candles' if overlap > 1 else ''}, "
        f"one-sided p {'below 0.001' if p_value < 0.001 else f'{p_value:.3f}'})."
    )


def _comparison_words(compared: tuple[Comparison, ...], level: float) -> str:
    beaten = [_spoken(one.name) for one in compared if one.beaten]
    others = [_spoken(one.name) for one in compared if not one.beaten]
    worse = [
        _spoken(one.name)
        for one in compared
        if one.log_loss_gain_high is not None
        and one.log_loss_gain_high < 0.0
        and one.log_loss_p_corrected is not None
        and one.log_loss_p_corrected <= 1.0 - level
    ]
    parts = []
    if beaten:
        parts.append(f"beats {_listed(beaten, 'and')}")
    if others:
        parts.append(f"does not beat {_listed(others, 'or')}")
    if worse:
        parts.append(f"is worse than {_listed(worse, 'and')}")
    return (
        f"By log-loss it {', and '.join(parts)} (bootstrap interval and Diebold-Mariano test at "
        f"{1.0 - level:.0%}, corrected for {len(compared)} comparisons by Holm's method)."
    )


def _spoken(name: str) -> str:
    spoken = name.replace("-", " ")
    plain = ("logistic regression", "gradient boosting")
    return spoken if spoken in plain else f"the {spoken} forecast"


def _listed(names: list[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
