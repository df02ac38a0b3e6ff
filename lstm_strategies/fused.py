"""Trade a score fused from a model's forecast, technical readings and a language model's view."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from lightning_models.predictor import Predictor
from lstm_strategies.analyst import (
    FACT_BARS,
    Analyst,
    AnalystConfig,
    AnalystUsage,
    Opinion,
    backtest_warning,
    market_facts,
)
from lstm_strategies.errors import ParameterError
from lstm_strategies.feed import milliseconds_of_date
from lstm_strategies.given_values import check_positive
from lstm_strategies.models import analyst_folder
from lstm_strategies.parameters import attach
from lstm_strategies.signals import (
    WARMUP,
    FusionWeights,
    Reading,
    TechnicalIndicator,
    fuse,
    fuse_arrays,
    lstm_score,
    strength,
    technical_arrays,
)
from lstm_strategies.signals.technical import readings_at
from lstm_strategies.standing import Standing
from lstm_strategies.strategy import LSTMStrategy
from lstm_strategies.verdicts import BEFORE_UNSEEN, WITHOUT_FORECAST

__all__ = ["FusedStrategy", "fused_scores", "quantiles_to_rank_by"]

_log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

# Scores that a bar's is ranked among where ``top_share`` is asked for, and how few will do.
RANKED: Final = 500
LEAST_RANKED: Final = 100


class FusedStrategy(LSTMStrategy):
    """Enter where the fused score is strong enough; leave on reversal, stop or target.

    The score is the weighted mean of what is present: the model's forecast (its direction times
    its rank among the model's own calibration bars; where calibration found no skill, times
    what its probability says over a coin's), the technical readings, and, with ``use_llm``, a
    language model's stance. A bar without a forecast has no score, and changes
    nothing. ``min_confidence`` acts on the score's strength, ``(1 + |score|) / 2``, which is no
    probability; with ``score_temperature`` it acts on the calibrated one.

    The language model is asked only where its stance could change the decision; where it
    abstains, the other weights are renormalised.

    Params: those of `LSTMStrategy`, and
      - ``min_confidence`` (0.6): strength that an entry needs.
      - ``top_share`` (0.0): in its place, the share of the last 500 scores that may trade.
      - ``weight_lstm`` (0.40), ``weight_technical`` (0.40), ``weight_llm`` (0.20).
      - ``score_temperature`` (0.0), ``score_bias`` (0.0): of a calibration that was fitted on a
        slice of its own; 0 is off.
      - ``use_llm`` (False): ask a language model.
      - ``llm_endpoint``, ``llm_model``, ``llm_key_env``, ``llm_timeout``, ``llm_retries``,
        ``llm_temperature``, ``llm_max_tokens``, ``llm_seed``, ``llm_price_in``,
        ``llm_price_out``: see `lstm_strategies.analyst.AnalystConfig`.

    Attributes
    ----------
    technical : dict
        From each traded feed to its `TechnicalIndicator`.
    analyst : Analyst or None
        None where none is asked.

    Raises
    ------
    ParameterError, ConfigError
        If a parameter is out of its range.
    """

    measure: ClassVar[str] = "strength"

    params: Any = (
        ("weight_lstm", 0.40),
        ("weight_technical", 0.40),
        ("weight_llm", 0.20),
        ("score_temperature", 0.0),
        ("score_bias", 0.0),
        ("use_llm", False),
        ("llm_endpoint", AnalystConfig().endpoint),
        ("llm_model", AnalystConfig().model),
        ("llm_key_env", ""),
        ("llm_timeout", AnalystConfig().timeout),
        ("llm_retries", AnalystConfig().retries),
        ("llm_temperature", AnalystConfig().temperature),
        ("llm_max_tokens", AnalystConfig().max_tokens),
        ("llm_seed", AnalystConfig().seed),
        ("llm_price_in", 0.0),
        ("llm_price_out", 0.0),
    )

    @classmethod
    def bars_needed(cls, parameters: Mapping[str, Any]) -> int:
        """Return how many bars its readings take, and the scores that one is ranked among."""
        ranked = LEAST_RANKED if parameters["top_share"] else 0
        return max(super().bars_needed(parameters), WARMUP + ranked)

    def __init__(self) -> None:
        self.technical: dict[Any, TechnicalIndicator] = {}
        super().__init__()
        self.weights = FusionWeights(
            lstm=self.p.weight_lstm, technical=self.p.weight_technical, llm=self.p.weight_llm
        )
        self.analyst = self._make_analyst() if self.p.use_llm and self.p.weight_llm else None
        self._scores: dict[Any, Floats] = {}
        self._thresholds: dict[Any, Floats] = {}
        self._past = {data: deque[float](maxlen=RANKED) for data in self.forecasts}
        self._warned = False

    @property
    def analyst_usage(self) -> AnalystUsage:
        """What the language model was asked, and what it cost."""
        return AnalystUsage() if self.analyst is None else self.analyst.usage

    def attach_indicators(self, data: Any) -> int:
        """Attach forecast and technical readings; return the first bar that has both."""
        first = super().attach_indicators(data)
        self.technical[data] = attach(TechnicalIndicator, data)
        return max(first, int(self.technical[data]._minperiod))

    def required_confidence(self) -> float:
        """Return the strength that an entry needs; NaN where it moves with the past scores."""
        return math.nan if self.p.top_share else float(self.p.min_confidence)

    def observe(self, feed: Standing) -> None:
        """Rank later scores among this one, too."""
        if self.p.top_share and not self.forecasts[feed.data].in_bulk:
            self._rank(feed, self._present_score(feed.data))

    def parts(self, data: Any, opinion: Opinion | None = None) -> dict[str, float | None]:
        """Return the scores at a feed's present bar that a fused one is made of."""
        lines = self.forecasts[data].lines
        columns = (lines.direction[0], lines.confidence[0], lines.signal[0])
        model = float(lstm_score(*columns, self.confidence_quantiles))
        technical = float(self.technical[data].lines.score[0])
        return {
            "lstm": None if math.isnan(model) else model,
            "technical": None if math.isnan(technical) else technical,
            "llm": None if opinion is None else opinion.stance,
        }

    def readings(self, data: Any) -> tuple[Reading, ...]:
        """Return the technical readings at a feed's present bar."""
        ohlcv = self._candles(data, WARMUP)
        return readings_at(technical_arrays(ohlcv), len(ohlcv) - 1)

    def opinion(self, data: Any) -> Opinion | None:
        """Return the language model's opinion at a feed's present bar; None if it abstains."""
        if self.analyst is None:
            return None
        if not self._warned and not data.islive():
            self._warned = True
            _log.warning("%s", backtest_warning(self.analyst.config))
        readings = [(one.name, one.value, one.reading) for one in self.readings(data)]
        facts = market_facts(
            str(getattr(data, "symbol", None) or data._name or "unknown"),
            self.predictor.timeframe,
            milliseconds_of_date(data.datetime[0]) + 1,
            self._candles(data, FACT_BARS),
            readings,
        )
        return self.analyst.opinion(facts)

    def _verdict(self, feed: Standing) -> str:
        verdict = super()._verdict(feed)
        if self.analyst is None or verdict in (WITHOUT_FORECAST, BEFORE_UNSEEN):
            return verdict
        # Asked only where an answer between -1 and 1 could change what is decided.
        extremes = {self._verdict_with(feed, stance) for stance in (-1.0, 1.0)}
        if extremes == {verdict}:
            return verdict
        opinion = self.opinion(feed.data)
        return verdict if opinion is None else self._verdict_with(feed, opinion.stance)

    def _verdict_with(self, feed: Standing, stance: float) -> str:
        score = fuse({**self.parts(feed.data), "llm": stance}, self.weights)
        threshold = self._thresholds[feed.data]
        bar = feed.bar - 1 if self.forecasts[feed.data].in_bulk else -1
        return self._judge_scores(
            np.array([math.nan if score is None else score]),
            np.array([feed.data.datetime[0]]),
            threshold[bar : bar + 1 or None],
        )[0]

    def _judge_all(self, feed: Standing) -> list[str]:
        data = feed.data
        lines = self.forecasts[data].lines
        scores = self._fused(
            np.array(lines.direction.array),
            np.array(lines.confidence.array),
            np.array(lines.signal.array),
            np.array(self.technical[data].lines.score.array[: len(lines.signal.array)]),
        )
        self._thresholds[data] = self._thresholds_of(scores, feed.first_bar)
        dates = np.array(data.datetime.array[: len(scores)])
        return self._judge_scores(scores, dates, self._thresholds[data])

    def _judge_present(self, feed: Standing) -> str:
        data = feed.data
        score = self._present_score(data)
        self._thresholds[data] = np.array([self._present_threshold(data)])
        self._rank(feed, score)
        dates = np.array([data.datetime[0]])
        return self._judge_scores(np.array([score]), dates, self._thresholds[data])[0]

    def _judge_scores(self, scores: Floats, dates: Floats, threshold: Floats) -> list[str]:
        sides = np.sign(scores)
        return self._judge(self._confidence_of(scores), sides, dates, threshold)

    def _confidence_of(self, scores: Floats) -> Floats:
        if not self.p.score_temperature:
            return strength(scores)
        up = 1.0 / (1.0 + np.exp(-(scores / self.p.score_temperature + self.p.score_bias)))
        return np.asarray(np.where(scores >= 0.0, up, 1.0 - up), dtype=np.float64)

    def _fused(
        self, direction: Floats, confidence: Floats, signal: Floats, technical: Floats
    ) -> Floats:
        model = lstm_score(direction, confidence, signal, self.confidence_quantiles)
        return fused_scores(model, technical, self.weights)

    def _present_score(self, data: Any) -> float:
        lines = self.forecasts[data].lines
        technical = self.technical[data].lines.score
        columns = (lines.direction, lines.confidence, lines.signal, technical)
        return float(self._fused(*(np.array([line[0]]) for line in columns))[0])

    def _thresholds_of(self, scores: Floats, first_bar: int) -> Floats:
        if not self.p.top_share:
            return np.full(len(scores), self.threshold)
        ranked = pd.Series(self._confidence_of(scores))
        ranked.iloc[: first_bar - 1] = np.nan
        least = (
            ranked.dropna()
            .rolling(RANKED, min_periods=LEAST_RANKED)
            .quantile(1.0 - self.p.top_share)
            .shift(1)
            .reindex(ranked.index)
            .fillna(math.inf)
        )
        return np.asarray(least, dtype=np.float64)

    def _present_threshold(self, data: Any) -> float:
        if not self.p.top_share:
            return self.threshold
        past = self._past[data]
        if len(past) < LEAST_RANKED:
            return math.inf
        return float(np.quantile(np.array(past), 1.0 - self.p.top_share))

    def _rank(self, feed: Standing, score: float) -> None:
        if self.p.top_share and not math.isnan(score):
            self._past[feed.data].append(float(self._confidence_of(np.array([score]))[0]))

    @property
    def confidence_quantiles(self) -> tuple[float, ...] | None:
        """What forecasts are ranked among; None where calibration found no skill."""
        return quantiles_to_rank_by(self.predictor)

    def _candles(self, data: Any, count: int) -> Floats:
        lines = (data.open, data.high, data.low, data.close, data.volume)
        size = min(count, len(data))
        return np.column_stack([np.array(line.get(size=size)) for line in lines])

    def _make_analyst(self) -> Analyst | None:
        if importlib.util.find_spec("openai") is None:
            _log.warning(
                "the language model abstains: asking it takes the package openai; pip install "
                "'lstm-strategies[llm]', or say use_llm=False"
            )
            return None
        config = AnalystConfig(
            endpoint=self.p.llm_endpoint,
            model=self.p.llm_model,
            api_key_env=self.p.llm_key_env,
            timeout=self.p.llm_timeout,
            retries=self.p.llm_retries,
            temperature=self.p.llm_temperature,
            max_tokens=self.p.llm_max_tokens,
            seed=self.p.llm_seed,
            price_in=self.p.llm_price_in,
            price_out=self.p.llm_price_out,
        )
        return Analyst(config, analyst_folder(self.p.home))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("weight_lstm", "weight_technical", "weight_llm", "score_temperature"):
            check_positive(name, getattr(self.p, name), or_zero=True)
        if not self.p.weight_lstm + self.p.weight_technical + self.p.weight_llm > 0.0:
            raise ParameterError(
                "weight_lstm, weight_technical and weight_llm are all 0: give one of them a "
                "weight above 0"
            )
        bias = self.p.score_bias
        if isinstance(bias, bool) or not isinstance(bias, int | float) or not math.isfinite(bias):
            raise ParameterError(f"score_bias={bias!r} is no number: give one, such as 0.0")


def fused_scores(model: Floats, technical: Floats, weights: FusionWeights) -> Floats:
    """Return the scores that entries are decided by, before a language model is asked.

    Parameters
    ----------
    model, technical
        ``float64 [T]``, scores of the forecasts and of the readings, NaN where there is none.
    weights
        Of both.

    Returns
    -------
    numpy.ndarray
        ``float64 [T]``, NaN wherever there is no forecast.
    """
    fused = fuse_arrays({"lstm": model, "technical": technical}, weights)
    return np.asarray(np.where(np.isnan(model), np.nan, fused), dtype=np.float64)


def quantiles_to_rank_by(predictor: Predictor) -> tuple[float, ...] | None:
    """Return the confidences that a model's forecasts are ranked among.

    Parameters
    ----------
    predictor
        Of the model.

    Returns
    -------
    tuple of float or None
        101 per cent quantiles of the calibration slice; None where calibration found no skill.
    """
    bundle = predictor.bundle
    # A model without skill has its most confident forecasts too: ranked, noise would count.
    if bundle.calibration[0].no_skill:
        return None
    return bundle.thresholds.confidence_quantiles[0]
