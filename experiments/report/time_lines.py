"""What pictures over time are made of: an empty one, its lines, and the shade of what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from experiments.report.thinning import thin

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["add_line", "empty_figure", "plain_text", "shade_until"]

_SHADE = "rgba(140, 130, 110, 0.18)"


def empty_figure(y_title: str, x_title: str = "") -> Any:
    """Return a figure without colours of text and ground: the page sets them."""
    figure = go.Figure(layout={"template": go.layout.Template()})
    figure.update_layout(
        margin={"l": 56, "r": 12, "t": 36, "b": 40},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="x unified",
        xaxis={"title": {"text": x_title}, "zeroline": False},
        yaxis={"title": {"text": y_title}, "zeroline": False, "automargin": True},
    )
    return figure


def add_line(
    figure: Any,
    times: Sequence[str],
    values: npt.NDArray[np.float64],
    name: str,
    line: dict[str, Any],
    *,
    limit: int,
    **style: Any,
) -> str:
    """Draw a series with at most so many points, and return what the caption says of that.

    Parameters
    ----------
    figure
        To draw on.
    times
        ISO-8601, one for each value.
    values
        ``float64 [T]``, finite.
    name
        Of the line, as text.
    line
        Colour, width and dash.
    limit
        How many points at most.
    style
        Anything else of the trace.
    """
    kept = thin(values, limit)
    figure.add_scatter(
        x=[times[index] for index in kept],
        y=values[kept],
        name=plain_text(name),
        mode="lines",
        line=line,
        **style,
    )
    if len(kept) == len(values):
        return ""
    return f" Drawn with the extremes of each stretch: {len(kept):,} points of {len(values):,}."


def shade_until(figure: Any, times: Sequence[str], seen: pd.Timestamp | None) -> None:
    """Shade what a model had seen, from the first of the times on.

    Parameters
    ----------
    figure
        To draw on.
    times
        Of all bars in the picture, ISO-8601, in order.
    seen
        Moment before which it had seen the data; None shades nothing.
    """
    # A bar that closes at the cut is stamped a millisecond before it, and shows nothing seen.
    if not times or seen is None or pd.Timestamp(times[0]) >= seen - pd.Timedelta(milliseconds=1):
        return
    # A shape beyond the data would stretch the axis.
    end = min(seen, pd.Timestamp(times[-1]))
    figure.add_shape(
        type="rect",
        x0=times[0],
        x1=end.isoformat(),
        y0=0,
        y1=1,
        yref="paper",
        fillcolor=_SHADE,
        line={"width": 0},
        layer="below",
        name="in-sample",
    )
    figure.add_annotation(
        x=times[0],
        y=0,
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        text="in-sample",
    )


def plain_text(text: str) -> str:
    """Return a name as the drawing library shows it: it reads a few HTML tags in names.

    Examples
    --------
    >>> plain_text("<b>BTC</b>")
    '&lt;b&gt;BTC&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
