"""The fused signal: forecast, technical readings and a language model's view as one score."""

from __future__ import annotations

from lstm_strategies.signals.fusion import (
    PLAIN,
    STRONG,
    FusionWeights,
    Label,
    fuse,
    fuse_arrays,
    label,
    lstm_score,
    strength,
    weights_used,
)
from lstm_strategies.signals.risk import (
    ForecastRisk,
    RiskArrays,
    forecast_risk,
    position_size_pct,
    quantile_knots,
    risk_arrays,
)
from lstm_strategies.signals.score_calibration import (
    MIN_OUTCOMES,
    ScoreCalibration,
    fit_score_calibration,
)
from lstm_strategies.signals.signal import (
    Entry,
    IndicatorValues,
    LLMAnalysis,
    LSTMPrediction,
    RiskAssessment,
    Side,
    Signal,
    TechnicalAnalysis,
    TechnicalValue,
)
from lstm_strategies.signals.signal_building import (
    build_signal,
    lstm_prediction,
    technical_analysis,
)
from lstm_strategies.signals.technical import (
    READING_NAMES,
    WARMUP,
    Reading,
    ReadingArrays,
    TechnicalArrays,
    readings_at,
    technical_arrays,
)
from lstm_strategies.signals.technical_indicator import TechnicalIndicator

__all__ = [
    "MIN_OUTCOMES",
    "PLAIN",
    "READING_NAMES",
    "STRONG",
    "WARMUP",
    "Entry",
    "ForecastRisk",
    "FusionWeights",
    "IndicatorValues",
    "LLMAnalysis",
    "LSTMPrediction",
    "Label",
    "Reading",
    "ReadingArrays",
    "RiskArrays",
    "RiskAssessment",
    "ScoreCalibration",
    "Side",
    "Signal",
    "TechnicalAnalysis",
    "TechnicalArrays",
    "TechnicalIndicator",
    "TechnicalValue",
    "build_signal",
    "fit_score_calibration",
    "forecast_risk",
    "fuse",
    "fuse_arrays",
    "label",
    "lstm_prediction",
    "lstm_score",
    "position_size_pct",
    "quantile_knots",
    "readings_at",
    "risk_arrays",
    "strength",
    "technical_analysis",
    "technical_arrays",
    "weights_used",
]
