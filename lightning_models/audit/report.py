"""What an audit found: checks, and for each failure who, when, by how much and why."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, computed_field, field_serializer, field_validator

from lightning_models.candles.timestamps import iso_utc_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AuditReport", "Check", "Finding", "joined_checks", "moment"]


class Finding(BaseModel):
    """One way in which something knows what it cannot know.

    Parameters
    ----------
    subject
        A feature with its parameters, a number of the forecast, a slice, an order.
    symbol
        Of the candles; empty where the finding concerns all of them.
    time
        Open of the first candle concerned, UTC, where there is one.
    size
        By how much, in `unit`; None where a value is there in one case and missing in the other.
    unit
        Such as ``deviations``, the feature's own.
    detail
        What differs from what.
    cause
        What usually brings it about, and what to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    subject: str
    symbol: str = ""
    time: datetime | None = None
    size: float | None = None
    unit: str = ""
    detail: str
    cause: str

    @field_validator("size", mode="before")
    @classmethod
    def _finite_or_none(cls, size: float | None) -> float | None:
        return size if size is not None and math.isfinite(size) else None

    @field_serializer("time", when_used="json")
    def _with_z(self, time: datetime | None) -> str | None:
        return None if time is None else iso_utc_of(time)


class Check(BaseModel):
    """One test with what it found.

    Parameters
    ----------
    name
        Such as ``features: future cut off``.
    what
        What was compared with what, and how exactly, in words.
    compared
        How many values were compared; 0 where the test could not be run.
    findings
        None where all is well.
    reason
        Why the test could not be run, or what limits it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    what: str
    compared: int
    findings: tuple[Finding, ...] = ()
    reason: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def status(self) -> Literal["passed", "failed", "not run"]:
        """Whether it found anything; a test that compared nothing has not passed."""
        if self.findings:
            return "failed"
        return "passed" if self.compared else "not run"

    @classmethod
    def not_run(cls, name: str, reason: str) -> Check:
        """Return a test that could not be run, and why."""
        return cls(name=name, what="", compared=0, reason=reason)

    def of(self, whom: str) -> Check:
        """Return the test with its findings, and its reason, naming one of several subjects."""
        named = [
            finding.model_copy(update={"subject": f"{finding.subject} of {whom}"})
            for finding in self.findings
        ]
        reason = f"{whom}: {self.reason}" if self.reason else ""
        return self.model_copy(update={"findings": tuple(named), "reason": reason})


class AuditReport(BaseModel):
    """The checks of one feature set, model or strategy.

    Parameters
    ----------
    subject
        What was audited.
    symbols, timeframe
        On which candles.
    checks
        In the order they were run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    symbols: tuple[str, ...]
    timeframe: str
    checks: tuple[Check, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def clean(self) -> bool:
        """Whether no check found anything."""
        return not self.findings

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What all checks found."""
        return tuple(one for check in self.checks for one in check.findings)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """The result in words."""
        run = [check for check in self.checks if check.status != "not run"]
        failed = [check for check in run if check.status == "failed"]
        if failed:
            subjects = sorted({one.subject for one in self.findings})
            return (
                f"{len(failed)} of {len(run)} checks failed: {', '.join(subjects)}. No result of "
                f"{self.subject} can be believed before that is put right."
            )
        if not run:
            return f"Nothing of {self.subject} could be checked."
        left = len(self.checks) - len(run)
        rest = "" if not left else f" {left} could not be run: the table says why."
        return f"No look-ahead found in {len(run)} checks of {self.subject} on these candles.{rest}"


def joined_checks(checks: Sequence[Check]) -> Check:
    """Return one test that was run on several subjects as one.

    Parameters
    ----------
    checks
        At least one, all of the same name.
    """
    reasons = dict.fromkeys(one.reason for one in checks if one.reason)
    return checks[0].model_copy(
        update={
            "what": next((one.what for one in checks if one.what), ""),
            "compared": sum(one.compared for one in checks),
            "findings": tuple(finding for one in checks for finding in one.findings),
            "reason": "; ".join(reasons),
        }
    )


def moment(milliseconds: int) -> datetime:
    """Return a moment in milliseconds since the epoch as a UTC time.

    Examples
    --------
    >>> moment(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
