"""The fused score in a strategy, and the language model that it may ask."""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
from pathlib import Path

import backtrader as bt
import numpy as np
import pytest

from lstm_strategies import CandleData, CryptoCommission, SimulatedBroker
from lstm_strategies.fused import FusedStrategy
from lstm_strategies.live_signal import signal_of
from lstm_strategies.signals import (
    WARMUP,
    FusionWeights,
    fuse,
    fuse_arrays,
    lstm_score,
    strength,
    technical_arrays,
)

_spec = importlib.util.spec_from_file_location(
    "chat_server", Path(__file__).parent / "analyst" / "chat_server.py"
)
chat_server = importlib.util.module_from_spec(_spec)
sys.modules["chat_server"] = chat_server
_spec.loader.exec_module(chat_server)

BARS = WARMUP + 60
LEAST = 0.55


@pytest.fixture
def chat():
    server = chat_server.ChatServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def candles():
    rng = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, BARS)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + rng.uniform(0.0, 0.005, BARS))
    low = np.minimum(opened, close) * (1.0 - rng.uniform(0.0, 0.005, BARS))
    from lightning_models.candles import Candles

    return Candles(
        symbol="BTC/USDT",
        timeframe="1h",
        market="continuous",
        time=1_609_459_200_000 + np.arange(BARS, dtype=np.int64) * 3_600_000,
        ohlcv=np.column_stack([opened, high, low, close, np.full(BARS, 1000.0)]),
    )


@pytest.fixture
def run(tmp_path, monkeypatch, candles):
    monkeypatch.setenv("LSTM_HOME", str(tmp_path))

    def ran(*, mode=None, given=candles, kind=FusedStrategy, **params):
        class Watched(kind):
            def __init__(self):
                self.seen = []
                super().__init__()

            def decide(self, feed):
                decision = super().decide(feed)
                self.seen.append((feed.bar, decision))
                return decision

        cerebro = bt.Cerebro(stdstats=False)
        broker = SimulatedBroker()
        broker.addcommissioninfo(CryptoCommission())
        cerebro.setbroker(broker)
        cerebro.adddata(CandleData(dataname=given))
        told = {"model": "statistical", "in_sample": True, "min_confidence": LEAST, **params}
        cerebro.addstrategy(Watched, **told)
        return cerebro.run(**(mode or {}))[0]

    return ran


def scores_of(strategy, candles):
    lines = strategy.forecasts[strategy.data].lines
    model = lstm_score(
        np.array(lines.direction.array),
        np.array(lines.confidence.array),
        np.array(lines.signal.array),
        strategy.confidence_quantiles,
    )
    fused = fuse_arrays(
        {"lstm": model, "technical": technical_arrays(candles.ohlcv).score}, strategy.weights
    )
    return np.where(np.isnan(model), np.nan, fused)


def test_decides_by_the_strength_of_the_fused_score(run, candles):
    strategy = run()
    scores = scores_of(strategy, candles)
    expected = [
        (bar, 0 if strength(scores[bar - 1]) < LEAST else int(np.sign(scores[bar - 1])))
        for bar in range(WARMUP, BARS + 1)
    ]
    assert strategy.seen == expected
    assert {decision for _, decision in expected} == {-1, 0, 1}


def test_a_higher_strength_lets_fewer_bars_trade(run):
    shares = [run(min_confidence=each).counts["signals"] for each in (0.5, 0.55, 0.58)]
    assert shares[0] > shares[1] > shares[2]


def test_weights_say_how_much_a_part_counts(run, candles):
    alone = run(weight_lstm=0.0)
    technical = technical_arrays(candles.ohlcv).score
    bars = [bar for bar, decision in alone.seen if decision]
    assert bars == [bar for bar in range(WARMUP, BARS + 1) if strength(technical[bar - 1]) >= LEAST]


