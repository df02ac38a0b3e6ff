"""Register two features of your own, one of which looks ahead, and let the audit find it.

    python samples/audit_own_feature.py --data candles/BTC_USDT.parquet --timeframe 6h

or, with the same file and without this script's own lines:

    lstm-strategies audit --preset quickstart --features samples/audit_own_feature.py \
        --set 'data.features=[close, range_place, centred_momentum]' --data 'candles/*.parquet'

The command ends with 1 where anything looks ahead. That a feature does not look ahead says
nothing about its use: neither of these has an edge.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from experiments import audit
from experiments.presets import load_train_config
from lightning_models import read_candles
from lightning_models.features import register_feature


def range_place(ohlcv, period):
    """Where the close lies in the trailing range, from -0.5 to 0.5: past rows only."""
    high = pd.Series(ohlcv[:, 1]).rolling(int(period)).max()
    low = pd.Series(ohlcv[:, 2]).rolling(int(period)).min()
    spread = (high - low).to_numpy()
    place = np.divide(
        ohlcv[:, 3] - low.to_numpy(), spread, out=np.full(len(ohlcv), 0.5), where=spread > 0
    )
    return place - 0.5


def centred_momentum(ohlcv, period):
    """The close against a moving average that is centred, as charts draw it: it looks ahead."""
    close = pd.Series(ohlcv[:, 3])
    average = close.rolling(int(period), center=True, min_periods=1).mean()
    return np.log(close / average)


register_feature(
    "range_place", range_place, warmup=lambda period: int(period), defaults={"period": 24}
)
register_feature(
    "centred_momentum", centred_momentum, warmup=lambda period: int(period), defaults={"period": 9}
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles, Parquet or CSV")
    parser.add_argument("--timeframe", default=None, help="coarser than the candles', such as 6h")
    args = parser.parse_args()

    candles = read_candles(args.data, timeframe=args.timeframe)
    for name in ("range_place", "centred_momentum"):
        config = load_train_config("quickstart", [f"data.features=[close, {name}]"])
        report = audit(config, candles)
        print(f"{name}: {report.verdict}")
        for finding in report.findings:
            size = "" if finding.size is None else f" by {finding.size:.2g} {finding.unit}"
            print(f"  {finding.subject} at {finding.time}: {finding.detail}{size}")
            print(f"    usually {finding.cause}")


if __name__ == "__main__":
    main()
