"""Folds: slices that move along in time, each test after everything its model has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_models.candles import iso_utc
from lightning_models.data import Slices, resolve_horizons
from lightning_models.data.datamodule import MIN_SAMPLES
from lightning_models.errors import ConfigError, TooFewCandlesError
from lightning_models.features.compute import warmup_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.walk_forward.config import WalkForwardConfig
    from lightning_models.candles import Candles
    from lightning_models.data.datamodule import DataConfig

__all__ = ["Fold", "fold_seed", "plan_folds"]


@dataclass(frozen=True)
class Fold:
    """One fold: where it is cut, and until when its model is the newest.

    Parameters
    ----------
    number
        From 1, in order of time.
    of
        How many there are.
    slices
        The same for all symbols. The test slice begins at `Slices.unseen_from`.
    replaced_at
        First decision time of the next fold's model; None for the last fold.
    """

    number: int
    of: int
    slices: Slices
    replaced_at: int | None

    @property
    def known_until(self) -> int:
        """End of the calibration slice: nothing that closes later is given to the fit."""
        return self.slices.edges[3]

    @property
    def name(self) -> str:
        """Such as ``fold 2 of 5 (tested from 2021-03-01)``."""
        return (
            f"fold {self.number} of {self.of} (tested from {iso_utc(self.slices.unseen_from)[:10]})"
        )


def fold_seed(seed: int, fold: Fold) -> int:
    """Return the seed of a fold's weights and batches: the training seed + its number - 1.

    Examples
    --------
    >>> fold_seed(7, Fold(3, 5, Slices((0, 1, 2, 3, 4), 1), None))
    9
    """
    return (seed + fold.number - 1) % 2**32


def plan_folds(
    config: WalkForwardConfig, data: DataConfig, candles: Sequence[Candles]
) -> tuple[Fold, ...]:
    """Cut the time span of all symbols into folds.

    Parameters
    ----------
    config
        Number, scheme and length.
    data
        Its slices' shares divide each fold's history, and its horizons set the embargo.
    candles
        One entry for each symbol.

    Returns
    -------
    tuple of Fold
        Their tests follow one another without a gap, up to the last candle.

    Raises
    ------
    TooFewCandlesError
        If a slice of some fold would hold too few samples; the message says how many candles
        are needed.
    ConfigError
        If there are no candles, or the test's length is unreadable or nought.

    Examples
    --------
    >>> from lightning_models import simulate_market
    >>> from lightning_models.data.datamodule import DataConfig
    >>> from experiments.walk_forward.config import WalkForwardConfig
    >>> data = DataConfig(features=("close",), lookback=8)
    >>> candles = simulate_market(candles=4000)
    >>> start = int(candles[0].time[0])
    >>> for scheme in ("anchored", "rolling"):
    ...     for fold in plan_folds(WalkForwardConfig(folds=3, scheme=scheme), data, candles):
    ...         print(fold.number, [(edge - start) // 3_600_000 for edge in fold.slices.edges])
    1 [0, 2155, 2463, 2617, 3079]
    2 [0, 2616, 2924, 3078, 3540]
    3 [0, 3077, 3385, 3539, 4000]
    1 [0, 2155, 2463, 2617, 3079]
    2 [461, 2616, 2924, 3078, 3540]
    3 [922, 3077, 3385, 3539, 4000]
    """
    if not candles:
        raise ConfigError("no candles were given: name at least one file or frame")
    period = candles[0].period_ms
    start = min(int(one.time[0]) for one in candles)
    total = (max(int(one.time[-1]) for one in candles) + period - start) // period
    reach = max(h.candles for h in resolve_horizons(data.horizons, candles[0].timeframe))
    gap = reach + config.embargo
    lengths = _lengths(config, data, candles[0].timeframe, total, gap)
    history = lengths.train + lengths.validation + lengths.calibration
    folds = []
    for position in range(config.folds):
        moved = position * lengths.test
        first = moved if config.scheme == "rolling" else 0
        known = history + moved
        last = position == config.folds - 1
        replaced = None if last else known + lengths.test + gap
        cuts = (
            first,
            known - lengths.calibration - lengths.validation,
            known - lengths.calibration,
            known,
            # The last decision before the next model's first, with the whole of its label.
            total if replaced is None else min(total, replaced - 1 + reach),
        )
        edges = tuple(start + cut * period for cut in cuts)
        folds.append(
            Fold(
                position + 1,
                config.folds,
                Slices((edges[0], edges[1], edges[2], edges[3], edges[4]), gap * period),
                None if replaced is None else start + replaced * period,
            )
        )
    return tuple(folds)


@dataclass(frozen=True)
class _Lengths:
    # Of the first fold, in candles.
    train: int
    validation: int
    calibration: int
    test: int


def _lengths(
    config: WalkForwardConfig, data: DataConfig, timeframe: str, total: int, gap: int
) -> _Lengths:
    shares = data.slices
    # What each slice needs at least, in candles: its samples, and room for their labels.
    before = warmup_of(data.features) + data.lookback - 1
    least = {
        "train": before + gap + MIN_SAMPLES,
        "validation": 2 * gap + MIN_SAMPLES if shares.validation else 0,
        "calibration": 2 * gap + MIN_SAMPLES,
    }
    least_test = 2 * gap + MIN_SAMPLES
    if config.test_length is not None:
        test = _candles_of(config.test_length, timeframe)
        if test < least_test:
            raise TooFewCandlesError(
                f"a test of {test} candles is too short: {least_test} are needed for "
                f"{MIN_SAMPLES} forecasts and their labels. Give a longer --test-length"
            )
        history = total - config.folds * test
        scale = 1.0 - shares.test
        needed = _history_for(least, data, scale) + config.folds * test
    else:
        if not shares.test:
            raise ConfigError(
                "data.slices.test is 0, and a walk-forward tests every fold: give it a share, or "
                "a --test-length"
            )
        # The first fold takes the whole of its shares; each later one adds a test.
        growth = 1.0 + (config.folds - 1) * shares.test
        test = int(total * shares.test / growth)
        history = total - config.folds * test
        scale = 1.0 - shares.test
        by_test = math.ceil(least_test / shares.test)
        first = max(by_test, math.ceil(_history_for(least, data, scale) / scale))
        needed = math.ceil(first * growth) + config.folds
    validation = round(history * shares.validation / scale)
    calibration = round(history * shares.calibration / scale)
    found = {
        "train": history - validation - calibration,
        "validation": validation,
        "calibration": calibration,
    }
    short = [name for name, length in found.items() if length < least[name]]
    if test < least_test:
        short.append("test")
    if short:
        folds = f"{config.folds} folds" if config.folds > 1 else "one fold"
        raise TooFewCandlesError(
            f"{total} {timeframe} candles are too few for {folds}: the "
            f"{' and the '.join(short)} slice would hold fewer than {MIN_SAMPLES} samples. About "
            f"{max(needed, total + 1)} candles are needed; give more candles, fewer --folds, a "
            "finer timeframe or a shorter lookback"
        )
    return _Lengths(found["train"], validation, calibration, test)


def _history_for(least: dict[str, int], data: DataConfig, scale: float) -> int:
    # Candles before the first test, of which each slice gets its share.
    shares = {
        "train": data.slices.train,
        "validation": data.slices.validation,
        "calibration": data.slices.calibration,
    }
    # One more for each, because lengths are whole candles.
    return math.ceil(
        max((least[name] + 1) * scale / share for name, share in shares.items() if share)
    )


def _candles_of(length: int | str, timeframe: str) -> int:
    try:
        (resolved,) = resolve_horizons((length,), timeframe)
    except ConfigError as error:
        raise ConfigError(
            f"unreadable test length {length!r}: give a number of candles, or a duration that is "
            f"a multiple of {timeframe}, such as 90d"
        ) from error
    return resolved.candles
