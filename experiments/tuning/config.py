"""What a study is: what is searched, from where, judged by what, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from experiments.tuning.parameters import Parameter, refuse_nested
from experiments.tuning.yardstick import refuse_fixed, refuse_searched
from experiments.walk_forward.config import WalkForwardConfig
from lightning_models.spelling import nearest_names

__all__ = [
    "EpochPruning",
    "FoldPruning",
    "ForecastObjective",
    "NoPruning",
    "Objective",
    "Pruning",
    "SamplerConfig",
    "StoppingConfig",
    "StudyConfig",
    "TradingObjective",
]

GAINS = (
    "sharpe_ratio",
    "sortino_ratio",
    "total_return",
    "total_return_pct",
    "annualized_return",
    "profit_factor",
    "win_rate",
    "probabilistic_sharpe_ratio",
    "excess_return",
)
LOSSES = ("max_drawdown_pct", "max_drawdown")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ForecastObjective(_Part):
    """How well a fold's model forecasts what it has not seen; smaller is better.

    Parameters
    ----------
    metric
        ``log_loss`` of the direction's probability; ``crps``: continuous ranked probability
        score of the forecast distribution, in multiples of the trailing volatility over the
        horizon; ``brier``.
    dispersion
        What a standard deviation over the folds costs: it is added this many times to the mean.
    cost
        Fraction of notional that a change of position costs in the returns that are kept for
        the tests of luck.
    """

    kind: Literal["forecast"] = "forecast"
    metric: Literal["log_loss", "crps", "brier"] = "log_loss"
    dispersion: NonNegativeFloat = 0.5
    cost: float = Field(default=0.0004, ge=0, lt=0.1)

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Which way is better, as Optuna calls it."""
        return "minimize"


