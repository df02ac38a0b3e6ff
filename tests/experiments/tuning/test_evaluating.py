"""A trial's score: what its folds come to, fitted once, the same in every process."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from experiments.backtesting import run_backtest
from experiments.config import BacktestConfig
from experiments.tuning.candidate import Candidate
from experiments.tuning.evaluating import SEED_STEP, evaluate
from experiments.tuning.fold_cache import BUNDLE_FOLDER
from experiments.user_code import load_features
from experiments.walk_forward.folds import fold_seed, plan_folds
from experiments.walk_forward.running import FoldTask, fit_fold
from lightning_models.bundle import read_bundle
from lightning_models.errors import ConfigError, TooFewCandlesError, TrainingError
from lightning_models.features import forget_feature
from lightning_models.home import Home
from tests.experiments.tuning.small_trials import (
    EPOCHS,
    NETWORK,
    small_candidate,
    small_market,
    small_study,
)

FORECAST = {"kind": "forecast", "metric": "log_loss", "dispersion": 0.5}
TRADING = {"kind": "trading", "metric": "sharpe_ratio", "dispersion": 0.5}
ALL_IN = {"min_confidence": 0.0}
HOUR = 3_600_000


def score(tmp_path, candidate=None, study=None, candles=None, **options):
    return evaluate(
        candidate or small_candidate(),
        study or small_study(),
        small_market() if candles is None else candles,
        folder=tmp_path / "scratch",
        **{"jobs": 1, **options},
    )


def same_score(one, other):
    assert one.values == other.values
    for ours, theirs in zip(one.folds, other.folds, strict=True):
        assert (ours.fold, ours.seed, ours.values) == (theirs.fold, theirs.seed, theirs.values)
        assert (ours.metrics, ours.trades) == (theirs.metrics, theirs.trades)
        for name in ("time", "returns", "market"):
            assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes(), name


@pytest.mark.parametrize(("objective", "sign"), [(FORECAST, 1.0), (TRADING, -1.0)])
def test_a_score_is_the_mean_over_the_folds_made_worse_by_their_dispersion(
    tmp_path, objective, sign
):
    candidate = small_candidate(backtest=ALL_IN if objective is TRADING else None)
    found = score(tmp_path, candidate, small_study(objective))
    values = np.array([one.values[0] for one in found.folds])
    assert len(values) == 3
    assert found.values == (pytest.approx(values.mean() + sign * 0.5 * values.std(ddof=1)),)
    assert values.std() > 0.0


def test_a_single_fold_has_no_dispersion(tmp_path):
    found = score(tmp_path, study=small_study(FORECAST, folds=1))
    assert found.values == found.folds[0].values


def test_each_fold_scores_what_a_walk_forward_measures_there(tmp_path):
    candidate, study = small_candidate(), small_study("brier")
    found = score(tmp_path, candidate, study)
    folds = plan_folds(study.walk_forward, candidate.train.data, small_market())
    for fold, one in zip(folds, found.folds, strict=True):
        task = FoldTask(fold, candidate.train, small_market(), tmp_path / fold.name[:6], "")
        scores = fit_fold(task).scores
        assert one.fold == fold.number
        assert one.values == (pytest.approx(scores.brier, rel=1e-12),)
        assert one.metrics["log_loss"] == pytest.approx(scores.log_loss, rel=1e-12)
        assert one.metrics["val/log_loss"] > 0.0


def test_each_fold_trades_as_a_backtest_of_its_model_would(tmp_path):
    candidate = small_candidate(backtest=ALL_IN)
    study = small_study(TRADING, folds=2)
    cache = tmp_path / "cache"
    found = score(tmp_path, candidate, study, cache=cache)
    (candles,) = small_market()
    folds = plan_folds(study.walk_forward, candidate.train.data, [candles])
    bundles = {
        read_bundle(folder).unseen_from_ms: folder for folder in cache.glob(f"*/{BUNDLE_FOLDER}")
    }
    for fold, one in zip(folds, found.folds, strict=True):
        until = fold.replaced_at or int(candles.time[-1]) + 2 * HOUR
        config = BacktestConfig(model=bundles[fold.slices.unseen_from], replications=100, **ALL_IN)
        done = run_backtest(config, candles.between(None, until - HOUR), home=Home(tmp_path))
        assert one.values == (pytest.approx(done.result.sharpe_ratio, rel=1e-12),)
        assert one.trades == done.result.total_trades > 3
        assert one.returns.tobytes() == done.returns.tobytes()


@pytest.mark.parametrize("objective", [FORECAST, TRADING])
def test_the_bars_of_all_folds_are_one_series_without_a_gap(tmp_path, objective):
    candidate = small_candidate(backtest=ALL_IN if objective is TRADING else None)
    found = score(tmp_path, candidate, small_study(objective))
    time, returns, market = found.series()
    assert len(time) == sum(len(one.time) for one in found.folds) == len(returns) == len(market)
    assert set(np.diff(time).tolist()) == {HOUR}


def test_each_fold_is_fitted_with_each_seed(tmp_path):
    candidate = small_candidate(NETWORK, "training.seed=7")
    found = score(tmp_path, candidate, small_study(FORECAST, folds=2, seeds=2))
    folds = plan_folds(small_study(folds=2).walk_forward, candidate.train.data, small_market())
    wanted = [
        (fold.number, seed)
        for fold in folds
        for seed in (fold_seed(7, fold), fold_seed(7 + SEED_STEP, fold))
    ]
    assert [(one.fold, one.seed) for one in found.folds] == wanted
    values = np.array([one.values[0] for one in found.folds]).reshape(2, 2)
    assert len(set(values.ravel().tolist())) == 4
    means = values.mean(axis=1)
    assert found.values == (pytest.approx(means.mean() + 0.5 * means.std(ddof=1)),)
    assert found.epochs == 4 * EPOCHS
    # The first seed's fits are those of a study with one.
    alone = score(tmp_path, candidate, small_study(FORECAST, folds=2))
    assert [one.values for one in alone.folds] == [one.values for one in found.folds[::2]]


def test_two_objectives_are_scored_on_one_fit(tmp_path):
    candidate = small_candidate(NETWORK, backtest=ALL_IN)
    found = score(tmp_path, candidate, small_study([FORECAST, TRADING], folds=2))
    assert found.epochs == 2 * EPOCHS
    assert len(found.values) == 2
    forecasts = score(tmp_path, small_candidate(NETWORK), small_study(FORECAST, folds=2))
    traded = score(tmp_path, candidate, small_study(TRADING, folds=2))
    assert found.values == (*forecasts.values, *traded.values)
    # Both earn something; what is kept is the account's.
    assert found.folds[0].returns.tobytes() == traded.folds[0].returns.tobytes()
    assert found.folds[0].returns.tobytes() != forecasts.folds[0].returns.tobytes()


def test_a_strategy_without_a_model_fits_nothing(tmp_path):
    cache = tmp_path / "cache"
    candidate = small_candidate(NETWORK, backtest={"strategy": "rsi_ema"})
    study = small_study(TRADING, seeds=2)
    found = score(tmp_path, candidate, study, cache=cache)
    assert found.epochs == 0
    assert not list(cache.glob("*"))
    assert "best_epoch" not in found.folds[0].metrics
    folds = plan_folds(study.walk_forward, candidate.train.data, small_market())
    assert [int(one.time[0]) for one in found.folds] == [
        fold.slices.unseen_from - 1 for fold in folds
    ]
    # Beside a forecast objective there is something to fit.
    both = small_study([FORECAST, TRADING], folds=2)
    assert score(tmp_path, candidate, both).epochs == 2 * EPOCHS


def test_a_fold_knows_nothing_of_what_comes_after_it(tmp_path):
    (candles,) = small_market()
    study = small_study(FORECAST, folds=2)
    plain = score(tmp_path, study=study)
    first, _ = plan_folds(study.walk_forward, small_candidate().train.data, [candles])

    def changed_from(moment):
        prices = candles.ohlcv.copy()
        prices[candles.time >= moment, :4] *= 2.0
        return score(tmp_path, study=study, candles=[replace(candles, ohlcv=prices)])

    # The last label of the first fold ends with the candle that the second begins with.
    after = changed_from(first.replaced_at + HOUR)
    assert after.folds[0].values == plain.folds[0].values
    assert after.folds[0].returns.tobytes() == plain.folds[0].returns.tobytes()
    assert after.folds[1].values != plain.folds[1].values
    within = changed_from(first.slices.unseen_from + 10 * HOUR)
    assert within.folds[0].values != plain.folds[0].values


def test_a_fold_without_a_score_is_named_with_the_reason(tmp_path):
    (candles,) = small_market()
    study = small_study(FORECAST, folds=2)
    _, second = plan_folds(study.walk_forward, small_candidate().train.data, [candles])
    prices = candles.ohlcv.copy()
    prices[candles.time >= second.slices.unseen_from, :4] = 100.0
    still = replace(candles, ohlcv=prices)
    with pytest.raises(TrainingError) as failed:
        score(tmp_path, study=study, candles=[still])
    message = str(failed.value)
    assert message.startswith("log_loss is not a number in fold 2 of 2 (tested from ")
    assert message.endswith("because no price moved after any of its forecasts")


def test_a_fold_that_cannot_be_fitted_is_named(tmp_path):
    windowed = small_candidate().train.network
    train = small_candidate(NETWORK, "data.mode=sequence").train
    broken = Candidate(train.model_copy(update={"network": windowed}), None)
    with pytest.raises(ConfigError, match=r"fold 1 of 3 \(tested from .*reads windows"):
        score(tmp_path, broken)


def test_too_few_candles_for_the_folds_are_told(tmp_path):
    with pytest.raises(TooFewCandlesError, match="too few for 3 folds"):
        score(tmp_path, candles=small_market(150))


def test_a_study_that_trades_needs_a_backtest(tmp_path):
    with pytest.raises(ConfigError, match="the trial has no backtest"):
        score(tmp_path, small_candidate(), small_study(TRADING))


def test_nothing_is_left_behind(tmp_path):
    score(tmp_path, small_candidate(NETWORK), small_study(FORECAST, folds=2))
    assert list((tmp_path / "scratch").iterdir()) == []


OWN = """
import numpy as np
from lightning_models.features import register_feature

def carried_range(ohlcv):
    return np.log(ohlcv[:, 1] / ohlcv[:, 2])

register_feature("carried_range", carried_range, warmup=0)
"""


@pytest.fixture
def own_feature(tmp_path):
    """A feature of the user's own, from a file that no other process can import."""
    file = tmp_path / "carried.py"
    file.write_text(OWN)
    load_features(str(file))
    yield "carried_range"
    forget_feature("carried_range")
    del sys.modules["user_carried"]


@pytest.mark.soak
def test_two_processes_give_the_numbers_of_one_bit_for_bit(tmp_path, own_feature):
    candidate = small_candidate(
        NETWORK, f"data.features=[close, volume, {own_feature}]", backtest=ALL_IN
    )
    study = small_study([FORECAST, TRADING], folds=2)
    alone = score(tmp_path / "one", candidate, study)
    together = score(tmp_path / "two", candidate, study, jobs=2, cache=tmp_path / "cache")
    same_score(alone, together)
    assert alone.epochs == together.epochs == 2 * EPOCHS
    again = score(tmp_path / "two", candidate, study, jobs=2, cache=tmp_path / "cache")
    same_score(alone, again)
    assert again.epochs == 0
