"""Trials that end early: by epochs and by folds, the worse ones and not the better."""

from __future__ import annotations

import threading
import warnings

import optuna
import pytest
import pytorch_lightning as pl
from joblib import parallel_config
from joblib._parallel_backends import ThreadingBackend
from optuna.pruners import MedianPruner, NopPruner, WilcoxonPruner
from optuna.trial import TrialState

from experiments.tuning.evaluating import evaluate
from experiments.tuning.fold_fitting import EpochLosses
from experiments.tuning.pruning import TrialWatch, epochs_a_fold, pruner_of
from experiments.workers import side_by_side
from lightning_models.data.datamodule import CandleDataModule, DataConfig
from lightning_models.module import ForecastModule
from lightning_models.networks import build_network
from lightning_models.networks.multi_layer import MultiLayerConfig
from tests.experiments.tuning.small_trials import (
    EPOCHS,
    NETWORK,
    SMALL_SLICES,
    small_candidate,
    small_market,
    small_study,
)

TRADING = {"kind": "trading", "metric": "total_return_pct"}
BY_EPOCHS = {"kind": "epochs", "startup_trials": 1, "warmup_epochs": 1}
# With so few folds no smaller p-value can be reached: two worse folds have 0.25.
BY_FOLDS = {"kind": "folds", "p_threshold": 0.3, "startup_folds": 2}
ALL_IN = {"min_confidence": 0.0}

GOOD = small_candidate(NETWORK, backtest=ALL_IN)
# Learns nothing in three epochs.
BAD = small_candidate(NETWORK, "training.learning_rate=0.000001", backtest=ALL_IN)
SKILLED = small_candidate()
IDLE = small_candidate(
    ("majority-class", *(one for one in NETWORK[1:] if one.startswith("data."))),
)


class Trials:
    """An Optuna study in memory whose trials are the candidates it is given."""

    def __init__(self, config, folder, **options):
        self.config = config
        self.study = optuna.create_study(
            study_name="small",
            direction=config.directions[0],
            pruner=pruner_of(config, GOOD.train),
        )
        self._folder = folder
        self._options = options

    def run(self, candidate, change=None):
        """Evaluate a candidate; return its watch and the frozen trial."""
        trial = self.study.ask()
        watch = TrialWatch(trial, self.config)
        if change is not None:
            change(watch)
        try:
            found = evaluate(
                candidate,
                self.config,
                small_market(),
                folder=self._folder,
                watch=watch,
                **{"jobs": 1, **self._options},
            )
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, found.values[0])
        return watch, self.study.trials[trial.number]


def test_a_trial_that_falls_behind_ends_within_its_first_fold(tmp_path):
    trials = Trials(small_study(folds=2, pruning=BY_EPOCHS), tmp_path)
    watch, good = trials.run(GOOD)
    assert good.state == TrialState.COMPLETE
    assert len(watch.epochs) == 2 * EPOCHS
    assert len(watch.folds) == 2
    watch, bad = trials.run(BAD)
    assert bad.state == TrialState.PRUNED
    # The first epoch only warms up; in the second it is behind, and that one is finished.
    assert list(bad.intermediate_values) == [0, 1]
    assert len(watch.epochs) == 2
    assert watch.folds == ()
    assert watch.pruned
    # The same trial once more, without pruning: what it was spared.
    free, complete = Trials(small_study(folds=2), tmp_path).run(BAD)
    assert complete.state == TrialState.COMPLETE
    assert len(free.epochs) == 2 * EPOCHS
    assert free.epochs[:2] == watch.epochs


def test_what_is_told_is_the_mean_of_the_best_losses_of_the_fits_so_far(tmp_path):
    trials = Trials(small_study(folds=2, seeds=2, pruning=BY_EPOCHS), tmp_path)
    watch, trial = trials.run(GOOD)
    assert list(trial.intermediate_values) == list(range(4 * EPOCHS))
    best, wanted = [], []
    for fold in watch.folds:
        best.append(float("inf"))
        for loss in fold.epochs:
            best[-1] = min(best[-1], loss)
            wanted.append(sum(best) / len(best))
    assert list(trial.intermediate_values.values()) == pytest.approx(wanted, rel=1e-12)


