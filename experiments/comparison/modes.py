"""Window mode against sequence mode: the same network, the same candles, the same seeds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from experiments.comparison.pooling import Measured, difference, pooled, pooled_metrics
from experiments.comparison.running import comparison_run, run_trials
from experiments.comparison.trial import Trial, TrialResult
from experiments.presets import load_train_config
from experiments.tracking import log_metrics, set_tags
from lightning_models.errors import ConfigError
from lightning_models.home import Home, find_home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from experiments.config import TrainConfig
    from lightning_models.candles import Candles

__all__ = ["SEQUENCE", "WINDOW", "ModesResult", "compare_modes"]

WINDOW: Final = (
    "data.mode=window",
    "training.batch_size=32",
    "training.learning_rate=0.001",
    "training.epochs=50",
    "training.patience=8",
)
SEQUENCE: Final = (
    "data.mode=sequence",
    "training.batch_size=8",
    "training.learning_rate=0.001",
    "training.epochs=60",
    "training.patience=10",
)
"""What each mode is trained with; everything else is the preset's."""

ARMS: Final = ("sequence", "window", "window in the sequence's time")


@dataclass(frozen=True)
class ModesResult:
    """The arms of the comparison, and the sequence's lead over each other arm.

    Parameters
    ----------
    preset
        Network that was trained.
    arms
        Trials by arm: ``sequence`` and ``window`` until early stopping, and ``window in the
        sequence's time``, ended after the last epoch that fits into the processor time that
        the sequence took on the same symbol with the same seed (one epoch where none fits).
    scores
        Of each arm over all symbols, the mean of its seeds.
    lead
        Score of the sequence less that of each other arm. Of ``log_loss``, below zero is better.
    run_id
        Of the MLflow run above those of the trials.
    """

    preset: str
    arms: dict[str, tuple[TrialResult, ...]]
    scores: dict[str, dict[str, Measured]]
    lead: dict[str, dict[str, Measured]]
    run_id: str

    def seconds(self, arm: str) -> float:
        """Return the median processor time of an arm's fits."""
        return median(one.seconds for one in self.arms[arm])

    @property
    def verdict(self) -> str:
        """Whether sequence mode is better, worse or no different, in words."""
        return " ".join(self._against(arm) for arm in ARMS[1:])

    def _against(self, arm: str) -> str:
        lead = self.lead[arm]["log_loss"]
        figures = (
            f"log-loss {lead.value:+.5f} nats ({_interval(lead)}), AUC "
            f"{self.lead[arm]['auc'].value:+.4f} ({_interval(self.lead[arm]['auc'])})"
            if "auc" in self.lead[arm]
            else f"log-loss {lead.value:+.5f} nats ({_interval(lead)})"
        )
        if lead.low is None or lead.high is None:
            word = "cannot be told from"
        elif lead.high < 0.0:
            word = "is better than"
        elif lead.low > 0.0:
            word = "is worse than"
        else:
            word = "cannot be told from"
        ratio = self.seconds(arm) / self.seconds("sequence")
        return (
            f"Sequence mode {word} {arm}: {figures}; the latter took {ratio:.1f} times the "
            "processor time."
        )


def compare_modes(
    candles: Sequence[Candles],
    *,
    preset: str = "layer-norm",
    settings: Sequence[str] = (),
    seeds: int = 5,
    name: str = "modes",
    home: str | Path | Home | None = None,
    jobs: int = -1,
    on_trial: Callable[[TrialResult], None] | None = None,
) -> ModesResult:
    """Train a network in both modes, on each symbol with each seed, and compare out of sample.

    Parameters
    ----------
    candles
        One entry for each symbol.
    preset
        Of a network that can run as a stream.
    settings
        ``key=value``, for both modes.
    seeds
        Trainings of each arm and symbol, from seed 0.
    name
        Of the MLflow experiment. Trials that it holds are not run again.
    home
        Folder of the tracking database; by default ``$LSTM_HOME`` or the user's data folder.
    jobs
        Processes; -1 is one for each core.
    on_trial
        Called as each trial is done.

    Raises
    ------
    ConfigError
        If there is nothing to compare, or the network cannot run as a stream.
    LSTMStrategiesError
        If a trial fails, with its name; those that were finished are kept.
    """
    if not candles or seeds < 1:
        raise ConfigError("nothing to compare: give candles and at least one seed")

    def trials(arm: str, mode: Sequence[str]) -> list[Trial]:
        return [
            Trial(
                f"{preset}, {arm}",
                load_train_config(preset, [*mode, *settings, f"training.seed={seed}"]),
                one,
            )
            for one in candles
            for seed in range(seeds)
        ]

    folder = find_home(home).create()
    given = {"preset": preset, "seeds": seeds, "settings": list(settings)}
    with comparison_run(folder, name, "modes", f"modes of {preset}", candles, given) as run:
        sequence = trials("sequence", SEQUENCE)
        window = trials("window", WINDOW)
        both = run_trials([*sequence, *window], parent=run, jobs=jobs, on_trial=on_trial)
        fast, slow = both[: len(sequence)], both[len(sequence) :]
        short = [
            Trial(f"{preset}, {ARMS[2]}", _shortened(one.config, quick, long), one.candles)
            for one, quick, long in zip(window, fast, slow, strict=True)
        ]
        arms = {
            "sequence": tuple(fast),
            "window": tuple(slow),
            ARMS[2]: tuple(run_trials(short, parent=run, jobs=jobs, on_trial=on_trial)),
        }
        found = ModesResult(
            preset,
            arms,
            {arm: pooled(results) for arm, results in arms.items()},
            {arm: difference(fast, arms[arm]) for arm in ARMS[1:]},
            run,
        )
        _log(run, found)
    return found


def _shortened(config: TrainConfig, quick: TrialResult, long: TrialResult) -> TrainConfig:
    # The same seed takes the same steps, so that a shorter training is the longer one's start.
    fitting = sum(end <= quick.seconds for end in long.epoch_seconds)
    return config.model_copy(
        update={"training": config.training.model_copy(update={"epochs": max(1, fitting)})}
    )


def _log(run: str, found: ModesResult) -> None:
    for arm, scores in found.scores.items():
        log_metrics(run, pooled_metrics(_metric_name(arm), scores))
        log_metrics(run, {f"{_metric_name(arm)}/train_seconds": found.seconds(arm)})
    for arm, lead in found.lead.items():
        log_metrics(run, pooled_metrics(f"lead over {_metric_name(arm)}", lead))
    set_tags(run, {"verdict": found.verdict})


def _metric_name(arm: str) -> str:
    return arm.replace("'", "")


def _interval(one: Measured) -> str:
    if one.low is None or one.high is None:
        return "too few moments for an interval"
    return f"95 % interval {one.low:+.4f} to {one.high:+.4f}"
