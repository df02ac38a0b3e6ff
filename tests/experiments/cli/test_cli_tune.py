"""`lstm-strategies tune`: a study from its first trial to its report, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from experiments.cli.tune_options import StudyPlace
from experiments.presets import load_train_config, study_names
from experiments.tuning.loading import load_study, space_of, starting_point
from experiments.tuning.ownership import end_worker, register_worker
from experiments.tuning.search import tune
from experiments.tuning.storage import open_storage
from experiments.tuning.study_settings import study_settings
from lightning_models.home import Home

from .terminal import Screen, in_terminal

ROOT = Path(__file__).parents[3]
RUN = "from experiments.cli.app import run; run()"
HEAVY = ("torch", "mlflow", "pytorch_lightning", "backtrader")

# As few folds as its pruning can tell apart.
QUICK = ("--set", "walk_forward.folds=3")


@dataclass(frozen=True)
class Tuned:
    """A home with four trials of the shipped study ``study-baseline``, and how they ended."""

    home: Path
    ended: object

    def study(self, name="baseline"):
        storage = open_storage(None, home=Home(self.home), name=name)
        return optuna.load_study(study_name=name, storage=storage)


@pytest.fixture(scope="module")
def tuned(cli, market, empty_home):
    """Shared: tests may add trials, and further studies under names of their own."""
    home = empty_home().path
    ended = cli(
        "tune", "--study", "study-baseline", "--data", market.sim_file, "--trials", "4", *QUICK,
        "--home", home,
    )  # fmt: skip
    return Tuned(home, ended)


def told(text):
    return " ".join(text.split())


class TestAStudy:
    def test_it_says_how_it_ended_what_is_luck_and_where_everything_lies(self, tuned):
        tuned.ended.done()
        out = told(tuned.ended.out)
        for words in (
            "study baseline: 4 trials are done",
            "baseline: 4 of 4 trials",
            "What is left of the best of 4 trials",
            "deflated Sharpe ratio",
            "probability of backtest overfitting",
            "The holdout from",
            "was not opened",
            "--backend-store-uri",
        ):
            assert words in out
        report = Path(re.search(r"^report: (.*)$", tuned.ended.out, re.MULTILINE)[1])
        assert report.is_file()
        preset = Path(re.search(r"as a preset: (.*)$", tuned.ended.out, re.MULTILINE)[1])
        assert load_train_config(str(preset)).network.kind == "logistic-regression"

    def test_each_finished_trial_is_a_line_on_standard_error(self, tuned):
        said, *lines = tuned.ended.err.split("loading torch, Lightning and MLflow\n")
        assert said == "reading candles\n"
        lines = lines[0].splitlines()
        assert [line.partition(":")[0] for line in lines] == [f"trial {i}" for i in range(4)]
        assert re.fullmatch(r"trial 0: 0\.\d+; the best so far; 1 of 4 done", lines[0])
        assert lines[3].endswith("4 of 4 done")

    def test_the_printed_command_trains_the_preset(self, tuned, cli):
        (line,) = (line for line in tuned.ended.out.splitlines() if "lstm-strategies train" in line)
        program, *arguments = shlex.split(line)
        assert program == "lstm-strategies"
        cli(*arguments, "--home", tuned.home).done()

    def test_another_study_of_its_name_is_refused_with_the_difference(self, tuned, cli, market):
        again = ("tune", "--data", market.sim_file, *QUICK, "--home", tuned.home)
        cli(*again, "--study", "study-baseline", "--set", "space.network.rows.high=10").failed(
            "the study baseline is another one already",
            "space.network.rows.high: 20, now 10",
            "--new",
            "--name",
            code=2,
        )

    def test_new_begins_one_beside_it(self, tuned, cli, market):
        found = cli(
            "tune", "--study", "study-baseline", "--data", market.sim_file, "--trials", "1",
            "--new", "--set", "space.network.rows=[5, 6]", *QUICK, "--home", tuned.home, "--json",
        ).done().json  # fmt: skip
        assert found["study"] == "baseline-2"
        assert found["progress"]["complete"] == 1
        rows = tuned.study("baseline-2").trials[0].distributions["network.rows"]
        assert rows.choices == (5, 6)


class TestStatus:
    @pytest.mark.parametrize("named", ["baseline", "study-baseline", "file"])
    def test_a_study_goes_by_its_name_its_shipped_name_or_its_file(
        self, tuned, cli, tmp_path, named
    ):
        if named == "file":
            named = tmp_path / "mine.yaml"
            named.write_text("name: baseline\n")
        out = cli("tune", "status", "--study", named, "--home", tuned.home).done().out
        assert "baseline: " in out
        assert "No worker is at it." in out
        assert f"storage: {tuned.home / 'studies' / 'baseline.journal'}" in out

    def test_options_may_stand_before_it_and_json_is_one_document(self, tuned, cli):
        before = cli("tune", "--study", "baseline", "--home", tuned.home, "--json", "status").done()
        after = cli("tune", "status", "--study", "baseline", "--home", tuned.home, "--json")
        assert before.json == after.json
        assert before.json["failed"] == 0
        assert before.json["best_parameters"][0].keys() == {"network.rows", "network.l2"}
        assert before.json["workers"] == []

    def test_it_takes_neither_torch_nor_mlflow(self, tuned):
        code = (
            "import sys, json\nfrom experiments.cli.app import main\n"
            "assert main(sys.argv[1:]) == 0\n"
            f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
        )
        options = ["tune", "status", "--study", "study-baseline", "--home", str(tuned.home)]
        ended = subprocess.run(
            [sys.executable, "-c", code, *options, "--json"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        document, heavy = ended.stdout.splitlines()
        assert json.loads(document)["study"] == "baseline"
        assert json.loads(heavy) == []

    def test_a_trial_takes_all_of_them(self, tuned):
        # It was run in this process: the names are those that they are imported by.
        assert set(HEAVY) <= set(sys.modules)

    def test_errors_of_trials_and_workers_are_shown(self, cli, tuned, market):
        study = tuned.study()
        owner = register_worker(study)
        try:
            ended = cli("tune", "status", "--study", "baseline", "--home", tuned.home).done()
            found = cli(
                "tune", "status", "--study", "baseline", "--home", tuned.home, "--json"
            ).json
        finally:
            end_worker(study, owner)
        assert f"process {os.getpid()} on" in told(ended.out)
        assert "1 worker at it." in ended.out
        (worker,) = found["workers"]
        assert (worker["owner"]["pid"], worker["alive"]) == (os.getpid(), True)

    def test_of_an_unknown_study_the_nearest_is_named_and_nothing_is_made(
        self, tuned, cli, tmp_path
    ):
        cli("tune", "status", "--study", "basline", "--home", tuned.home).failed(
            "no study 'basline'", "did you mean 'baseline'", code=2
        )
        home = tmp_path / "nothing"
        cli("tune", "status", "--study", "x", "--home", home).failed("there is none yet", code=2)
        storage = tmp_path / "own.journal"
        cli("tune", "status", "--study", "x", "--storage", storage).failed(str(storage), code=2)
        assert list(tmp_path.iterdir()) == []

    def test_a_study_of_somebody_elses_is_left_to_them(self, cli, tmp_path):
        path = tmp_path / "theirs.journal"
        study = optuna.create_study(
            storage=open_storage(str(path), home=Home(tmp_path), name="x"), study_name="x"
        )
        status = ("tune", "status", "--study", "x", "--storage", path)
        cli(*status).failed("is being made, or its making was interrupted", code=2)
        study.ask()
        cli(*status).failed("not made by lstm-strategies", code=2)


def test_help_takes_no_more_than_the_commands_own_words():
    code = (
        "import sys, json\nfrom experiments.cli.app import main\n"
        "for command in ([], ['status'], ['stop'], ['resume'], ['report']):\n"
        "    assert main(['tune', *command, '--help']) == 0\n"
        f"sys.stderr.write(json.dumps([n for n in {(*HEAVY, 'optuna')!r} if n in sys.modules]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stderr) == []
    for word in ("--storage", "--open-holdout", "LSTM_STORAGE", "tune stop [OPTIONS]"):
        assert word in ended.stdout


class TestStop:
    def test_workers_are_asked_and_whoever_goes_on_takes_it_back(self, tuned, cli):
        study = tuned.study()
        asked = ("tune", "stop", "--study", "baseline", "--home", tuned.home)
        assert "nothing to stop" in cli(*asked).done().out
        owner = register_worker(study)
        try:
            assert f"process {os.getpid()} on" in told(cli(*asked).done().out)
        finally:
            end_worker(study, owner)
        status = ("tune", "status", "--study", "baseline", "--home", tuned.home)
        assert cli(*status, "--json").json["asked_to_stop"] is True
        goes_on = f"lstm-strategies tune resume --study baseline --home {tuned.home} goes on"
        assert f"It was stopped: {goes_on}." in cli(*status).out
        cli("tune", "resume", "--study", "baseline", "--home", tuned.home).done()
        assert cli(*status, "--json").json["asked_to_stop"] is False


class TestResume:
    def test_it_reads_the_studys_own_candles_and_runs_what_is_asked_for(
        self, tuned, cli, monkeypatch, tmp_path
    ):
        before = len(tuned.study().trials)
        monkeypatch.chdir(tmp_path)
        found = cli(
            "tune", "resume", "--study", "baseline", "--trials", before + 1, "--home", tuned.home,
            "--report", tmp_path / "report", "--json",
        ).done().json  # fmt: skip
        assert found["progress"]["complete"] + found["progress"]["pruned"] == before + 1
        assert len(tuned.study().trials) == before + 1
        assert (tmp_path / "report" / "report.html").is_file()

    def test_where_nothing_is_left_to_do_it_says_how_to_ask_for_more(self, tuned, cli):
        ended = cli("tune", "resume", "--study", "baseline", "--home", tuned.home)
        assert ended.code == 0
        assert "for more of them: lstm-strategies tune resume --study baseline" in told(ended.err)

    def test_other_candles_are_refused(self, tuned, cli, market):
        cli(
            "tune", "resume", "--study", "baseline", "--data", market.alt_file, "--home",
            tuned.home,
        ).failed("another one already", "candles: SIM/USDT", "now ALT/USDT", code=2)  # fmt: skip

    def test_candles_that_a_script_gave_have_to_be_named(self, cli, tuned, market, tmp_path):
        tune(
            "study-baseline", market.sim, home=tuned.home, name="scripted",
            settings=["stopping.trials=1", "walk_forward.folds=3"],
        )  # fmt: skip
        resume = ("tune", "resume", "--study", "scripted", "--home", tuned.home)
        cli(*resume).failed("by a script", "--data", code=2)
        ended = cli(*resume, "--trials", 2, "--data", market.sim_file).done()
        assert "2 of 2 done" in ended.err

    def test_candles_that_lie_on_another_machine_have_to_be_named(self, cli, tuned, market):
        tune(
            "study-baseline", market.sim, home=tuned.home, name="elsewhere",
            settings=["stopping.trials=1", "walk_forward.folds=3"],
            sources=["SIM/USDT=/of/another/machine/SIM_USDT.parquet"],
        )  # fmt: skip
        cli("tune", "resume", "--study", "elsewhere", "--home", tuned.home).failed(
            "no file /of/another/machine/SIM_USDT.parquet", "perhaps on another machine",
            "name the candles that lie here with --data", code=2,
        )  # fmt: skip


class TestReport:
    def test_it_is_written_again_where_it_is_wanted(self, tuned, cli, tmp_path):
        found = cli(
            "tune", "report", "--study", "baseline", "--home", tuned.home, "--report", tmp_path,
            "--json",
        ).done().json  # fmt: skip
        assert found["study"] == "baseline"
        assert found["holdout"] is None
        assert {"report.html", "result.json", "baseline-best.yaml"} <= {
            path.name for path in tmp_path.iterdir()
        }

    def test_the_holdout_is_opened_once_and_for_one_trial(self, cli, market, home, tmp_path):
        file = tmp_path / "study-mine.yaml"
        file.write_text(
            "preset: logistic-regression\nspace: {network.rows: [4, 5]}\n"
            "walk_forward: {folds: 2}\nstopping: {trials: 2}\n"
        )
        cli("tune", "--study", file, "--data", market.sim_file, "--home", home.path).done()
        report = ("tune", "report", "--study", "mine", "--home", home.path)
        cli(*report, "--trial", 1).failed("--trial 1", "add --open-holdout", code=2)
        first = cli(*report, "--open-holdout").done()
        assert "opened once for trial" in told(first.out)
        opened = cli(*report, "--json").done().json["holdout"]
        again = cli(*report, "--open-holdout", "--json").done().json["holdout"]
        assert opened == again
        cli(*report, "--open-holdout", "--trial", 1 - opened["trial"]).failed(
            f"for trial {opened['trial']}", "second look", code=2
        )


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ([], ["no study was named", "--study"]),
            (["--study", "study-baseline"], ["no candles were given", "--data FILE"]),
            (["status"], ["no study was named"]),
            (["--study", "x", "--trials", "3", "stop"], ["--trials stands before stop"]),
            (["stauts", "--study", "x"], ["No such command 'stauts'"]),
            (["--study", "x", "--trials", "many"], ["--trials"]),
        ],
    )
    def test_a_command_that_is_not_whole_is_told_what_it_lacks(self, cli, tmp_path, options, words):
        cli("tune", *options).failed(*words, code=2)

    @pytest.mark.parametrize(
        ("study", "words"),
        [
            ("study-baselin", ["no study 'study-baselin'", "did you mean 'study-baseline'?"]),
            ("mine", ["known: study-baseline, study-networks, study-price-predictor"]),
            ("price-predictor", ["is a preset, which `train` takes", "preset: price-predictor"]),
            ("a preset's file", ["is a preset, which `train` takes"]),
        ],
    )
    def test_what_is_no_study_is_told_from_one(self, cli, market, tmp_path, study, words):
        if study == "a preset's file":
            study = tmp_path / "mine.yaml"
            study.write_text("network: {kind: multi-layer}\ndata: {features: [close]}\n")
        cli("tune", "--study", study, "--data", market.sim_file, "--home", tmp_path / "h").failed(
            *words, code=2
        )

    def test_a_study_given_as_a_preset_is_told_from_one(self, cli, market, tmp_path):
        cli(
            "train", "--preset", "study-baseline", "--data", market.sim_file, "--name", "x",
            "--home", tmp_path,
        ).failed("study-baseline is a study, not a preset", code=2)  # fmt: skip

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ("space.network.rows.low=30", ["space.network.rows: low=30 is above high=20"]),
            ("space.network.row={low: 1, high: 2}", ["did you mean 'network.rows'?"]),
            ("space.network.rows=[2, 3]", ["the preset's own 5 is none of 2, 3"]),
            ("space.backtest.atr_stop=[1, 2]", ["add an objective of kind trading"]),
            ("objective=[{kind: forecast}, {kind: trading}]", ["two objectives cannot be pruned"]),
            ("objective.metric=crpz", ["objective.0.metric", "'crps'"]),
            ("stopping.trials=0", ["stopping.trials=0: give more than 0"]),
            ("stoping.trials=3", ["did you mean 'stopping'"]),
            ("preset=quikstart", ["did you mean 'quickstart'?"]),
            ("walk_forward.folds=60", ["too few for 60 folds"]),
        ],
    )
    def test_a_mistake_in_a_study_is_one_line_before_the_first_trial(
        self, cli, market, home, setting, words
    ):
        ended = cli(
            "tune", "--study", "study-baseline", "--data", market.sim_file, "--home", home.path,
            "--set", setting,
        )  # fmt: skip
        assert ended.code in (1, 2)
        ended.failed(*words, code=ended.code)
        *said, _ = ended.err.splitlines()
        assert said in ([], ["reading candles", "loading torch, Lightning and MLflow"])
        # No journal is left behind that nothing is in.
        assert not (home.path / "studies").exists()

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("preset: logistic-regression\nspce: {}\n", "did you mean 'space'?"),
            ("preset: logistic-regression\nspace: {network.rows: {low: 9, high: 2}}\n", "low=9"),
            ("preset: nowhere\nspace: {network.rows: {low: 2, high: 9}}\n", "no preset"),
            ("preset: [\n", "no readable YAML"),
        ],
    )
    def test_a_wrong_file_is_refused_before_anything_slow_is_imported(
        self, market, tmp_path, content, words
    ):
        file = tmp_path / "mine.yaml"
        file.write_text(content)
        said, imported = self.imported(file, market.sim_file, tmp_path)
        assert words in said
        assert imported == []

    @pytest.mark.soak
    def test_a_right_file_of_unknown_fields_takes_all_of_them(self, market, tmp_path):
        file = tmp_path / "mine.yaml"
        file.write_text("preset: logistic-regression\nspace: {network.row: {low: 2, high: 9}}\n")
        said, found = self.imported(file, market.sim_file, tmp_path)
        assert "did you mean 'network.rows'?" in said
        assert found == list(HEAVY)

    @staticmethod
    def imported(study, data, home):
        code = (
            "import sys, json\nfrom experiments.cli.app import main\n"
            "assert main(sys.argv[1:]) == 2\n"
            f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
        )
        options = ["tune", "--study", study, "--data", data, "--home", home / "home"]
        ended = subprocess.run(
            [sys.executable, "-c", code, *map(str, options)],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return ended.stderr, json.loads(ended.stdout)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--backend", "ray"], "no backend 'ray'"),
            (["--jobs", "0"], "--jobs 0 runs nothing"),
            (["--scheduler", "tcp://x:1"], "add --backend dask"),
        ],
    )
    def test_what_cannot_run_a_fold_is_told_before_anything_is_read(self, cli, options, words):
        ended = cli("tune", "--study", "study-baseline", "--data", "nowhere.csv", *options)
        ended.failed(words, code=2)
        assert len(ended.err.splitlines()) == 1

    def test_no_trials_at_all_are_refused(self, cli, market, home):
        cli(
            "tune", "--study", "study-baseline", "--data", market.sim_file, "--home", home.path,
            "--trials", "0",
        ).failed("stopping.trials=0: give more than 0", code=2)  # fmt: skip

    def test_trials_that_all_fail_end_it_with_their_reason(self, cli, market, home, tmp_path):
        features = tmp_path / "mine.py"
        features.write_text(
            "import numpy as np\nfrom lightning_models.features import register_feature\n"
            "def broken(ohlcv):\n    raise ValueError('no such day')\n"
            "register_feature('broken', broken, warmup=0)\n"
        )
        ended = cli(
            "tune", "--study", "study-baseline", "--data", market.sim_file, "--home", home.path,
            "--features", features, *QUICK, "--set", "settings.data.features=[broken]",
            "--set", "stopping.failures=2",
        )  # fmt: skip
        ended.failed("each of its first 2 trials failed", "no such day")
        assert "trial 0: failed: " in ended.err

    def test_a_storage_that_is_not_there_is_named_without_its_password(
        self, cli, market, home, closed_port, monkeypatch
    ):
        address = f"postgresql+psycopg://me:hidden@127.0.0.1:{closed_port}/studies"
        monkeypatch.setenv("LSTM_STORAGE", address)
        for command in (
            ["tune", "--study", "study-baseline", "--data", market.sim_file],
            ["tune", "status", "--study", "baseline"],
            ["tune", "resume", "--study", "baseline", "--debug"],
        ):
            ended = cli(*command, "--home", home.path)
            assert ended.code == 1
            assert f"postgresql+psycopg://me:***@127.0.0.1:{closed_port}/studies" in ended.err
            assert "hidden" not in ended.err + ended.out
            assert ("Traceback" in ended.err) == ("--debug" in command)


class TestSettings:
    def test_the_dots_of_a_field_are_told_from_those_of_the_file(self):
        assert study_settings(
            [
                "space.network.rows.low=2",
                "stopping.trials=3",
                "space.network.rows.high=4",
                "space={network.l2: {log: true}}",
                "space.network.l2.low=1",
                "settings.training.epochs=5",
            ]
        ) == [
            "stopping.trials=3",
            'space={"network.rows": {"low": 2, "high": 4}, "network.l2": {"log": true, "low": 1}}',
            'settings={"training.epochs": 5}',
        ]

    def test_a_value_that_cannot_be_read_is_left_to_whoever_says_so(self, cli, market, home):
        cli(
            "tune", "--study", "study-baseline", "--data", market.sim_file, "--home", home.path,
            "--set", "space.network.rows=[1",
        ).failed("is no YAML value", code=2)  # fmt: skip


class TestShippedStudies:
    @pytest.mark.parametrize("name", study_names())
    def test_each_can_be_searched_from_its_own_values(self, name):
        study = load_study(name)
        found = None
        if study.after is not None:
            # The study that it comes after is shipped too.
            found = starting_point(load_study(f"study-{study.after}")).train
        space = space_of(study, starting_point(study, found=found))
        own = space.own_values()
        assert own.keys() <= set(space.names)
        assert f"study-{study.name}" == name

    def test_a_second_stage_says_what_it_comes_after(self, cli, market, home):
        cli(
            "tune", "--study", "study-strategy", "--data", market.sim_file, "--home", home.path
        ).failed("comes after price-predictor", "no such study", code=2)
        assert not (home.path / "studies").exists()


PRESSING_CTRL_C = """
import signal
from pathlib import Path
from lightning_models.features import register_feature

