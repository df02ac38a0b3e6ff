"""That a study's holdout was opened: written down by one process, for one trial."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from experiments.tuning.holdout_look import HoldoutLook
from experiments.tuning.ownership import Owner, this_process
from experiments.tuning.study_record import attributes_of, read_record
from lightning_models.candles import iso_utc
from lightning_models.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import optuna

__all__ = [
    "LOOK",
    "HoldoutOpening",
    "at_its_end",
    "claimed_for",
    "holdout_opened",
    "opening_of",
    "refuse_another",
    "refuse_if_opened",
    "write_opening",
]

# Study attributes. What was found is written once it is there, its opening before, and before
# that whoever wants to open it says so under a key of its own.
_OPENED: Final = "holdout"
LOOK: Final = "holdout_look"
_CLAIM: Final = "holdout_claim:"


class HoldoutOpening(BaseModel):
    """That a study's holdout was opened.

    Parameters
    ----------
    opened_at
        UTC, ISO-8601.
    trial
        For which it was.
    host
        Where it was.
    look
        What was found; None while it is being computed, or where that was cut short.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    opened_at: str
    trial: int
    host: str
    look: HoldoutLook | None = None

    @property
    def words(self) -> str:
        """What is known of it, in a few sentences."""
        if self.look is not None:
            return self.look.words
        return (
            f"Its holdout was opened on {self.opened_at[:10]} for trial {self.trial} on "
            f"{self.host}, and the look was not finished: opening it again finishes it."
        )


class _Claim(BaseModel):
    # That a process is about to open it: whoever reads another's before its own counts gives way.
    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    trial: int
    opened_at: str
    owner: Owner

    @property
    def as_opening(self) -> HoldoutOpening:
        return HoldoutOpening(opened_at=self.opened_at, trial=self.trial, host=self.owner.host)


def holdout_opened(study: optuna.Study) -> HoldoutOpening | None:
    """Return when and for which trial a study's holdout was opened; None where it was not.

    One that a process is about to open counts as opened, unless that process is known to have
    died before it did.

    Parameters
    ----------
    study
        Whichever.

    Examples
    --------
    >>> import optuna
    >>> holdout_opened(optuna.create_study()) is None
    True
    """
    kept, claims = _read(study)
    opening = opening_of(kept)
    if opening is None and claims:
        return min(claims, key=lambda one: (one.opened_at, one.key)).as_opening
    return opening


def opening_of(attributes: Mapping[str, Any]) -> HoldoutOpening | None:
    """Return the opening that a study's attributes tell of; None where they tell of none.

    Parameters
    ----------
    attributes
        Of the study, as Optuna keeps them. What is only about to be opened is not opened here.
    """
    if attributes.get(_OPENED) is None:
        return None
    return HoldoutOpening.model_validate({**attributes[_OPENED], "look": attributes.get(LOOK)})


def refuse_if_opened(study: optuna.Study) -> None:
    """Refuse further trials of a study whose holdout was opened.

    Parameters
    ----------
    study
        That they would be of.

    Raises
    ------
    ConfigError
        If it was.
    """
    opening = holdout_opened(study)
    if opening is not None:
        raise at_its_end(study, opening)


def at_its_end(
    study: optuna.Study, opening: HoldoutOpening, *, after: str | None = None
) -> ConfigError:
    """Return the error that says why a study gets no further trials.

    Parameters
    ----------
    study
        Whose holdout was opened.
    opening
        Of it.
    after
        The study that would get them, where it is one that comes after this one.
    """
    record = read_record(study)
    until = "" if record is None else f" {iso_utc(record.data.until)[:10]}"
    whose = "" if after is None else f"study {after}: it comes after {study.study_name}, and "
    return ConfigError(
        f"{whose}the study {study.study_name} is at its end: its holdout was opened on "
        f"{opening.opened_at[:10]}, and further trials would be chosen with knowledge of it. "
        f"A further search needs newer candles: wait for candles that come after{until}, and "
        "begin another study on them with --new"
    )


def refuse_another(study: optuna.Study, opening: HoldoutOpening, trial: int) -> None:
    """Refuse to open a holdout for a trial where it was opened for another one.

    Parameters
    ----------
    study
        Whichever.
    opening
        Of its holdout.
    trial
        That it would be opened for.

    Raises
    ------
    ConfigError
        If they differ.
    """
    if opening.trial != trial:
        raise ConfigError(
            f"the holdout of the study {study.study_name} was opened on {opening.opened_at[:10]} "
            f"for trial {opening.trial}, and not for trial {trial}: a second look would "
            "be a choice among looks. Candles that come later are unseen"
        )


@contextmanager
def claimed_for(study: optuna.Study, trial: int) -> Iterator[None]:
    """Keep everybody else from opening a holdout for another trial.

    The claim stands once this has been left without an error; otherwise it is withdrawn. Two
    that claim at the same instant may both be refused, and never does each have its way: a
    process writes its claim before it reads the others', so that one of any two reads both.

    Parameters
    ----------
    study
        Whichever.
    trial
        That it is to be opened for.

    Raises
    ------
    ConfigError
        If it was opened for another one meanwhile, or is about to be.
    """
    owner = this_process()
    # A thread of this process is another one too.
    key = f"{_CLAIM}{owner.id}-{secrets.token_hex(3)}"
    claim = {"trial": trial, "opened_at": _now(), "owner": owner.as_attribute()}
    try:
        study.set_user_attr(key, claim)
        kept, claims = _read(study)
        opening = opening_of(kept)
        if opening is not None:
            refuse_another(study, opening, trial)
        for one in claims:
            if one.key != key and one.trial != trial:
                raise ConfigError(
                    f"the holdout of the study {study.study_name} is about to be opened for trial "
                    f"{one.trial} by {one.owner}, and not for trial {trial}: see what it says, or "
                    "ask again if that one was refused too"
                )
        yield
    except BaseException:
        with suppress(Exception):
            study.set_user_attr(key, None)
        raise


def write_opening(study: optuna.Study, trial: int) -> HoldoutOpening:
    """Write down that a holdout is opened, and return what is written there.

    Parameters
    ----------
    study
        Whichever; it is `claimed_for` the trial.
    trial
        That it is opened for.
    """
    if opening_of(study.user_attrs) is None:
        written = HoldoutOpening(opened_at=_now(), trial=trial, host=socket.gethostname())
        study.set_user_attr(_OPENED, written.model_dump(mode="json", exclude={"look"}))
    opening = opening_of(study.user_attrs)
    assert opening is not None
    refuse_another(study, opening, trial)
    return opening


def _read(study: optuna.Study) -> tuple[Mapping[str, Any], list[_Claim]]:
    kept = attributes_of(study)
    claims = _claims(kept)
    if not claims:
        return kept, claims
    dead = {one.key for one in claims if one.owner.is_alive() is False}
    # Read after its death: until then it may have opened it.
    kept = attributes_of(study)
    return kept, [one for one in _claims(kept) if one.key not in dead]


def _claims(attributes: Mapping[str, Any]) -> list[_Claim]:
    found = []
    for key, value in attributes.items():
        if key.startswith(_CLAIM) and isinstance(value, dict):
            with suppress(ValidationError):
                found.append(_Claim.model_validate({**value, "key": key}))
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
