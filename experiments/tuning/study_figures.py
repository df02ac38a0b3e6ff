"""A study in pictures: Optuna's own, in the colours of this project's reports."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import optuna
from optuna.trial import TrialState

from experiments.report.charts import Chart
from experiments.report.curves_chart import COLOURS
from experiments.report.time_lines import plain_text
from experiments.tuning.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    RULE,
    Drawing,
    between,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["LeftOut", "Picture", "StudyFigures", "study_figures"]

_log = logging.getLogger(__name__)

_STATES: Final = {
    "COMPLETE": ("complete", BLUE),
    "PRUNED": ("pruned", ORANGE),
    "FAIL": ("failed", RED),
    "RUNNING": ("running", GREEN),
    "WAITING": ("waiting", GREY),
}

# Of more the picture would be a single smear.
_MOST_LINES: Final = 200

_BEST: Final = "best"
_OWN: Final = "the preset's own"


@dataclass(frozen=True)
class Picture:
    """A chart and the room it needs.

    Parameters
    ----------
    chart
        What is drawn.
    size
        Class of the page's style sheet: empty, ``low``, ``high`` or ``many``.
    least_width
        Pixels under which it is scrolled; 0 for any width.
    """

    chart: Chart
    size: str = ""
    least_width: int = 0


@dataclass(frozen=True)
class LeftOut:
    """A picture that is not there, and why."""

    title: str
    reason: str


@dataclass(frozen=True)
class StudyFigures:
    """The pictures of a study, in the order of the page.

    Parameters
    ----------
    pictures
        Each chart's key is also the name of its file.
    left_out
        Those that there was nothing to draw of.
    """

    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True)
class _Told:
    # What the pictures are drawn from.
    study: optuna.Study
    trials: Sequence[FrozenTrial]
    objectives: tuple[str, ...]
    best: int
    own: int | None
    by_epochs: bool

    @property
    def complete(self) -> list[FrozenTrial]:
        return [one for one in self.trials if one.state == TrialState.COMPLETE]

    @property
    def parameters(self) -> list[str]:
        return sorted({name for one in self.complete for name in one.params})


class _NothingToDrawError(Exception):
    # With the reason.
    pass


def study_figures(
    study: optuna.Study,
    objectives: Sequence[str],
    *,
    best: int,
    own: int | None = None,
    by_epochs: bool = False,
) -> StudyFigures:
    """Draw a study.

    Parameters
    ----------
    study
        With a complete trial at least.
    objectives
        Their names.
    best
        Number of the best trial, which is marked.
    own
        Number of the complete trial with the preset's own values, which is marked too.
    by_epochs
        Whether trials report a loss for each epoch.

    Returns
    -------
    StudyFigures
        History, importances, parallel coordinates, slices, timeline; the front of two
        objectives, and the epochs where they are reported. Colours of text and ground are left
        to the page.
    """
    told = _Told(
        study,
        study.get_trials(deepcopy=False),
        tuple(plain_text(name) for name in objectives),
        best,
        own,
        by_epochs,
    )
    pictures, left_out = [], []
    for title, draw in _drawn(told):
        try:
            with _without_warnings():
                pictures.append(draw())
        except _NothingToDrawError as error:
            left_out.append(LeftOut(title, str(error)))
        except Exception as error:
            # A report without one of its pictures is worth more than none.
            _log.warning("the picture %r was not drawn: %s", title, error)
            left_out.append(LeftOut(title, f"it could not be drawn ({type(error).__name__})"))
    return StudyFigures(tuple(pictures), tuple(left_out))


def _drawn(told: _Told) -> Iterator[tuple[str, Callable[[], Picture]]]:
    several = len(told.objectives) > 1
    if several:
        yield "Front", partial(_front, told)
    for place, name in enumerate(told.objectives):
        title = f"History of {name}" if several else "History"
        key = f"history-{place + 1}" if several else "history"
        yield title, partial(_history, told, key, title, place)
    yield "Importances", partial(_importances, told)
    yield "Parallel coordinates", partial(_parallel, told)
    for place, name in enumerate(told.objectives):
        title = f"Slices of {name}" if several else "Slices"
        key = f"slice-{place + 1}" if several else "slice"
        yield title, partial(_slices, told, key, title, place)
    if told.by_epochs:
        yield "Epochs", partial(_epochs, told)
    yield "Timeline", partial(_timeline, told)


def _history(told: _Told, key: str, title: str, place: int) -> Picture:
    from optuna.visualization import plot_optimization_history

    target, name = _target(told, place), told.objectives[place]
    drawn = plot_optimization_history(told.study, target=target, target_name=name)
    drawing = Drawing.of(drawn, "trial", name)
    for trace in drawing.data:
        if trace["mode"] == "markers":
            trace.update(name="complete trials", marker={"color": BLUE, "size": 6})
        else:
            trace.update(name="best so far", line={"color": ORANGE, "width": 1.6, "shape": "hv"})
    own = _value(told, told.own, place)
    if own is not None:
        drawing.data.append(
            {
                "type": "scatter",
                "x": [0, max(one.number for one in told.trials)],
                "y": [own, own],
                "mode": "lines",
                "name": _OWN,
                "line": {"color": GREY, "width": 1.4, "dash": "dot"},
            }
        )
    caption = f"The {name} of each complete trial, in the order in which they began."
    return Picture(Chart(key, title, caption, drawing.figure()))


def _importances(told: _Told) -> Picture:
    from optuna.visualization import plot_param_importances

    if len(told.complete) < 2:
        raise _NothingToDrawError("it takes two complete trials")
    if len(told.parameters) < 2:
        raise _NothingToDrawError("there is one parameter alone")
    bars: list[dict[str, Any]] = []
    order: list[str] = []
    for place, name in enumerate(told.objectives):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            drawn = plot_param_importances(told.study, target=_loss(told, place), target_name=name)
        if any("will be equal" in str(one.message) for one in said):
            raise _NothingToDrawError("the trials are too few, or too much alike, to tell")
        (trace,) = drawn.data
        shares = dict(zip(trace.y, trace.x, strict=True))
        order = order or [str(one) for one in trace.y]
        bars.append(
            {
                "type": "bar",
                "x": [shares[one] for one in order],
                "y": [plain_text(one) for one in order],
                "text": [f"{shares[one]:.2f}" for one in order],
                "textposition": "outside",
                "cliponaxis": False,
                "orientation": "h",
                "name": name,
                "marker": {"color": COLOURS[place], "line": {"width": 0}},
                "hovertemplate": "%{y}: %{x:.3f}",
                "showlegend": len(told.objectives) > 1,
            }
        )
    drawing = Drawing.of(drawn, "share", "")
    drawing.data = bars
    drawing.layout["margin"] = {**drawing.layout["margin"], "r": 40}
    caption = (
        "How much each parameter alone has to do with whether a trial is among the better ones, "
        "of all together (PED-ANOVA, Watanabe et al. 2023)."
    )
    size = "high" if len(order) > 10 else "low" if len(order) < 6 else ""
    return Picture(Chart("importances", "Importances", caption, drawing.figure()), size)


def _parallel(told: _Told) -> Picture:
    from optuna.visualization import plot_parallel_coordinate

    _need_parameters(told)
    several = len(told.objectives) > 1
    # Without a target it takes all objectives, and the name only where there is one.
    drawn = plot_parallel_coordinate(told.study, target_name=told.objectives[0])
    drawing = Drawing.of(drawn, "", "")
    # Optuna cuts long names off.
    labels = [*told.objectives, *(plain_text(_short(name)) for name in told.parameters)]
    lines = [one for one in drawing.data if one["mode"] == "lines" and "customdata" in one]
    share = _better_share(told, lines)
    for trace, better in zip(lines, share, strict=True):
        trace.update(
            line={"color": between(better), "width": 1.4},
            opacity=0.35 + 0.5 * better,
            customdata=[
                [label, plain_text(str(said[1]))]
                for label, said in zip(labels, trace["customdata"], strict=True)
            ],
        )
    # The better ones above the others.
    order = sorted(range(len(lines)), key=share.__getitem__)
    kept = [lines[place] for place in order]
    if not several and kept:
        kept[-1].update(line={"color": ORANGE, "width": 2.4}, opacity=1.0, name=_BEST)
    drawing.data = kept[-_MOST_LINES:]
    layout = drawing.layout
    layout["xaxis"] |= {"ticktext": labels, "tickangle": 0}
    layout["margin"] |= {"l": 64, "r": 56, "b": 48}
    layout["annotations"] = [
        {**one, "font": {"size": 10}, "text": plain_text(one["text"])}
        for one in layout.get("annotations", ())
    ]
    layout["shapes"] = [
        {**one, "line": {"color": RULE, "width": 1}} for one in layout.get("shapes", ())
    ]
    caption = (
        "A line for each complete trial, the bluer the better"
        + ("." if several else ", the best one orange.")
        + " “None”: the trial has no such parameter."
    )
    if several:
        caption = caption.replace("the better.", "the fewer trials are better in both.")
    if len(kept) > _MOST_LINES:
        caption += f" The best {_MOST_LINES} of {len(kept):,}."
    return Picture(
        Chart("parallel", "Parallel coordinates", caption, drawing.figure()),
        least_width=105 * len(labels) if len(labels) > 3 else 0,
    )


def _slices(told: _Told, key: str, title: str, place: int) -> Picture:
    from optuna.visualization import plot_slice

    _need_parameters(told)
    name = told.objectives[place]
    drawn = plot_slice(told.study, target=_target(told, place), target_name=name)
    drawing = Drawing.of(drawn, None, name)
    last = max(1, *(one.number for one in told.complete))
    for trace in drawing.data:
        numbers = [int(one) for one in trace["marker"]["color"]]
        trace.update(
            marker={
                "color": [ORANGE if one == told.best else between(one / last) for one in numbers],
                "opacity": 1.0,
                "size": [11 if one == told.best else 6 for one in numbers],
                "line": {"width": 0},
            },
            text=[f"trial {one}" for one in numbers],
            hovertemplate="%{text}<br>%{x}<br>%{y:.5g}<extra></extra>",
            showlegend=False,
        )
    axes = drawing.axes("x")
    for axis in axes:
        axis.update(title={"text": plain_text(_short(axis["title"]["text"]))}, nticks=5)
        if axis.get("type") == "log":
            axis["dtick"] = 1
    caption = (
        f"The {name} of each complete trial by one parameter: later trials are bluer, the best "
        "one is large and orange."
    )
    return Picture(
        Chart(key, title, caption, drawing.figure()),
        least_width=190 * len(axes) if len(axes) > 2 else 0,
    )


def _timeline(told: _Told) -> Picture:
    from optuna.visualization import plot_timeline

    if not any(one.datetime_start for one in told.trials):
        raise _NothingToDrawError("no trial says when it began")
    drawing = Drawing.of(plot_timeline(told.study), "", "trial")
    kept = []
    for trace in drawing.data:
        if trace["name"] == "WAITING":
            continue
        name, colour = _STATES.get(trace["name"], (trace["name"].lower(), GREY))
        trace.update(
            name=name,
            marker={"color": colour, "line": {"width": 0}},
            text=[f"trial {number}, {name}" for number in trace["y"]],
            hovertemplate="%{text}<extra></extra>",
        )
        kept.append(trace)
    drawing.data = kept
    drawing.layout["bargap"] = 0.25
    drawing.layout["yaxis"]["autorange"] = "reversed"
    caption = "When each trial began and ended, by its worker's clock; bars beside each other ran \
at once."
    return Picture(Chart("timeline", "Timeline", caption, drawing.figure()))


def _front(told: _Told) -> Picture:
    from optuna.visualization import plot_pareto_front

    drawn = plot_pareto_front(told.study, target_names=list(told.objectives))
    drawing = Drawing.of(drawn, *told.objectives)
    for trace in drawing.data:
        leads = "Best" in trace["hovertemplate"]
        trace.update(
            name="no other is better in both" if leads else "other trials",
            text=[f"trial {int(number)}" for number in trace["marker"]["color"]],
            marker={"color": BLUE if leads else GREY, "size": 9 if leads else 6},
            hovertemplate="%{text}<br>%{x:.5g}<br>%{y:.5g}<extra></extra>",
            showlegend=True,
        )
    for number, name, colour in ((told.best, "chosen", ORANGE), (told.own, _OWN, RED)):
        values = [_value(told, number, place) for place in (0, 1)]
        if None in values:
            continue
        ring = {"symbol": "circle-open", "size": 14, "color": colour, "line": {"width": 2}}
        drawing.data.append(
            {
                "type": "scatter",
                "x": values[:1],
                "y": values[1:],
                "mode": "markers",
                "name": name,
                "marker": ring,
                "hovertemplate": f"trial {number}<br>%{{x:.5g}}<br>%{{y:.5g}}<extra></extra>",
            }
        )
    caption = f"The {told.objectives[0]} against {told.objectives[1]} of each complete \
trial; the chosen one is the best in the first among those that no other one is better than."
    return Picture(Chart("pareto", "Front", caption, drawing.figure()), "high")


def _epochs(told: _Told) -> Picture:
    from optuna.visualization import plot_intermediate_values

    if not any(one.intermediate_values for one in told.trials):
        raise _NothingToDrawError("no trial has reported an epoch")
    name = "validation log-loss"
    drawing = Drawing.of(plot_intermediate_values(told.study), "epoch, fold after fold", name)
    pruned = {one.number for one in told.trials if one.state == TrialState.PRUNED}
    lines = {int(trace["name"].removeprefix("Trial")): trace for trace in drawing.data}
    shown = set(sorted(lines)[-_MOST_LINES:]) | {told.best}
    kept, named = [], set()
    # The best one is drawn last, above the others.
    for number in sorted(lines, key=lambda one: (one == told.best, one)):
        if number not in shown:
            continue
        kind, colour = ("complete", GREY)
        if number == told.best:
            kind, colour = (_BEST, BLUE)
        elif number in pruned:
            kind, colour = ("pruned", ORANGE)
        trace = lines[number]
        trace.update(
            name=kind,
            legendgroup=kind,
            showlegend=kind not in named,
            mode="lines+markers" if len(trace["x"]) == 1 else "lines",
            line={"color": colour, "width": 2.2 if kind == _BEST else 1.0},
            marker={"color": colour, "size": 4},
            opacity=1.0 if kind == _BEST else 0.6,
            hovertemplate=f"trial {number}<br>epoch %{{x}}<br>%{{y:.5g}}<extra></extra>",
        )
        named.add(kind)
        kept.append(trace)
    drawing.data = kept
    drawing.layout["showlegend"] = True
    caption = "What each trial was pruned by: the best validation loss so far, of the fits until \
then together."
    if len(lines) > len(shown):
        caption += f" The last {_MOST_LINES} of {len(lines):,} trials."
    return Picture(Chart("epochs", "Epochs", caption, drawing.figure()))


def _better_share(told: _Told, lines: Sequence[Mapping[str, Any]]) -> list[float]:
    # From 0 for the worst to 1 for the best. A line begins at the objectives, each from 0 to 1.
    signs = [1.0 if one.name == "MAXIMIZE" else -1.0 for one in told.study.directions]
    count = len(signs)
    gains = np.array([trace["y"][:count] for trace in lines], dtype=np.float64) * signs
    if count == 1:
        return [float(gain if signs[0] > 0 else 1.0 + gain) for gain in gains[:, 0]]
    worse = [int(((gains >= own).all(axis=1) & (gains > own).any(axis=1)).sum()) for own in gains]
    return [1.0 - one / max(1, *worse) for one in worse]


def _need_parameters(told: _Told) -> None:
    if not told.parameters:
        raise _NothingToDrawError("no complete trial has a parameter")


def _target(told: _Told, place: int) -> Callable[[FrozenTrial], float] | None:
    # Without one Optuna knows which way is better.
    if len(told.objectives) == 1:
        return None
    return lambda trial: float(trial.values[place])


def _loss(told: _Told, place: int) -> Callable[[FrozenTrial], float]:
    # The importances are those for a low one.
    sign = 1.0 if told.study.directions[place].name == "MINIMIZE" else -1.0
    return lambda trial: sign * float(trial.values[place])


def _value(told: _Told, number: int | None, place: int) -> float | None:
    for one in told.complete:
        if one.number == number and math.isfinite(one.values[place]):
            return float(one.values[place])
    return None


def _short(name: str) -> str:
    # The part of a dotted field that tells it from its neighbours.
    parts = name.split(".")
    return ".".join(parts[-2:]) if parts[-1] in ("kind", "name", "period") else parts[-1]


@contextmanager
def _without_warnings() -> Iterator[None]:
    # What Optuna says of a study that is too small for a picture, the reader is told here.
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
