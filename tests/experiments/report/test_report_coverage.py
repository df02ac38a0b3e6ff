"""What the report says of bounds: the share asked for, the share got, and how it went."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from experiments.report.coverage_chart import coverage_chart
from experiments.report.page import render_page
from experiments.report.tables import coverage_rows
from lightning_models.evaluation.coverage import measure_coverage, rolling_coverage


@pytest.fixture(scope="module")
def bounded(make):
    """A backtest whose forecasts had bounds, too narrow ones, and adaptive ones beside them."""
    made = make(length=900)
    outcomes = made.outcomes
    spread = np.quantile(np.abs(outcomes.actual), [0.7, 0.9])

    def with_bounds(factor):
        reach = np.stack([-spread, spread], axis=1) * factor
        return replace(outcomes, bounds=np.tile(reach, (len(outcomes), 1, 1)))

    narrow, fitting = with_bounds(1.0), with_bounds(1.35)
    with_coverage = made.with_result(
        coverage=measure_coverage(narrow, replications=100),
        adaptive_coverage=measure_coverage(fitting, replications=100),
    )
    return replace(with_coverage, outcomes=narrow)


def words_of(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_coverage_asked_and_got_stand_side_by_side(bounded):
    words = words_of(render_page(bounded.result, **bounded.arguments))
    for kind, found in (
        ("conformal", bounded.result.coverage),
        ("adaptive", bounded.result.adaptive_coverage),
    ):
        for one in found:
            row = f"Held by {kind} bounds {100 * one.got:.1f}% {100 * one.low:.1f}% to"
            assert row in words
            assert f"{100 * one.asked:.1f}%" in words
    assert "Bounds made for 80% of outcomes held 70.0%" in words
    assert ": too few." in words


def test_the_page_says_that_split_conformal_bounds_promise_nothing_under_drift(bounded):
    words = words_of(render_page(bounded.result, **bounded.arguments))
    assert "under drift they promise nothing" in words
    assert "What lies in-sample counts here too" not in words
    mixed = bounded.with_result(slice="mixed")
    assert "What lies in-sample counts here too" in words_of(
        render_page(mixed.result, **mixed.arguments)
    )


def test_coverage_over_time_is_drawn_with_its_band(bounded):
    chart = coverage_chart(bounded.outcomes)
    drawn = json.loads(chart.figure.to_json())
    lines = [one for one in drawn["data"] if one.get("showlegend") is not False]
    assert [one["name"] for one in lines] == ["80% bounds", "95% bounds"]
    assert [shape["y0"] for shape in drawn["layout"]["shapes"]] == [0.80, 0.95]
    assert len(drawn["data"]) == 6
    rolling = rolling_coverage(bounded.outcomes)[0]
    figure = chart.figure
    low, high, got = (np.array(figure.data[place].y) for place in (0, 1, 2))
    assert np.all((low <= got) & (got <= high))
    assert got[-1] == rolling.got[-1]
    assert f"last {rolling.window} outcomes" in chart.caption
    page = render_page(bounded.result, **bounded.arguments)
    assert 'id="chart-coverage"' in page


def test_a_model_without_bounds_is_said_to_have_none(made):
    page = render_page(made.result, **made.arguments)
    assert coverage_rows(made.result) == []
    assert "No forecast with conformal bounds met an outcome" in words_of(page)
    assert 'id="chart-coverage"' not in page