class TradingObjective(_Part):
    """What the strategy earns on what a fold's model has not seen, costs included.

    Parameters
    ----------
    metric
        A figure of the backtest, such as ``sharpe_ratio``; larger is better, but for
        drawdowns. A symbol without a trade scores 0, and in a drawdown the whole of the account:
        standing aside is better than losing, and never the smallest drawdown.
    dispersion
        What a standard deviation over the folds costs: gains lose, drawdowns gain this many.
    min_trades
        Closed trades of a fold, all symbols together, from which it counts in full. With fewer
        it scores as without a trade, a gain below that excepted: what a few trades earn is
        luck, and what they lose is lost all the same. 0 counts every fold in full.
    """

    kind: Literal["trading"] = "trading"
    metric: str = "sharpe_ratio"
    dispersion: NonNegativeFloat = 0.5
    min_trades: NonNegativeInt = 5

    @field_validator("metric")
    @classmethod
    def _is_a_figure(cls, name: str) -> str:
        known = (*GAINS, *LOSSES)
        if name not in known:
            raise ValueError(f"no figure {name!r} to tune by: {nearest_names(name, known)}")
        return name

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Which way is better, as Optuna calls it."""
        return "minimize" if self.metric in LOSSES else "maximize"


Objective = Annotated[ForecastObjective | TradingObjective, Field(discriminator="kind")]


class NoPruning(_Part):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class EpochPruning(_Part):
    """A trial ends early where its validation loss falls behind, epoch by epoch.

    Parameters
    ----------
    method
        ``median``: worse than the median of the trials before at the same epoch;
        ``hyperband``.
    startup_trials
        Trials that run to their end before any is pruned.
    warmup_epochs
        Epochs of a trial in which it is not pruned.
    """

    kind: Literal["epochs"] = "epochs"
    method: Literal["median", "hyperband"] = "median"
    startup_trials: PositiveInt = 5
    warmup_epochs: PositiveInt = 3


class FoldPruning(_Part):
    """A trial ends early where its folds are worse than the best trial's, by Wilcoxon's test.

    Parameters
    ----------
    p_threshold
        Under which a trial is pruned.
    startup_folds
        Folds of a trial after which it may be.
    """

    kind: Literal["folds"] = "folds"
    p_threshold: float = Field(default=0.1, gt=0, lt=1)
    startup_folds: int = Field(default=2, ge=2)


Pruning = Annotated[NoPruning | EpochPruning | FoldPruning, Field(discriminator="kind")]


class SamplerConfig(_Part):
    """Where the next trial's parameters come from.

    Parameters
    ----------
    kind
        ``tpe``: tree-structured Parzen estimator over all parameters jointly; ``random``.
    seed
        Of a study that one worker runs from its beginning to its end. Whoever joins later, or
        goes on after a stop, draws other numbers, or the same trials would come again.
    startup_trials
        Drawn at random before the estimator has seen enough.
    """

    kind: Literal["tpe", "random"] = "tpe"
    seed: int = Field(default=0, ge=0, lt=2**32)
    startup_trials: PositiveInt = 10


class StoppingConfig(_Part):
    """When a study ends; whatever comes first.

    Parameters
    ----------
    trials
        Finished trials of all workers together, pruned and failed ones included.
    stagnation
        Finished trials without a better one; 0 is off. It asks for one objective.
    minutes
        Of a worker's wall clock, after which it starts no further trial; 0 is off.
    failures
        Trials that may fail before any has succeeded.
    """

    trials: PositiveInt = 100
    stagnation: int = Field(default=0, ge=0)
    minutes: NonNegativeFloat = 0.0
    failures: PositiveInt = 5


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class StudyConfig(_Part):
    """A study of many trials.

    Parameters
    ----------
    name
        Of the study, its MLflow experiment and its journal; the file's by default.
    preset
        What the search starts from: a shipped preset or a file. Its own values are the first
        trial.
    after
        An earlier study, in place of `preset`: the search starts from its best trial, whose
        forecasts are kept, and its trials count in what this one finds by luck.
    settings
        Dotted fields of the configuration that differ from the preset in every trial.
    backtest
        Fields of `experiments.config.BacktestConfig` that every trial trades with, but for
        those that the folds decide: the model and the period.
    space
        From a dotted field, ``backtest.`` before those of the strategy and its account, to what
        it may be. What trials are measured by is not searched: costs, cash, seeds, slices, and
        with an objective of forecasts the horizons and the target.
    objective
        One, or two that are weighed against each other.
    walk_forward
        The folds that a trial is judged by.
    seeds
        Fits of each fold, with seeds one after the other, that a trial's score is the mean of.
    holdout
        Share of the time span, at its end, that no trial sees.
    pruning
        Whether a trial may end early.
    sampler, stopping
        Where trials come from, and when the study ends.
    preset_first
        Whether the first trial has the preset's own values.
    """

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^/:\s][^/:\n]*$")
    preset: str | None = None
    after: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    backtest: dict[str, JsonValue] = Field(default_factory=dict)
    space: dict[str, Parameter] = Field(min_length=1)
    objective: Annotated[tuple[Objective, ...], BeforeValidator(_as_list)] = Field(
        default=(ForecastObjective(),), min_length=1, max_length=2
    )
    walk_forward: WalkForwardConfig = WalkForwardConfig()
    seeds: PositiveInt = Field(default=1, le=100)
    holdout: float = Field(default=0.15, ge=0, le=0.5)
    pruning: Pruning = NoPruning()
    sampler: SamplerConfig = SamplerConfig()
    stopping: StoppingConfig = StoppingConfig()
    preset_first: bool = True

    @field_validator("space", mode="before")
    @classmethod
    def _has_dotted_fields(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            refuse_nested(content)
        return content

    @property
    def trades(self) -> bool:
        """Whether a trial's score comes from a backtest, wholly or in part."""
        return any(one.kind == "trading" for one in self.objective)

    @property
    def directions(self) -> tuple[Literal["minimize", "maximize"], ...]:
        """``minimize`` or ``maximize`` for each objective."""
        return tuple(one.direction for one in self.objective)

    @model_validator(mode="after")
    def _fits_together(self) -> StudyConfig:
        if (self.preset is None) == (self.after is None):
            raise ValueError("give either preset or after, what the search starts from")
        if len(self.objective) > 1 and self.pruning.kind != "none":
            raise ValueError(
                "two objectives cannot be pruned, since a trial that is behind in one may lead in "
                "the other: leave pruning out"
            )
        if len(self.objective) > 1 and self.stopping.stagnation:
            raise ValueError(
                "two objectives have no single best trial to stagnate: leave stagnation out"
            )
        needed = math.ceil(-math.log2(getattr(self.pruning, "p_threshold", 1.0)))
        if self.pruning.kind == "folds" and self.walk_forward.folds < needed:
            raise ValueError(
                f"{self.walk_forward.folds} folds can never be told apart at p_threshold="
                f"{self.pruning.p_threshold:g}: give at least {needed} folds"
            )
        refuse_fixed(self.backtest)
        forecasts = any(one.kind == "forecast" for one in self.objective)
        refuse_searched(self.space, forecasts=forecasts)
        self._refuse_a_field_twice()
        traded = [name for name in self.space if name.startswith("backtest.")]
        if traded and not self.trades:
            raise ValueError(
                f"space has {traded[0]}, which no forecast objective depends on: add an objective "
                "of kind trading, or leave it out"
            )
        return self

    def _refuse_a_field_twice(self) -> None:
        for part, parameter in self.space.items():
            for whole, other in self.space.items():
                # Conditions may see to it that no trial draws both.
                if part.startswith(f"{whole}.") and not (parameter.when and other.when):
                    raise ValueError(
                        f"space has {whole}, and {part} which is a part of it: one draw would "
                        "undo the other; keep one of them"
                    )
