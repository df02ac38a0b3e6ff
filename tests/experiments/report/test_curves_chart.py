"""Many curves in one picture: told apart on both grounds, few enough points, and shaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.report.curves_chart import (
    BASELINE_COLOUR,
    COLOURS,
    Curve,
    curves_chart,
    depth_of,
    drawdown_of,
    return_of,
)
from experiments.result import DrawdownPoint, EquityPoint

# Grounds of the page and of its panels, as its style sheet has them.
LIGHT, DARK = ("#fbfaf8", "#ffffff"), ("#15181d", "#1c2027")


def luminance(colour):
    """Relative luminance by WCAG 2.2."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255.0
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def chart_of(curves, **options):
    return curves_chart("equity", "Equity", "Caption.", "equity", curves, **options)


def wave(name="a", bars=50, **options):
    times = [f"2024-01-{1 + hour // 24:02}T{hour % 24:02}:59:59.999Z" for hour in range(bars)]
    return Curve(name, times, np.sin(np.arange(bars) / 7.0), **options)


@pytest.mark.parametrize("colour", [*COLOURS, BASELINE_COLOUR])
@pytest.mark.parametrize("ground", [*LIGHT, *DARK])
def test_every_colour_stands_out_from_both_grounds(colour, ground):
    # 3:1 is what WCAG asks of graphics.
    assert contrast(colour, ground) >= 3.0
    # The check sees a tone that does not: the ground's own neighbour.
    assert contrast("#f0efe9" if ground in LIGHT else "#24282f", ground) < 3.0


def test_twelve_curves_and_a_baseline_all_look_different():
    figure = chart_of([*(wave(f"s{n}") for n in range(12)), wave("held", kind="baseline")]).figure
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(looks) == 13
    assert len({trace.line.color for trace in figure.data}) == 13
    assert figure.data[-1].line.dash == "dot"


def test_later_curves_repeat_colours_with_another_dash():
    figure = chart_of([wave(f"s{n}") for n in range(24)]).figure
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 24


def test_hidden_curves_wait_in_the_legend_and_take_no_colour_from_the_shown():
    curves = [wave(f"s{n}", hidden=2 <= n < 18) for n in range(20)]
    chart = chart_of(curves)
    shown = [trace for trace in chart.figure.data if trace.visible is True]
    assert [trace.name for trace in shown] == ["s0", "s1", "s18", "s19"]
    assert [trace.line.color for trace in shown] == list(COLOURS[:4])
    assert "16 of the 20 curves are shown once chosen in the legend" in chart.caption


def test_many_long_curves_share_the_points_of_one_picture():
    curves = [wave(f"s{n}", bars=600) for n in range(40)]
    chart = chart_of(curves)
    assert all(len(trace.x) <= 600 for trace in chart.figure.data)
    assert "points of 600" not in chart.caption
    longer = [Curve("s", [str(n) for n in range(5000)], np.arange(5000.0)) for _ in range(40)]
    chart = chart_of(longer)
    assert all(len(trace.x) <= 600 for trace in chart.figure.data)
    assert "points of 5,000" in chart.caption
    # A single one of that length is thinned far less.
    assert len(chart_of(longer[:1]).figure.data[0].x) > 3000


def test_what_a_model_had_seen_is_shaded_and_nothing_else():
    (shape,) = chart_of([wave()], seen=pd.Timestamp("2024-01-02T00:00:00Z")).figure.layout.shapes
    assert (shape.name, shape.x0) == ("in-sample", "2024-01-01T00:59:59.999Z")
    assert shape.x1.startswith("2024-01-02T00:00:00")
    assert not chart_of([wave()]).figure.layout.shapes
    assert not chart_of([wave()], seen=pd.Timestamp("2023-01-02T00:00:00Z")).figure.layout.shapes


def test_names_of_curves_are_no_markup():
    (trace,) = chart_of([wave("<b>BTC & co</b>")]).figure.data
    assert trace.name == "&lt;b&gt;BTC &amp; co&lt;/b&gt;"


def test_returns_start_at_zero_and_drawdowns_lie_below_it():
    points = [
        EquityPoint(time=f"2024-01-0{day}T00:00:00Z", equity=value)
        for day, value in enumerate((10_000.0, 12_000.0, 9_000.0), start=1)
    ]
    assert return_of(points, "a").values.tolist() == pytest.approx([0.0, 20.0, -10.0])
    assert depth_of(points, "a").values.tolist() == pytest.approx([0.0, 0.0, -25.0])
    told = [DrawdownPoint(time=point.time, drawdown_pct=25.0) for point in points]
    assert drawdown_of(told, "a").values.tolist() == [-25.0] * 3


def test_curves_without_a_point_are_drawn_as_nothing():
    chart = chart_of([return_of([], "a"), depth_of([], "b"), drawdown_of([], "c")])
    assert [len(trace.x) for trace in chart.figure.data] == [0, 0, 0]
