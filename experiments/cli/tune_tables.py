"""Rich tables of a study: how it stands, who works on it, and what of it is luck."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from experiments.cli.secrets import redacted

if TYPE_CHECKING:
    from experiments.tuning.luck import StudyLuck
    from experiments.tuning.ownership import Worker
    from experiments.tuning.progress import StudyProgress

__all__ = ["duration", "luck_table", "shortened", "standing_table", "value_text", "workers_table"]

# Of several best trials of two objectives.
_MOST_SHOWN: Final = 3


def standing_table(
    progress: StudyProgress,
    *,
    elapsed: float | None = None,
    left: float | None = None,
    room: int | None = None,
) -> Table:
    """Return how a study stands, a line for each thing that one asks.

    Parameters
    ----------
    progress
        Of the study.
    elapsed
        Seconds since this worker began; None where none of it is asked.
    left
        Seconds until the study's end as it goes now; None where nobody can say.
    room
        Characters that the best trial's parameters may take, and the last error; by default
        as many as there are.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(
        "study", Text(f"{progress.study}: {progress.finished:,} of {progress.wanted:,} trials")
    )
    table.add_row("best", Text(_best(progress)))
    if len(progress.best) == 1:
        table.add_row("with", Text(shortened(progress.best_parameters[0], room)))
    table.add_row("trials", Text(_counts(progress)))
    table.add_row("running", Text(_numbers(progress.running)))
    if elapsed is not None:
        table.add_row("time", Text(_time(elapsed, left)))
    if progress.last_error:
        failure = redacted(progress.last_error.partition("\n")[0])
        table.add_row("failure", Text(_cut(failure, room)))
    return table


def workers_table(workers: Sequence[Worker]) -> Table:
    """Return a row for each worker of a study that has not taken its leave."""
    table = Table(
        title=Text("Workers"), box=box.SIMPLE_HEAD, title_justify="left", show_edge=False,
        pad_edge=False,
    )  # fmt: skip
    table.add_column("process", overflow="fold")
    table.add_column("since, UTC", no_wrap=True)
    table.add_column("alive", no_wrap=True)
    for one in workers:
        table.add_row(Text(str(one.owner)), f"{one.since:%Y-%m-%d %H:%M}", _ALIVE[_alive(one)])
    return table


def luck_table(luck: StudyLuck) -> Table:
    """Return what the best trial came to, and what luck alone would have come to."""
    trials = "the only trial" if luck.trials == 1 else f"the best of {luck.trials:,} trials"
    table = Table(
        title=Text(f"What is left of {trials}, over {luck.bars:,} bars that it had not seen"),
        box=box.SIMPLE_HEAD, title_justify="left", show_edge=False, pad_edge=False,
    )  # fmt: skip
    table.add_column("", overflow="fold")
    table.add_column("this study", justify="right", no_wrap=True)
    table.add_column("what would convince", overflow="fold")
    without_skill = f"{luck.expected_maximum:.2f}"
    interval = (
        f"{luck.sharpe_low:.2f} … {luck.sharpe_high:.2f}"
        if luck.sharpe_low is not None and luck.sharpe_high is not None
        else "–"
    )
    rows = (
        (
            "Sharpe ratio, a year",
            f"{luck.sharpe:.2f}",
            f"well above {without_skill}, the best of as many without skill",
        ),
        ("its 95 % interval, were it the only trial", interval, "above 0"),
        ("trials, alike ones as fewer", f"{luck.independent:,.1f}", ""),
        ("deflated Sharpe ratio", _down(luck.deflated.probability, 2), "0.95 or more"),
        (
            "probability of backtest overfitting",
            _up(luck.overfitting.probability, 2),
            "0.05 or less",
        ),
        ("p that it beats buy-and-hold by luck", _up(luck.chosen_market_p, 3), "0.025 or less"),
        ("Sharpe ratio of buy-and-hold", f"{luck.buy_and_hold:.2f}", ""),
    )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def shortened(parameters: Mapping[str, Any], room: int | None = None) -> str:
    """Return parameters in a line, each by the end of its name where no other one ends so.

    Parameters
    ----------
    parameters
        By their dotted names.
    room
        Characters that there are; what doesn't fit is counted.

    Examples
    --------
    >>> found = {"training.learning_rate": 0.00123456, "data.lookback": 60, "network.layers": 2}
    >>> shortened(found)
    'learning_rate=0.00123, lookback=60, layers=2'
    >>> shortened(found, 34)
    'learning_rate=0.00123 and 2 more'
    """
    if not parameters:
        return "the preset's own values"
    ends = Counter(name.rpartition(".")[2] for name in parameters)
    written = []
    for name, value in parameters.items():
        end = name.rpartition(".")[2]
        shown = f"{value:.3g}" if isinstance(value, float) else str(value)
        written.append(f"{end if ends[end] == 1 else name}={shown}")
    for count in range(len(written), 0, -1):
        left = len(written) - count
        text = ", ".join(written[:count]) + (f" and {left} more" if left else "")
        if room is None or len(text) <= room:
            return text
    return f"{len(written)} parameters"