def squeeze(ohlcv):
    asked = Path({file!r})
    if asked.exists():
        asked.unlink()
        signal.raise_signal(signal.SIGINT)
    return ohlcv[:, 3]

register_feature("squeeze", squeeze, warmup=0)
"""


def test_ctrl_c_marks_the_trial_and_says_how_to_go_on(cli, market, home, tmp_path):
    asked, features = tmp_path / "asked", tmp_path / "mine.py"
    features.write_text(PRESSING_CTRL_C.format(file=str(asked)))
    asked.touch()
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    options = [
        "--features", features, "--home", home.path, "--storage", storage, "--trials", 2, "--json"
    ]  # fmt: skip
    ended = cli(
        "tune", "--study", "study-baseline", "--data", market.sim_file, *QUICK, *options,
        "--set", "settings.data.features=[squeeze]",
    )  # fmt: skip
    ended.failed("study baseline was stopped", "the trial under way is marked")
    words = shlex.split(ended.err.partition("Go on with ")[2])
    assert words == [
        "lstm-strategies", "tune", "resume", "--study", "baseline", "--home", str(home.path),
        "--storage", storage,
    ]  # fmt: skip

    found = cli("tune", "resume", "--study", "baseline", *options).done().json
    assert (found["progress"]["complete"], found["progress"]["failed"]) == (2, 0)
    assert found["progress"]["again"] == 1


def test_a_command_to_copy_holds_no_password():
    place = StudyPlace(storage="postgresql+psycopg://me:hidden@db/studies")
    assert place.command("resume", name="a b") == (
        "lstm-strategies tune resume --study 'a b' --storage \"$LSTM_STORAGE\""
    )
    plain = StudyPlace(storage="postgresql+psycopg://me@db/studies")
    assert plain.command("resume", name="x").endswith(
        "--storage postgresql+psycopg://me@db/studies"
    )


@pytest.mark.soak
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process alone")
def test_ctrl_c_at_any_moment_leaves_a_study_that_goes_on(cli, market, home):
    command = [
        "tune", "--study", "study-baseline", "--data", str(market.sim_file), "--trials", "1000",
        *QUICK, "--home", str(home.path),
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", RUN, *command],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            said = [process.stderr.readline() for _ in range(3)]
            assert said[0] == "reading candles\n"
            assert said[2].startswith("trial 0: ")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in err
    assert "stopping after this step…" in err.splitlines()
    last = err.splitlines()[-1]
    assert last.startswith("error: the study baseline was stopped: what is finished is kept")
    words = shlex.split(last.partition("Go on with ")[2])
    assert words[:3] == ["lstm-strategies", "tune", "resume"]

    done = 1 + err.count(" done")
    found = cli(*words[1:], "--trials", done + 1, "--json").done().json
    assert found["progress"]["complete"] + found["progress"]["pruned"] == done + 1
    assert found["progress"]["running"] == []
    assert found["progress"]["failed"] == 0
    # Stopped between two trials there would be none to run again.
    assert found["progress"]["again"] <= 1


TELLING = """
import logging, sys
from experiments.cli.logs import set_up_logging
from experiments.cli.study_progress import ShownProgress
from experiments.tuning.progress import StudyProgress

