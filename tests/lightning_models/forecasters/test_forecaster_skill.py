"""What each forecaster finds in a market whose predictability is known."""

from __future__ import annotations

import numpy as np
import pytest

from lightning_models.evaluation import evaluate
from lightning_models.evaluation.collect import collect_outcomes
from lightning_models.export import export_bundle
from lightning_models.forecasters import FORECASTERS
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.inference import NetworkRunner
from lightning_models.predictor import Predictor

FINDS = {"logistic-regression", "gradient-boosting"}
SLICES = {"train": 0.5, "validation": 0.0, "calibration": 0.15, "test": 0.35}


def scores_of(kind, data, forecaster_of, config_of):
    size = {"trees": 25} if kind == "gradient-boosting" else {}
    result = fit_forecaster(forecaster_of(kind, data, **size), data)
    bundle = export_bundle(result.network, config_of(kind, **size), data)
    runner = NetworkRunner(result.network, data.config.lookback)
    predictor = Predictor(bundle, runner, model="", sha256="")
    start, end = data.slices.bounds("test")
    return evaluate(collect_outcomes(predictor, data.candles, start=start, end=end))


@pytest.fixture(scope="module", params=[1, 2])
def markets(request, slices_of):
    options = {"seed": request.param, "horizons": (1,), "slices": SLICES}
    return {signal: slices_of(3000, signal=signal, **options) for signal in (0.0, 0.3)}


@pytest.mark.parametrize("kind", sorted(FORECASTERS))
def test_a_planted_signal_is_found_by_those_that_look_for_it(
    kind, markets, forecaster_of, config_of
):
    scores = scores_of(kind, markets[0.3], forecaster_of, config_of)
    assert (scores.log_loss_gain_low > 1e-9) == (kind in FINDS)


@pytest.mark.parametrize("kind", sorted(FORECASTERS))
def test_where_there_is_no_signal_none_is_found(kind, markets, forecaster_of, config_of):
    scores = scores_of(kind, markets[0.0], forecaster_of, config_of)
    assert scores.log_loss_gain_low <= 1e-9


def test_the_majority_class_gains_nothing_over_itself(markets, forecaster_of, config_of):
    scores = scores_of("majority-class", markets[0.3], forecaster_of, config_of)
    assert scores.log_loss_gain == pytest.approx(0.0, abs=1e-7)
    assert np.isclose(scores.auc, 0.5)
