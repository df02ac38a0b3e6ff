"""What a study's storage says is not always taken on trust."""

from __future__ import annotations

import pytest
import yaml

from experiments.cli.stored_study import refuse_stored_analyst
from experiments.cli.tune_options import StudyPlace
from experiments.settings import validated
from experiments.tuning.config import StudyConfig
from experiments.tuning.development import cut_holdout
from experiments.tuning.loading import starting_point
from experiments.tuning.storage import open_storage
from experiments.tuning.study_record import StudyData, open_study
from lightning_models import simulate_market
from lightning_models.errors import ConfigError

ASKS = {
    "strategy": "lstm",
    "analyst": {"endpoint": "https://elsewhere.example/v1", "api_key_env": "MY_KEY"},
}


def content(backtest):
    return {
        "name": "shared",
        "preset": "logistic-regression",
        "space": {"backtest.leverage": [1, 2]},
        "objective": {"kind": "trading", "metric": "sharpe_ratio"},
        "backtest": backtest,
    }


@pytest.fixture
def made(home, tmp_path):
    """Return a function that makes a study in a database, or in a journal."""

    def make(backtest, *, database=True):
        config = validated(StudyConfig, content(backtest), origin="study")
        storage = f"sqlite:///{tmp_path / 'studies.db'}" if database else None
        return open_study(
            config,
            starting_point(config),
            StudyData.of(cut_holdout(simulate_market(candles=500), 0.15)),
            storage=open_storage(storage, home=home, name="shared"),
            make_run=lambda key: "the run",
        )

    return make


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a study's file and returns the place that names it."""

    def write(backtest):
        path = tmp_path / "shared.yaml"
        path.write_text(yaml.safe_dump(content(backtest)))
        return StudyPlace(study=str(path))

    return write


def test_a_language_model_that_only_a_database_names_is_not_asked(made):
    opened, record = made(ASKS)
    with pytest.raises(ConfigError, match=r"elsewhere\.example.*MY_KEY.*--study FILE"):
        refuse_stored_analyst(StudyPlace(study="shared"), opened, record)


def test_it_is_asked_where_the_users_own_file_says_the_same(made, file):
    refuse_stored_analyst(file(ASKS), *made(ASKS))


def test_a_file_that_says_otherwise_does_not_help(made, file):
    opened, record = made(ASKS)
    with pytest.raises(ConfigError, match=r"shared\.yaml says otherwise"):
        refuse_stored_analyst(file({"strategy": "lstm"}), opened, record)


def test_what_only_the_stored_starting_point_names_is_seen_too(made, file):
    opened, record = made({"strategy": "lstm"})
    changed = record.model_copy(update={"start": record.start | {"backtest": ASKS}})
    with pytest.raises(ConfigError, match=r"elsewhere\.example"):
        refuse_stored_analyst(file({"strategy": "lstm"}), opened, changed)


def test_a_journal_is_the_users_own(made):
    refuse_stored_analyst(StudyPlace(study="shared"), *made(ASKS, database=False))


def test_a_study_without_a_language_model_needs_no_file(made):
    refuse_stored_analyst(StudyPlace(study="shared"), *made({"strategy": "forecast"}))
