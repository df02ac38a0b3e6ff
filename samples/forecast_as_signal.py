"""Use the indicator as a plain backtrader signal: long while it says up, short while down.

Reversing at every forecast mostly pays fees; it has no edge.

    python samples/forecast_as_signal.py --data candles/BTC_USDT.parquet --timeframe 6h \
        --model models:/btc-6h@champion
"""

from __future__ import annotations

import argparse

import backtrader as bt

from lstm_strategies import CandleData, CryptoCommission, LSTMForecast, RiskSizer


def main() -> None:
    """Run the signal and print what the account is worth at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="candles: a Parquet or CSV file")
    parser.add_argument("--timeframe", default="", help="such as 6h; the file's own by default")
    parser.add_argument("--model", required=True, help="models:/NAME@champion, or a folder")
    options = parser.parse_args()

    cerebro = bt.Cerebro()
    cerebro.adddata(CandleData(dataname=options.data, timeframe=options.timeframe))
    cerebro.broker.addcommissioninfo(CryptoCommission())
    cerebro.addsizer(RiskSizer, risk=0.01)
    # Line 0 of the indicator is `signal`, which is what add_signal reads. It knows of no
    # unseen_from: this trades on candles that the model was fitted on, too.
    cerebro.add_signal(bt.SIGNAL_LONGSHORT, LSTMForecast, model=options.model)
    cerebro.run()
    print(f"worth {cerebro.broker.getvalue():.2f}, candles the model has seen included")


if __name__ == "__main__":
    main()
