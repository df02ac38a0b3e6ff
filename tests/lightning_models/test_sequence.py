"""Sequence mode: one pass over the series, a stream that carries its state, and restarts."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_models import load_predictor, simulate_market
from lightning_models.bundle import write_bundle
from lightning_models.burn_in import BURN_IN_TOLERANCE, measure_burn_in
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.errors import ConfigError, TrainingError
from lightning_models.export import export_bundle
from lightning_models.networks import NETWORKS, build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from lightning_models.networks.table import check_mode
from lightning_models.networks.trunk import SequenceTrunk
from lightning_models.stepper import Stepper
from lightning_models.training import TrainingConfig, fit

SETUP = Path(__file__).with_name("training_setup.py")
FEATURES = ("close", "volume", "rsi")
KINDS = sorted(kind for kind, trunk in NETWORKS.items() if issubclass(trunk, SequenceTrunk))
MARKET = simulate_market(candles=900, seed=21, signal=0.4)[0]


def data_of(mode="sequence", candles=None, **changes):
    options = {"lookback": 12, "horizons": (1, 3), "chunk": 64, "burn_in": 24} | changes
    return CandleDataModule(
        DataConfig(features=FEATURES, mode=mode, **options),
        candles or simulate_market(candles=1500, seed=20, signal=0.4),
        batch_size=4,
    )


def network_of(kind):
    torch.manual_seed(0)
    return build_network(NETWORKS[kind].Config(), features=3, horizons=2).eval()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    config = MultiLayerConfig(hidden_size=8, layers=2, dropout=0.1)
    data = data_of()
    result = fit(
        lambda: build_network(config, features=3, horizons=2),
        data,
        TrainingConfig(epochs=15, batch_size=4, learning_rate=0.01),
        checkpoints=tmp_path_factory.mktemp("checkpoints"),
    )
    bundle = export_bundle(result.network, config, data)
    folder = tmp_path_factory.mktemp("bundles") / "sequence"
    return result, write_bundle(folder, bundle, result.network)


@pytest.fixture(scope="module")
def predictor(fitted):
    return load_predictor(fitted[1])


def history_of(candles, row):
    def history(count):
        rows = slice(max(0, row + 1 - count), row + 1)
        return candles.time[rows], candles.ohlcv[rows]

    return history


def streamed(predictor, candles, rows, stream=None):
    stream = stream or predictor.stream()
    pairs = [stream.forecast(history_of(candles, row)) for row in rows]
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def assert_close(predictor, given, expected):
    # A quarter of a logit's tolerance is what a probability may move; a return moves by the
    # tolerance times the volatility, far below it.
    tolerance = predictor.bundle.burn_in_tolerance
    np.testing.assert_allclose(given, expected, atol=tolerance, equal_nan=True)


# --- steps


@pytest.mark.parametrize("kind", KINDS)
def test_the_stepper_says_what_torch_says(kind):
    network = network_of(kind)
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(1)) * 2.0
    with torch.inference_mode():
        raw, _ = network.steps(rows[None])
    stepper = Stepper(network)
    state = stepper.start()
    for position, row in enumerate(rows.numpy()):
        skipped = stepper.step(row, state)
        logits, quantiles, state = stepper.forecast(row, state)
        np.testing.assert_allclose(logits, raw.logits[0, position], atol=1e-5)
        np.testing.assert_allclose(quantiles, raw.quantiles[0, position], atol=1e-5)
        for one, other in zip(skipped, state, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stretch_in_parts_is_the_stretch(kind):
    network = network_of(kind)
    rows = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        whole, _ = network.steps(rows)
        first, state = network.steps(rows[:, :17])
        second, _ = network.steps(rows[:, 17:], state)
        window = network(rows)
    logits = torch.cat([first.logits, second.logits], dim=1)
    torch.testing.assert_close(logits, whole.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(window.logits, whole.logits[:, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_later_steps_change_nothing_before_them(kind):
    network = network_of(kind)
    rows = torch.randn(1, 30, 3, generator=torch.Generator().manual_seed(3))
    changed = rows.clone()
    changed[:, 20:] += 5.0
    with torch.inference_mode():
        before, _ = network.steps(rows)
        after, _ = network.steps(changed)
    assert torch.equal(before.logits[:, :20], after.logits[:, :20])
    assert not torch.equal(before.logits[:, 20:], after.logits[:, 20:])


# --- training


def test_a_planted_signal_is_learned(fitted):
    result, _ = fitted
    # Two horizons, of which the longer one dilutes the signal.
    assert min(row["val/log_loss"] for row in result.history) < 0.68


def test_a_resumed_run_equals_one_that_never_stopped(tmp_path):
    spec = importlib.util.spec_from_file_location("training_setup", SETUP)
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    data = data_of(horizons=(1,))

    def run(folder, **changes):
        network = lambda: build_network(  # noqa: E731
            MultiLayerConfig(hidden_size=5, layers=1, dropout=0.3), features=3, horizons=1
        )
        return setup.run(folder, data, network=network, **changes)

    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", epochs=2)
    resumed = run(tmp_path / "parts", resume=True)
    assert resumed.history == whole.history
    pairs = zip(resumed.network.parameters(), whole.network.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_samples_are_those_of_window_mode():
    sequence, window = data_of(), data_of("window")
    for name, samples in sequence.samples.items():
        np.testing.assert_array_equal(samples.ends, window.samples[name].ends)


@pytest.mark.parametrize("kind", sorted(set(NETWORKS) - set(KINDS)))
def test_a_network_of_closed_windows_is_refused(kind):
    with pytest.raises(ConfigError, match="cannot run as a stream"):
        check_mode(NETWORKS[kind].Config(), "sequence")
    with pytest.raises(ConfigError, match="cannot run as a stream"):
        network_of(kind).steps(torch.zeros(1, 12, 3))
    check_mode(NETWORKS[kind].Config(), "window")


# --- burn-in


def test_the_bundle_states_its_burn_in(predictor):
    bundle = predictor.bundle
    assert bundle.mode == "sequence"
    assert bundle.burn_in >= bundle.lookback
    assert predictor.required_bars == bundle.warmup + bundle.burn_in
    assert bundle.burn_in_tolerance == BURN_IN_TOLERANCE


def test_a_restart_agrees_within_the_stated_tolerance(predictor):
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    bars = predictor.required_bars
    for row in range(bars + 200, len(MARKET), 37):
        rows = slice(row + 1 - bars, row + 1)
        probability, quantiles = predictor.forecast_latest(MARKET.time[rows], MARKET.ohlcv[rows])
        assert_close(predictor, probability, whole.probability[row])
        assert_close(predictor, quantiles, whole.quantiles[row])


def test_half_the_burn_in_would_not(fitted):
    result, folder = fitted
    data = data_of()
    network = result.network
    burn_in = load_predictor(folder).bundle.burn_in
    ends = data.samples["calibration"].ends
    with torch.inference_mode():
        long, short = (
            network(data.features[torch.from_numpy(ends[:, None] + np.arange(1 - length, 1))])
            for length in (2 * burn_in, 4)
        )
    assert (long.logits - short.logits).abs().max() > BURN_IN_TOLERANCE


def test_a_state_that_never_forgets_is_not_exported():
    data = data_of(horizons=(1,))
    network = build_network(
        MultiLayerConfig(hidden_size=4, layers=1, dropout=0.0), features=3, horizons=1
    ).eval()
    with torch.no_grad():
        # A forget gate held open: the cell adds up everything it has ever seen.
        network.trunk.lstm.bias_ih_l0[4:8] = 20.0
        network.trunk.lstm.bias_ih_l0[8:12] = network.trunk.lstm.bias_hh_l0[8:12] = 0.0
        network.trunk.lstm.weight_ih_l0[8:12] *= 0.05
        network.trunk.lstm.weight_hh_l0[8:12] = 0.0
    with pytest.raises(TrainingError, match=r"window mode with --set data\.mode=window"):
        measure_burn_in(network, data)


# --- stream


def test_a_stream_says_what_the_whole_series_says(predictor):
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    probability, quantiles = streamed(predictor, MARKET, range(len(MARKET)))
    assert np.isnan(probability[: predictor.required_bars - 1]).all()
    assert np.isfinite(probability[predictor.required_bars - 1 :]).all()
    np.testing.assert_allclose(probability, whole.probability, atol=1e-5, equal_nan=True)
    np.testing.assert_allclose(quantiles, whole.quantiles, atol=1e-5, equal_nan=True)


def test_a_stream_takes_one_step_a_bar(predictor, monkeypatch):
    stream = predictor.stream()
    bars = predictor.required_bars
    streamed(predictor, MARKET, range(bars - 1, bars + 5), stream)
    steps = []
    stepped = Stepper._advance
    monkeypatch.setattr(
        Stepper, "_advance", lambda self, *given: steps.append(1) or stepped(self, *given)
    )
    streamed(predictor, MARKET, range(bars + 5, bars + 25), stream)
    assert len(steps) == 20


def test_a_bar_asked_twice_gives_the_same_and_moves_nothing(predictor):
    rows = range(predictor.required_bars - 1, predictor.required_bars + 40)
    once, _ = streamed(predictor, MARKET, rows)
    twice, _ = streamed(predictor, MARKET, [row for row in rows for _ in range(3)])
    np.testing.assert_array_equal(twice[::3], once)
    np.testing.assert_array_equal(twice[1::3], once)
    np.testing.assert_array_equal(twice[2::3], once)


def test_a_bar_that_changes_under_replay_is_forecast_anew(predictor):
    row = predictor.required_bars + 30
    stream = predictor.stream()
    streamed(predictor, MARKET, range(predictor.required_bars - 1, row), stream)
    part = MARKET.ohlcv.copy()
    part[row, 1:4] = part[row, 0]
    unfinished = replace(MARKET, ohlcv=part)
    early = stream.forecast(history_of(unfinished, row))
    late = stream.forecast(history_of(MARKET, row))
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    assert np.abs(early[0] - late[0]).max() > 1e-6
    np.testing.assert_allclose(late[0], whole.probability[row], atol=1e-5)
    after, _ = streamed(predictor, MARKET, range(row + 1, row + 20), stream)
    np.testing.assert_allclose(after, whole.probability[row + 1 : row + 20], atol=1e-5)


def test_a_bar_corrected_after_the_next_one_came_restarts_the_state(predictor):
    row = predictor.required_bars + 30
    corrected = MARKET.ohlcv.copy()
    corrected[row - 1, 4] *= 50.0
    later = replace(MARKET, ohlcv=corrected)
    stream = predictor.stream()
    streamed(predictor, MARKET, range(predictor.required_bars - 1, row), stream)
    probability, _ = stream.forecast(history_of(later, row))
    whole = predictor.forecast_arrays(later.time, later.ohlcv)
    assert_close(predictor, probability, whole.probability[row])


def test_bars_left_out_restart_the_state(predictor):
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    start = predictor.required_bars
    rows = [*range(start, start + 20), start + 21, *range(start + 90, start + 100)]
    probability, _ = streamed(predictor, MARKET, rows)
    assert_close(predictor, probability, whole.probability[rows])


@settings(max_examples=6)
@given(holes=st.sets(st.integers(250, 560), max_size=60))
def test_holes_are_stepped_through_as_bridged_rows(predictor, holes):
    keep = np.setdiff1d(np.arange(600), list(holes))
    candles = replace(
        MARKET, time=MARKET.time[keep], ohlcv=MARKET.ohlcv[keep], incomplete=np.zeros(0, bool)
    )
    whole = predictor.forecast_arrays(candles.time, candles.ohlcv)
    probability, _ = streamed(predictor, candles, range(len(candles)))
    np.testing.assert_array_equal(np.isnan(probability), np.isnan(whole.probability))
    np.testing.assert_allclose(probability, whole.probability, atol=1e-5, equal_nan=True)


def test_a_row_that_is_not_finite_restarts_the_warm_up(predictor):
    ohlcv = MARKET.ohlcv.copy()
    bad = 400
    ohlcv[bad] = np.nan
    broken = replace(MARKET, ohlcv=ohlcv)
    whole = predictor.forecast_arrays(broken.time, broken.ohlcv)
    probability, _ = streamed(predictor, broken, range(len(broken)))
    silent = slice(bad, bad + predictor.required_bars)
    assert np.isnan(probability[silent]).all()
    assert np.isfinite(probability[bad + predictor.required_bars :]).all()
    np.testing.assert_allclose(probability, whole.probability, atol=1e-5, equal_nan=True)


def test_two_streams_of_one_predictor_do_not_meet(predictor):
    other = simulate_market(candles=600, seed=77)[0]
    bars = range(predictor.required_bars - 1, predictor.required_bars + 30)
    first, second = predictor.stream(), predictor.stream()
    mixed = [
        (first.forecast(history_of(MARKET, row))[0], second.forecast(history_of(other, row))[0])
        for row in bars
    ]
    np.testing.assert_array_equal([pair[0] for pair in mixed], streamed(predictor, MARKET, bars)[0])
    np.testing.assert_array_equal([pair[1] for pair in mixed], streamed(predictor, other, bars)[0])


def test_blocks_side_by_side_are_one_pass(predictor):
    candles = simulate_market(candles=5000, seed=31)[0]
    table = predictor.feature_table(candles.time, candles.ohlcv)
    rows = predictor.scaled(table)[predictor.warmup :]
    ends = np.arange(predictor.bundle.burn_in, len(rows))
    blocks, _ = predictor._runner.run(rows, ends)
    with torch.inference_mode():
        whole, _ = predictor.network.steps(torch.from_numpy(rows)[None])
    np.testing.assert_allclose(blocks, whole.logits[0, ends], atol=1e-5)


def test_without_their_overlap_they_would_not_be(predictor, monkeypatch):
    candles = simulate_market(candles=5000, seed=31)[0]
    table = predictor.feature_table(candles.time, candles.ohlcv)
    rows = predictor.scaled(table)[predictor.warmup :]
    monkeypatch.setattr(predictor._runner, "_overlap", 0)
    blocks, _ = predictor._runner.run(rows, np.arange(len(rows)))
    with torch.inference_mode():
        whole, _ = predictor.network.steps(torch.from_numpy(rows)[None])
    assert np.abs(blocks - whole.logits[0].numpy()).max() > 1e-3


def test_cutting_the_future_off_changes_no_forecast(predictor):
    whole = predictor.forecast_arrays(MARKET.time, MARKET.ohlcv)
    for end in (400, 617, 899):
        cut = predictor.forecast_arrays(MARKET.time[:end], MARKET.ohlcv[:end])
        np.testing.assert_allclose(
            cut.probability, whole.probability[:end], atol=1e-6, equal_nan=True
        )
