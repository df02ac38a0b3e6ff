"""What is taken over from scikit-learn says what scikit-learn says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, QuantileRegressor

from lightning_models.errors import TrainingError
from lightning_models.forecasters.fitting import fit_forecaster
from lightning_models.forecasters.samples import train_samples

LEVELS = (0.1, 0.5, 0.9)


@pytest.fixture(scope="module")
def samples(data):
    return train_samples(data, rows=5, most=10_000)


@pytest.fixture(scope="module")
def boosted(data, samples, forecaster_of):
    """The forecaster, and the same trees grown by scikit-learn alone: a column each."""
    forecaster = fit_forecaster(forecaster_of("gradient-boosting", data, trees=20, depth=4), data)
    options = {
        "max_iter": 20,
        "max_depth": 4,
        "max_leaf_nodes": None,
        "learning_rate": 0.05,
        "min_samples_leaf": 50,
        "early_stopping": False,
    }
    models = []
    for target in samples.targets.T:
        moved = target != 0
        direction = HistGradientBoostingClassifier(**options)
        models.append(direction.fit(samples.inputs[moved], target[moved] > 0))
        for level in LEVELS:
            regressor = HistGradientBoostingRegressor(loss="quantile", quantile=level, **options)
            models.append(regressor.fit(samples.inputs, target))

    def scores(inputs):
        return np.column_stack(
            [getattr(model, "decision_function", model.predict)(inputs) for model in models]
        )

    return forecaster.network, scores


def test_trees_walked_in_torch_give_scikit_learns_forecasts(boosted, samples):
    network, expected = boosted
    scores = network.scores(torch.from_numpy(samples.inputs)).numpy()
    np.testing.assert_allclose(scores, expected(samples.inputs), atol=1e-6, rtol=0)
    assert scores.std(axis=0).min() > 1e-3  # they are no constants


@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0.1, 10))
def test_they_do_so_wherever_they_are_asked(boosted, seed, size):
    network, expected = boosted
    inputs = np.random.default_rng(seed).normal(0, size, (40, 15)).clip(-10, 10)
    scores = network.scores(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(scores, expected(inputs), atol=1e-6, rtol=0)


def test_a_value_on_a_split_goes_the_way_it_goes_there(boosted):
    network, expected = boosted
    thresholds = network.threshold[torch.isfinite(network.threshold)].numpy()
    inputs = np.repeat(thresholds[:200, None], 15, axis=1)
    scores = network.scores(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(scores, expected(inputs), atol=1e-6, rtol=0)
    beyond = network.scores(torch.from_numpy(np.nextafter(inputs, np.inf))).numpy()
    assert np.abs(beyond - scores).max() > 1e-4


def test_a_forecast_is_the_scores_with_sorted_quantiles(boosted, data):
    network, expected = boosted
    ends = data.samples["test"].ends[:50]
    windows = torch.stack([data.features[end - 59 : end + 1] for end in ends])
    raw = network(windows)
    scores = expected(windows[:, -5:].flatten(1).numpy()).reshape(50, 2, 4)
    np.testing.assert_allclose(raw.logits, scores[..., 0], atol=1e-6)
    np.testing.assert_allclose(raw.quantiles, np.sort(scores[..., 1:], axis=-1), atol=1e-6)


def test_trees_that_were_misunderstood_are_noticed(data, samples, forecaster_of):
    forecaster = forecaster_of("gradient-boosting", data)
    models = [
        model
        for column in range(samples.targets.shape[1])
        for model in forecaster._grow(samples, column, seed=0)
    ]
    forecaster._take(models)
    forecaster._compare(models, samples.inputs)
    forecaster.value[3] += 1e-5
    with pytest.raises(TrainingError, match=r"scikit-learn .* give other forecasts"):
        forecaster._compare(models, samples.inputs)


def test_the_logistic_regression_is_scikit_learns(data, samples, fitted):
    network = fitted("logistic-regression")[0].network
    target = samples.targets[:, 0]
    moved = target != 0
    model = LogisticRegression(C=1 / (0.01 * moved.sum()), max_iter=2000)
    model.fit(samples.inputs[moved], target[moved] > 0)
    windows = torch.from_numpy(samples.inputs.astype(np.float32)).reshape(-1, 5, 3)
    logits = network(windows).logits[:, 0]
    np.testing.assert_allclose(logits, model.decision_function(samples.inputs), atol=1e-5)


def test_a_regression_that_does_not_converge_is_an_error(data, forecaster_of, monkeypatch):
    given_up = LogisticRegression.__init__

    def impatient(self, **options):
        given_up(self, **{**options, "max_iter": 1})

    monkeypatch.setattr(LogisticRegression, "__init__", impatient)
    with pytest.raises(TrainingError, match=r"did not converge .* network.l2"):
        fit_forecaster(forecaster_of("logistic-regression", data), data)


@pytest.mark.parametrize(
    "kind", [pytest.param("gradient-boosting", marks=pytest.mark.soak), "logistic-regression"]
)
def test_labels_that_overlap_count_by_their_weights(kind, slices_of, forecaster_of):
    barriers = {"name": "triple-barrier"}
    data = slices_of(1500, features=("close",), horizons=(6,), target=barriers)
    assert data.weights is not None
    weighted = fit_forecaster(forecaster_of(kind, data), data)
    weights, data.weights = data.weights, None
    alike = fit_forecaster(forecaster_of(kind, data), data)
    windows = torch.randn(30, 60, 1, generator=torch.Generator().manual_seed(6))
    assert not torch.equal(weighted.network(windows).logits, alike.network(windows).logits)
    # Labels that count for nothing might as well point the other way.
    train = data.samples["train"].ends
    data.weights = weights.clone()
    data.weights[train[::2]] = 0.0
    before = fit_forecaster(forecaster_of(kind, data), data)
    data.targets[train[::2]] *= -1.0
    after = fit_forecaster(forecaster_of(kind, data), data)
    assert before.history[0]["train/loss"] == pytest.approx(after.history[0]["train/loss"])
    torch.testing.assert_close(
        before.network(windows).logits, after.network(windows).logits, atol=1e-4, rtol=1e-4
    )


def test_quantile_lines_are_those_of_the_linear_programme(fitted, samples):
    network = fitted("logistic-regression")[0].network
    windows = torch.from_numpy(samples.inputs.astype(np.float32)).reshape(-1, 5, 3)
    raw = network(windows)
    logits, target = raw.logits[:, 0].double().numpy(), samples.targets[:, 0]
    error = target[:, None] - raw.quantiles[:, 0].numpy()
    for column, level in enumerate(LEVELS):
        exact = QuantileRegressor(quantile=level, alpha=0.0).fit(logits[:, None], target)
        best = target - exact.predict(logits[:, None])
        losses = [
            np.maximum(level * one, (level - 1) * one).mean() for one in (error[:, column], best)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=2e-3)
        assert (error[:, column] <= 0).mean() == pytest.approx(level, abs=0.02)