def test_top_share_ranks_a_score_among_those_before_it(run, both_ways):
    from lightning_models.candles import simulate_market

    market = simulate_market(candles=WARMUP + 180, timeframe="1h", seed=2)[0]
    strategy = run(mode=both_ways, given=market, top_share=0.25)
    # A hundred scores have to be there before one can be ranked.
    assert all(decision == 0 for _, decision in strategy.seen[:100])
    later = [decision for _, decision in strategy.seen[100:]]
    assert 0.1 < np.mean(np.abs(later)) < 0.45


def test_top_share_is_the_same_in_bulk_and_bar_by_bar(run):
    from lightning_models.candles import simulate_market

    market = simulate_market(candles=WARMUP + 150, timeframe="1h", seed=2)[0]
    start = {"trade_from": int(market.time[WARMUP + 20])}
    bulk = run(given=market, top_share=0.25, **start)
    barwise = run(mode={"runonce": False, "preload": False}, given=market, top_share=0.25, **start)
    assert bulk.seen == barwise.seen
    assert any(decision for _, decision in bulk.seen)


def test_a_calibrated_score_trades_on_its_probability(run):
    # A temperature of 20 leaves hardly any probability above one half.
    assert run(score_temperature=20.0, min_confidence=0.52).counts["signals"] == 0
    sure = run(score_temperature=0.25, min_confidence=0.52)
    assert sure.counts["signals"] > 0


def test_a_model_without_skill_is_not_ranked(run):
    strategy = run()
    bundle = strategy.predictor.bundle
    assert strategy.confidence_quantiles == bundle.thresholds.confidence_quantiles[0]
    skilled = bundle.calibration[0].model_copy(update={"no_skill": True})

    class Unskilled:
        calibration = (skilled,)
        thresholds = bundle.thresholds

    strategy.predictor = type("P", (), {"bundle": Unskilled})
    assert strategy.confidence_quantiles is None


# --- the language model


def llm(chat, **params):
    return {"use_llm": True, "llm_endpoint": chat.endpoint, "llm_retries": 0, **params}


def test_a_stance_moves_decisions_its_way(run, chat):
    chat.script(chat_server.opinion(stance=1.0))
    up = run(**llm(chat))
    chat.script(chat_server.opinion(stance=-1.0))
    down = run(**llm(chat, llm_model="other"))
    without = run()
    ups, downs, neither = (
        sum(decision for _, decision in each.seen) for each in (up, down, without)
    )
    assert ups > neither > downs


def test_a_stance_enters_with_its_weight(run, chat, candles):
    chat.script(chat_server.opinion(stance=1.0))
    strategy = run(**llm(chat))
    plain = scores_of(strategy, candles)
    for bar, decision in strategy.seen:
        fused = fuse({"lstm": plain[bar - 1], "llm": 1.0}, FusionWeights(lstm=0.8, llm=0.2))
        expected = 0 if strength(fused) < LEAST else int(np.sign(fused))
        assert decision == expected


def test_is_asked_only_where_its_answer_could_change_the_decision(run, chat, candles):
    strategy = run(**llm(chat, weight_llm=0.02))
    plain = scores_of(strategy, candles)[WARMUP - 1 :]
    share = 0.02 / 0.82

    def decision(score):
        return 0 if strength(score) < LEAST else int(np.sign(score))

    matters = [
        {decision((1.0 - share) * score + share * stance) for stance in (-1.0, 1.0)}
        != {decision(score)}
        for score in plain
    ]
    usage = strategy.analyst_usage
    assert usage.calls + usage.cached == sum(matters)
    assert 0 < sum(matters) < len(matters)


def test_bar_by_bar_it_is_asked_the_same(run, chat):
    bulk = run(**llm(chat))
    asked = len(chat.requests)
    barwise = run(mode={"runonce": False, "preload": False}, **llm(chat))
    assert barwise.seen == bulk.seen
    # The second run finds every answer that was kept.
    assert len(chat.requests) == asked


