"""Many accounts in one picture: their equity or their drawdowns, in colours of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from experiments.report.charts import MAXIMUM_POINTS, Chart
from experiments.report.time_lines import add_line, empty_figure, shade_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pandas as pd

    from experiments.result import DrawdownPoint, EquityPoint

__all__ = [
    "BASELINE_COLOUR",
    "COLOURS",
    "Curve",
    "curves_chart",
    "depth_of",
    "drawdown_of",
    "equity_of",
    "return_of",
]

CurveKind = Literal["single", "total", "baseline"]

COLOURS: Final = (
    "#3f83c8",
    "#cf7a22",
    "#2f9e6e",
    "#d1495b",
    "#8b62d6",
    "#7f8c1a",
    "#c451b4",
    "#1496a8",
    "#a4683c",
    "#e8489a",
    "#5566e8",
    "#4f9a2f",
)
"""Each with a contrast of 3 or more to the page's grounds, light and dark. The later six are near
to some of the earlier ones and are drawn dashed."""

BASELINE_COLOUR: Final = "#8b919b"

# Shared by all curves of a picture: a page of many stays small enough to open.
_POINTS_TOGETHER: Final = 24_000

_DASHES: Final = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Curve:
    """One account over time.

    Parameters
    ----------
    name
        As the legend calls it.
    times
        ISO-8601, one for each value.
    values
        ``float64 [T]``, finite.
    kind
        ``baseline`` is drawn grey and dotted, ``total`` thick, ``single`` thin; the latter two
        in the next colour.
    hidden
        Whether it is drawn only once the reader asks for it in the legend.
    """

    name: str
    times: Sequence[str]
    values: npt.NDArray[np.float64]
    kind: CurveKind = "single"
    hidden: bool = False


def curves_chart(
    key: str,
    title: str,
    caption: str,
    y_title: str,
    curves: Sequence[Curve],
    *,
    seen: pd.Timestamp | None = None,
) -> Chart:
    """Return a picture of many accounts.

    Parameters
    ----------
    key
        Of the picture's place on the page.
    title, caption
        What the picture shows.
    y_title
        Of the axis, with its unit.
    curves
        In the order of the legend.
    seen
        Moment before which a model had seen the data: shaded.
    """
    figure = empty_figure(y_title)
    # A unified label with a line for each of many curves would cover the picture.
    figure.update_layout(hovermode="closest")
    limit = max(200, min(MAXIMUM_POINTS, _POINTS_TOGETHER // max(1, len(curves))))
    drawn = ""
    for curve, line in zip(curves, _lines(curves), strict=True):
        said = add_line(
            figure,
            curve.times,
            curve.values,
            curve.name,
            line,
            limit=limit,
            hovertemplate="%{x}<br>%{y:,.6~g}",
            visible="legendonly" if curve.hidden else True,
        )
        drawn = drawn or said
    longest = max((curve.times for curve in curves), key=len, default=())
    shade_until(figure, longest, seen)
    hidden = sum(curve.hidden for curve in curves)
    if hidden:
        caption += f" {hidden:,} of the {len(curves):,} curves are shown once chosen in the legend."
    return Chart(key, title, caption + drawn, figure)


def equity_of(points: Sequence[EquityPoint], name: str, *, kind: CurveKind = "single") -> Curve:
    """Return a curve of equity, quote currency."""
    return Curve(name, *_series(points), kind)


def return_of(
    points: Sequence[EquityPoint], name: str, *, kind: CurveKind = "single", hidden: bool = False
) -> Curve:
    """Return a curve of the return since the first point, percent."""
    times, equity = _series(points)
    grown = 100.0 * (equity / equity[0] - 1.0) if len(equity) else equity
    return Curve(name, times, grown, kind, hidden)


def drawdown_of(points: Sequence[DrawdownPoint], name: str, *, kind: CurveKind = "single") -> Curve:
    """Return a curve of drawdown, percent below the highest equity so far."""
    depth = np.array([-point.drawdown_pct for point in points], dtype=np.float64)
    return Curve(name, [point.time for point in points], depth, kind)


def depth_of(points: Sequence[EquityPoint], name: str, *, kind: CurveKind = "baseline") -> Curve:
    """Return the drawdown of a curve of equity, percent below its highest value so far."""
    times, equity = _series(points)
    return Curve(name, times, 100.0 * (equity / np.maximum.accumulate(equity) - 1.0), kind)


def _series(points: Sequence[EquityPoint]) -> tuple[list[str], npt.NDArray[np.float64]]:
    equity = np.array([point.equity for point in points], dtype=np.float64)
    return [point.time for point in points], equity


def _lines(curves: Sequence[Curve]) -> list[dict[str, object]]:
    # Those that are drawn at first get the colours first: they are told apart while there are
    # colours for them.
    order = sorted(
        (place for place, curve in enumerate(curves) if curve.kind != "baseline"),
        key=lambda place: curves[place].hidden,
    )
    lines: list[dict[str, object]] = [
        {"color": BASELINE_COLOUR, "width": 1.6, "dash": "dot"} for _ in curves
    ]
    half, count = len(COLOURS) // 2, len(COLOURS)
    for number, place in enumerate(order):
        lines[place] = {
            "color": COLOURS[number % count],
            "width": 2.6 if curves[place].kind == "total" else 1.4,
            "dash": _DASHES[number // half % 2 + 2 * (number // count % 2)],
        }
    return lines
