"""Nested MLflow runs of kind fold: begun together, each ended with its metrics and bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlflow.tracking import MlflowClient

from experiments.child_runs import PARENT_TAG
from experiments.config import flatten
from experiments.tracking import log_metrics, log_parameters, set_tags
from lightning_models.bundle import bundle_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.walk_forward.folds import Fold
    from experiments.walk_forward.running import FittedFold

__all__ = ["FoldRuns"]


class FoldRuns:
    """The runs of a walk-forward's folds, under its own.

    Parameters
    ----------
    parent
        The walk-forward's run.
    folds
        All of them, in order of time.
    """

    def __init__(self, parent: str, folds: Sequence[Fold]) -> None:
        self._client = MlflowClient()
        experiment = self._client.get_run(parent).info.experiment_id
        self._ids = {
            fold.number: str(
                self._client.create_run(
                    experiment, run_name=f"fold {fold.number}", tags={PARENT_TAG: parent}
                ).info.run_id
            )
            for fold in folds
        }
        self._open = set(self._ids)

    @property
    def finished(self) -> list[int]:
        """Numbers of the folds that were finished, in order of time."""
        return sorted(set(self._ids) - self._open)

    def id_of(self, fold: Fold) -> str:
        """Return the id of a fold's run."""
        return self._ids[fold.number]

    def finish(self, fitted: FittedFold) -> None:
        """Log a fold's parameters, metrics and bundle, and end its run."""
        run = self.id_of(fitted.fold)
        log_parameters(run, flatten(fitted.config.model_dump(mode="json")))
        for epoch, row in enumerate(fitted.history, start=1):
            log_metrics(run, row, step=epoch)
        log_metrics(run, fitted.bundle.metrics)
        set_tags(
            run,
            {
                "kind": "fold",
                "fold": str(fitted.fold.number),
                "preset": fitted.config.preset,
                "symbols": ",".join(fitted.bundle.symbols),
                "timeframe": fitted.bundle.timeframe,
                "data_fingerprint": fitted.bundle.data_fingerprint,
                "bundle_sha256": bundle_sha256(fitted.folder),
                "verdict": fitted.scores.verdict,
            },
        )
        self._client.log_artifacts(run, str(fitted.folder), "model")
        self._client.set_terminated(run, "FINISHED")
        self._open.discard(fitted.fold.number)

    def stop(self, status: str) -> None:
        """End the runs of the folds that were not finished, as KILLED or FAILED."""
        for number in sorted(self._open):
            set_tags(self._ids[number], {"kind": "fold", "fold": str(number)})
            self._client.set_terminated(self._ids[number], status)
