"""Models: what the project trains passes; forecasts, slices and calibrations that leak do not."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import mlflow
import numpy as np
import pytest

from experiments.walk_forward import WalkForwardConfig, walk_forward
from lightning_models import load_predictor, simulate_market
from lightning_models.audit import (
    audit_bundle_slices,
    audit_calibration,
    audit_forecasts,
    audit_model,
    audit_series,
    training_candles,
)
from lightning_models.calibration import DirectionCalibration
from lightning_models.forecast import ForecastArrays
from lightning_models.forecast_series import ForecastSeries
from lightning_models.inference import runner_of
from lightning_models.predictor import Predictor
from lightning_models.registry import Registry
from lightning_models.series_folder import read_series


def of(predictor, kind=Predictor, **changes):
    """The same network with another bundle, or with another way to forecast."""
    bundle = predictor.bundle.model_copy(update=changes)
    runner = runner_of(predictor.network, lookback=bundle.lookback, burn_in=bundle.burn_in)
    return kind(bundle, runner, model="changed", sha256="")


def statuses(checks):
    return {check.name: check.status for check in checks}


@pytest.fixture(scope="module")
def series(tiny_config, empty_home):
    """Two folds of 2,000 candles, their folder, and 40 later candles with them."""
    home = empty_home()
    candles = simulate_market(candles=2040, seed=2, signal=0.5)
    known = [one.between(None, int(one.time[2000])) for one in candles]
    walk = WalkForwardConfig(folds=2)
    walked = walk_forward(tiny_config, walk, known, name="walk", home=home, jobs=1)
    folder, _ = Registry(home).resolve(walked.model)
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        os.environ.pop(name, None)
    return load_predictor(folder), candles


@pytest.mark.parametrize("mode", ["trained", "trained_stream"])
def test_model_of_the_project_passes(request, mode):
    model = request.getfixturevalue(mode)
    checks = audit_model(model.predictor(), model.candles)
    assert set(statuses(checks).values()) == {"passed"}, [one for one in checks if one.findings]
    assert all(check.compared for check in checks)


def test_newer_candles_may_follow_those_it_was_trained_on(trained):
    (one,) = trained.candles
    more = simulate_market(candles=3030, seed=1, signal=0.5)[0]
    longer = type(one)(
        symbol=one.symbol,
        timeframe=one.timeframe,
        market=one.market,
        time=more.time,
        ohlcv=np.vstack([one.ohlcv, more.ohlcv[len(one) :]]),
    )
    known = training_candles(trained.predictor().bundle, [longer])
    assert len(known[0]) == len(one)


def test_other_candles_leave_the_fitted_parts_unchecked_and_say_so(trained):
    checks = audit_model(trained.predictor(), simulate_market(candles=600, seed=77))
    found = statuses(checks)
    assert found["scaler: train rows only"] == found["calibration: its own slice only"] == "not run"
    assert found["forecasts: future cut off"] == "passed"
    assert any("fingerprint" in check.reason for check in checks)


def test_model_that_nothing_was_fitted_for_is_audited_without_those_parts():
    checks = audit_model(load_predictor("statistical:1h"), simulate_market(candles=600, seed=77))
    found = statuses(checks)
    assert found["forecasts: one bar at a time"] == "passed"
    assert found["slices: purged"] == "not run"


class ReadsTomorrow(Predictor):
    """Each bar gets the next one's forecast."""

    def forecast_arrays(self, time, ohlcv):
        found = super().forecast_arrays(time, ohlcv)
        ahead = np.append(np.arange(1, len(time)), len(time) - 1)
        return ForecastArrays(found.probability[ahead], found.quantiles[ahead])


class KnowsTheLevel(Predictor):
    """Probabilities are centred on the whole series, as a normalised batch would be."""

    def forecast_arrays(self, time, ohlcv):
        found = super().forecast_arrays(time, ohlcv)
        centre = np.nanmean(found.probability) - 0.5
        return ForecastArrays(found.probability - centre, found.quantiles)


@pytest.mark.parametrize("kind", [ReadsTomorrow, KnowsTheLevel])
def test_forecasts_that_know_later_candles_are_caught(trained, kind):
    checks = audit_forecasts(of(trained.predictor(), kind), trained.candles)
    assert set(statuses(checks).values()) == {"failed"}
    assert any(one.subject.startswith("P(up)") for one in checks[0].findings)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        (lambda bundle: {"unseen_from": bundle.unseen_from - timedelta(hours=1)}, "unseen_from"),
        (lambda bundle: {"base_rate": (bundle.base_rate[0] + 0.01,)}, "labels"),
        (
            lambda bundle: {
                "slices": bundle.slices
                | {
                    "train": bundle.slices["train"].model_copy(
                        update={"end": bundle.slices["validation"].start}
                    )
                }
            },
            "validation slice",
        ),
        (
            lambda bundle: {
                "slices": bundle.slices
                | {
                    "calibration": bundle.slices["calibration"].model_copy(
                        update={"samples": bundle.slices["calibration"].samples + 1}
                    )
                }
            },
            "calibration slice",
        ),
    ],
    ids=["unseen_from", "labels", "purge", "samples"],
)
def test_slices_that_a_bundle_misstates_are_caught(trained, changes, subject):
    bundle = trained.predictor().bundle
    assert audit_bundle_slices(bundle, trained.candles).status == "passed"
    changed = bundle.model_copy(update=changes(bundle))
    subjects = {one.subject for one in audit_bundle_slices(changed, trained.candles).findings}
    assert any(one.startswith(subject) for one in subjects), subjects


def test_calibration_of_other_rows_is_caught(trained):
    predictor = trained.predictor()
    other = DirectionCalibration(temperature=predictor.bundle.calibration[0].temperature, bias=0.4)
    found = audit_calibration(of(predictor, calibration=(other,)), trained.candles).findings
    assert any(one.subject.startswith("calibration") for one in found)


def test_thresholds_and_bounds_of_other_rows_are_caught(trained):
    predictor = trained.predictor()
    bundle = predictor.bundle
    quantiles = tuple(value + 0.01 for value in bundle.thresholds.confidence_quantiles[0])
    offsets = tuple(value + 0.01 for value in bundle.intervals.offsets[0])
    changed = of(
        predictor,
        thresholds=bundle.thresholds.model_copy(update={"confidence_quantiles": (quantiles,)}),
        intervals=bundle.intervals.model_copy(update={"offsets": (offsets,)}),
    )
    subjects = {
        one.subject.split()[0] for one in audit_calibration(changed, trained.candles).findings
    }
    assert subjects == {"thresholds", "bounds"}


def test_series_of_a_walk_forward_passes_in_all_its_parts(series):
    predictor, candles = series
    checks = audit_model(predictor, candles)
    assert set(statuses(checks).values()) == {"passed"}, [one for one in checks if one.findings]
    assert "series: each bar by a model that had not seen it" in statuses(checks)


def test_series_joined_one_model_too_early_is_caught(series):
    predictor, candles = series

    class TooEarly(ForecastSeries):
        def members_of(self, time):
            return np.minimum(super().members_of(time) + 1, len(self.members) - 1)

    manifest, _ = read_series(Path(predictor.model))
    wrong = TooEarly(predictor.members, manifest, model="wrong", sha256="")
    found = audit_series(wrong, candles).findings
    assert {one.subject for one in found} >= {"no model", "model 1"}