def value_text(values: Sequence[float]) -> str:
    """Return a trial's values as a table has them.

    Examples
    --------
    >>> value_text([0.693147])
    '0.69315'
    >>> value_text([0.693147, 1.25])
    '0.69315 and 1.25'
    """
    return " and ".join(f"{value:.5g}" for value in values)


def duration(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds.

    Examples
    --------
    >>> duration(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=round(seconds)))


def _best(progress: StudyProgress) -> str:
    if not progress.best:
        return "no trial is complete yet"
    shown = [
        f"{value_text(values)} of trial {number}"
        for number, values in zip(progress.best, progress.best_values, strict=True)
    ]
    more = len(shown) - _MOST_SHOWN
    return "; ".join(shown[:_MOST_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _counts(progress: StudyProgress) -> str:
    counts = (
        ("complete", progress.complete),
        ("pruned", progress.pruned),
        ("failed", progress.failed),
    )
    # Of those that were stopped, the ones that nobody has begun again are counted twice.
    ahead = min(progress.waiting, progress.again)
    optional = (
        ("stopped trial waits to be run again", ahead * (ahead == 1)),
        ("stopped trials wait to be run again", ahead * (ahead > 1)),
        ("waiting", progress.waiting - ahead),
        ("run again", progress.again - ahead),
    )
    told = [*counts, *((name, count) for name, count in optional if count)]
    return ", ".join(f"{count:,} {name}" for name, count in told)


def _numbers(running: Sequence[int]) -> str:
    if not running:
        return "none"
    shown = ", ".join(map(str, running[:10]))
    return f"{len(running)}: {shown}" + (", …" if len(running) > 10 else "")


def _time(elapsed: float, left: float | None) -> str:
    ahead = "the end is not in sight yet" if left is None else f"about {duration(left)} left"
    return f"{duration(elapsed)}, {ahead}"


def _cut(text: str, room: int | None) -> str:
    return text if room is None or len(text) <= room else f"{text[: max(1, room - 1)]}…"


_ALIVE: Final = {True: "yes", False: "no, it was killed", None: "not seen from here"}


def _alive(worker: Worker) -> bool | None:
    return worker.owner.is_alive()


# Rounded to the doubtful side, so that no figure reads as a level that it misses.
def _down(value: float | None, digits: int) -> str:
    return _rounded(value, digits, math.floor, 1e-9)


def _up(value: float | None, digits: int) -> str:
    return _rounded(value, digits, math.ceil, -1e-9)


def _rounded(
    value: float | None, digits: int, towards: Callable[[float], int], slack: float
) -> str:
    if value is None:
        return "–"
    unit = 10.0**digits
    return f"{max(0.0, towards(value * unit + slack) / unit):.{digits}f}"
