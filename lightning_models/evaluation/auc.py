"""Area under the ROC curve as a mean over rows, so that it can be resampled like one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["auc_terms"]

Floats = npt.NDArray[np.float64]


def auc_terms(probability: Floats, up: npt.NDArray[np.bool_]) -> Floats | None:
    """Return terms whose mean is the AUC and whose resampled means vary as it does.

    Each row's term is the AUC plus the row's influence on it: what DeLong, DeLong &
    Clarke-Pearson (1988) call placement values, centred and divided by the share of the
    row's own class. To first order the AUC of resampled rows is the mean of their terms.

    Parameters
    ----------
    probability
        ``float64 [N]``.
    up
        ``bool [N]``.

    Returns
    -------
    numpy.ndarray or None
        ``float64 [N]``; None where all rows are of one class.

    Examples
    --------
    >>> float(auc_terms(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1], bool)).mean())
    0.875
    """
    from scipy.stats import rankdata  # takes a second to import

    ups = int(up.sum())
    downs = len(up) - ups
    if not ups or not downs:
        return None
    rank = rankdata(probability)
    placement = np.empty(len(up))
    placement[up] = (rank[up] - rankdata(probability[up])) / downs
    placement[~up] = 1.0 - (rank[~up] - rankdata(probability[~up])) / ups
    area = float(placement[up].mean())
    weight = np.where(up, len(up) / ups, len(up) / downs)
    terms: Floats = area + weight * (placement - area)
    return terms
