"""Kept fits: none is made twice, none is half there, and none serves what it was not fitted for."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.tuning.evaluating import evaluate
from experiments.tuning.fold_cache import (
    BUNDLE_FOLDER,
    FIT_FILE,
    FoldCache,
    KeptFit,
    fold_key,
    inputs_of,
)
from experiments.tuning.fold_fitting import FoldToFit, fit_fold_to_trade
from experiments.walk_forward.carried_features import pack_features
from experiments.walk_forward.folds import plan_folds
from experiments.walk_forward.running import fold_config
from lightning_models.bundle import MANIFEST_FILE, WEIGHTS_FILE, bundle_sha256
from lightning_models.features import FeatureSpec, forget_feature, register_feature
from lightning_models.home import Home
from tests.experiments.tuning.small_trials import (
    EPOCHS,
    NETWORK,
    small_candidate,
    small_market,
    small_study,
)

ROOT = Path(__file__).parents[3]
TRADING = {"kind": "trading", "metric": "sharpe_ratio"}
LOGGER = "experiments.tuning.fold_cache"


def score(tmp_path, *, cache, model=NETWORK, settings=(), **backtest):
    backtest = {"min_confidence": 0.0, **backtest}
    return evaluate(
        small_candidate(model, *settings, backtest=backtest),
        small_study(TRADING, folds=2),
        small_market(),
        folder=tmp_path / "scratch",
        jobs=1,
        cache=cache,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A bundle that was fitted for a fold; nobody may change it."""
    train = small_candidate().train
    fold = plan_folds(small_study(folds=2).walk_forward, train.data, small_market())[0]
    scratch = tmp_path_factory.mktemp("kept")
    one = FoldToFit(fold, fold_config(train, fold), small_market())
    fit_fold_to_trade(one, scratch=scratch, home=Home(scratch))
    return scratch / BUNDLE_FOLDER


def fit_of(kept, calls):
    def fit(folder):
        calls.append(folder)
        shutil.copytree(kept, folder / BUNDLE_FOLDER)
        return KeptFit(((0.7, 0.65),), {"best_epoch": 2.0}, bundle_sha256(kept))

    return fit


def test_a_trial_that_trades_differently_fits_nothing(tmp_path):
    cache = tmp_path / "cache"
    first = score(tmp_path, cache=cache)
    assert first.epochs == 2 * EPOCHS
    second = score(tmp_path, cache=cache, min_confidence=0.6)
    assert second.epochs == 0
    assert [one.epochs for one in second.folds] == [(), ()]
    assert second.values != first.values
    # Bit for bit what it would have been with fits of its own.
    alone = score(tmp_path, cache=None, min_confidence=0.6)
    assert alone.epochs == 2 * EPOCHS
    assert second.values == alone.values
    for ours, theirs in zip(second.folds, alone.folds, strict=True):
        assert ours.returns.tobytes() == theirs.returns.tobytes()
        assert (ours.metrics, ours.trades) == (theirs.metrics, theirs.trades)
    # What trains differently is fitted.
    other = score(tmp_path, cache=cache, settings=["training.learning_rate=0.01"])
    assert other.epochs == 2 * EPOCHS


def test_forecasts_of_kept_fits_are_kept_with_them(tmp_path):
    cache = tmp_path / "cache"
    score(tmp_path, cache=cache)
    forecasts = sorted(cache.glob("**/*.forecasts"))
    assert len(forecasts) == 2
    score(tmp_path, cache=cache, min_confidence=0.6)
    assert sorted(cache.glob("**/*.forecasts")) == forecasts


def test_the_same_entry_is_found_again_with_what_was_kept_beside_it(tmp_path, kept):
    calls = []
    cache = FoldCache(tmp_path / "cache")
    entry, made, was_there = cache.fold("key", fit_of(kept, calls), scratch=tmp_path)
    assert not was_there
    again = cache.fold("key", fit_of(kept, calls), scratch=tmp_path)
    assert again == (entry, made, True)
    assert len(calls) == 1
    assert made == KeptFit(((0.7, 0.65),), {"best_epoch": 2.0}, bundle_sha256(kept))
    cache.fold("another", fit_of(kept, calls), scratch=tmp_path)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / BUNDLE_FOLDER / WEIGHTS_FILE).write_bytes(b"short"),
        lambda entry: (entry / BUNDLE_FOLDER / WEIGHTS_FILE).unlink(),
        lambda entry: _restate(entry / BUNDLE_FOLDER / MANIFEST_FILE),
        lambda entry: _replace(entry / FIT_FILE, "0.65", "0.66"),
        lambda entry: (entry / FIT_FILE).write_text("{"),
        lambda entry: (entry / FIT_FILE).unlink(),
    ],
    ids=["weights", "no weights", "manifest", "losses", "no JSON", "no file"],
)  # fmt: skip
def test_a_damaged_entry_is_fitted_again(tmp_path, kept, caplog, damage):
    calls = []
    cache = FoldCache(tmp_path / "cache")
    entry, made, _ = cache.fold("key", fit_of(kept, calls), scratch=tmp_path)
    damage(entry)
    with caplog.at_level(logging.WARNING, LOGGER):
        again = cache.fold("key", fit_of(kept, calls), scratch=tmp_path)
    assert again == (entry, made, False)
    assert len(calls) == 2
    assert "is damaged and is fitted again" in caplog.text
    assert cache.fold("key", fit_of(kept, calls), scratch=tmp_path) == (entry, made, True)


