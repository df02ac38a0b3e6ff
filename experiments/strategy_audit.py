"""A strategy on many pasts: it must act the same whatever comes after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from experiments.quiet import without_warnings
from experiments.strategy_recording import NEXT, RUNONCE, Event, RecordedRun, record_run
from lightning_models.audit.futures import CUT, EXCHANGED, exchanged_future, section_before_end
from lightning_models.audit.report import Check, Finding, moment
from lightning_models.candles import Candles
from lightning_models.errors import ConfigError

__all__ = ["audit_strategy"]

BARS: Final = 160
LEAST_BARS: Final = 500
CUTS_AT_ORDERS: Final = 6
CUTS_ANYWHERE: Final = 2
CUTS_BAR_BY_BAR: Final = 2

# What an order's numbers may differ by: they are sums of floats in the same order.
TOLERANCE: Final = 1e-9


def audit_strategy(
    strategy: Any,
    candles: Candles,
    *,
    settings: Mapping[str, Any] | None = None,
    required_bars: int = 0,
    seed: int = 0,
) -> list[Check]:
    """Run a strategy on many pasts and compare its orders and fills with those of all candles.

    Parameters
    ----------
    strategy
        A ``backtrader.Strategy`` class that trades its first feed.
    candles
        Of one symbol; a section at their end is used.
    settings
        The strategy's parameters.
    required_bars
        Candles it needs before its first decision, where that is known.
    seed
        Of the cuts and of the exchanged futures.

    Returns
    -------
    list of Check
        ``strategy: future cut off``, in bulk (``runonce``) and bar by bar (``next``, without
        preloaded bars), and ``strategy: future exchanged`` in both. The candles are cut where it
        made orders, since a look ahead shows at the last bar that is left, and at other bars.

    Raises
    ------
    ConfigError
        If the strategy fails where it has all candles, before the last bar.
    """
    section = section_before_end(candles, max(LEAST_BARS, required_bars + BARS))
    random = np.random.default_rng([seed, len(section)])
    found: dict[str, dict[str, Finding]] = {CUT: {}, EXCHANGED: {}}
    compared = {CUT: 0, EXCHANGED: 0}
    name = strategy.__name__
    # Dozens of short runs would each tell of refused orders, and of having made no trade.
    with without_warnings():
        bulk = record_run(strategy, section, settings, RUNONCE)
        _check_reference(name, bulk, section, found[CUT])
        cuts = _cuts(bulk, section, random)
        for label, mode, chosen in (
            ("runonce", RUNONCE, cuts),
            ("next", NEXT, cuts[:: max(1, len(cuts) // CUTS_BAR_BY_BAR)]),
        ):
            whole = bulk if mode is RUNONCE else record_run(strategy, section, settings, mode)
            if whole.failure is not None and mode is NEXT:
                _add_failure(found[CUT], name, label, section, whole)
                continue
            for known in chosen:
                cut = section.between(None, int(section.time[known - 1]) + 1)
                other = _exchanged(section, known, seed)
                for future, past in ((CUT, cut), (EXCHANGED, other)):
                    run = record_run(strategy, past, settings, mode)
                    end = _stamp(section, known)
                    before = [event for event in whole.events if event[0] <= end]
                    compared[future] += len(before)
                    if run.failure is not None and run.bars <= known:
                        _add_failure(found[future], name, label, past, run)
                    else:
                        _compare(found[future], name, label, section, run, before, end)
    reason = "" if bulk.events else "it made no order on these candles: no decision to compare"
    told = {
        CUT: "orders, cancellations and fills up to a bar, on the candles so far and on all of "
        "them, in bulk and bar by bar",
        EXCHANGED: "the same, with the candles that follow shuffled and at half or twice the price",
    }
    return [
        Check(
            name=f"strategy: future {future}",
            what=told[future],
            compared=compared[future],
            findings=tuple(found[future].values()),
            reason=reason,
        )
        for future in (CUT, EXCHANGED)
    ]


def _check_reference(
    name: str, run: RecordedRun, section: Candles, found: dict[str, Finding]
) -> None:
    if run.failure is None:
        return
    if isinstance(run.failure, IndexError) and run.bars >= len(section):
        _add_failure(found, name, "runonce", section, run)
        return
    raise ConfigError(
        f"{name} cannot be audited: it failed at bar {run.bars} of {len(section)} with "
        f"{type(run.failure).__name__}: {run.failure}. Correct it, or give the parameters it needs "
        "with --set NAME=VALUE"
    ) from run.failure


def _cuts(run: RecordedRun, section: Candles, random: np.random.Generator) -> list[int]:
    # How many bars are known: up to one with an order, and up to any.
    ordered = sorted({time for time, kind, *_ in run.events if kind not in ("fill", "cancel")})
    stamps = section.time + section.period_ms - 1
    bars = np.searchsorted(stamps, np.array(ordered, dtype=np.int64)) + 1
    bars = bars[bars < len(section)]
    if len(bars) > CUTS_AT_ORDERS:
        bars = random.choice(bars, size=CUTS_AT_ORDERS, replace=False)
    anywhere = random.integers(len(section) - BARS // 2, len(section), size=CUTS_ANYWHERE)
    return sorted({int(bar) for bar in (*bars, *anywhere) if bar > 1})


def _compare(
    found: dict[str, Finding],
    name: str,
    label: str,
    section: Candles,
    run: RecordedRun,
    expected: list[Event],
    end: int,
) -> None:
    given = [event for event in run.events if event[0] <= end]
    for position in range(max(len(given), len(expected))):
        mine = given[position] if position < len(given) else None
        theirs = expected[position] if position < len(expected) else None
        if mine is not None and theirs is not None and _same(mine, theirs):
            continue
        event = min((each for each in (mine, theirs) if each is not None), key=lambda one: one[0])
        found.setdefault(
            label,
            Finding(
                subject=f"{name} ({label})",
                symbol=section.symbol,
                time=moment(event[0] + 1 - section.period_ms),
                size=None,
                detail=f"{_spoken(theirs)} with all candles, {_spoken(mine)} without those after "
                "the bar",
                cause="it reads bars that have not come: data.close[1] or another positive index, "
                "data.close[-1] on the first bar (which is the last one of all), the feed's "
                "candles, or values computed from the whole series beforehand",
            ),
        )
        return


def _same(mine: Event, theirs: Event) -> bool:
    return mine[:3] == theirs[:3] and bool(
        np.allclose(mine[3:], theirs[3:], rtol=TOLERANCE, atol=0.0, equal_nan=True)
    )


def _spoken(event: Event | None) -> str:
    if event is None:
        return "no order"
    _, kind, _, size, price = event
    return kind if kind == "cancel" else f"{kind} of {size:.6g} at {price:.6g}"


def _add_failure(
    found: dict[str, Finding], name: str, label: str, candles: Candles, run: RecordedRun
) -> None:
    bar = min(max(run.bars, 1), len(candles)) - 1
    found.setdefault(
        f"failure {label}",
        Finding(
            subject=f"{name} ({label})",
            symbol=candles.symbol,
            time=moment(int(candles.time[bar])),
            detail=f"fails where later bars are missing, with {type(run.failure).__name__}: "
            f"{run.failure}",
            cause="it reads bars that have not come, such as data.close[1]: an index of 0 is the "
            "present bar, -1 the one before",
        ),
    )


def _exchanged(section: Candles, known: int, seed: int) -> Candles:
    return Candles(
        symbol=section.symbol,
        timeframe=section.timeframe,
        market=section.market,
        time=section.time,
        ohlcv=exchanged_future(section.ohlcv, known, seed),
        incomplete=section.incomplete,
    )


def _stamp(section: Candles, known: int) -> int:
    return int(section.time[known - 1]) + section.period_ms - 1
