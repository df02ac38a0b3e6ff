"""What a configuration gives, apart from the luck of one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict

from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SeedSpread", "spread_of"]


class SeedSpread(BaseModel):
    """A metric over trainings that differ in nothing but their seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    metric: str
    seeds: int
    """Trainings that define the metric."""
    mean: float
    deviation: float
    """Standard deviation over seeds, with one degree of freedom taken for the mean. It says
    how far one more training would land, not how sure the mean is of the market."""
    lowest: float
    highest: float


def spread_of(
    metrics: Sequence[Mapping[str, float | None]], names: Sequence[str]
) -> tuple[SeedSpread, ...]:
    """Return mean and deviation of metrics over seeds.

    Parameters
    ----------
    metrics
        One mapping for each seed, at least two.
    names
        Of the metrics to summarise. One that fewer than two seeds define is left out.

    Returns
    -------
    tuple of SeedSpread
        In the order of `names`.

    Raises
    ------
    ConfigError
        If there are fewer than two seeds.

    Examples
    --------
    >>> (spread,) = spread_of([{"test/auc": 0.51}, {"test/auc": 0.53}], ["test/auc"])
    >>> round(spread.mean, 3), round(spread.deviation, 4)
    (0.52, 0.0141)
    """
    if len(metrics) < 2:
        raise ConfigError(f"a deviation over {len(metrics)} seeds says nothing: give at least 2")
    found = []
    for name in names:
        values = [float(value) for one in metrics if (value := one.get(name)) is not None]
        if len(values) < 2:
            continue
        found.append(
            SeedSpread(
                metric=name,
                seeds=len(values),
                mean=float(np.mean(values)),
                deviation=float(np.std(values, ddof=1)),
                lowest=min(values),
                highest=max(values),
            )
        )
    return tuple(found)
