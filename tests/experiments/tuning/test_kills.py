"""Studies whose workers are killed: every trial accounted for, no orphan, runs one to one."""

from __future__ import annotations

import random

import pytest

from tests.experiments.tuning.killed_studies import Crew


def kill_at_random(crew, times, *, seed, workers=1):
    # One after another, each a moment of random length after the youngest one's first trial
    # began; another takes its place, and the others work on.
    moments = random.Random(seed)
    at_work, ends = [], []
    for _ in range(times):
        while len(at_work) < workers:
            at_work.append(crew.start())
            crew.await_first_trial(at_work[-1])
        victim = at_work.pop(moments.randrange(workers))
        victim.join(moments.uniform(0.0, 0.5))
        victim.kill()
        victim.join(120)
        ends.append(victim.exitcode)
    for process in at_work:
        process.join(600)
        assert process.exitcode == 0
    return ends


def test_a_study_killed_at_random_points_ends_with_every_trial_accounted_for(home):
    crew = Crew(home, None, trials=20)
    kill_at_random(crew, 2, seed=1)
    crew.finish()
    states = crew.accounts()
    assert states["COMPLETE"]
    assert states["PRUNED"]


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.timeout(1200)
def test_a_study_killed_20_times_ends_with_every_trial_accounted_for(home, seed):
    crew = Crew(home, None, trials=150)
    kill_at_random(crew, 20, seed=seed)
    crew.finish()
    states = crew.accounts()
    assert states["FAIL"] >= 10  # not all of the kills hit a running trial


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_two_workers_on_a_database_one_killed_20_times(home, postgres):
    crew = Crew(home, postgres.url, trials=600)
    ends = kill_at_random(crew, 20, seed=7, workers=2)
    assert ends == [-9] * 20
    crew.finish()
    crew.accounts()
