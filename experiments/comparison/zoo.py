"""Every network and baseline on every symbol, out of sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from experiments.comparison.pooling import Measured, pooled, pooled_metrics
from experiments.comparison.running import comparison_run, run_trials
from experiments.comparison.trial import Trial, TrialResult
from experiments.presets import load_train_config
from experiments.tracking import log_metrics, set_tags
from lightning_models.errors import ConfigError
from lightning_models.home import Home, find_home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lightning_models.candles import Candles

__all__ = ["ZOO", "ZooResult", "run_zoo"]

ZOO: Final = (
    "univariate",
    "price-predictor",
    "layer-norm",
    "multi-layer",
    "bidirectional",
    "attention",
    "transformer",
    "ensemble",
    "zero-return",
    "majority-class",
    "statistical",
    "logistic-regression",
    "gradient-boosting",
)
"""Presets that are compared where none are named."""


@dataclass(frozen=True)
class ZooResult:
    """Every trial, and the scores of each preset over all symbols.

    Parameters
    ----------
    trials
        By preset, then by symbol, then by seed.
    overall
        Scores of each preset over all symbols, by its name.
    run_id
        Of the MLflow run above those of the trials.
    """

    trials: tuple[TrialResult, ...]
    overall: dict[str, dict[str, Measured]]
    run_id: str

    @property
    def verdict(self) -> str:
        """Which presets know more than the majority class, in words."""
        skilled = [
            name
            for name, scores in self.overall.items()
            if (low := scores["log_loss_gain"].low) is not None and low > 0.0
        ]
        count = len(self.overall)
        if not skilled:
            return (
                f"None of the {count} knows more than the majority class: the interval of every "
                "log-loss gain over all symbols holds zero or lies below it."
            )
        return (
            f"The interval of the log-loss gain over all symbols lies above zero for "
            f"{', '.join(skilled)}: {len(skilled)} of {count}, where one in forty would by chance."
        )


def run_zoo(
    candles: Sequence[Candles],
    *,
    presets: Sequence[str] = ZOO,
    settings: Sequence[str] = (),
    seeds: int = 1,
    name: str = "zoo",
    home: str | Path | Home | None = None,
    jobs: int = -1,
    on_trial: Callable[[TrialResult], None] | None = None,
) -> ZooResult:
    """Train each preset on each symbol by itself and score it on the symbol's test slice.

    Parameters
    ----------
    candles
        One entry for each symbol.
    presets
        Shipped ones or YAML files.
    settings
        ``key=value``, for every preset.
    seeds
        Trainings of each, from seed 0.
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
        If there is nothing to compare, or a preset is unknown.
    LSTMStrategiesError
        If a trial fails, with its name; those that were finished are kept.
    """
    if not presets or not candles or seeds < 1:
        raise ConfigError("nothing to compare: give presets, candles and at least one seed")
    trials = [
        Trial(
            preset,
            load_train_config(preset, [*settings, f"training.seed={seed}"]),
            one,
        )
        for preset in presets
        for one in candles
        for seed in range(seeds)
    ]
    folder = find_home(home).create()
    given = {"presets": list(presets), "seeds": seeds, "settings": list(settings)}
    with comparison_run(folder, name, "zoo", f"{name} of {len(presets)}", candles, given) as run:
        results = run_trials(trials, parent=run, jobs=jobs, on_trial=on_trial)
        overall = {
            preset: pooled([one for one in results if one.label == preset]) for preset in presets
        }
        found = ZooResult(tuple(results), overall, run)
        for preset, scores in overall.items():
            log_metrics(run, pooled_metrics(preset, scores))
        set_tags(run, {"verdict": found.verdict})
    return found
