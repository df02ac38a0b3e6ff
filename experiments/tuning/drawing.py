"""A figure of Optuna's without Optuna's looks, as plain data until it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from experiments.report.curves_chart import BASELINE_COLOUR, COLOURS
from experiments.report.time_lines import empty_figure

__all__ = ["BLUE", "GREEN", "GREY", "ORANGE", "RED", "RULE", "Drawing", "between", "merged"]

BLUE: Final = COLOURS[0]
ORANGE: Final = COLOURS[1]
GREEN: Final = COLOURS[2]
RED: Final = COLOURS[3]
GREY: Final = BASELINE_COLOUR

RULE: Final = "rgba(139, 145, 155, 0.3)"
"""Of axes that the page does not colour: it knows of the first two alone."""

_OPTUNAS_OWN: Final = (
    "template",
    "title",
    "width",
    "height",
    "plot_bgcolor",
    "paper_bgcolor",
)


@dataclass
class Drawing:
    """Traces and layout of a figure.

    Plotly checks each change of a figure's own objects, which takes longer than all else where
    there are hundreds of lines; here it checks them once, in `figure`.

    Parameters
    ----------
    data
        The traces that have points.
    layout
        Without template, title, size and ground.
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]

    @classmethod
    def of(cls, drawn: Any, x_title: str | None, y_title: str) -> Drawing:
        """Return a figure of Optuna's with the looks of this project's charts.

        Parameters
        ----------
        drawn
            `plotly.graph_objects.Figure`.
        x_title
            Of the axis; None leaves those of several axes.
        y_title
            Of the first axis; the page empties it where there is no room.
        """
        content = drawn.to_plotly_json()
        own = {key: value for key, value in content["layout"].items() if key not in _OPTUNAS_OWN}
        plain = empty_figure(y_title, x_title or "").to_plotly_json()["layout"]
        layout = merged(plain, own) | {"legend": plain["legend"], "hovermode": "closest"}
        drawing = cls([one for one in content["data"] if len(one.get("x") or ())], layout)
        for axis in (*drawing.axes("x"), *drawing.axes("y")):
            axis.update(gridcolor=RULE, linecolor=RULE, tickcolor=RULE, zeroline=False)
        if x_title is not None:
            layout["xaxis"]["title"] = {"text": x_title}
        layout["yaxis"]["title"] = {"text": y_title}
        layout["yaxis"]["automargin"] = True
        return drawing

    def axes(self, letter: str) -> list[dict[str, Any]]:
        """Return the axes of a direction, ``x`` or ``y``."""
        return [value for key, value in self.layout.items() if key.startswith(f"{letter}axis")]

    def figure(self) -> Any:
        """Return it as a `plotly.graph_objects.Figure`."""
        return go.Figure(data=self.data, layout=self.layout)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested mappings laid over each other.

    Examples
    --------
    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    found = dict(below)
    for key, value in above.items():
        held = found.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            value = merged(held, value)
        found[key] = value
    return found


def between(share: float) -> str:
    """Return a colour from grey, at 0, to blue, at 1.

    Optuna's own scale ends in tones that one of the page's two grounds swallows.

    Examples
    --------
    >>> between(0.0), between(1.0)
    ('rgb(139, 145, 155)', 'rgb(63, 131, 200)')
    """
    ends = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (GREY, BLUE)]
    mixed = [round(a + share * (b - a)) for a, b in zip(*ends, strict=True)]
    return f"rgb({mixed[0]}, {mixed[1]}, {mixed[2]})"
