"""Figures draw what they were given, without a display and without global state."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest

from lightning_models.evaluation import (
    confusion_figure,
    loss_figure,
    reliability_bins,
    reliability_figure,
)


def png_of(figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def test_loss_figure_marks_the_epoch_of_the_lowest_validation_loss():
    figure = loss_figure([0.7, 0.69, 0.68], [0.7, 0.66, 0.69])
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert "kept: epoch 2, 0.6600" in labels
    assert png_of(figure).startswith(b"\x89PNG")


def test_loss_figure_marks_the_epoch_it_was_told():
    labels = loss_figure([0.7, 0.6], [0.7, 0.6], best_epoch=0).axes[0].get_legend_handles_labels()
    assert "kept: epoch 1, 0.7000" in labels[1]


@pytest.mark.parametrize(
    ("train", "validation"),
    [([], []), ([0.7], []), ([0.7], [0.7]), ([0.7, 0.6], [np.nan, np.nan]), ([0.7], [0.6, 0.5])],
)
def test_loss_figure_of_short_or_missing_curves(train, validation):
    assert png_of(loss_figure(train, validation))


def test_confusion_figure_counts_directions_and_leaves_zeros_out():
    probability = np.array([0.6, 0.6, 0.4, 0.4, 0.5, 0.6])
    actual = np.array([0.1, -0.1, 0.1, -0.1, 0.1, 0.0])
    texts = [text.get_text() for text in confusion_figure(probability, actual).axes[0].texts]
    assert texts == ["2\n40.0%", "1\n20.0%", "1\n20.0%", "1\n20.0%"]


def test_confusion_figure_without_any_movement():
    assert png_of(confusion_figure(np.array([0.5]), np.array([0.0])))


def test_reliability_figure_shows_both_sides_of_calibration():
    random = np.random.default_rng(0)
    up = random.random(500) < 0.5
    after = reliability_bins(random.uniform(0.45, 0.55, 500), up)
    before = reliability_bins(random.uniform(0.1, 0.9, 500), up)
    labels = reliability_figure(after, before).axes[0].get_legend_handles_labels()[1]
    assert labels == ["perfect", "before calibration", "after calibration"]
    assert png_of(reliability_figure(()))


def test_figures_never_load_pyplot():
    program = (
        "import sys; from lightning_models.evaluation import loss_figure; "
        "loss_figure([0.7], [0.6]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_scores_are_there_without_loading_drawing_or_torch():
    program = (
        "import sys; import lightning_models.evaluation; "
        "assert not {'matplotlib', 'arch', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