def test_a_trial_that_ends_in_a_later_fold_leaves_those_before_it(tmp_path):
    trials = Trials(small_study(folds=2, pruning=BY_EPOCHS), tmp_path)
    trials.run(GOOD)

    def late(watch):
        # Judged as if it had only begun in the second fold.
        should_prune = watch._trial.should_prune
        watch._trial.should_prune = lambda: len(watch.folds) == 1 and should_prune()

    watch, trial = trials.run(BAD, late)
    assert trial.state == TrialState.PRUNED
    assert [one.fold for one in watch.folds] == [1]
    assert len(watch.epochs) == EPOCHS + 1
    assert watch.folds[0].epochs == watch.epochs[:EPOCHS]


def test_a_study_that_maximises_prunes_the_worse_and_not_the_better(tmp_path):
    config = small_study(TRADING, folds=1, pruning=BY_EPOCHS)
    options = {"cache": tmp_path / "cache"}
    trials = Trials(config, tmp_path, **options)
    _, good = trials.run(GOOD)
    _, bad = trials.run(BAD)
    assert (good.state, bad.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert all(value < 0.0 for value in bad.intermediate_values.values())
    trials = Trials(config, tmp_path, **options)
    _, bad = trials.run(BAD)
    _, good = trials.run(GOOD)
    assert (bad.state, good.state) == (TrialState.COMPLETE, TrialState.COMPLETE)

    def unsigned(watch):
        watch._sign = 1.0

    # Told the loss itself, a study that maximises would prune the better one.
    trials = Trials(config, tmp_path, **options)
    trials.run(BAD, unsigned)
    _, good = trials.run(GOOD, unsigned)
    assert good.state == TrialState.PRUNED


def test_kept_fits_are_judged_as_if_they_were_fitted(tmp_path):
    config = small_study(TRADING, folds=1, pruning=BY_EPOCHS)
    fresh = Trials(config, tmp_path)
    fresh.run(GOOD)
    _, wanted = fresh.run(BAD)
    assert wanted.state == TrialState.PRUNED
    cache = tmp_path / "cache"
    for candidate in (GOOD, BAD):
        evaluate(candidate, config, small_market(), folder=tmp_path, jobs=1, cache=cache)
    trials = Trials(config, tmp_path, cache=cache)
    watch, good = trials.run(GOOD)
    assert (good.state, watch.epochs) == (TrialState.COMPLETE, ())
    assert list(good.intermediate_values) == list(range(EPOCHS))
    watch, bad = trials.run(BAD)
    assert (bad.state, watch.epochs) == (TrialState.PRUNED, ())
    assert bad.intermediate_values == wanted.intermediate_values


def test_a_pruned_fit_is_not_kept(tmp_path):
    cache = tmp_path / "cache"
    trials = Trials(small_study(TRADING, folds=2, pruning=BY_EPOCHS), tmp_path, cache=cache)
    trials.run(GOOD)
    entries = sorted(one for one in cache.iterdir() if one.is_dir() and one.name != "cache")
    assert len(entries) == 2
    _, bad = trials.run(BAD)
    assert bad.state == TrialState.PRUNED
    assert sorted(one for one in cache.iterdir() if one.is_dir() and one.name != "cache") == entries


def test_a_model_without_epochs_is_never_pruned_by_them(tmp_path):
    trials = Trials(small_study(pruning=BY_EPOCHS), tmp_path)
    trials.run(SKILLED)
    watch, idle = trials.run(IDLE)
    assert idle.state == TrialState.COMPLETE
    assert idle.intermediate_values == {}
    assert watch.epochs == ()
    assert len(watch.folds) == 3


class _Elsewhere(ThreadingBackend):
    # As that of a cluster: a single job is no reason to stay here.
    def effective_n_jobs(self, n_jobs):
        return max(2, super().effective_n_jobs(n_jobs))


def _thread(task):
    return threading.current_thread()


def test_epochs_are_followed_in_this_thread_whatever_the_backend(tmp_path):
    heard = set()

    def listen(watch):
        report = watch._trial.report

        def told(value, step):
            heard.add(threading.current_thread())
            report(value, step)

        watch._trial.report = told

    trials = Trials(small_study(folds=1, pruning=BY_EPOCHS), tmp_path, jobs=2)
    with parallel_config(backend=_Elsewhere()):
        ((_, elsewhere),) = side_by_side(_thread, ["task"], name=str, jobs=1)
        _, trial = trials.run(GOOD, listen)
    assert trial.state == TrialState.COMPLETE
    assert heard == {threading.current_thread()}
    assert elsewhere is not threading.current_thread()


class _Validations(pl.Callback):
    def __init__(self):
        self.sane, self.others = 0, 0

    def on_validation_end(self, trainer, pl_module):
        if trainer.sanity_checking:
            self.sane += 1
        else:
            self.others += 1


def test_lightnings_check_before_the_first_epoch_is_not_told():
    study = optuna.create_study(pruner=NopPruner())
    trial = study.ask()
    config = small_study(pruning=BY_EPOCHS)
    watch = TrialWatch(trial, config)
    watch.begin_fold(0, GOOD.train)
    data = CandleDataModule(
        DataConfig(features=("close",), lookback=4, slices=GOOD.train.data.slices),
        small_market(),
        batch_size=64,
    )
    network = build_network(MultiLayerConfig(hidden_size=4, layers=1), features=1, horizons=1)
    counted, losses = _Validations(), EpochLosses(watch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=2,
            callbacks=[counted, losses],
        ).fit(
            ForecastModule(network, learning_rate=0.01),
            train_dataloaders=data.train_dataloader(),
            val_dataloaders=data.val_dataloader(),
        )
    # The check was made, and would have been a third report.
    assert (counted.sane, counted.others) == (1, 2)
    assert list(study.trials[0].intermediate_values) == [0, 1]
    assert [len(one) for one in losses.losses] == [2]


def test_a_trial_whose_folds_are_worse_than_the_best_ones_ends_after_them(tmp_path):
    trials = Trials(small_study(pruning=BY_FOLDS), tmp_path)
    _, skilled = trials.run(SKILLED)
    assert skilled.state == TrialState.COMPLETE
    assert list(skilled.intermediate_values) == [0, 1, 2]
    watch, idle = trials.run(IDLE)
    assert idle.state == TrialState.PRUNED
    assert [one.fold for one in watch.folds] == [1, 2]
    assert idle.intermediate_values == {
        place: one.values[0] for place, one in enumerate(watch.folds)
    }
    # The other way round nobody is behind.
    trials = Trials(small_study(pruning=BY_FOLDS), tmp_path)
    assert [trials.run(one)[1].state for one in (IDLE, SKILLED)] == [TrialState.COMPLETE] * 2


def test_a_fold_is_told_once_all_seeds_are_in(tmp_path):
    trials = Trials(small_study(seeds=2, pruning=BY_FOLDS), tmp_path)
    watch, trial = trials.run(SKILLED)
    assert len(watch.folds) == 6
    means = [
        sum(one.values[0] for one in watch.folds if one.fold == fold) / 2 for fold in (1, 2, 3)
    ]
    assert list(trial.intermediate_values.values()) == pytest.approx(means)


def test_folds_of_a_strategy_without_a_model_are_told_too(tmp_path):
    config = small_study(TRADING, seeds=2, pruning=BY_FOLDS)
    watch, trial = Trials(config, tmp_path).run(small_candidate(backtest={"strategy": "rsi_ema"}))
    assert list(trial.intermediate_values) == [0, 1, 2]
    assert watch.epochs == ()


@pytest.mark.soak
def test_folds_side_by_side_end_with_the_trial(tmp_path):
    trials = Trials(small_study(pruning=BY_FOLDS), tmp_path, jobs=2)
    trials.run(SKILLED)
    watch, idle = trials.run(IDLE)
    assert idle.state == TrialState.PRUNED
    assert len(watch.folds) == 2


def test_every_pruning_has_its_pruner_and_none_warns():
    assert isinstance(pruner_of(small_study()), NopPruner)
    assert isinstance(pruner_of(small_study(pruning=BY_EPOCHS)), MedianPruner)
    assert isinstance(pruner_of(small_study(pruning=BY_FOLDS)), WilcoxonPruner)


def told(study, values):
    trial = study.ask()
    for step, value in enumerate(values):
        trial.report(value, step)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step
    study.tell(trial, values[-1])
    return None


def test_hyperband_lets_the_first_trials_run_to_their_end():
    pruning = {"kind": "epochs", "method": "hyperband", "startup_trials": 6, "warmup_epochs": 1}
    config = small_study(folds=2, pruning=pruning)
    falling = [[1.0 + number] * 12 for number in range(30)]

    def ends(pruner):
        study = optuna.create_study(study_name="small", pruner=pruner)
        return [told(study, values) for values in falling]

    ended = ends(pruner_of(config, GOOD.train))
    assert ended[:6] == [None] * 6
    assert sum(one is not None for one in ended) > 12
    # Optuna's own has no such beginning.
    plain = ends(optuna.pruners.HyperbandPruner(min_resource=1, max_resource=2 * EPOCHS))
    assert any(one is not None for one in plain[:6])


def test_the_longest_fold_is_that_of_the_space_the_settings_or_the_preset():
    study = small_study()
    assert epochs_a_fold(study, GOOD.train) == EPOCHS
    assert epochs_a_fold(study) == 12
    assert epochs_a_fold(small_study(settings={"training.epochs": 7})) == 7
    for space in ({"low": 2, "high": 40}, [5, 40, 10]):
        wide = small_study(space={"training.epochs": space})
        assert epochs_a_fold(wide, GOOD.train) == 40
    later = small_study(preset=None, after="before")
    assert epochs_a_fold(later, GOOD.train) == EPOCHS
    assert epochs_a_fold(later) == 50


def ensemble_of(*networks):
    members = ", ".join(f"{{name: m{place}, network: {one}}}" for place, one in enumerate(networks))
    return small_candidate(
        ("ensemble", f"data.slices={SMALL_SLICES}", "data.lookback=6", *_common()),
        f"network.members=[{members}]",
    )


def _common():
    return (
        "data.features=[close, volume]",
        "training.batch_size=32",
        f"training.epochs={EPOCHS}",
        "training.patience=0",
    )


@pytest.mark.soak
def test_members_of_an_ensemble_have_steps_of_their_own_and_end_together(tmp_path):
    small = "{kind: multi-layer, hidden_size: 4, layers: 1, dropout: 0}"
    plain = "{kind: logistic-regression, rows: 2}"
    candidate = ensemble_of(small, plain, small)
    assert epochs_a_fold(small_study(), candidate.train) == 2 * EPOCHS
    trials = Trials(small_study(folds=2, pruning=BY_EPOCHS), tmp_path)
    watch, trial = trials.run(candidate)
    assert trial.state == TrialState.COMPLETE
    assert list(trial.intermediate_values) == list(range(4 * EPOCHS))
    assert len(watch.epochs) == 4 * EPOCHS

    def at_once(watch):
        watch._trial.should_prune = lambda: True

    watch, trial = trials.run(candidate, at_once)
    assert trial.state == TrialState.PRUNED
    assert list(trial.intermediate_values) == [0]
    # Each member that was still to come trains one epoch.
    assert len(watch.epochs) == 2
