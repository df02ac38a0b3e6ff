"""Rows grouped by the moment they share, and means of them resampled by moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lightning_models.evaluation.bootstrap import resampled_counts

__all__ = ["Moments", "resampled_means"]

Floats = npt.NDArray[np.float64]


class Moments:
    """Which rows share a moment.

    Symbols move together, so that what happened at one moment is one piece of evidence
    whatever the number of symbols.

    Parameters
    ----------
    time
        ``int64 [N]``, in any order.

    Attributes
    ----------
    index : numpy.ndarray
        ``int64 [N]``, position of each row's moment in order of time.
    rows : numpy.ndarray
        ``float64 [T]``, rows at each moment.

    Examples
    --------
    >>> moments = Moments(np.array([20, 10, 20]))
    >>> moments.means(np.array([1.0, 5.0, 3.0])).tolist()
    [5.0, 2.0]
    """

    def __init__(self, time: npt.NDArray[np.int64]) -> None:
        times, self.index = np.unique(time, return_inverse=True)
        self.rows: Floats = np.bincount(self.index, minlength=len(times)).astype(np.float64)

    def __len__(self) -> int:
        """Return the number of moments, T."""
        return len(self.rows)

    def sums(self, values: Floats) -> Floats:
        """Return the sum of rows ``[N]`` at each moment ``[T]``."""
        return np.bincount(self.index, weights=values, minlength=len(self)).astype(np.float64)

    def means(self, values: Floats) -> Floats:
        """Return the mean of rows ``[N]`` at each moment ``[T]``."""
        return self.sums(values) / self.rows


def resampled_means(
    moments: Moments, columns: Floats, *, block: int, replications: int, seed: int
) -> Floats:
    """Return replicates of the mean over rows, all rows of a moment drawn together.

    Parameters
    ----------
    moments
        Of the N rows.
    columns
        ``float64 [N, K]``.
    block
        Mean block length of the stationary bootstrap, in moments.
    replications, seed
        As `resampled_counts` takes them.

    Returns
    -------
    numpy.ndarray
        ``float64 [R, K]``.
    """
    summed = np.stack([*(moments.sums(column) for column in columns.T), moments.rows], axis=1)
    totals = np.concatenate(
        [
            counts @ summed
            for counts in resampled_counts(
                len(moments), block=block, replications=replications, seed=seed
            )
        ]
    )
    means: Floats = totals[:, :-1] / totals[:, -1:]
    return means