set_up_logging()
own = {f"network.parameter_{number}": 0.123456 for number in range(12)}
given = dict(study="btc-6h", wanted=100, pruned=0, waiting=0, again=0)
with ShownProgress() as shown:
    for done in range(3):
        best = dict(best=(1,), best_values=((0.69,),), best_parameters=(own,)) if done else dict(
            best=(), best_values=(), best_parameters=())
        shown.on_change(StudyProgress(
            **given, **best, complete=done, failed=0, running=(done,), last_error=""))
        if done == 1:
            logging.getLogger("experiments").warning("a worker process was ended from outside")
    shown.on_change(StudyProgress(
        **given, **best, complete=3, failed=1, running=(), last_error="no memory " * 40))
print("and then the results")
"""


@pytest.mark.parametrize("width", [80, 40, 20])
def test_on_a_terminal_a_table_is_kept_up_to_date_and_leaves_nothing_behind(width):
    code, written = in_terminal(TELLING, width=width)
    assert code == 0
    screen = Screen(width).feed(written)
    # While it lasts there is one table, whatever was drawn before, below what was logged.
    for lines in screen.seen:
        assert sum(line.startswith("study") for line in lines) <= 1
        assert max(map(len, lines)) <= width
    whole = "\n".join(screen.seen[-1])
    assert "btc-6h: 4" in told(whole)
    assert "3 complete" in told(whole)
    assert "0:00:0" in whole
    assert whole.startswith("warning: a worker")
    # Afterwards it is gone.
    assert screen.cursor_is_shown
    left = told(" ".join(screen.lines))
    assert left == "warning: a worker process was ended from outside and then the results"


def test_a_table_that_was_left_behind_would_be_seen():
    code, written = in_terminal(
        TELLING.replace("    for done", "    shown._live.transient = False\n    for done"), width=80
    )
    assert code == 0
    assert any(line.startswith("study") for line in Screen(80).feed(written).lines)


@pytest.mark.soak
def test_a_study_on_a_terminal_ends_with_its_results_alone(market, home):
    code, written = in_terminal(
        RUN, "tune", "--study", "study-baseline", "--data", market.sim_file, "--trials", 2, *QUICK,
        "--home", home.path, width=80,
    )  # fmt: skip
    assert code == 0
    screen = Screen(80).feed(written)
    assert any("1 of 2 trials" in line for lines in screen.seen for line in lines)
    assert screen.lines[0] == "study baseline: 2 trials are done"
    assert sum(line.startswith("running") for line in screen.lines) == 1
    assert screen.cursor_is_shown
