"""Slices apart: each label ends within its own, and nothing unseen was seen."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.labels import rows_decided
from lightning_models.audit.outcomes import independent_labels
from lightning_models.audit.report import Check, Finding, moment
from lightning_models.candles.timestamps import iso_utc
from lightning_models.data.slices import SLICE_NAMES
from lightning_models.features import compute_features
from lightning_models.timeframes import period_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_models.bundle import Bundle
    from lightning_models.candles.candles import Candles
    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.data.horizons import Horizon
    from lightning_models.data.slices import SliceName

__all__ = ["SLICES", "audit_bundle_slices", "audit_slices"]

SLICES: Final = "slices: purged"

BASE_RATE_TOLERANCE: Final = 1e-9

Floats = npt.NDArray[np.float64]

Times = npt.NDArray[np.int64]


def audit_slices(data: CandleDataModule) -> Check:
    """Check that each label ends in its slice, and that slices are a label's reach apart.

    Parameters
    ----------
    data
        Of a model that is to be trained.
    """
    found: list[Finding] = []
    compared, reach = 0, _reach(data.horizons, data.candles[0].period_ms)
    latest_end, latest_name = 0, ""
    for number, name in enumerate(SLICE_NAMES):
        samples = data.samples[name]
        if not len(samples):
            continue
        label_end = np.zeros(len(samples), dtype=np.int64)
        for position, one in enumerate(data.candles):
            mine = samples.symbol == position
            _, end = independent_labels(one, data.horizons, data.config.target)
            label_end[mine] = end[rows_decided(one, samples.decided[mine])]
        compared += len(samples)
        limit = data.slices.edges[number + 1]
        beyond = label_end > limit
        if beyond.any():
            first = int(np.argmax(beyond))
            found.append(
                _reaching_over(name, data, first, int((label_end[beyond] - limit).max()), beyond)
            )
        gap = int(samples.decided.min()) - latest_end
        # The cut is the same for all symbols: what lies before it belongs to earlier slices.
        apart = int(samples.decided.min()) - data.slices.edges[number] if number else reach
        if latest_name and (gap < 0 or apart < reach):
            found.append(_unpurged(latest_name, name, min(gap, apart - reach), samples.decided))
        latest_end, latest_name = max(latest_end, int(label_end.max())), name
    found += _unseen_too_early(data.slices.unseen_from, data.slices.edges[3], reach)
    return Check(
        name=SLICES,
        what="each label ends within its slice; from a cut to the next slice's first decision "
        f"there is a label's reach ({reach // data.candles[0].period_ms} x {data.timeframe}); "
        "and the first unseen decision is that far behind the calibration slice",
        compared=compared,
        findings=tuple(found),
    )


def audit_bundle_slices(bundle: Bundle, candles: Sequence[Candles] | None) -> Check:
    """Check the slices that a model states, and count their samples anew.

    Parameters
    ----------
    bundle
        Of the model.
    candles
        Those it was trained on, or None where they are not at hand.
    """
    reach = _reach(bundle.horizons, period_ms(bundle.timeframe))
    spans = {name: _span(bundle, name) for name in SLICE_NAMES if name in bundle.slices}
    found: list[Finding] = []
    compared = 0
    filled = [name for name in spans if bundle.slices[name].samples]
    for before, after in pairwise(filled):
        compared += 1
        apart = spans[after][0] - spans[before][1]
        if apart < reach:
            found.append(_unpurged(before, after, apart - reach, np.array([spans[after][0]])))
    compared += 1
    found += _unseen_too_early(bundle.unseen_from_ms, spans["calibration"][1], reach)
    reason = ""
    if candles is not None:
        newest = max(int(one.time[-1]) + one.period_ms for one in candles)
        counted, base_rate = _count_samples(bundle, candles)
        compared += sum(counted.values())
        for name in filled:
            stated = bundle.slices[name].samples
            if spans[name][1] > newest:
                reason = f"samples of {name} were not counted: it was fitted without their candles"
            elif counted[name] != stated:
                found.append(
                    Finding(
                        subject=f"{name} slice",
                        time=moment(spans[name][0]),
                        size=float(abs(stated - counted[name])),
                        unit="samples",
                        detail=f"states {stated} samples where {counted[name]} decisions have "
                        "their labels within it",
                        cause="samples whose labels reach into another slice, or whose windows "
                        "lack history, were used: train again",
                    )
                )
        compared += len(base_rate)
        for horizon, rate, given in zip(
            bundle.horizons, bundle.base_rate, base_rate.tolist(), strict=True
        ):
            if abs(rate - given) > BASE_RATE_TOLERANCE:
                found.append(_other_base_rate(horizon.name, spans["train"][0], rate, given))
    else:
        reason = "samples were not counted: these are other candles than it was trained on"
    return Check(
        name=SLICES,
        what="from the end of each slice's labels to the next slice's first decision there is a "
        "label's reach, behind the calibration slice too; each slice holds as many samples as "
        "have their label within it; and as many train labels are ups as the model states",
        compared=compared,
        findings=tuple(found),
        reason=reason,
    )


def _reach(horizons: Sequence[Horizon], period: int) -> int:
    return max(horizon.candles for horizon in horizons) * period


def _span(bundle: Bundle, name: SliceName) -> tuple[int, int]:
    span = bundle.slices[name]
    return round(span.start.timestamp() * 1000), round(span.end.timestamp() * 1000)


def _count_samples(
    bundle: Bundle, candles: Sequence[Candles]
) -> tuple[dict[SliceName, int], Floats]:
    # Of each slice; and what share of the train labels that moved are ups, for each horizon.
    ups, moved = np.zeros(len(bundle.horizons)), np.zeros(len(bundle.horizons))
    counted: dict[SliceName, int] = dict.fromkeys(SLICE_NAMES, 0)
    window = bundle.lookback
    for one in candles:
        table = compute_features(
            one.time,
            one.ohlcv,
            features=bundle.features,
            timeframe=one.timeframe,
            market=one.market,
        )
        returns, end = independent_labels(one, bundle.horizons, bundle.target)
        usable = table.ends_window(window, bundle.warmup, bundle.bridged_share)[table.rows]
        decided = one.time + one.period_ms
        for name in SLICE_NAMES:
            start, last = _span(bundle, name)
            inside = usable & (end > 0) & (decided >= start) & (end <= last)
            counted[name] += int(inside.sum())
            if name == "train":
                ups += (returns[inside] > 0).sum(axis=0)
                moved += (returns[inside] != 0).sum(axis=0)
    return counted, ups / np.maximum(moved, 1)


def _other_base_rate(horizon: str, start: int, stated: float, given: float) -> Finding:
    return Finding(
        subject=f"labels {horizon}",
        time=moment(start),
        size=abs(stated - given),
        unit="of the labels",
        detail=f"{stated:.2%} of the train labels were ups, where from the next open to the "
        f"horizon's close {given:.2%} are",
        cause="the labels were other ones: from the decision's own close, shifted by a candle, or "
        "of other rows; train again",
    )


def _reaching_over(
    name: SliceName,
    data: CandleDataModule,
    first: int,
    over: int,
    beyond: npt.NDArray[np.bool_],
) -> Finding:
    samples = data.samples[name]
    period = data.candles[0].period_ms
    return Finding(
        subject=f"{name} slice",
        symbol=data.symbols[int(samples.symbol[first])],
        time=moment(int(samples.decided[first]) - period),
        size=over / period,
        unit="candles",
        detail=f"{int(beyond.sum())} labels end after the slice does",
        cause="samples were sorted into slices by when they are decided, not by when their "
        "labels are known: purge by each label's own end",
    )


def _unpurged(before: str, after: str, lack: int, decided: Times) -> Finding:
    return Finding(
        subject=f"{after} slice",
        time=moment(int(decided.min())),
        size=-lack / 3_600_000,
        unit="hours too close",
        detail=f"begins before the labels of {before} have been left a label's reach behind",
        cause="no purge between slices, or one shorter than the furthest horizon: leave out "
        "what lies within its reach of the cut",
    )


def _unseen_too_early(unseen_from: int, calibration_end: int, reach: int) -> list[Finding]:
    lack = calibration_end + reach - unseen_from
    if lack <= 0:
        return []
    return [
        Finding(
            subject="unseen_from",
            time=moment(unseen_from),
            size=lack / 3_600_000,
            unit="hours too early",
            detail=f"lies before {iso_utc(calibration_end + reach)}, the end of calibration and "
            "its purge",
            cause="decisions of the calibration slice would count as out of sample: train again",
        )
    ]
