"""Ending trials early: what is told of a trial as it goes, and what decides on it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    WilcoxonPruner,
)
from optuna.trial import FrozenTrial, TrialState

from experiments.tuning.config import EpochPruning, FoldPruning, StudyConfig
from experiments.tuning.parameters import Range

if TYPE_CHECKING:
    from experiments.config import TrainConfig
    from experiments.tuning.score import FoldScore

__all__ = ["TrialWatch", "Watch", "epochs_a_fold", "pruner_of"]

EPOCHS: Final = "training.epochs"

# Of a study whose starting point is not known yet.
_USUAL_EPOCHS: Final = 50


class Watch(Protocol):
    """What follows a trial through its fits and folds, and may end it."""

    @property
    def by_epochs(self) -> bool:
        """Whether it follows the epochs; fits come one after another, in this process, then."""

    @property
    def pruned(self) -> bool:
        """Whether the trial shall end."""

    def begin_fold(self, position: int, config: TrainConfig) -> None:
        """Take notice of the fit of a fold.

        Parameters
        ----------
        position
            Of the fold and seed, from 0.
        config
            That it is fitted by.
        """

    def begin_fit(self, *, kept: bool = False) -> None:
        """Take notice of a network that is trained in epochs, of which an ensemble has several.

        Parameters
        ----------
        kept
            Whether it was trained before, and its epochs are only told again.
        """

    def epoch(self, epoch: int, loss: float) -> bool:
        """Take notice of an epoch.

        Parameters
        ----------
        epoch
            Counted from 0 over the networks of the fold.
        loss
            Log-loss on the validation slice.

        Returns
        -------
        bool
            `pruned`.
        """

    def take(self, score: FoldScore, *, seeds: int) -> None:
        """Take a fold that is done.

        Parameters
        ----------
        score
            Of one of its fits.
        seeds
            How many it has.

        Raises
        ------
        optuna.TrialPruned
            If the trial shall end.
        """

    def end(self) -> NoReturn:
        """End the trial.

        Raises
        ------
        optuna.TrialPruned
            Always.
        """


class TrialWatch:
    """Tells Optuna how a trial goes, by epochs or by folds as the study says.

    Epochs: the value of a step is the mean of the best validation log-losses of the fits that
    are done and of the running one so far. For a study that maximises it is told negated, since
    a smaller loss is better whatever the study looks for. Steps of a later fold begin where
    the longest fold could have ended, so that they mean the same in every trial; early stopping
    leaves steps out.

    Folds: the step is the fold, the value its score, all seeds averaged.

    Parameters
    ----------
    trial
        Optuna's.
    study
        Whose pruning and first direction count.

    Attributes
    ----------
    folds : tuple
        Scores of the folds that are done, in order of fold and seed.
    epochs : tuple
        Loss of each epoch that was trained, those of a fold that was not finished included.
    """

    def __init__(self, trial: optuna.Trial, study: StudyConfig) -> None:
        self._trial = trial
        self._study = study
        self._sign = -1.0 if study.directions[0] == "maximize" else 1.0
        self._folds: list[FoldScore] = []
        self._unfinished: list[float] = []
        self._best: list[float] = []
        self._first_step = 0
        self._kept = False
        self._pruned = False

    @property
    def by_epochs(self) -> bool:
        """Whether the epochs are told."""
        return isinstance(self._study.pruning, EpochPruning)

    @property
    def pruned(self) -> bool:
        """Whether the trial shall end."""
        return self._pruned

    @property
    def folds(self) -> tuple[FoldScore, ...]:
        """Scores of the folds that are done, in order of fold and seed."""
        return tuple(sorted(self._folds, key=lambda one: (one.fold, one.seed)))

    @property
    def epochs(self) -> tuple[float, ...]:
        """Loss of each epoch that was trained, those of an unfinished fold last."""
        done = [loss for one in self.folds for loss in one.epochs]
        return (*done, *self._unfinished)

    def begin_fold(self, position: int, config: TrainConfig) -> None:
        """Take notice of the fit of a fold, as `Watch` says."""
        self._first_step = position * epochs_a_fold(self._study, config)
        self._unfinished = []

    def begin_fit(self, *, kept: bool = False) -> None:
        """Take notice of a network that is trained in epochs, as `Watch` says."""
        self._kept = kept
        self._best.append(float("inf"))

    def epoch(self, epoch: int, loss: float) -> bool:
        """Tell Optuna of an epoch, as `Watch` says."""
        if not self._kept:
            self._unfinished.append(loss)
        self._best[-1] = min(self._best[-1], loss)
        if self._pruned:
            # The other members of an ensemble: the fit that is running ends, and so do they.
            return True
        value = self._sign * sum(self._best) / len(self._best)
        self._trial.report(value, self._first_step + epoch)
        self._pruned = self._trial.should_prune()
        return self._pruned

    def take(self, score: FoldScore, *, seeds: int) -> None:
        """Take a fold that is done, as `Watch` says."""
        self._folds.append(score)
        self._unfinished = []
        if not isinstance(self._study.pruning, FoldPruning):
            return
        values = [one.values[0] for one in self._folds if one.fold == score.fold]
        if len(values) < seeds:
            return
        self._trial.report(sum(values) / len(values), score.fold - 1)
        with warnings.catch_warnings():
            # Of a best trial that lacks a fold, and of differences that are all nought.
            warnings.simplefilter("ignore", UserWarning)
            self._pruned = self._trial.should_prune()
        if self._pruned:
            self.end()

    def end(self) -> NoReturn:
        """End the trial, as `Watch` says."""
        raise optuna.TrialPruned(f"trial {self._trial.number} fell behind the others")


class _Hyperband(HyperbandPruner):
    # Optuna's own prunes from the first trial on. The samplers know it by its class.
    def __init__(self, startup_trials: int, *, least: int, most: int) -> None:
        super().__init__(min_resource=least, max_resource=max(least, most), reduction_factor=3)
        self._startup_trials = startup_trials

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        # Asked in any case: it notes how far each trial came, for those after it.
        behind = super().prune(study, trial)
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return behind and len(done) >= self._startup_trials


def pruner_of(study: StudyConfig, train: TrainConfig | None = None) -> BasePruner:
    """Return Optuna's pruner for a study.

    Parameters
    ----------
    study
        Its pruning, folds and seeds.
    train
        What the study starts from: how long a fold may be, which only Hyperband asks. By
        default as `epochs_a_fold` says.

    Returns
    -------
    optuna.pruners.BasePruner
        By epochs: the median of at least `startup_trials` trials, or Hyperband (Li et al.,
        2018), whose largest resource is every epoch of every fold and its smallest
        `warmup_epochs`. By folds: Wilcoxon's signed-rank test against the best trial.
    """
    pruning = study.pruning
    if isinstance(pruning, EpochPruning):
        if pruning.method == "median":
            return MedianPruner(
                n_startup_trials=pruning.startup_trials,
                n_warmup_steps=pruning.warmup_epochs,
                # Early stopping leaves few trials at a late step, and those are the good ones.
                n_min_trials=pruning.startup_trials,
            )
        most = study.walk_forward.folds * study.seeds * epochs_a_fold(study, train)
        return _Hyperband(pruning.startup_trials, least=pruning.warmup_epochs, most=most)
    if isinstance(pruning, FoldPruning):
        with warnings.catch_warnings():
            # Marked as experimental, for years.
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(
                p_threshold=pruning.p_threshold, n_startup_steps=pruning.startup_folds
            )
    return NopPruner()


def epochs_a_fold(study: StudyConfig, train: TrainConfig | None = None) -> int:
    """Return how many epochs the longest fit of a fold may have in a study's trials.

    Parameters
    ----------
    study
        Whose space may hold ``training.epochs``, and otherwise its settings.
    train
        Of a trial, or what the study starts from; by default the preset.

    Returns
    -------
    int
        The most epochs of a network, times the members of an ensemble that have any.
    """
    if train is None and study.preset is not None:
        from experiments.presets import load_train_config

        train = load_train_config(study.preset)
    epochs = _most_epochs(study)
    if epochs is None:
        epochs = _USUAL_EPOCHS if train is None else train.training.epochs
    return epochs * (1 if train is None else _trained_members(train))


def _most_epochs(study: StudyConfig) -> int | None:
    # Where a trial does not get them from its own configuration alone.
    parameter = study.space.get(EPOCHS)
    if parameter is not None:
        given: Sequence[object] = (
            (parameter.high,) if isinstance(parameter, Range) else parameter.tried()
        )
        return max(int(one) for one in given if isinstance(one, int | float))
    setting = study.settings.get(EPOCHS)
    return setting if isinstance(setting, int) else None


def _trained_members(train: TrainConfig) -> int:
    from lightning_models.forecasters import FORECASTERS
    from lightning_models.networks.ensemble import EnsembleConfig

    if not isinstance(train.network, EnsembleConfig):
        return 1
    kinds = [member.network.kind for member in train.network.members]
    return max(1, sum(kind not in FORECASTERS for kind in kinds))
