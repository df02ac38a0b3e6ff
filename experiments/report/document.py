"""A self-contained page: its template, its charts and the library that draws them."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments.report.numbers import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.report.charts import Chart

__all__ = ["period_words", "render_document"]


def render_document(template: str, charts: Sequence[Chart], **content: Any) -> str:
    """Return a page as one HTML document that needs no network.

    Parameters
    ----------
    template
        Of this package; it extends ``document.html.jinja``.
    charts
        All that the template gives a place to, which it reads as ``charts``.
    content
        What the template reads; every text is escaped.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            **content,
            charts=charts,
            figures=_figures_json(charts),
            drawing_library=_drawing_library(),
        )
    )


def period_words(start: str | None, end: str | None) -> str:
    """Return a period, times in UTC.

    Examples
    --------
    >>> period_words("2024-01-01T00:59:59.999Z", "2024-02-01T00:59:59.999Z")
    '2024-01-01 01:00 to 2024-02-01 01:00'
    """
    if start is None or end is None:
        return "no bars"
    return f"{_moment(start)} to {_moment(end)}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("experiments", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["moment"] = _moment
    environment.filters["figure"] = _figure
    return environment


def _drawing_library() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _figures_json(charts: Sequence[Chart]) -> str:
    figures = {chart.key: json.loads(chart.figure.to_json()) for chart in charts}
    text = json.dumps(figures, allow_nan=False)
    # Inside a script element only "<" can end it.
    return text.replace("<", "\\u003c")


def _moment(text: str | None) -> str:
    # To the minute, without the millisecond that stamps a bar's end.
    if text is None:
        return "open"
    stamp = pd.Timestamp(text)
    if stamp.microsecond:
        stamp = stamp.ceil("s")
    return str(stamp.strftime("%Y-%m-%d %H:%M"))


def _figure(value: float | None, digits: int = 2, *, signed: bool = False) -> str:
    if value is None or not np.isfinite(value):
        return NOTHING
    return f"{value:{'+' if signed else ''},.{digits}f}"
