"""What `train` prints of an evaluation: every baseline, every part, every seed, in 80 columns."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from experiments.cli.tables import baselines_table, parts_table, scores_table, seeds_table
from experiments.seeds import SeedRow, SeedStudy
from lightning_models.evaluation import BASELINES, REGIMES, spread_of


def printed(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()


@pytest.fixture(scope="module")
def metrics(trained):
    return trained.model.metrics


@pytest.fixture(scope="module")
def study(trained):
    rows = tuple(
        SeedRow(seed, f"run{seed}", {**trained.model.metrics, "val/loss": loss})
        for seed, loss in ((0, 0.91), (1, 0.87), (2, 0.9))
    )
    spreads = spread_of([row.metrics for row in rows], ["val/loss", "test/auc"])
    return SeedStudy(trained.model, 1, "above", rows, spreads)


def test_every_table_fits_eighty_columns_and_nothing_is_cut(metrics, study):
    many = {
        name.replace("symbol/SIM_USDT", f"symbol/{one}"): value
        for one in ("SIM_USDT", "A_RATHER_LONG_NAME_USDT")
        for name, value in metrics.items()
    }
    tables = [scores_table(many), baselines_table(many), parts_table(many), seeds_table(study)]
    for table in tables:
        lines = printed(table)
        assert max(map(len, lines)) <= 80
        # As wide as it likes, it has the same words.
        words = " ".join(" ".join(lines).split())
        assert "…" not in re.sub(r" … ", " ", words)


def test_every_baseline_has_its_scores_the_gain_and_the_p_value(metrics):
    text = "\n".join(printed(baselines_table(metrics)))
    for name in BASELINES:
        place = f"test/baseline/{name}"
        (line,) = [line for line in text.splitlines() if line.startswith(name)]
        assert f"{metrics[f'{place}/log_loss']:.4f}" in line
        assert f"{metrics[f'{place}/brier']:.4f}" in line
        assert f"{metrics[f'{place}/directional_accuracy']:.1%}" in line
        assert f"{metrics[f'{place}/log_loss_gain']:+.4f}" in line
        assert f"{metrics[f'{place}/log_loss_gain_low']:+.4f} … " in text
    assert "corrected" in text


def test_every_regime_has_a_row_and_small_ones_are_too_few(metrics):
    lines = printed(parts_table(metrics))
    for name in REGIMES:
        (line,) = [line for line in lines if line.startswith(name)]
        few = metrics[f"test/regime/{name}/log_loss_gain"] is None
        assert ("too few" in line) == few
    # One symbol is all there is: a row of its own would say what the scores say.
    assert not any("SIM" in line for line in lines)


def test_further_horizons_have_rows_and_the_first_is_named(metrics):
    farther = {
        f"test/horizon/7d/{name.removeprefix('test/')}": value
        for name, value in metrics.items()
        if name.count("/") == 1
    }
    lines = printed(parts_table({**metrics, **farther, "test/horizon/7d/n": 123.0}))
    (line,) = [line for line in lines if line.startswith("7d ahead")]
    assert "123" in line
    assert f"{metrics['test/log_loss_gain']:+.4f}" in line
    assert "Test slice, 6h ahead:" in printed(scores_table(metrics, ahead="6h"))[0]
    assert "ahead" not in printed(scores_table(metrics))[0]


def test_a_figure_that_is_not_defined_is_a_dash(metrics):
    bare = {
        name: None if re.search(r"auc|log_loss_gain|_p$", name) else value
        for name, value in metrics.items()
    }
    (line,) = [x for x in printed(baselines_table(bare)) if x.startswith("zero-return")]
    assert line.count("–") == 3


def test_the_registered_seed_is_marked_and_mean_and_deviation_close_the_table(study):
    lines = printed(seeds_table(study))
    (marked,) = [line for line in lines if re.match(r"\s*1 \*", line)]
    assert "0.8700" in marked
    (mean,) = [line for line in lines if line.startswith("mean")]
    (deviation,) = [line for line in lines if line.startswith("± sd")]
    assert "0.8933" in mean
    assert "0.0208" in deviation
