"""The report: its words, its JSON, and that a test which could not be run is no pass."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from lightning_models.audit import AuditReport, Check, Finding, joined_checks
from lightning_models.audit.report import moment

FOUND = Finding(subject="ema", symbol="X", time=moment(0), size=0.5, detail="moves", cause="bfill")
PASSED = Check(name="one", what="equal", compared=3)
FAILED = Check(name="two", what="equal", compared=3, findings=(FOUND,))


def report(*checks):
    return AuditReport(subject="preset x", symbols=("X",), timeframe="1h", checks=checks)


def test_nothing_compared_is_not_passed():
    assert Check(name="one", what="", compared=0).status == "not run"
    assert (
        report(Check.not_run("one", "no data")).verdict == "Nothing of preset x could be checked."
    )


def test_verdict_names_what_failed_and_what_was_not_run():
    assert report(PASSED).clean
    assert report(PASSED).verdict.startswith("No look-ahead found in 1 checks of preset x")
    assert "1 could not be run" in report(PASSED, Check.not_run("three", "no data")).verdict
    failed = report(PASSED, FAILED)
    assert not failed.clean
    assert "1 of 2 checks failed: ema" in failed.verdict


def test_json_holds_times_in_utc_and_the_verdict():
    content = json.loads(json.dumps(report(FAILED).model_dump(mode="json"), allow_nan=False))
    assert content["clean"] is False
    assert content["checks"][0]["status"] == "failed"
    assert content["checks"][0]["findings"][0]["time"] == "1970-01-01T00:00:00Z"


def test_size_that_is_no_number_is_none():
    assert Finding(subject="a", size=float("inf"), detail="b", cause="c").size is None


def test_unknown_key_is_refused():
    with pytest.raises(ValidationError, match="extra"):
        Check(name="one", what="", compared=0, finding=())


def test_checks_of_several_subjects_become_one():
    joined = joined_checks([FAILED.of("model 1"), FAILED.of("model 2"), Check.not_run("two", "no")])
    assert joined.compared == 6
    assert [one.subject for one in joined.findings] == ["ema of model 1", "ema of model 2"]
    assert joined.reason == "no"
