"""Rich tables of what a command found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from experiments.result import BacktestResult
    from experiments.seeds import SeedStudy
    from lightning_models.forecast import Forecast
    from lightning_models.registry import ModelEntry

__all__ = [
    "backtest_table",
    "baselines_table",
    "forecast_table",
    "models_table",
    "parts_table",
    "scores_table",
    "seeds_table",
]

SCORES = (
    ("log-loss", "log_loss", "test/majority_log_loss"),
    ("AUC", "auc", 0.5),
    ("Brier score", "brier", "test/majority_brier"),
    ("calibration error (ECE)", "ece", None),
    ("directional accuracy", "directional_accuracy", "test/majority_accuracy"),
    ("share inside the 80 % bounds", "coverage_80", 0.80),
    ("share inside the 95 % bounds", "coverage_95", 0.95),
)


def scores_table(metrics: Mapping[str, float | None], *, ahead: str = "") -> Table:
    """Return the test slice's scores with intervals, beside the baseline's.

    Parameters
    ----------
    metrics
        As the model's run has them.
    ahead
        Which horizon they are of, where there are several.
    """
    place = f"Test slice, {ahead} ahead" if ahead else "Test slice"
    table = _table(f"{place}: candles the model has not seen")
    for heading in ("score", "model", "95 % interval", "baseline"):
        table.add_column(heading, justify="left" if heading == "score" else "right")
    for title, name, baseline in SCORES:
        value = baseline if not isinstance(baseline, str) else metrics.get(baseline)
        table.add_row(
            title,
            _number(metrics.get(f"test/{name}"), 4),
            _interval(metrics.get(f"test/{name}_low"), metrics.get(f"test/{name}_high"), 4),
            _number(value, 4),
        )
    return table


def baselines_table(metrics: Mapping[str, float | None]) -> Table:
    """Return the model and every baseline of the test slice, each with the model's gain."""
    table = _narrow_table("Beside the baselines, each forecasting the same rows")
    table.add_column("")
    headings = ("log-loss", "AUC", "right", "Brier", "log-loss gain\n95 % interval", "p")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for place in ("test", *_places(metrics, "baseline")):
        gain = (
            ["", ""]
            if place == "test"
            else [
                _with_interval(metrics, f"{place}/log_loss_gain", "+.4f"),
                _probability(metrics.get(f"{place}/log_loss_p")),
            ]
        )
        table.add_row(
            "model" if place == "test" else Text(_last(place)),
            _number(metrics.get(f"{place}/log_loss"), 4),
            _number(metrics.get(f"{place}/auc"), 3),
            _share(metrics.get(f"{place}/directional_accuracy")),
            _number(metrics.get(f"{place}/brier"), 4),
            *gain,
        )
    table.caption = Text(
        "gain: of the model over the baseline, in nats; p: Diebold-Mariano, corrected (Holm)"
    )
    return table


def parts_table(metrics: Mapping[str, float | None]) -> Table:
    """Return the test slice by further horizons, by regime, and by symbol if there are several."""
    table = _narrow_table("Part by part")
    table.add_column("", overflow="fold")
    table.add_column("forecasts", justify="right", no_wrap=True)
    for heading in ("log-loss gain", "right", "AUC"):
        table.add_column(f"{heading}\n95 % interval", justify="right", no_wrap=True)
    symbols = _places(metrics, "symbol")
    horizons = _places(metrics, "horizon")
    for place in (
        *horizons,
        *_places(metrics, "regime"),
        *(symbols if len(symbols) > 1 else ()),
    ):
        few = metrics.get(f"{place}/log_loss_gain") is None
        table.add_row(
            Text(f"{_last(place)} ahead" if place in horizons else _last(place)),
            f"{metrics.get(f'{place}/n') or 0:,.0f}",
            "too few" if few else _with_interval(metrics, f"{place}/log_loss_gain", "+.4f"),
            "" if few else _with_interval(metrics, f"{place}/directional_accuracy", ".1%"),
            "" if few else _with_interval(metrics, f"{place}/auc", ".3f"),
        )
    table.caption = Text(
        "gain: over the majority class, in nats; regimes are told from each symbol's past"
    )
    return table


def seeds_table(study: SeedStudy) -> Table:
    """Return each seed's figures, with mean and deviation; the registered one is marked."""
    names = ("val/loss", "test/log_loss", "test/log_loss_gain", "test/auc")
    table = _narrow_table("Seed by seed")
    for heading in ("seed", "val. loss", "log-loss", "log-loss gain", "AUC", "right"):
        table.add_column(heading, justify="right", no_wrap=True)
    right = "test/directional_accuracy"
    for row in study.rows:
        values = [row.metrics.get(name) for name in names]
        table.add_row(
            f"{row.seed}{' *' if row.seed == study.seed else ''}",
            *(_number(value, 4) for value in values),
            _share(row.metrics.get(right)),
            end_section=row is study.rows[-1],
        )
    spreads = {one.metric: one for one in study.spreads}
    for title, part in (("mean", "mean"), ("± sd", "deviation")):
        values = [getattr(spreads.get(name), part, None) for name in (*names, right)]
        table.add_row(title, *(_number(value, 4) for value in values[:-1]), _share(values[-1]))
    table.caption = Text("*: registered, for the lowest validation loss")
    return table


