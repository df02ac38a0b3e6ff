"""`lstm-strategies benchmark`: figures as ratios, measured in one run."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.cli.console import DebugOption, HomeOption, JsonOption, SetOption

__all__ = ["benchmark_command"]


def benchmark_command(
    name: Annotated[str | None, typer.Argument(help="Which one; all of them by default.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
    settings: SetOption = None,
) -> None:
    """Measure speed and memory on this machine, each beside what it is compared with."""
    from experiments.benchmark.run import run_benchmarks

    run_benchmarks(name, as_json=as_json, settings=settings or ())
