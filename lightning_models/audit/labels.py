"""Labels looked up in the candles anew: what came after a trade could start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lightning_models.audit.outcomes import independent_labels
from lightning_models.audit.report import Check, Finding, moment
from lightning_models.data.slices import SLICE_NAMES
from lightning_models.features import compute_features

if TYPE_CHECKING:
    from lightning_models.candles.candles import Candles
    from lightning_models.data.datamodule import CandleDataModule

__all__ = ["LABELS", "LABEL_TOLERANCE", "SAMPLES", "audit_labels", "audit_rows", "rows_decided"]

LABELS: Final = "labels: from the next open on"
SAMPLES: Final = "samples: window ends at the decision"

LABEL_TOLERANCE: Final = 1e-5
"""Largest difference of a label, a fraction: returns are kept in single precision."""

ROW_TOLERANCE: Final = 1e-3
ROWS: Final = 24

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


def audit_labels(data: CandleDataModule) -> Check:
    """Look each sample's labels up in the candles and compare.

    Parameters
    ----------
    data
        Of a model that is to be trained.
    """
    found: list[Finding] = []
    compared = 0
    reach = np.sqrt([horizon.candles for horizon in data.horizons])
    for position, one in enumerate(data.candles):
        returns, _ = independent_labels(one, data.horizons, data.config.target)
        for name in SLICE_NAMES:
            samples = data.samples[name]
            mine = samples.symbol == position
            ends = samples.ends[mine]
            rows = rows_decided(one, samples.decided[mine])
            scaled = data.targets.numpy()[ends] * data.volatility[ends, None] * reach
            for given in (data.returns[ends], scaled):
                compared += given.size
                difference = np.abs(given - returns[rows])
                wrong = ~(difference <= LABEL_TOLERANCE * (1.0 + np.abs(returns[rows])))
                if wrong.any():
                    first = int(np.argmax(wrong.any(axis=1)))
                    found.append(
                        Finding(
                            subject=f"labels of {name}",
                            symbol=one.symbol,
                            time=moment(int(one.time[rows[first]])),
                            size=_largest(difference),
                            unit="of the return",
                            detail=f"{int(wrong.any(axis=1).sum())} labels are not the return from "
                            "the next open to the horizon's close or the first barrier",
                            cause="a label that starts at the decision's own close, or is shifted "
                            "by a candle: take the next open, which a trade can have",
                        )
                    )
                    break
    return Check(
        name=LABELS,
        what=f"each sample's labels, looked up in the candles; equal to {LABEL_TOLERANCE:g}",
        compared=compared,
        findings=tuple(found),
    )


def audit_rows(data: CandleDataModule, *, seed: int = 0) -> Check:
    """Compute some samples' last feature rows from their own past and compare.

    Parameters
    ----------
    data
        Of a model that is to be trained.
    seed
        Of which samples.
    """
    random = np.random.default_rng(seed)
    found: dict[str, Finding] = {}
    compared = 0
    for name in SLICE_NAMES:
        samples = data.samples[name]
        chosen = random.integers(0, max(1, len(samples)), size=min(ROWS, len(samples)))
        for sample in np.unique(chosen).tolist():
            one = data.candles[int(samples.symbol[sample])]
            row = int(rows_decided(one, samples.decided[sample : sample + 1])[0])
            first = max(0, row + 1 - 2 * data.required_bars)
            table = compute_features(
                one.time[first : row + 1],
                one.ohlcv[first : row + 1],
                features=data.config.features,
                timeframe=one.timeframe,
                market=one.market,
            )
            expected = data.scaler.transform(np.nan_to_num(table.values[-1]))
            given = data.features.numpy()[samples.ends[sample]]
            compared += len(given)
            difference = np.abs(given - expected)
            for column in np.flatnonzero(~(difference <= ROW_TOLERANCE)).tolist():
                label = data.config.features[column].label
                found.setdefault(
                    label,
                    Finding(
                        subject=label,
                        symbol=one.symbol,
                        time=moment(int(one.time[row])),
                        size=float(difference[column]),
                        unit="deviations",
                        detail=f"the {name} sample's last row is not what its past gives",
                        cause="features and labels are shifted against each other, or the feature "
                        "looks ahead",
                    ),
                )
    return Check(
        name=SAMPLES,
        what="the last row of some windows, computed from the candles up to it alone; equal to "
        f"{ROW_TOLERANCE:g} deviations",
        compared=compared,
        findings=tuple(found.values()),
    )


def rows_decided(candles: Candles, decided: Times) -> Times:
    """Return the rows of the candles that close when decisions are made.

    Parameters
    ----------
    candles
        Of one symbol.
    decided
        ``int64 [N]``, closes in milliseconds.
    """
    return np.searchsorted(candles.time, decided - candles.period_ms)


def _largest(difference: Floats) -> float | None:
    known = difference[np.isfinite(difference)]
    return float(known.max()) if len(known) else None