def models_table(entries: Sequence[ModelEntry]) -> Table:
    """Return the registry's versions."""
    table = _narrow_table("Registered models")
    table.add_column("model", overflow="fold", min_width=16)
    table.add_column("version", justify="right")
    table.add_column("aliases", no_wrap=True)
    table.add_column("candles", overflow="fold")
    table.add_column("created", no_wrap=True)
    table.add_column("log-loss\nmajority", justify="right", no_wrap=True)
    for entry in entries:
        table.add_row(
            Text(entry.name),
            str(entry.version),
            "\n".join(entry.aliases),
            Text(f"{entry.timeframe} {', '.join(entry.symbols)}"),
            f"{entry.created_at:%Y-%m-%d}",
            "\n".join(
                _number(entry.metrics.get(f"test/{name}"), 4)
                for name in ("log_loss", "majority_log_loss")
            ),
        )
    return table


def forecast_table(forecasts: Sequence[Forecast]) -> Table:
    """Return forecasts of one model, a row for each symbol and horizon; at least one."""
    first = forecasts[0]
    several = len({one.horizon for one in forecasts}) > 1
    table = _narrow_table(
        f"Forecasts of {first.model}" + ("" if several else f", {first.horizon} ahead")
    )
    table.add_column("symbol", overflow="fold", min_width=10)
    if several:
        table.add_column("ahead", no_wrap=True)
    table.add_column("candle\ncloses", no_wrap=True)
    headings = ("direction", "conf.", "change", "last close\npredicted")
    for heading in (*headings, f"{first.interval:.0%} bounds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in forecasts:
        closes = one.time + timedelta(milliseconds=1)  # a bar is stamped just before its end
        table.add_row(
            Text(one.symbol),
            *([one.horizon] if several else []),
            f"{closes:%Y-%m-%d}\n{closes:%H:%M}Z",
            "up" if one.direction > 0 else "down",
            f"{one.confidence:.1%}",
            f"{one.change_pct:+.2f}%",
            f"{one.price:.6g}\n{one.predicted_price:.6g}",
            f"{one.lower:.6g}\n{one.upper:.6g}",
        )
    return table


def backtest_table(result: BacktestResult) -> Table:
    """Return a backtest beside buy-and-hold, with intervals."""
    held = result.buy_and_hold
    table = _table(
        f"{result.strategy_name}{f' with {result.model}' if result.model else ''} on "
        f"{result.symbol} {result.timeframe}, "
        f"{(result.start_date or '')[:10]} to {(result.end_date or '')[:10]}"
    )
    table.add_column("")
    for heading in (result.strategy_name, "95 % interval", "buy-and-hold"):
        table.add_column(heading, justify="right")
    table.add_row(
        "total return",
        _percent(result.total_return_pct),
        "",
        _percent(held.total_return_pct if held else None),
    )
    table.add_row(
        "Sharpe ratio, a year",
        _number(result.sharpe_ratio),
        _interval(result.sharpe_low, result.sharpe_high),
        _number(held.sharpe_ratio if held else None),
    )
    table.add_row(
        "excess return, a year",
        _percent(None if result.excess_return is None else 100 * result.excess_return),
        _interval(
            None if result.excess_low is None else 100 * result.excess_low,
            None if result.excess_high is None else 100 * result.excess_high,
            1,
        ),
        "",
    )
    table.add_row(
        "largest drawdown",
        _percent(result.max_drawdown_pct),
        "",
        _percent(held.max_drawdown_pct if held else None),
    )
    table.add_row("trades", str(result.total_trades), "", "")
    table.add_row("win rate", _percent(result.win_rate) if result.total_trades else "–", "", "")
    table.add_row("time in the market", _percent(100 * result.exposure), "", "100.0 %")
    table.add_row("fees paid", f"{result.fees_paid:,.2f}", "", "")
    if result.traded_share is not None:
        what = "forecasts that may trade" if result.model else "bars with a signal"
        table.add_row(what, _percent(100 * result.traded_share), "", "")
    return table


def _table(title: str) -> Table:
    # Titles hold names of files and symbols: text, never markup.
    return Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")


def _narrow_table(title: str) -> Table:
    # Eighty columns are all that many terminals have.
    table = _table(title)
    table.show_edge, table.pad_edge, table.collapse_padding = False, False, True
    table.caption_justify = "left"
    return table


def _places(metrics: Mapping[str, float | None], kind: str) -> list[str]:
    # Each baseline, regime or symbol that metrics are there of, in their order.
    parts = [name.rsplit("/", 1)[0] for name in metrics if name.startswith(f"test/{kind}/")]
    return list(dict.fromkeys(parts))


def _last(place: str) -> str:
    return place.rsplit("/", 1)[1]


def _with_interval(metrics: Mapping[str, float | None], name: str, form: str) -> str:
    value, low, high = (metrics.get(f"{name}{bound}") for bound in ("", "_low", "_high"))
    if value is None:
        return "–"
    if low is None or high is None:
        return f"{value:{form}}"
    return f"{value:{form}}\n{low:{form}} … {high:{form}}"


def _probability(value: float | None) -> str:
    if value is None:
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _interval(low: float | None, high: float | None, digits: int = 2) -> str:
    return "–" if low is None or high is None else f"{low:.{digits}f} … {high:.{digits}f}"
