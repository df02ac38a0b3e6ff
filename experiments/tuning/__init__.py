"""Tuning: a study of many trials, judged on candles they have not seen, and what of it is luck."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.tuning.candidate import Candidate
    from experiments.tuning.config import StudyConfig
    from experiments.tuning.loading import load_study
    from experiments.tuning.search import StudyResult, tune

__all__ = ["Candidate", "StudyConfig", "StudyResult", "load_study", "tune"]

# Asking how a study stands needs no torch: each name is imported when it is first asked for.
_HOMES = {
    "Candidate": "candidate",
    "StudyConfig": "config",
    "StudyResult": "search",
    "load_study": "loading",
    "tune": "search",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
