"""Figures of a training run, drawn without a display and without pyplot's global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lightning_models.evaluation.reliability import ReliabilityBin

__all__ = ["confusion_figure", "loss_figure", "reliability_figure"]

_INK = "#3b4252"
_BLUE = "#2f6db3"
_ORANGE = "#d9772b"


def loss_figure(
    train: Sequence[float], validation: Sequence[float], *, best_epoch: int | None = None
) -> Figure:
    """Return the loss of every epoch on the train and validation slices.

    Parameters
    ----------
    train, validation
        Loss of epoch 0, 1, …; not-a-number where an epoch has none. They may differ in length.
    best_epoch
        Index of the epoch whose weights were kept; by default the lowest validation loss.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _canvas(7.0, 4.2)
    for losses_of, colour, label in ((train, _BLUE, "train"), (validation, _ORANGE, "validation")):
        # The dots keep a run of a single epoch visible.
        axes.plot(
            range(1, len(losses_of) + 1),
            losses_of,
            color=colour,
            label=label,
            linewidth=1.6,
            marker="o",
            markersize=3.0,
        )
    losses = np.asarray(validation, dtype=np.float64)
    if best_epoch is None and np.isfinite(losses).any():
        best_epoch = int(np.nanargmin(losses))
    if best_epoch is not None and 0 <= best_epoch < len(losses):
        axes.axvline(best_epoch + 1, color=_INK, linewidth=1.0, linestyle=":")
        axes.plot(
            [best_epoch + 1],
            [losses[best_epoch]],
            color=_ORANGE,
            marker="o",
            markersize=8.0,
            markerfacecolor="white",
            linestyle="none",
            label=f"kept: epoch {best_epoch + 1}, {losses[best_epoch]:.4f}",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel="loss", title="Loss by epoch")
    axes.legend(frameon=False)
    return figure


def reliability_figure(
    after: Sequence[ReliabilityBin], before: Sequence[ReliabilityBin] = ()
) -> Figure:
    """Return the observed share of ups against the predicted probability.

    Parameters
    ----------
    after
        Bins of the calibrated probabilities, drawn with their Wilson intervals.
    before
        Bins of the probabilities before calibration.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _canvas(5.6, 5.2)
    both = (*before, *after)
    low = min([0.45, *(each.predicted for each in both), *(each.low for each in both)])
    high = max([0.55, *(each.predicted for each in both), *(each.high for each in both)])
    low, high = max(0.0, low - 0.02), min(1.0, high + 0.02)
    axes.plot([low, high], [low, high], color=_INK, linewidth=1.0, linestyle=":", label="perfect")
    for bins, colour, label in (
        (before, _ORANGE, "before calibration"),
        (after, _BLUE, "after calibration"),
    ):
        if not bins:
            continue
        observed = np.array([each.observed for each in bins])
        axes.errorbar(
            [each.predicted for each in bins],
            observed,
            yerr=[
                observed - [each.low for each in bins],
                [each.high for each in bins] - observed,
            ],
            color=colour,
            marker="o",
            markersize=5.0,
            linewidth=1.4,
            elinewidth=0.8,
            capsize=2.0,
            label=label,
        )
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
        xlabel="predicted probability of up",
        ylabel="observed share of ups",
        title="Reliability (bars: 95% Wilson intervals)",
    )
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
    return figure


def confusion_figure(
    probability_up: npt.NDArray[np.float64], actual: npt.NDArray[np.float64]
) -> Figure:
    """Return how many forecasts of each direction met each outcome.

    Parameters
    ----------
    probability_up
        ``float64 [N]``; from 0.5 the forecast is up.
    actual
        ``float64 [N]``, returns; rows of exactly zero are left out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    moved = actual != 0.0
    forecast_up = probability_up[moved] >= 0.5
    went_up = actual[moved] > 0.0
    counts = np.array(
        [
            [np.sum(forecast_up & went_up), np.sum(forecast_up & ~went_up)],
            [np.sum(~forecast_up & went_up), np.sum(~forecast_up & ~went_up)],
        ]
    )
    figure, axes = _canvas(4.8, 4.2)
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=2 * max(1, int(counts.max())))
    for row, column in np.ndindex(2, 2):
        share = counts[row, column] / max(1, counts.sum())
        axes.text(
            column,
            row,
            f"{counts[row, column]:,}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=13,
            color=_INK,
        )
    axes.set_xticks([0, 1], ["went up", "went down"])
    axes.set_yticks([0, 1], ["forecast\nup", "forecast\ndown"])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Direction, {int(moved.sum()):,} forecasts")
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    # Imported here because matplotlib is slow to load and a forecast needs no figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#d8dee9", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes
