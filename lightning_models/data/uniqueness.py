"""Uniqueness: how much of its life a label shares with no other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["average_uniqueness"]


def average_uniqueness(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    r"""Return each label's average uniqueness (López de Prado, 2018, section 4.4).

    With :math:`c_t` the number of labels that live on bar :math:`t`, it is the mean of
    :math:`1 / c_t` over the label's bars. The sum over labels is the number of bars that any
    label lives on, divided by how long labels live: how many there would be side by side.

    Parameters
    ----------
    first, last
        ``int64 [N]``, first and last bar of each label, both included; at least 0.

    Returns
    -------
    numpy.ndarray
        ``float64 [N]``, above 0 and at most 1: 1 where no other label shares a bar.

    Examples
    --------
    The first two share one of two bars each; the third is alone.

    >>> average_uniqueness(np.array([0, 1, 5]), np.array([1, 2, 5])).tolist()
    [0.75, 0.75, 1.0]
    """
    if not len(first):
        return np.empty(0)
    length = int(last.max()) + 2
    begun = np.bincount(first, minlength=length)
    ended = np.bincount(last + 1, minlength=length)
    living = np.cumsum(begun - ended)
    share = np.divide(1.0, living, out=np.zeros(length), where=living > 0)
    total = np.concatenate([[0.0], np.cumsum(share)])
    mean: npt.NDArray[np.float64] = (total[last + 1] - total[first]) / (last - first + 1)
    return mean
