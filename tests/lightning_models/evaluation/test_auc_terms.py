"""The area under the ROC curve as a mean: against scikit-learn, and resampled in full."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lightning_models.evaluation.auc import auc_terms


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans()), max_size=40))
def test_the_mean_is_scikit_learns_area_ties_included(rows):
    probability = np.array([row[0] for row in rows])
    up = np.array([row[1] for row in rows], dtype=bool)
    terms = auc_terms(probability, up)
    if up.all() or not up.any():
        assert terms is None
    else:
        assert terms.mean() == pytest.approx(roc_auc_score(up, probability))


@pytest.mark.parametrize("share", [0.5, 0.15])
def test_resampled_means_vary_as_the_area_itself_does(share):
    random = np.random.default_rng(1)
    up = random.random(800) < share
    probability = 0.5 * up + random.standard_normal(800)
    terms = auc_terms(probability, up)
    draws = random.integers(0, 800, (200, 800))
    full = np.array([roc_auc_score(up[draw], probability[draw]) for draw in draws])
    quick = terms[draws].mean(axis=1)
    assert np.corrcoef(full, quick)[0, 1] > 0.99
    assert quick.std() == pytest.approx(full.std(), rel=0.05)
    # Terms of the ups alone, as if the downs stood fast, follow it less closely.
    alone = np.where(up, terms, terms.mean())[draws].mean(axis=1)
    assert np.corrcoef(full, alone)[0, 1] < 0.98
