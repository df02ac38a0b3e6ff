"""One strategy on many symbols, side by side."""

from __future__ import annotations

import sys

import pytest

from experiments import many_symbols
from experiments.clusters import on_backend
from experiments.config import BacktestConfig
from experiments.many_symbols import SymbolFailure, backtest_symbols
from experiments.training import train
from experiments.user_code import load_features
from lightning_models.candles import simulate_market
from lightning_models.errors import ConfigError
from lightning_models.features import FeatureSpec, forget_feature
from lightning_models.home import Home

NAMES = ("A/USDT", "B/USDT", "C/USDT")
PLAIN = {"strategy": "supertrend", "replications": 100, "doubled_costs": False}


@pytest.fixture(scope="module")
def market():
    return simulate_market(candles=500, symbols=NAMES, timeframe="6h", seed=3)


@pytest.fixture
def home(migrated_database, tmp_path):
    import shutil

    shutil.copy(migrated_database, tmp_path / "mlflow.db")
    return Home(tmp_path)


def test_each_symbol_has_an_account_of_its_own(market, home):
    seen = {}
    result = backtest_symbols(
        BacktestConfig(**PLAIN), market, home=home, jobs=1,
        on_symbol=lambda symbol, found: seen.update({symbol: found}),
    )  # fmt: skip
    assert [one.symbol for one in result.symbol_results] == list(NAMES)
    assert set(seen) == set(NAMES)
    total = sum(one.equity_curve[-1].equity for one in result.symbol_results)
    assert result.equity_curve[-1].equity == pytest.approx(total)
    assert result.portfolio_total_return_pct == pytest.approx(100.0 * (total / 30_000.0 - 1.0))
    best = max(result.symbol_results, key=lambda one: one.total_return_pct)
    worst = min(result.symbol_results, key=lambda one: one.total_return_pct)
    assert (result.best_symbol, result.worst_symbol) == (best.symbol, worst.symbol)
    assert result.verdict.startswith("All 3 accounts together:")


@pytest.mark.soak
def test_two_processes_find_what_one_finds(market, home):
    one = backtest_symbols(BacktestConfig(**PLAIN), market, home=home, jobs=1)
    two = backtest_symbols(BacktestConfig(**PLAIN), market, home=home, jobs=2)
    assert one == two


def test_one_symbols_failure_is_told_and_not_fatal(market, home):
    short = market[1].between(None, int(market[1].time[20]))
    told = []
    result = backtest_symbols(
        BacktestConfig(**PLAIN), [market[0], short, market[2]], home=home, jobs=1,
        on_symbol=lambda symbol, found: told.append((symbol, type(found))),
    )  # fmt: skip
    (failure,) = result.failures
    assert failure.symbol == NAMES[1]
    assert "Give more history" in failure.error
    assert (NAMES[1], SymbolFailure) in told
    assert [one.symbol for one in result.symbol_results] == [NAMES[0], NAMES[2]]


def test_all_failing_is_an_error_that_says_the_first(market, home):
    short = [one.between(None, int(one.time[20])) for one in market]
    with pytest.raises(ConfigError, match=r"none of the 3 symbols.*Give more history"):
        backtest_symbols(BacktestConfig(**PLAIN), short, home=home, jobs=1)


@pytest.mark.parametrize("count", [0, 2])
def test_no_symbol_and_one_twice_are_refused(market, home, count):
    with pytest.raises(ConfigError, match=r"no symbol was given|is there twice"):
        backtest_symbols(BacktestConfig(**PLAIN), [market[0]] * count, home=home, jobs=1)


@pytest.mark.soak
def test_a_cluster_of_dask_finds_the_same(market, home):
    pytest.importorskip("distributed", reason="needs the extra cluster")
    with on_backend("dask", jobs=1):
        there = backtest_symbols(BacktestConfig(**PLAIN), market[:2], home=home, jobs=None)
    here = backtest_symbols(BacktestConfig(**PLAIN), market[:2], home=home, jobs=1)
    assert there == here


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("losky", {}, "did you mean 'loky'"),
        ("loky", {"jobs": 0}, "runs nothing"),
        ("loky", {"scheduler": "tcp://127.0.0.1:1"}, "add --backend dask"),
        ("dask", {"scheduler": "nonsense"}, "no dask scheduler"),
    ],
)
def test_a_backend_that_cannot_be_is_refused(backend, options, message):
    if backend == "dask":
        pytest.importorskip("distributed", reason="needs the extra cluster")
    with pytest.raises(ConfigError, match=message), on_backend(backend, **options):
        pass


OWN = """
import numpy as np
from lightning_models.features import register_feature

def body_of_many(ohlcv):
    return np.log(ohlcv[:, 3] / ohlcv[:, 0])

register_feature("body_of_many", body_of_many, warmup=0)
"""


@pytest.fixture
def own_feature(tmp_path):
    """A feature of the user's own, from a file that no other process can import."""
    file = tmp_path / "many.py"
    file.write_text(OWN)
    load_features(str(file))
    yield FeatureSpec(name="body_of_many")
    forget_feature("body_of_many")
    del sys.modules["user_many"]


@pytest.mark.soak
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_a_feature_of_the_users_own_reaches_the_processes(
    tiny_config, own_feature, home, backend, monkeypatch
):
    if backend == "dask":
        pytest.importorskip("distributed", reason="needs the extra cluster")
    data = tiny_config.data.model_copy(
        update={"features": (*tiny_config.data.features, own_feature)}
    )
    candles = simulate_market(candles=1500, symbols=NAMES[:2], timeframe="1h", seed=1, signal=0.5)
    model = train(tiny_config.model_copy(update={"data": data}), candles, name="own", home=home)
    config = BacktestConfig(model=model.uri, replications=100, doubled_costs=False)
    with on_backend(backend, jobs=2):
        with monkeypatch.context() as patch:
            # Where it is left behind, no process can forecast.
            patch.setattr(many_symbols, "pack_features", lambda _: b"")
            with pytest.raises(ConfigError, match=r"none of the 2 symbols.*body_of_many"):
                backtest_symbols(config, candles, home=home, jobs=None)
        result = backtest_symbols(config, candles, home=home, jobs=None)
    assert [one.symbol for one in result.symbol_results] == list(NAMES[:2])
    assert result.failures == ()
