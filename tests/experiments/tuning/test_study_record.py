"""What a study's storage keeps of it, and how one that differs is told."""

from __future__ import annotations

import subprocess
import sys

from experiments.tuning.study_record import changes


def test_changes_name_each_field_that_differs():
    before = {"space.a.low": 1, "space.b": 2, "same": 0}
    now = {"space.a.low": 3, "same": 0, "new": [1]}
    assert changes(before, now) == [
        "new: now [1]",
        "space.a.low: 1, now 3",
        "space.b: 2, now left out",
    ]


def test_reading_what_a_study_is_needs_no_torch_and_no_mlflow():
    program = (
        "import sys, experiments.tuning.study_record as one; "
        "print(sorted({'torch', 'mlflow', 'backtrader'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
