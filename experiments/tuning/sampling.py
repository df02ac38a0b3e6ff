"""Samplers of a study, whose draws depend on the trial's number and not on who draws."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import RandomSampler, TPESampler

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from experiments.tuning.config import SamplerConfig

__all__ = ["sampler_of"]


def sampler_of(config: SamplerConfig) -> BaseSampler:
    """Return a worker's sampler.

    Workers that start at the same moment cannot tell which of them is the second, and with one
    seed they would draw the same parameters. The trials' numbers are the storage's to give, each
    of them once: so they are what the seed of a draw is made of. Whoever goes on with a study
    draws what the worker before would have drawn.

    Parameters
    ----------
    config
        Of the study.

    Examples
    --------
    >>> import optuna
    >>> from experiments.tuning.config import SamplerConfig
    >>> config = SamplerConfig(kind="random", seed=1)
    >>> first, second = sampler_of(config), sampler_of(config)
    >>> study = optuna.create_study(sampler=first)
    >>> x = study.ask().suggest_float("x", 0.0, 1.0)
    >>> study.sampler = second
    >>> x == study.ask().suggest_float("x", 0.0, 1.0)
    False
    """
    if config.kind == "random":
        return _NumberedRandomSampler(config.seed)
    with warnings.catch_warnings():
        # Both options are marked as experimental, for years.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _NumberedTPESampler(config.seed, config.startup_trials)


class _NumberedRandomSampler(RandomSampler):
    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._study_seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        super().before_trial(study, trial)
        self._rng.rng.seed(_seed_of(self._study_seed, trial))


class _NumberedTPESampler(TPESampler):
    def __init__(self, seed: int, startup_trials: int) -> None:
        super().__init__(
            seed=seed,
            n_startup_trials=startup_trials,
            multivariate=True,
            group=True,
            # Workers that choose at once would choose alike.
            constant_liar=True,
        )
        self._study_seed = seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        super().before_trial(study, trial)
        seed = _seed_of(self._study_seed, trial)
        self._rng.rng.seed(seed)
        # What the first trials, and a parameter that few trials have, are drawn by.
        self._random_sampler._rng.rng.seed(seed)


def _seed_of(seed: int, trial: FrozenTrial) -> int:
    (drawn,) = np.random.SeedSequence([seed, trial.number]).generate_state(1).tolist()
    return int(drawn)
