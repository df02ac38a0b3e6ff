"""The analyst: an opinion where there is one, and silence where there is none."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lstm_strategies.analyst.cache import OpinionCache
from lstm_strategies.analyst.config import AnalystConfig
from lstm_strategies.analyst.endpoint import (
    CALLS_BEFORE_GIVING_UP,
    ChatEndpoint,
    Failure,
    NoAnswerError,
)
from lstm_strategies.analyst.facts import MarketFacts
from lstm_strategies.analyst.opinion import Opinion, read_answer
from lstm_strategies.analyst.prompt import chat_request, prompt_hash

__all__ = ["Analyst", "AnalystUsage", "backtest_warning"]

_log = logging.getLogger(__name__)


class AnalystUsage(BaseModel):
    """What an analyst has done so far in this run.

    Parameters
    ----------
    calls
        Questions put to the endpoint; retries of the same one do not count.
    cached
        Opinions that were kept from an earlier call, of this run or another.
    abstained
        Bars without an opinion, for whatever reason.
    failed
        Calls that got no answer.
    unusable
        Calls whose answer was nonsense.
    tokens_in, tokens_out
        Of all calls, as the endpoint counts them, unusable answers included.
    cost
        Of those tokens, quote currency.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int = 0
    cached: int = 0
    abstained: int = 0
    failed: int = 0
    unusable: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0


class Analyst:
    """Asks a language model about a bar, and abstains where it has no usable answer.

    Nothing that happens at the endpoint raises an error. A run is the life of one analyst.
    Opinions are kept and found again in later runs; nonsense is counted and asked again, and
    an endpoint without an answer leaves nothing behind. What goes wrong is logged once for
    each kind, as a warning with the next step. No further call is made in the run after three
    in a row without an answer, or after the first that was refused for its key (401, 403) or
    its model (404).

    Parameters
    ----------
    config
        Whom to ask, and how.
    cache_folder
        Where opinions are kept; processes may share it.

    Raises
    ------
    ConfigError
        If the package ``openai`` is missing, or the environment variable that ``api_key_env``
        names holds no key.
    """

    def __init__(self, config: AnalystConfig, cache_folder: Path) -> None:
        self.config = config
        self._endpoint = ChatEndpoint(config)
        self._cache = OpinionCache(Path(cache_folder), config.model)
        self._counts: Counter[str] = Counter()
        self._told: set[Failure | None] = set()
        self._unanswered = 0
        self._given_up = False

    @property
    def usage(self) -> AnalystUsage:
        """What has been asked, found, missed and paid so far."""
        tokens_in, tokens_out = self._counts["tokens_in"], self._counts["tokens_out"]
        cost = tokens_in * self.config.price_in + tokens_out * self.config.price_out
        return AnalystUsage(**self._counts, cost=cost / 1e6)

    def opinion(self, facts: MarketFacts) -> Opinion | None:
        """Return the model's opinion on a bar, None where the analyst abstains.

        Parameters
        ----------
        facts
            At the close of the bar.
        """
        request = chat_request(self.config, facts)
        prompt = prompt_hash(request)
        opinion = self._cache.find(prompt)
        if opinion is not None:
            self._counts["cached"] += 1
        elif not self._given_up:
            opinion = self._asked_once(prompt, request)
        if opinion is None:
            self._counts["abstained"] += 1
        return opinion

    def _asked_once(self, prompt: str, request: dict[str, Any]) -> Opinion | None:
        patience = self.config.timeout * (1 + self.config.retries)
        with self._cache.one_asker(prompt, patience):
            found = self._cache.find(prompt)
            if found is not None:
                self._counts["cached"] += 1
                return found
            opinion = self._asked(request)
            if opinion is not None:
                self._cache.keep(prompt, opinion)
            return opinion

    def _asked(self, request: dict[str, Any]) -> Opinion | None:
        self._counts["calls"] += 1
        try:
            body = self._endpoint.ask(request)
        except NoAnswerError as error:
            self._note_failure(error)
            return None
        self._unanswered = 0
        answer = read_answer(body)
        self._counts["tokens_in"] += answer.tokens_in
        self._counts["tokens_out"] += answer.tokens_out
        if answer.opinion is None:
            self._counts["unusable"] += 1
            self._warn_once(
                None,
                f"an answer of {self.config.model} cannot be used ({answer.problem}), so the "
                "analyst abstains; further ones are only counted. Where they are many, try "
                "another model",
            )
        return answer.opinion

    def _note_failure(self, error: NoAnswerError) -> None:
        self._counts["failed"] += 1
        self._unanswered += 1
        self._warn_once(error.failure, str(error))
        if error.failure.lasts or self._unanswered >= CALLS_BEFORE_GIVING_UP:
            self._given_up = True
            _log.info("the analyst asks no more in this run")

    def _warn_once(self, kind: Failure | None, text: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            _log.warning("%s", text)


def backtest_warning(config: AnalystConfig) -> str:
    """Return what a backtest with an analyst has to say of itself.

    Parameters
    ----------
    config
        Of the analyst.

    Examples
    --------
    >>> print(backtest_warning(AnalystConfig()))
    llama3.1 may have read about this period in its training data: part of what it says of it \
can be memory, not judgement. Trust only bars after its training ended.
    """
    return (
        f"{config.model} may have read about this period in its training data: part of what it "
        "says of it can be memory, not judgement. Trust only bars after its training ended."
    )
