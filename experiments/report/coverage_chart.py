"""The report's picture of coverage: the share that bounds held, over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from experiments.report.charts import MAXIMUM_POINTS, Chart
from lightning_models.evaluation.coverage import rolling_coverage
from lightning_models.forecast import LEVELS

if TYPE_CHECKING:
    import numpy.typing as npt

    from lightning_models.evaluation.outcomes import Outcomes

__all__ = ["coverage_chart"]

_COLOURS = (("#3f83c8", "rgba(63, 131, 200, 0.18)"), ("#d9822b", "rgba(217, 130, 43, 0.18)"))


def coverage_chart(outcomes: Outcomes) -> Chart:
    """Return the share of outcomes inside the conformal bounds, stretch by stretch.

    Parameters
    ----------
    outcomes
        With bounds; at least one.
    """
    figure = go.Figure(layout={"template": go.layout.Template()})
    window = 0
    for rolling, asked, (line, wash) in zip(
        rolling_coverage(outcomes), LEVELS, _COLOURS, strict=True
    ):
        window = rolling.window
        kept = np.unique(
            np.linspace(0, len(rolling.time) - 1, MAXIMUM_POINTS // 4).astype(np.int64)
        )
        times = _iso(rolling.time[kept])
        name = f"{asked:.0%} bounds"
        for values, fill in ((rolling.low, None), (rolling.high, "tonexty")):
            figure.add_scatter(
                x=times,
                y=values[kept],
                mode="lines",
                line={"width": 0},
                fill=fill,
                fillcolor=wash,
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        figure.add_scatter(
            x=times,
            y=rolling.got[kept],
            mode="lines",
            name=name,
            line={"color": line, "width": 1.4},
            legendgroup=name,
        )
        figure.add_hline(y=asked, line={"color": line, "width": 1.2, "dash": "dot"})
    figure.update_layout(
        margin={"l": 56, "r": 12, "t": 36, "b": 40},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="x unified",
        xaxis={"zeroline": False},
        yaxis={"title": {"text": "share held"}, "zeroline": False, "automargin": True},
    )
    caption = (
        f"Share of the last {window:,} outcomes that lay inside the conformal bounds; dotted, the "
        "share asked for. Shaded: 95% Wilson intervals (too narrow where labels overlap). A line "
        "that leaves its dotted one for long shows drift since the calibration slice."
    )
    return Chart("coverage", "Coverage over time", caption, figure)


def _iso(time: npt.NDArray[np.int64]) -> list[str]:
    return [f"{text}Z" for text in np.datetime_as_string(time.astype("datetime64[ms]"))]
