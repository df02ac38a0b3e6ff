"""Trains a peer's LSTM in the peer's own interpreter, which may lack this project.

Run as a script with the peer's name and a folder that holds ``task.json`` and ``samples.npz``. It
says on standard output which release it found, then answers each line of JSON with one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from copy import deepcopy
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__: list[str] = []

FIRST_DAY: Final = "2020-01-01"


class _Task(NamedTuple):
    lookback: int
    hidden_size: int
    layers: int
    batch_size: int
    learning_rate: float
    gradient_clip: float
    epochs: int
    patience: int
    train: int
    validation: int
    quantiles: list[float]
    features: npt.NDArray[np.float32]
    target: npt.NDArray[np.float32]

    @property
    def steps(self) -> int:
        """Batches that hold as many windows as the train slice."""
        return -(-self.train // self.batch_size)


class _Answer(NamedTuple):
    # When each step ended and how many weights the LSTM has; of the best validation: when, which of
    # how many, and what the model then says.
    marks: list[float]
    weights: int
    seconds: float = 0.0
    epoch: int = 0
    epochs: int = 0
    quantiles: npt.NDArray[np.float32] | None = None


def _read_task(folder: Path) -> _Task:
    settings = json.loads((folder / "task.json").read_text())
    with np.load(folder / "samples.npz") as arrays:
        return _Task(**settings, features=arrays["features"], target=arrays["target"])


def _watch(monitor: str) -> Any:
    import pytorch_lightning as pl
    import torch

    class Watch(pl.Callback):
        # Lightning's own checkpoints would cost the peer time that it does not need.
        def __init__(self) -> None:
            self.steps: list[float] = []
            self.losses: list[float] = []
            self.validated: list[float] = []
            self.best: dict[str, Any] = {}
            self.weights = 0

        def __deepcopy__(self, memo: object) -> Watch:
            # A peer may copy the settings it is given, and the marks would be the copy's.
            return self

        def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            del trainer
            self.weights = sum(
                weight.numel()
                for module in pl_module.modules()
                if isinstance(module, torch.nn.LSTM)
                for weight in module.parameters()
            )

        def on_train_batch_end(self, *_: Any) -> None:
            self.steps.append(perf_counter())

        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if monitor not in trainer.callback_metrics:
                # Without a validation slice, neuralforecast still goes through the motions.
                return
            self.validated.append(perf_counter())
            self.losses.append(float(trainer.callback_metrics[monitor]))
            if self.losses[-1] == min(self.losses):
                self.best = deepcopy(pl_module.state_dict())

    return Watch()


def _trainer(task: _Task, callbacks: list[Any]) -> dict[str, Any]:
    return {
        "accelerator": "cpu",
        "devices": 1,
        "gradient_clip_val": task.gradient_clip,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": callbacks,
    }


def _best(watch: Any, start: float, quantiles: npt.NDArray[np.float32]) -> _Answer:
    best = watch.losses.index(min(watch.losses))
    return _Answer(
        watch.steps,
        watch.weights,
        watch.validated[best] - start,
        best + 1,
        len(watch.losses),
        quantiles,
    )


def _darts(task: _Task, seed: int, epochs: int, *, validate: bool) -> _Answer:
    from darts import TimeSeries
    from darts.models import BlockRNNModel
    from darts.utils.likelihood_models import QuantileRegression
    from pytorch_lightning.callbacks import EarlyStopping

    target = TimeSeries.from_values(task.target)
    features = TimeSeries.from_values(task.features)
    train = slice(0, task.lookback + task.train)
    last = slice(len(task.target) - task.lookback - task.validation, len(task.target))
    watch = _watch("val_loss")
    callbacks = [watch]
    if validate:
        callbacks.append(EarlyStopping("val_loss", patience=task.patience))
    model = BlockRNNModel(
        input_chunk_length=task.lookback,
        output_chunk_length=1,
        model="LSTM",
        hidden_dim=task.hidden_size,
        n_rnn_layers=task.layers,
        likelihood=QuantileRegression(task.quantiles),
        batch_size=task.batch_size,
        n_epochs=epochs,
        optimizer_kwargs={"lr": task.learning_rate},
        random_state=seed,
        save_checkpoints=False,
        pl_trainer_kwargs=_trainer(task, callbacks),
    )
    validation = (
        {"val_series": target[last], "val_past_covariates": features[last]} if validate else {}
    )
    start = perf_counter()
    model.fit(target[train], past_covariates=features[train], verbose=False, **validation)
    if not validate:
        return _Answer(watch.steps, watch.weights)
    model.model.load_state_dict(watch.best)
    said = model.historical_forecasts(
        target[last],
        past_covariates=features[last],
        forecast_horizon=1,
        retrain=False,
        predict_likelihood_parameters=True,
        verbose=False,
    )
    return _best(watch, start, said.values())


def _neuralforecast(task: _Task, seed: int, epochs: int, *, validate: bool) -> _Answer:
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    names = [f"feature_{number}" for number in range(task.features.shape[1])]
    rows = len(task.target) if validate else task.lookback + task.train
    frame = pd.DataFrame(task.features[:rows], columns=names)
    frame.insert(0, "unique_id", "candles")
    frame.insert(1, "ds", pd.date_range(FIRST_DAY, periods=rows, freq="h"))
    frame.insert(2, "y", task.target[:rows])
    watch = _watch("ptl/val_loss")
    model = LSTM(
        h=1,
        input_size=task.lookback,
        encoder_n_layers=task.layers,
        encoder_hidden_size=task.hidden_size,
        decoder_layers=1,
        hist_exog_list=names,
        loss=MQLoss(quantiles=task.quantiles),
        learning_rate=task.learning_rate,
        max_steps=epochs * task.steps,
        val_check_steps=task.steps,
        early_stop_patience_steps=task.patience if validate else -1,
        windows_batch_size=task.batch_size,
        scaler_type="identity",
        random_seed=seed,
        **_trainer(task, [watch]),
    )
    forecast = NeuralForecast(models=[model], freq="h")
    start = perf_counter()
    forecast.fit(frame, val_size=task.validation if validate else 0)
    if not validate:
        return _Answer(watch.steps, watch.weights)
    fitted = forecast.models[0]
    fitted.load_state_dict(watch.best)
    # Its predict() takes a test size as well, and looks at this one alone.
    fitted.set_test_size(task.validation)
    said = fitted.predict(dataset=forecast.dataset, step_size=1)
    return _best(watch, start, said.reshape(-1, len(task.quantiles)))


PEERS: Final[dict[str, Callable[..., _Answer]]] = {
    "darts": _darts,
    "neuralforecast": _neuralforecast,
}


def _check_imports(peer: str) -> None:
    # darts imports without torch as well, and says so only when a model is built.
    for name in (peer, "torch", "pytorch_lightning"):
        import_module(name)


def _answer(task: _Task, peer: str, order: dict[str, Any], folder: Path) -> dict[str, Any]:
    train = PEERS[peer]
    if order["work"] == "epochs":
        # The first epoch warms up.
        answer = train(task, order["seed"], 2, validate=False)
        if len(answer.marks) != 2 * task.steps:
            raise RuntimeError(f"{len(answer.marks)} steps in place of {2 * task.steps}")
        seconds = answer.marks[-1] - answer.marks[-1 - task.steps]
        return {"seconds": [seconds], "weights": answer.weights}
    answer = train(task, order["seed"], task.epochs, validate=True)
    # Both peers let quantiles cross; sorted ones score better.
    quantiles = cast("npt.NDArray[np.float32]", answer.quantiles)
    np.save(folder / "quantiles.npy", np.sort(quantiles, axis=1))
    return {"seconds": answer.seconds, "epoch": answer.epoch, "epochs": answer.epochs}


def _main(peer: str, folder: Path) -> None:
    # The peers print; the pipe is for JSON alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    try:
        _check_imports(peer)
    except ImportError as error:
        answers.write(json.dumps({"missing": str(error)}) + "\n")
        return
    import torch

    torch.set_num_threads(1)
    task = _read_task(folder)
    answers.write(json.dumps({"version": version(peer)}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(_answer(task, peer, json.loads(line), folder)) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