def _restate(manifest):
    # Sound by itself, but not what was fitted.
    _replace(manifest, '"evaluated_by": null', '"evaluated_by": "nobody"')


def _replace(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_a_fit_that_fails_or_is_given_up_leaves_nothing(tmp_path, kept):
    cache = FoldCache(tmp_path / "cache")

    def fail(folder):
        (folder / BUNDLE_FOLDER).mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.fold("key", fail, scratch=tmp_path)
    assert cache.fold("key", lambda folder: None, scratch=tmp_path) is None
    assert [one.name for one in (tmp_path / "cache").iterdir() if one.is_dir()] == []
    assert not cache.fold("key", fit_of(kept, []), scratch=tmp_path)[2]


KILLED = """
import os, signal, sys
from pathlib import Path
from experiments.tuning.fold_cache import BUNDLE_FOLDER, FoldCache

def fit(folder):
    (folder / BUNDLE_FOLDER).mkdir()
    (folder / BUNDLE_FOLDER / "bundle.json").write_text("{")
    os.kill(os.getpid(), signal.SIGKILL)

FoldCache(Path(sys.argv[1])).fold("key", fit, scratch=Path(sys.argv[1]))
"""


def test_a_worker_that_is_killed_leaves_no_half_entry(tmp_path, kept):
    folder = tmp_path / "cache"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert not (folder / "key").exists()
    # What it left behind is in nobody's way, and goes with the next fit.
    assert len(list(folder.glob(".key-*"))) == 1
    calls = []
    entry, _, was_there = FoldCache(folder).fold("key", fit_of(kept, calls), scratch=tmp_path)
    assert (entry, was_there, len(calls)) == (folder / "key", False, 1)
    assert list(folder.glob(".key-*")) == []


def test_of_two_workers_one_fits_and_the_other_waits(tmp_path, kept):
    calls, found = [], []
    second_asks = threading.Event()

    def fit(folder):
        assert second_asks.wait(60)
        return fit_of(kept, calls)(folder)

    def ask(before=None):
        if before is not None:
            before.set()
        found.append(FoldCache(tmp_path / "cache").fold("key", fit, scratch=tmp_path))

    workers = [threading.Thread(target=ask), threading.Thread(target=ask, args=(second_asks,))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(calls) == 1
    assert sorted(was_there for _, _, was_there in found) == [False, True]


def test_without_a_folder_that_can_be_written_each_trial_fits(tmp_path, kept, caplog):
    (tmp_path / "file").write_text("in the way")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with caplog.at_level(logging.WARNING, LOGGER):
        entry, _, was_there = FoldCache(tmp_path / "file").fold(
            "key", fit_of(kept, []), scratch=scratch
        )
    assert (entry, was_there) == (scratch, False)
    assert (scratch / BUNDLE_FOLDER).is_dir()
    assert "fitted folds are not kept" in caplog.text


def test_the_key_holds_everything_that_decides_a_fit():
    candles = small_market()
    train = small_candidate(NETWORK).train
    first, second = plan_folds(small_study(folds=2).walk_forward, train.data, candles)
    inputs = inputs_of(candles, train.data.features)

    def key(train=train, fold=first, inputs=inputs):
        return fold_key(fold_config(train, first), fold, inputs=inputs)

    def with_settings(*settings):
        return small_candidate(NETWORK, *settings).train

    (one,) = candles
    prices = one.ohlcv.copy()
    prices[100, 3] *= 1.0001
    other = [
        key(with_settings("training.seed=1")),
        key(with_settings("network.hidden_size=5")),
        key(with_settings("data.lookback=7")),
        key(fold=second),
        key(fold=replace(first, replaced_at=None)),
        key(inputs=inputs_of([replace(one, ohlcv=prices)], train.data.features)),
        key(inputs=inputs_of([replace(one, symbol="BTC/USDT")], train.data.features)),
    ]
    assert len({key(), *other}) == 1 + len(other)
    assert key() == key(with_settings())
    # What a preset is called decides nothing.
    assert key(train.model_copy(update={"preset": "another"})) == key()


def test_another_source_of_an_own_feature_is_another_input(tmp_path):
    def inputs(source, packed=b""):
        file = tmp_path / "own.py"
        file.write_text(source)
        scope = {"__name__": "nowhere"}
        exec(compile(source, str(file), "exec"), scope)
        register_feature("own_body", scope["own_body"], warmup=0)
        features = [FeatureSpec(name="close"), FeatureSpec(name="own_body")]
        try:
            return inputs_of(small_market(), features, packed=packed or pack_features(features))
        finally:
            forget_feature("own_body")

    source = "SCALE = 2.0\ndef own_body(ohlcv):\n    return SCALE * ohlcv[:, 3] / ohlcv[:, 0]\n"
    assert inputs(source) == inputs(source)
    assert inputs(source.replace("2.0", "3.0")) != inputs(source)
    # By the file itself: code that is packed by its name alone would not tell.
    packed = b"by name"
    assert inputs(source.replace("2.0", "3.0"), packed) != inputs(source, packed)
    assert inputs(source, packed) == inputs(source, packed)
