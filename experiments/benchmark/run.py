"""The table of benchmarks, and their command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from experiments.benchmark.backtest_speed import backtest_speed
from experiments.benchmark.figure import BenchmarkConfig, Figure
from experiments.benchmark.forecast_latency import forecast_latency
from experiments.benchmark.peer_process import PeerMissingError
from experiments.benchmark.peers import peers
from experiments.benchmark.sequence_mode import sequence_mode
from experiments.benchmark.strategy_speed import strategy_speed
from experiments.benchmark.training_memory import training_memory
from experiments.benchmark.training_step import training_step
from experiments.benchmark.tuning_speed import tuning_speed
from experiments.benchmark.univariate import univariate
from experiments.cli.console import errors, print_json, show_table
from experiments.settings import validated
from lightning_models.errors import ConfigError
from lightning_models.spelling import nearest_names

__all__ = ["BENCHMARKS", "run_benchmarks"]

_log = logging.getLogger(__name__)

BENCHMARKS: Final[dict[str, Callable[[BenchmarkConfig], list[Figure]]]] = {
    "training-step": training_step,
    "backtest": backtest_speed,
    "strategies": strategy_speed,
    "forecast": forecast_latency,
    "memory": training_memory,
    "sequence": sequence_mode,
    "univariate": univariate,
    "tune": tuning_speed,
    "peers": peers,
}


def run_benchmarks(name: str | None, *, as_json: bool, settings: Sequence[str]) -> None:
    """Run one benchmark or all, and print their figures.

    Raises
    ------
    ConfigError
        If there is no such benchmark or setting.
    """
    if name is not None and name not in BENCHMARKS:
        raise ConfigError(f"no benchmark {name!r}: {nearest_names(name, BENCHMARKS)}")
    config = validated(BenchmarkConfig, {}, settings, origin="benchmark")
    figures: list[Figure] = []
    for title, measure in BENCHMARKS.items():
        if name in (None, title):
            with errors.status(f"measuring {title}"):
                figures += _measured(measure, config, wanted=name is not None)
    if as_json:
        print_json([{**figure.model_dump(), "met": figure.met} for figure in figures])
        return
    table = Table(title="Measured on this machine, in this run", box=box.SIMPLE_HEAD)
    for heading in ("", "measured", "aim", "what"):
        table.add_column(heading, justify="right" if heading in ("measured", "aim") else "left")
    for figure in figures:
        style = {True: "green", False: "red", None: ""}[figure.met]
        table.add_row(
            figure.name,
            Text(_amount(figure.value, figure.unit), style=style),
            _aim(figure),
            figure.detail,
        )
    show_table(table)


def _measured(
    measure: Callable[[BenchmarkConfig], list[Figure]], config: BenchmarkConfig, *, wanted: bool
) -> list[Figure]:
    try:
        return measure(config)
    except PeerMissingError as error:
        # An extra that is not installed takes no figure of the others away.
        if wanted:
            raise
        _log.warning("not measured: %s", error)
        return []


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if abs(value) >= 1_000 else f"{value:.2f} {unit}"


def _aim(figure: Figure) -> str:
    if figure.aim is None:
        return "–"
    return f"{'≥' if figure.at_least else '≤'} {figure.aim:,g} {figure.unit}"
