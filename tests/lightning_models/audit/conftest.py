"""Features to plant, taken off the table again after the test."""

from __future__ import annotations

import pytest

from lightning_models.features import FeatureSpec, forget_feature, own_features, register_feature


@pytest.fixture
def plant():
    """Register a feature under a name and return it as configuration names it."""
    before = set(own_features())

    def register(compute, *, warmup=0, name="planted", **options):
        register_feature(name, compute, warmup=warmup, **options)
        return FeatureSpec(name=name)

    yield register
    for name in set(own_features()) - before:
        forget_feature(name)
