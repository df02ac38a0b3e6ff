"""What a trial draws: decided by the study's seed and the trial's number, not by who draws it."""

from __future__ import annotations

import optuna
import pytest
from optuna.samplers import RandomSampler

from experiments.tuning.config import SamplerConfig
from experiments.tuning.sampling import sampler_of

KINDS = ("tpe", "random")


def draw(study, sampler):
    """Return what one trial of a worker with this sampler drew, and tell its value."""
    study.sampler = sampler
    trial = study.ask()
    kind = trial.suggest_categorical("kind", ["a", "b"])
    x = trial.suggest_float("x", 0.0, 1.0)
    # Few trials have it, so that it is drawn on its own.
    more = trial.suggest_float("more", 0.0, 1.0) if kind == "a" else 0.0
    study.tell(trial, (x - 0.3) ** 2 + more)
    return kind, x, more


def alternating(samplers, trials=16):
    study = optuna.create_study()
    return [draw(study, samplers[number % len(samplers)]) for number in range(trials)]


@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_start_at_the_same_moment_draw_different_trials(kind):
    config = SamplerConfig(kind=kind, startup_trials=5)
    drawn = alternating([sampler_of(config), sampler_of(config)])
    assert len({x for _, x, _ in drawn}) == 16


def test_samplers_of_one_seed_draw_each_trial_twice():
    drawn = alternating([RandomSampler(seed=0), RandomSampler(seed=0)])
    assert len({x for _, x, _ in drawn}) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_the_trials_are_the_same_whoever_draws_them(kind):
    config = SamplerConfig(kind=kind, seed=3, startup_trials=5)
    alone = alternating([sampler_of(config)])
    assert alternating([sampler_of(config) for _ in range(16)]) == alone


@pytest.mark.parametrize("kind", KINDS)
def test_another_seed_draws_other_trials(kind):
    one, other = (
        alternating([sampler_of(config)], trials=6)
        for config in (SamplerConfig(kind=kind, seed=seed) for seed in (0, 1))
    )
    assert not {x for _, x, _ in one} & {x for _, x, _ in other}
