"""How MLflow loads a bundle: `mlflow.pyfunc.load_model("models:/name@champion")`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_models.loading import load_predictor_from
from lightning_models.series_folder import find_model

if TYPE_CHECKING:
    import pandas as pd

    from lightning_models.predictor import Predictor

__all__ = ["BundleModel"]


class BundleModel:
    """A predictor with the signature that MLflow calls.

    Parameters
    ----------
    predictor
        Of the bundle.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the indicator's columns, a row for each candle."""
        del params
        return self.predictor.predict_batch(model_input)


def _load_pyfunc(data_path: str) -> BundleModel:
    # MLflow finds this function by its name.
    folder = Path(data_path)
    folder = find_model(folder) or folder
    return BundleModel(load_predictor_from(folder, folder.name))
