"""Features of many pasts: no future, and no start of the data, may change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.comparison import START, TableComparison
from lightning_models.audit.futures import (
    CUT,
    EXCHANGED,
    FUTURES,
    exchanged_future,
    section_before_end,
    with_holes,
)
from lightning_models.audit.report import Check, Finding, moment
from lightning_models.errors import FeatureError
from lightning_models.features import compute_features
from lightning_models.features.compute import warmup_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightning_models.candles.candles import Candles
    from lightning_models.features import FeatureSpec, FeatureTable

__all__ = ["FEATURE_TOLERANCE", "START_TOLERANCE", "audit_features"]

FEATURE_TOLERANCE: Final = 1e-8
"""Largest change of a value that is rounding, in deviations of its feature."""

START_TOLERANCE: Final = 1e-5
"""Largest trace of where the data starts after the warm-up, in deviations of its feature.

Warm-ups promise 1e-6 of the scaled feature; its deviation is measured on fewer candles here.
"""

# Every candle of a short section, and some of the whole series for what reaches far.
DENSE: Final = 64
TAIL: Final = 32
SPARSE: Final = 6
STARTS: Final = 12

Floats = npt.NDArray[np.float64]


def audit_features(
    features: Sequence[FeatureSpec], candles: Sequence[Candles], *, seed: int = 0
) -> list[Check]:
    """Compute features on many pasts and compare them with those of the whole series.

    Parameters
    ----------
    features
        Any set, a user's own among them.
    candles
        One entry for each symbol, of the timeframe that the features are for.
    seed
        Of the random cuts, exchanged futures and made-up holes.

    Returns
    -------
    list of Check
        ``features: future cut off`` and ``future exchanged`` (see
        `lightning_models.audit.futures.FUTURES` for why both) at every candle of a section at
        the end of each symbol, at every fourth of the same section with holes made into it,
        so that bridging takes part, and at some of the whole series;
        ``features: start of the data``, which a value of the same candle must not show after
        its warm-up; and ``features: finite``. Rows before a feature's warm-up may hold
        anything and are not compared.

    Raises
    ------
    CandleError, FeatureError
        If the features cannot be computed on the whole series.
    """
    comparisons = {future: TableComparison(features, FEATURE_TOLERANCE) for future in FUTURES}
    starts = TableComparison(features, START_TOLERANCE)
    found: dict[str, list[Finding]] = {name: [] for name in (*FUTURES, START, "finite")}
    finite, short = 0, []
    warmup = warmup_of(features)
    random = np.random.default_rng(seed)
    for one in candles:
        if len(one) < warmup + 3:
            short.append(one.symbol)
            continue
        count, gaps = _without_number(features, one)
        finite += count
        found["finite"] += gaps
        for future in FUTURES:
            comparison = comparisons[future]
            for series, cuts in _series_to_cut(one, warmup, random):
                _cut_and_compare(comparison, series, cuts, future, seed)
            found[future] += comparison.take_findings(one.symbol, future)
        _shift_and_compare(starts, section_before_end(one, warmup + DENSE + TAIL), warmup, random)
        found[START] += starts.take_findings(one.symbol, START)
    reason = f"fewer than {warmup + 3} candles: {', '.join(short)}" if short else ""
    told = {
        CUT: "each value at a candle, from the candles up to there and from all of them; equal "
        f"to {FEATURE_TOLERANCE:g} deviations of its feature",
        EXCHANGED: "the same, with the candles that follow shuffled and at half or twice the price",
        START: "each value past its warm-up, from data that starts later; equal to "
        f"{START_TOLERANCE:g} deviations",
        "finite": "each value past its warm-up is a number",
    }
    names = {future: f"future {future}" for future in FUTURES}
    compared = {name: each.compared for name, each in comparisons.items()}
    compared |= {START: starts.compared, "finite": finite}
    _spare_the_obvious(found)
    return [
        Check(
            name=f"features: {names.get(key, key)}",
            what=told[key],
            compared=compared[key],
            findings=tuple(found[key]),
            reason=reason,
        )
        for key in (*FUTURES, START, "finite")
    ]


def _series_to_cut(
    candles: Candles, warmup: int, random: np.random.Generator
) -> Iterable[tuple[Candles, Sequence[int]]]:
    # Each with how many of its candles are known.
    section = section_before_end(candles, warmup + 2 + DENSE + TAIL)
    last = max(len(section) - TAIL, warmup + 3)
    yield section, range(max(warmup + 2, last - DENSE), min(last, len(section)))
    if candles.market == "continuous":
        # Some more, for the holes that take their part.
        broken = with_holes(section_before_end(candles, int(1.1 * (warmup + DENSE + TAIL)) + 12))
        yield broken, range(max(warmup + 2, len(broken) - TAIL - DENSE), len(broken), 4)
    if len(candles) > len(section):
        cuts = random.integers(warmup + 2, len(candles), size=SPARSE)
        yield candles, sorted({int(cut) for cut in cuts})


def _cut_and_compare(
    comparison: TableComparison, candles: Candles, cuts: Sequence[int], future: str, seed: int
) -> None:
    try:
        whole = _compute(comparison.features, candles, candles.ohlcv)
        for known in cuts:
            ohlcv = candles.ohlcv[:known]
            if future == EXCHANGED:
                ohlcv = exchanged_future(candles.ohlcv, known, seed)
            past = _compute(comparison.features, candles, ohlcv)
            rows = int(whole.rows[known - 1]) + 1
            comparison.add(past, whole, min(rows, len(past.time)))
    except FeatureError as error:
        comparison.add_failure("features", str(error))


def _shift_and_compare(
    comparison: TableComparison, section: Candles, warmup: int, random: np.random.Generator
) -> None:
    latest = len(section) - warmup - 2
    if latest < 1:
        return
    try:
        whole = _compute(comparison.features, section, section.ohlcv)
        for start in sorted({int(each) for each in random.integers(1, latest + 1, size=STARTS)}):
            later = section.between(int(section.time[start]), None)
            part = _compute(comparison.features, later, later.ohlcv)
            comparison.add(part, whole, len(part.time), int(whole.rows[start]))
    except FeatureError as error:
        comparison.add_failure("features", str(error))


def _compute(features: Sequence[FeatureSpec], candles: Candles, ohlcv: Floats) -> FeatureTable:
    return compute_features(
        candles.time[: len(ohlcv)],
        ohlcv,
        features=features,
        timeframe=candles.timeframe,
        market=candles.market,
    )


def _without_number(features: Sequence[FeatureSpec], candles: Candles) -> tuple[int, list[Finding]]:
    table = _compute(features, candles, candles.ohlcv)
    found, compared = [], 0
    for column, feature in enumerate(features):
        valid = table.steps > feature.warmup
        compared += int(valid.sum())
        bad = np.flatnonzero(valid & ~np.isfinite(table.values[:, column]))
        if len(bad):
            found.append(
                Finding(
                    subject=feature.label,
                    symbol=candles.symbol,
                    time=moment(int(table.time[bad[0]])),
                    size=len(bad) / max(1, int(valid.sum())),
                    unit="of the candles",
                    detail=f"has no number at {len(bad)} candles past its warm-up",
                    cause="a logarithm or a ratio of zero on flat candles or without volume, or a "
                    "centred window that has no end: give every candle a number",
                )
            )
    return compared, found


def _spare_the_obvious(found: dict[str, list[Finding]]) -> None:
    # What looks ahead changes with the length of the data, and so with where it starts: telling
    # it twice would send its author looking for a second mistake.
    looking = {(one.subject, one.symbol) for future in FUTURES for one in found[future]}
    found[START] = [one for one in found[START] if (one.subject, one.symbol) not in looking]
