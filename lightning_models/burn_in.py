"""How long a state that starts from zero takes to forget that it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from lightning_models.errors import TrainingError

if TYPE_CHECKING:
    import numpy.typing as npt

    from lightning_models.data.datamodule import CandleDataModule
    from lightning_models.networks import ForecastNetwork

__all__ = ["BURN_IN_CAP", "BURN_IN_TOLERANCE", "measure_burn_in"]

BURN_IN_TOLERANCE: Final = 1e-4
"""Largest difference that is stated, in logits and in quantiles over trailing volatility."""

BURN_IN_CAP: Final = 2048

# Only some moments are tried; others may differ a little more.
_SAFETY: Final = 4.0
_SHORTEST: Final = 8
_MOMENTS: Final = 96


def measure_burn_in(
    network: ForecastNetwork,
    data: CandleDataModule,
    *,
    tolerance: float = BURN_IN_TOLERANCE,
    cap: int = BURN_IN_CAP,
) -> int:
    """Return the shortest tried burn-in after which a restart forecasts as if it never was.

    Parameters
    ----------
    network
        With its final weights, in evaluation mode.
    data
        Its calibration slice gives the moments at which states are compared.
    tolerance
        In logits and in quantiles over trailing volatility; a quarter of it is asked for, because
        only a sample of moments is compared.
    cap
        Longest burn-in.

    Returns
    -------
    int
        Candles, at least the lookback.

    Raises
    ------
    TrainingError
        If none within the cap and the history at hand meets the tolerance.
    """
    moments = _moments(data)
    tried = []
    burn_in = max(data.config.lookback, _SHORTEST)
    difference = float("inf")
    while burn_in <= cap:
        chosen = moments[moments[:, 1] >= 2 * burn_in]
        if not len(chosen):
            break
        difference = _difference(network, data, chosen[:, 0], burn_in, 2 * burn_in)
        if difference <= tolerance / _SAFETY:
            return burn_in
        tried.append(burn_in)
        burn_in = int(np.ceil(burn_in * 1.5))
    raise TrainingError(
        f"the network's state does not forget within {tried[-1] if tried else burn_in} candles "
        f"(off by {difference:.2g}, allowed {tolerance:.2g}): a stream could not be restarted. "
        "Train in window mode with --set data.mode=window, give more candles, or add "
        "--set training.weight_decay=0.01"
    )


def _moments(data: CandleDataModule) -> npt.NDArray[np.int64]:
    # Rows of calibration samples, evenly spread, with the usable rows up to and with each.
    ends = data.samples["calibration"].ends
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, _MOMENTS).astype(np.int64))]
    firsts = np.array([first for first, _ in data.runs])
    before = firsts[np.searchsorted(firsts, ends, side="right") - 1]
    return np.column_stack([ends, ends - before + 1])


def _difference(
    network: ForecastNetwork,
    data: CandleDataModule,
    ends: npt.NDArray[np.int64],
    short: int,
    long: int,
) -> float:
    # A contractive state that agrees with one twice as old agrees with all older ones.
    with torch.inference_mode():
        after = []
        for length in (short, long):
            rows = torch.from_numpy(ends[:, None] + np.arange(1 - length, 1))
            raw = network(data.features[rows])
            after.append(torch.cat([raw.logits.flatten(), raw.quantiles.flatten()]))
    return float((after[0] - after[1]).abs().max())