def test_is_told_nothing_of_later_bars(run, chat, candles):
    run(**llm(chat))
    whole = [one.raw for one in chat.requests]
    chat.requests.clear()
    cut = candles.between(None, int(candles.time[BARS - 30]))
    run(given=cut, **llm(chat, llm_model="another"))
    shorter = [one.raw.replace(b'"another"', b'"llama3.1"') for one in chat.requests]
    assert shorter
    assert shorter == whole[: len(shorter)]


def test_unreachable_it_abstains_and_the_others_decide(run, caplog):
    with caplog.at_level(logging.WARNING, logger="lstm_strategies"):
        alone = run(use_llm=True, llm_endpoint="http://127.0.0.1:9/v1", llm_retries=0)
    assert alone.seen == run().seen
    warnings = [one for one in caplog.messages if "ollama serve" in one]
    assert len(warnings) == 1
    assert alone.analyst_usage.abstained > 3
    assert alone.analyst_usage.calls == 3


def test_nonsense_is_an_abstention(run, chat):
    chat.script(chat_server.said("buy buy buy"))
    assert run(**llm(chat)).seen == run().seen


def test_warns_once_that_it_may_know_the_period(run, chat, caplog):
    with caplog.at_level(logging.WARNING, logger="lstm_strategies"):
        run(**llm(chat))
    assert len([one for one in caplog.messages if "training data" in one]) == 1


def test_without_a_weight_nobody_is_asked(run, chat):
    run(**llm(chat, weight_llm=0.0))
    assert chat.requests == []


# --- the signal of a bar


@pytest.fixture
def signal(run):
    def made(**params):
        strategy = run(**params)
        return strategy, signal_of(strategy, strategy.data, name="lstm_fast")

    return made


def test_signal_is_what_the_strategy_decides(signal, candles):
    strategy, made = signal()
    assert made.symbol == "BTC/USDT"
    assert made.current_price == pytest.approx(candles.ohlcv[-1, 3])
    assert made.model_dump(mode="json")["timestamp"].endswith("59.999Z")
    score = scores_of(strategy, candles)[-1]
    assert made.score == pytest.approx(score, abs=1e-6)
    assert made.should_enter == bool(strategy.seen[-1][1])


def test_signal_has_levels_risk_and_size(signal):
    strategy, made = signal(min_confidence=0.5)
    values = made.model_dump(mode="json")["indicator_values"]
    assert made.should_enter
    side = 1.0 if made.direction == "LONG" else -1.0
    stop = strategy.stop_distance(strategy.data)
    assert made.stop == pytest.approx(made.entry - side * stop)
    assert made.target == pytest.approx(made.entry + side * 1.5 * stop)
    assert made.risk_reward == pytest.approx(1.5)
    risk = values["risk_assessment"]
    assert risk["volatility"] > 0.0
    assert 0.0 < risk["loss_probability"] < 1.0
    assert 0.0 < risk["position_size_pct"] <= 100.0
    assert set(values["technical_analysis"]) == {"rsi", "macd", "bollinger", "trend"}
    assert "\n" not in made.reasoning


def test_signal_without_a_forecast_says_why_nothing_is_entered(run, candles):
    # The last candle before a hole of more than the share that may be missing.
    keep = np.ones(BARS, dtype=bool)
    keep[-40:-1] = False
    from lightning_models.candles import Candles

    holed = Candles(
        symbol="BTC/USDT",
        timeframe="1h",
        market="continuous",
        time=candles.time[keep],
        ohlcv=candles.ohlcv[keep],
    )
    strategy = run(given=holed)
    made = signal_of(strategy, strategy.data, name="lstm_fast")
    assert not made.should_enter
    assert made.direction is None
    assert made.confidence is None


def test_signal_asks_the_language_model(signal, chat):
    chat.script(chat_server.opinion(stance=0.5, reasoning="Rising on volume."))
    _, made = signal(**llm(chat))
    told = made.model_dump(mode="json")["indicator_values"]["llm_analysis"]
    assert (told["score"], told["reasoning"]) == (0.5, "Rising on volume.")
    assert math.isclose(sum(made.indicator_values.weights_used.values()), 1.0)
