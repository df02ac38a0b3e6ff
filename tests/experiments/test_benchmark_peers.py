"""The comparison with darts and neuralforecast: the same rows, the same network, no quiet gap."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from experiments.benchmark import run as benchmarks
from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.benchmark.own_training import FEATURES, LOOKBACK, OwnLearner, pinball
from experiments.benchmark.peer_process import (
    PEERS,
    PeerError,
    PeerMissingError,
    running_peer,
)
from experiments.benchmark.peers import peers
from experiments.benchmark.peers_config import PeersConfig
from lightning_models.errors import ConfigError
from lightning_models.heads import QUANTILES

TINY = PeersConfig(candles=1_500, hidden_size=4, layers=2, epochs=2)

installed = pytest.mark.skipif(
    any(find_spec(name) is None for name in PEERS),
    reason="darts or neuralforecast is not installed: pip install '.[bench]'",
)


@pytest.fixture(scope="module")
def samples():
    return OwnLearner(TINY, "window").samples()


def script(folder: Path, text: str) -> PeersConfig:
    # An interpreter that answers as a peer's process would.
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    python.chmod(0o755)
    return TINY.model_copy(update={"python": python})


def test_a_window_of_the_peers_is_labelled_as_ours(samples):
    data = OwnLearner(TINY, "window")._data(validation=True)
    first, last = samples.train, samples.validation
    ours = data.targets[:, 0].numpy()
    np.testing.assert_array_equal(samples.train_labels, ours[data.samples["train"].ends])
    np.testing.assert_array_equal(samples.labels, ours[data.samples["validation"].ends])
    assert len(samples.train_labels) == first
    assert len(samples.labels) == last


def test_a_window_of_the_peers_holds_the_rows_of_ours(samples):
    data = OwnLearner(TINY, "window")._data(validation=True)
    end = int(data.samples["train"].ends[0])
    rows = data.features[end - LOOKBACK + 1 : end + 1, 1:].numpy()
    np.testing.assert_array_equal(samples.features[:LOOKBACK], rows)


def test_the_peers_see_no_label_before_it_is_known(samples):
    close = OwnLearner(TINY, "window")._data(validation=True).features[:, 0].numpy()
    start = int(OwnLearner(TINY, "window")._data(validation=True).samples["train"].ends[0])
    known = close[start - LOOKBACK + 1 :][: len(samples.target)]
    # The target of a row is that row's own return, scaled; one row early it would be the future's.
    same = np.corrcoef(samples.target, known)[0, 1]
    early = np.corrcoef(samples.target[1:], known[:-1])[0, 1]
    assert same > 0.9
    assert abs(early) < 0.2


def test_peers_read_as_many_inputs_as_this_project(samples):
    assert samples.features.shape[1] + 1 == len(FEATURES)


def test_pinball_is_the_loss_that_the_networks_report():
    quantiles = np.array([-1.0, 0.0, 1.0], np.float32)
    # By hand: 0.1 x 3 + 0.5 x 2 + 0.9 x 1 above all of them, over three quantiles.
    assert pinball(quantiles, np.array([2.0], np.float32)) == pytest.approx(2.2 / 3)
    assert pinball(quantiles, np.array([-2.0], np.float32)) == pytest.approx(2.2 / 3)
    assert pinball(quantiles, np.array([0.0], np.float32)) == pytest.approx(0.2 / 3)


@pytest.mark.parametrize("mode", ["window", "sequence"])
def test_our_training_is_timed_to_its_best_epoch(mode):
    learner = OwnLearner(TINY, mode)
    seconds = learner.epochs_seconds(0)
    best = learner.best(0)
    assert len(seconds) == (10 if mode == "sequence" else 1)
    assert min(seconds) > 0
    assert best.seconds > 0
    assert 1 <= best.epoch <= best.epochs
    assert 0 < best.pinball < 1
    lstm = 4 * 4 * (7 + 4 + 2) + 4 * 4 * (4 + 4 + 2)
    assert learner.weights == lstm


def test_an_interpreter_that_does_not_start_is_named(samples, tmp_path):
    config = TINY.model_copy(update={"python": tmp_path / "nowhere"})
    with (
        pytest.raises(PeerMissingError, match=r"nowhere does not start .* --set peers\.python"),
        running_peer("darts", config, samples),
    ):
        pass


def test_a_missing_package_is_answered_with_the_command_that_installs_it(samples, tmp_path):
    config = script(tmp_path, """echo '{"missing": "No module named darts"}'""")
    with (
        pytest.raises(PeerMissingError, match=r"python -m pip install 'darts\[torch\]'"),
        running_peer("darts", config, samples),
    ):
        pass


def test_a_peer_that_dies_is_quoted(samples, tmp_path):
    config = script(tmp_path, 'echo \'{"version": "9"}\'; echo out of luck >&2')
    with (
        running_peer("darts", config, samples) as peer,
        pytest.raises(PeerError, match="darts 9 stopped: out of luck"),
    ):
        peer.best(0)


def test_one_forecast_for_all_windows_is_refused(samples, tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((1, 3), np.float32))
    config = script(
        tmp_path,
        """echo '{"version": "9"}'; read order; cp "${0%/*}/one.npy" quantiles.npy
        echo '{"seconds": 1, "epoch": 1, "epochs": 1}'""",
    )
    # Scored as it is, it would pass for a forecast of every window.
    assert pinball(np.load(tmp_path / "one.npy"), samples.labels) > 0
    with (
        running_peer("darts", config, samples) as peer,
        pytest.raises(PeerError, match=r"shape \(1, 3\) for 149 validation windows"),
    ):
        peer.best(0)


def test_no_peer_at_all_is_an_error(tmp_path):
    config = BenchmarkConfig(peers=script(tmp_path, """echo '{"missing": "no such module"}'"""))
    with pytest.raises(PeerMissingError, match=r"(?s)darts.*neuralforecast") as raised:
        peers(config)
    assert raised.value.exit_code == 1


def test_missing_peers_take_no_other_figure_away(monkeypatch, capsys, caplog, tmp_path):
    python = script(tmp_path, """echo '{"missing": "no such module"}'""").python
    other = Figure(name="other", value=1, unit="x", aim=None, detail="")
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"peers": peers, "other": lambda config: [other]})
    settings = ["peers.candles=1500", f"peers.python={python}"]
    benchmarks.run_benchmarks(None, as_json=True, settings=settings)
    assert '"name": "other"' in capsys.readouterr().out
    assert "pip install" in caplog.text
    with pytest.raises(PeerMissingError):
        benchmarks.run_benchmarks("peers", as_json=True, settings=settings)


def test_a_misspelt_setting_of_the_peers_is_refused():
    with pytest.raises(ConfigError, match=r"peers\.pyton"):
        benchmarks.run_benchmarks("peers", as_json=True, settings=["peers.pyton=/usr/bin/python"])


@installed
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_trains_the_lstm_that_we_train(name, samples):
    learner = OwnLearner(TINY, "window")
    learner.epochs_seconds(0)
    with running_peer(name, TINY, samples) as peer:
        (seconds,) = peer.epochs_seconds(0)
        best = peer.best(0)
    assert seconds > 0
    assert peer.weights == learner.weights
    assert 1 <= best.epoch <= best.epochs == 2
    assert 0 < best.pinball < 1


@installed
@pytest.mark.parametrize("name", PEERS)
def test_what_a_peer_says_is_scored_on_the_rows_it_was_said_of(name, samples):
    # A feature that gives the next label away is learned in a minute by anybody.
    told = samples.features.copy()
    told[:-1, 0] = samples.target[1:]
    config = TINY.model_copy(
        update={"hidden_size": 16, "layers": 1, "batch_size": 16, "epochs": 16, "patience": 16}
    )
    with running_peer(name, config, samples._replace(features=told)) as peer:
        best = peer.best(0)
        quantiles = np.load(peer._folder / "quantiles.npy")
    constant = np.quantile(samples.train_labels, QUANTILES).astype(np.float32)
    ignorant = pinball(constant, samples.labels)
    assert best.pinball == pytest.approx(pinball(quantiles, samples.labels))
    assert best.pinball < 0.3 * ignorant
    # One row off, what was learned is worse than knowing nothing.
    for rows in (1, -1):
        assert pinball(np.roll(quantiles, rows, axis=0), samples.labels) > ignorant


@installed
def test_every_ratio_is_told_with_both_its_sides():
    figures = peers(BenchmarkConfig(repeats=1, peers=TINY))
    assert [figure.aim for figure in figures] == [1.0, 1.0, None, None, None, None]
    assert all(figure.value > 0 for figure in figures)
    assert all("darts" in figures[number].detail for number in (3, 4, 5))
    assert all(figure.at_least for figure in figures[:2])
