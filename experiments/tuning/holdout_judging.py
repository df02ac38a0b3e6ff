"""What a trial's score on the holdout amounts to, beside luck, the market and its exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.backtesting import funding_a_bar
from experiments.significance import annualised_sharpe, measure_significance
from experiments.tuning.held_positions import together
from experiments.tuning.holdout_look import LEVEL, EarlierLook, HoldoutLook
from experiments.yardsticks import RandomExposure, random_exposure
from lightning_models.candles import iso_utc
from lightning_models.timeframes import period_ms
from lstm_strategies.performance import periods_per_year

if TYPE_CHECKING:
    from experiments.tuning.candidate import Candidate
    from experiments.tuning.holdout_opening import HoldoutOpening
    from experiments.tuning.score import TrialScore
    from experiments.tuning.study_record import StudyRecord

__all__ = ["look_of", "metrics_of"]


def look_of(
    score: TrialScore,
    record: StudyRecord,
    candidate: Candidate,
    opening: HoldoutOpening,
    before: tuple[EarlierLook, ...],
    *,
    majority: float | None,
    seed: int,
    replications: int,
) -> HoldoutLook:
    """Return what the look at a holdout says.

    Parameters
    ----------
    score
        Of the holdout as a single fold.
    record
        Of the study.
    candidate
        The trial's configuration.
    opening
        When it was opened, and for which trial.
    before
        Looks that other studies took at a part of it.
    majority
        Log-loss of the majority class over the same bars, nats; None where nothing forecasts.
    seed, replications
        Of the bootstrap and of the random times.
    """
    time, returns, market = score.series()
    yearly = periods_per_year(record.data.timeframe, record.data.market, time)  # type: ignore[arg-type]
    traded = record.config.trades
    found = measure_significance(
        returns,
        market,
        periods_per_year=yearly,
        # Positions by the forecasts are no trades that could be counted, and are held all along.
        trades=score.trades if traded else len(time),
        trials=1,
        seed=seed,
        replications=replications,
        level=LEVEL,
    )
    shuffled = _random_times(score, record, candidate, yearly, seed, replications)
    return HoldoutLook(
        opened_at=opening.opened_at,
        trial=opening.trial,
        objectives=tuple(one.metric for one in record.config.objective),
        values=score.values,
        start=iso_utc(int(time[0])),
        end=iso_utc(int(time[-1])),
        bars=len(time),
        trades=score.trades,
        traded=traded,
        sharpe=found.sharpe_ratio,
        sharpe_low=found.sharpe_low,
        sharpe_high=found.sharpe_high,
        sharpe_p=found.sharpe_p,
        market_sharpe=annualised_sharpe(market, yearly),
        excess=found.excess_return,
        excess_low=found.excess_low,
        excess_high=found.excess_high,
        excess_p=found.excess_p,
        exposure=shuffled.exposure,
        exposure_p=shuffled.p_value,
        log_loss=None if majority is None else _mean(score, "log_loss"),
        majority_log_loss=majority,
        seen_before=before,
    )


def _random_times(
    score: TrialScore,
    record: StudyRecord,
    candidate: Candidate,
    periods_per_year: float,
    seed: int,
    replications: int,
) -> RandomExposure:
    weights, market = together([one for fold in score.folds for one in fold.held])
    cost, funding = _costs_of_exposure(record, candidate)
    return random_exposure(
        weights,
        market,
        periods_per_year=periods_per_year,
        held_from="open",
        cost_per_turnover=cost,
        funding_rates=funding,
        replications=replications,
        seed=seed,
        level=LEVEL,
    )


def _costs_of_exposure(record: StudyRecord, candidate: Candidate) -> tuple[float, float]:
    # For each change of the position, and for a bar that it is held, fractions of notional.
    account = candidate.backtest
    if not record.config.trades or account is None:
        return next(one.cost for one in record.config.objective if one.kind == "forecast"), 0.0
    data = record.data
    funding = funding_a_bar(account, market=data.market, period_ms=period_ms(data.timeframe))
    return account.taker_fee + account.slippage, funding


def _mean(score: TrialScore, name: str) -> float | None:
    found = [one.metrics[name] for one in score.folds if name in one.metrics]
    return sum(found) / len(found) if found else None


def metrics_of(look: HoldoutLook) -> dict[str, float | None]:
    """Return what a study's run is told of a look, by the metrics' names.

    Parameters
    ----------
    look
        As `look_of` returns it.
    """
    several = len(look.values) > 1
    values: dict[str, float | None] = {
        f"holdout/value_{place}" if several else "holdout/value": value
        for place, value in enumerate(look.values)
    }
    return values | {
        f"holdout/{name}": getattr(look, name)
        for name in (
            "bars",
            "trades",
            "sharpe",
            "sharpe_low",
            "sharpe_high",
            "market_sharpe",
            "excess",
            "exposure",
            "exposure_p",
            "log_loss",
            "majority_log_loss",
        )
    }
