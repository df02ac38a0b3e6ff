"""Candles of any number of symbols, as slices of windows for one model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pytorch_lightning import LightningDataModule
from torch import Tensor

from lightning_models.candles.candles import Candles
from lightning_models.candles.validation import validate
from lightning_models.data.barrier_samples import BarrierSamples
from lightning_models.data.chunks import ChunkLoader
from lightning_models.data.horizons import Horizon, resolve_horizons
from lightning_models.data.scaling import Scaler, ScalerFit
from lightning_models.data.slices import SLICE_NAMES, SliceConfig, SliceName, Slices, cut_slices
from lightning_models.data.targets import HorizonReturn, Target, TripleBarrier, label_candles
from lightning_models.data.triple_barrier import BarrierLabels
from lightning_models.data.windows import WindowLoader
from lightning_models.errors import CandleError, ConfigError, FeatureError, TooFewCandlesError
from lightning_models.features import FeatureSpec, FeatureTable, compute_features
from lightning_models.features.bridging import bridge
from lightning_models.features.compute import warmup_of

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["CandleDataModule", "DataConfig", "SampleSet"]

_log = logging.getLogger(__name__)

MIN_SAMPLES = 32


class DataConfig(BaseModel):
    """What a model sees of the candles and what it is asked.

    Parameters
    ----------
    features
        Names, or names with parameters.
    lookback
        Candles of a window.
    bridged_share
        Largest share of bridged candles in a window that is trained on or forecast from.
    horizons
        Numbers of candles or durations such as ``1d``; all are forecast by one network.
    target
        What is forecast over a horizon: its return, or that up to the first of three barriers.
    slices
        Shares of the time span.
    mode
        How the network runs. ``window`` sees exactly its last `lookback` candles, anew for
        each of them. ``sequence`` reads the whole series once and carries its state; for
        networks that look back only.
    chunk, burn_in
        Of sequence mode: steps of a chunk that carry a loss, and steps before them that build
        up the state. What burn-in the finished model needs is measured at export.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    lookback: PositiveInt = 60
    bridged_share: float = Field(default=0.05, ge=0, lt=1)
    horizons: tuple[PositiveInt | str, ...] = (1,)
    target: Target = HorizonReturn()
    slices: SliceConfig = SliceConfig()
    mode: Literal["window", "sequence"] = "window"
    chunk: PositiveInt = 256
    burn_in: PositiveInt = 128

    @model_serializer(mode="wrap")
    def _say_the_target_if_chosen(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if self.target == HorizonReturn():
            content.pop("target", None)
        return content


@dataclass(frozen=True, eq=False)
class SampleSet:
    """The samples of a slice, in order of symbol and time.

    Parameters
    ----------
    ends
        ``int64 [N]``, rows of the module's `CandleDataModule.features`.
    symbol
        ``int64 [N]``, position in `CandleDataModule.symbols`.
    decided
        ``int64 [N]``, when the window's last candle closes, in milliseconds.
    """

    ends: npt.NDArray[np.int64]
    symbol: npt.NDArray[np.int64]
    decided: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.ends)


