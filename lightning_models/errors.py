"""Errors of the modelling floor: each says what was wrong, with the value, and what to do next."""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CandleError",
    "ConfigError",
    "FeatureError",
    "LSTMStrategiesError",
    "ModelNotFoundError",
    "NoForecastError",
    "StorageError",
    "TooFewCandlesError",
    "TrainingError",
    "TrainingInterrupted",
]


class LSTMStrategiesError(Exception):
    """Base of every error this project raises on purpose.

    The command line prints the message alone and ends with `exit_code`:
    1 where the work failed, 2 where the request itself was wrong.
    """

    exit_code = 1


class ConfigError(LSTMStrategiesError):
    """A configuration, option or file name that cannot be meant as it was written."""

    exit_code = 2


class CandleError(LSTMStrategiesError):
    """Candles that cannot be true: wrong types, order, prices or times."""


class TooFewCandlesError(CandleError):
    """Fewer candles than a model, a slice or an indicator needs."""


class NoForecastError(CandleError):
    """A candle at which a model has nothing to say: too much of its window is missing."""


class FeatureError(LSTMStrategiesError):
    """A feature that the data cannot give."""


class ModelNotFoundError(LSTMStrategiesError):
    """No registered model, version, alias or folder of that name."""


class BundleError(LSTMStrategiesError):
    """A model folder that is damaged, foreign, newer than this release, or unfit for the data."""


class StorageError(LSTMStrategiesError):
    """A disk or a database that cannot be written or reached."""


class TrainingError(LSTMStrategiesError):
    """A training run that cannot start or cannot go on."""


class TrainingInterrupted(TrainingError):  # noqa: N818 - the user's own wish
    """Training was stopped by the user; the message says how to continue it."""