class CandleDataModule(LightningDataModule):
    """Features of all symbols in one contiguous array, cut in time.

    Parameters
    ----------
    config
        What to compute.
    candles
        One entry for each symbol, all of one timeframe and market.
    batch_size
        Samples a batch.
    seed
        Of the order of train batches.
    slices
        Where to cut; by default where the shares of `config` say. The shares then only say
        which slices must hold samples: those that are above 0.

    Attributes
    ----------
    features : Tensor
        ``float32 [rows, feature]``, scaled.
    targets : Tensor
        ``float32 [rows, horizon]``, returns over trailing volatility.
    returns : numpy.ndarray
        ``float32 [rows, horizon]``, the labels as plain returns.
    volatility : numpy.ndarray
        ``float32 [rows]``, a candle.
    scaler : Scaler
        Fitted on train rows.
    runs : list
        First row past the warm-up and one past the last row of each symbol.
    slices : Slices
        Where the cuts lie.
    samples : dict
        From each slice's name to its `SampleSet`.
    zero_returns : dict
        From each slice's name to how many of its labels are neither up nor down.
    timed_out : Tensor or None
        ``float32 [rows, horizon]``, 1 where no barrier was reached; None without barriers.
    weights : Tensor or None
        ``float32 [rows, horizon]``, of each label in the loss, 1 on average over a slice; None
        where all count alike.
    effective_samples : dict
        From each slice's name to its labels' summed uniqueness, at the horizon where it is
        smallest: how many labels side by side would say as much. Empty without barriers.

    Raises
    ------
    CandleError, TooFewCandlesError, FeatureError, ConfigError
        If the candles do not fit together, are too few, or cannot give a feature.
    """

    features: Tensor
    targets: Tensor
    returns: npt.NDArray[np.float32]
    volatility: npt.NDArray[np.float32]
    scaler: Scaler
    runs: list[tuple[int, int]]
    timed_out: Tensor | None = None
    weights: Tensor | None = None

    def __init__(
        self,
        config: DataConfig,
        candles: Sequence[Candles],
        *,
        batch_size: int = 32,
        seed: int = 0,
        slices: Slices | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.candles = tuple(sorted(_validated(candles), key=lambda one: one.symbol))
        self.batch_size = batch_size
        self.seed = seed
        self.symbols, self.timeframe, self.market = _common_frame(self.candles)
        self.horizons: tuple[Horizon, ...] = resolve_horizons(config.horizons, self.timeframe)
        self.warmup = warmup_of(config.features)
        self.slices = self._cut(slices)
        self.samples: dict[SliceName, SampleSet] = {}
        self.zero_returns: dict[SliceName, int] = {}
        self.effective_samples: dict[SliceName, float] = {}
        self._build()

    @property
    def required_bars(self) -> int:
        """Candles before the first forecast: lookback + warm-up."""
        return self.config.lookback + self.warmup

    @property
    def train_symbols(self) -> tuple[str, ...]:
        """Symbols that have train rows."""
        present = np.unique(self.samples["train"].symbol)
        return tuple(self.symbols[int(position)] for position in present)

    def train_dataloader(self) -> WindowLoader | ChunkLoader:
        """Return shuffled batches of the train slice."""
        return self.loader("train", shuffle=True)

    def val_dataloader(self) -> list[WindowLoader | ChunkLoader]:
        """Return batches of the validation slice, or nothing if there is no such slice."""
        return [self.loader("validation")] if len(self.samples["validation"]) else []

    def loader(self, name: SliceName, *, shuffle: bool = False) -> WindowLoader | ChunkLoader:
        """Return the batches of a slice: windows, or chunks in sequence mode."""
        if self.config.mode == "sequence":
            return ChunkLoader(
                self.features,
                self.targets,
                self.samples[name].ends,
                self.runs,
                steps=self.config.chunk,
                burn_in=self.config.burn_in,
                batch_size=self.batch_size,
                shuffle=shuffle,
                seed=self.seed,
                weights=self.weights,
                timed_out=self.timed_out,
            )
        return WindowLoader(
            self.features,
            self.targets,
            torch.from_numpy(self.samples[name].ends),
            lookback=self.config.lookback,
            batch_size=self.batch_size if shuffle else 1024,
            shuffle=shuffle,
            seed=self.seed,
            weights=self.weights,
            timed_out=self.timed_out,
        )

    def _cut(self, given: Slices | None) -> Slices:
        for one in self.candles:
            if len(one) < self.required_bars + 2:
                raise TooFewCandlesError(
                    f"{one.symbol} has {len(one)} {self.timeframe} candles; the first sample needs "
                    f"{self.required_bars + 2}: {self.warmup} to warm the features up, "
                    f"{self.config.lookback} for the window and 2 for its label. "
                    "Give more candles, a finer timeframe or a shorter lookback"
                )
        if given is not None:
            return given
        period = self.candles[0].period_ms
        start = min(int(one.time[0]) for one in self.candles)
        end = max(int(one.time[-1]) for one in self.candles) + period
        reach = max(horizon.candles for horizon in self.horizons)
        return cut_slices(self.config.slices, start, end, reach * period)

    def _build(self) -> None:
        period, spec = self.candles[0].period_ms, self.config.features
        grids = [
            len(bridge(c.time, c.ohlcv, self.timeframe, self.market).real) for c in self.candles
        ]
        offsets = np.concatenate([[0], np.cumsum(grids)])
        rows = int(offsets[-1])
        # Allocated once and filled symbol by symbol: joining parts at the end would hold twice.
        features = np.zeros((rows, len(spec)), dtype=np.float32)
        targets = np.zeros((rows, len(self.horizons)), dtype=np.float32)
        self.returns = np.zeros_like(targets)
        self.volatility = np.ones(rows, dtype=np.float32)
        target = self.config.target
        barriers = (
            BarrierSamples(target, self.horizons, rows)
            if isinstance(target, TripleBarrier)
            else None
        )
        reach = np.sqrt([horizon.candles for horizon in self.horizons])
        fit = ScalerFit(len(spec))
        self.runs = []
        found: dict[SliceName, list[SampleSet]] = {name: [] for name in SLICE_NAMES}
        for position, one in enumerate(self.candles):
            _check_volume(one, spec)
            table = compute_features(
                one.time, one.ohlcv, features=spec, timeframe=self.timeframe, market=self.market
            )
            here = slice(int(offsets[position]), int(offsets[position + 1]))
            decided = table.time + period
            warm = int(np.argmax(table.steps > self.warmup))
            self.runs.append((here.start + warm, here.stop))
            fit.add(self._train_rows(table, decided))
            features[here] = np.nan_to_num(table.values, nan=0.0)
            prices = np.full((len(table.time), 4), np.nan)
            prices[table.rows] = one.ohlcv[:, :4]
            labels = label_candles(
                target,
                table.time,
                prices,
                table.real,
                table.volatility,
                horizons=self.horizons,
                period=period,
                market=self.market,
            )
            if barriers is not None and isinstance(labels, BarrierLabels):
                barriers.take(here, labels)
            self.returns[here] = labels.returns
            self.volatility[here] = np.nan_to_num(table.volatility, nan=1.0)
            targets[here] = labels.returns / (table.volatility[:, None] * reach)
            usable = table.ends_window(
                self.config.lookback, self.warmup, self.config.bridged_share
            ) & (labels.end > 0)
            for name in SLICE_NAMES:
                ends = np.flatnonzero(usable & self.slices.members(name, decided, labels.end))
                found[name].append(
                    SampleSet(ends + here.start, np.full(len(ends), position), decided[ends])
                )
        self.scaler = self._finish_scaler(fit)
        self.scaler.transform_in_place(features)
        self.features, self.targets = torch.from_numpy(features), torch.from_numpy(targets)
        self._collect(found)
        if barriers is not None:
            self._finish_barriers(barriers)

    def _train_rows(
        self, table: FeatureTable, decided: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        # Real rows past their warm-up that closed within the train slice.
        seen = table.real & (table.steps > self.warmup) & (decided <= self.slices.edges[1])
        return table.values[seen]

    def _finish_scaler(self, fit: ScalerFit) -> Scaler:
        if fit.count < MIN_SAMPLES:
            raise TooFewCandlesError(
                f"the train slice holds {fit.count} candles past the {self.warmup} that warm the "
                f"features up; at least {MIN_SAMPLES} are needed. Give more candles"
            )
        return fit.scaler()

    def _finish_barriers(self, barriers: BarrierSamples) -> None:
        rows = {name: samples.ends for name, samples in self.samples.items()}
        barriers.check(rows)
        self.timed_out = torch.from_numpy(barriers.timed_out())
        weights = barriers.weights(rows)
        self.weights = None if weights is None else torch.from_numpy(weights)
        for name, ends in rows.items():
            self.effective_samples[name] = float(barriers.uniqueness(ends).sum(axis=0).min())

    def _collect(self, found: dict[SliceName, list[SampleSet]]) -> None:
        for name, parts in found.items():
            self.samples[name] = SampleSet(
                np.concatenate([part.ends for part in parts]),
                np.concatenate([part.symbol for part in parts]),
                np.concatenate([part.decided for part in parts]),
            )
            self.zero_returns[name] = int((self.returns[self.samples[name].ends] == 0).sum())
            wanted = getattr(self.config.slices, name) > 0
            if wanted and len(self.samples[name]) < MIN_SAMPLES:
                total = sum(len(one) for one in self.candles)
                share = getattr(self.config.slices, name)
                missing = int(np.ceil((MIN_SAMPLES - len(self.samples[name])) / share))
                raise TooFewCandlesError(
                    f"the {name} slice ({share:.0%} of the time span) holds "
                    f"{len(self.samples[name])} samples of {total} candles; at least {MIN_SAMPLES} "
                    f"are needed, after {self.required_bars} candles before the first forecast. "
                    f"Give at least {missing} more candles, or a finer timeframe"
                )
        for symbol in sorted(set(self.symbols) - set(self.train_symbols)):
            _log.warning(
                "%s has no rows in the train slice: the model is fitted without it, and it takes "
                "part in the later slices only",
                symbol,
            )


def _validated(candles: Candles | Sequence[Candles]) -> list[Candles]:
    # Candles may be built by hand; what they hold is checked here at the latest.
    given = [candles] if isinstance(candles, Candles) else list(candles)
    for one in given:
        if not isinstance(one, Candles):
            raise ConfigError(
                f"a model is trained on Candles, not on a {type(one).__name__}: read it with "
                "read_candles(…) first"
            )
    return [validate(one) for one in given]


def _common_frame(
    candles: Sequence[Candles],
) -> tuple[tuple[str, ...], str, Literal["continuous", "sessions"]]:
    if not candles:
        raise ConfigError("no candles were given: name at least one file or frame")
    symbols = tuple(one.symbol for one in candles)
    doubled = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if doubled:
        raise ConfigError(
            f"symbol {doubled[0]} was given more than once: name each file once, or tell the "
            "files apart with SYMBOL=path"
        )
    for attribute in ("timeframe", "market"):
        values = sorted({getattr(one, attribute) for one in candles})
        if len(values) > 1:
            raise CandleError(
                f"the symbols differ in {attribute}: {', '.join(values)}; one model takes one. "
                f"Give --{attribute}"
            )
    return symbols, candles[0].timeframe, candles[0].market


def _check_volume(candles: Candles, features: Sequence[FeatureSpec]) -> None:
    if (candles.ohlcv[:, 4] > 0).any():
        return
    needing = [feature.label for feature in features if feature.definition.needs_volume]
    if needing:
        raise FeatureError(
            f"{', '.join(needing)} cannot be computed: none of the {len(candles)} candles of "
            f"{candles.symbol} has any volume. Give candles with volume, or a preset without "
            f"{'these features' if len(needing) > 1 else 'this feature'}"
        )
