"""How an operator's act is asked for and answered: who, why, and once for each `Idempotency-Key`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from service.application.ports import Clock, Ledger
from service.application.telemetry import Telemetry
from service.domain.desk import DeskChanges, GivenAnswer
from service.domain.draft import Draft
from service.domain.ledger_state import Act, Changes, Keys, Known
from service.domain.outcome import Json
from service.domain.value import Value, replace


class Asked(Value, frozen=True, kw_only=True):
    """Who asks, and why. `key` is the caller's `Idempotency-Key`, `digest` that of what they ask for."""

    actor: str
    reason: str
    key: str | None = None
    digest: str = ""

    @property
    def answer_key(self) -> str | None:
        """The key as the ledger knows it: every caller has keys of their own."""
        return None if self.key is None else f"{self.actor}/{self.key}"


class Trouble(StrEnum):
    """Why an act is declined."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"


class Declined(Value, frozen=True):
    """An act that was not done; nothing has changed."""

    trouble: Trouble
    message: str


class Done(Value, frozen=True, kw_only=True):
    """An act that was done, now or when it was asked for first; `about` names what it made or changed."""

    about: Json
    repeated: bool = False


Answer = Done | Declined
Decide = Callable[[Draft, Known], Answer]


@dataclass(frozen=True, slots=True)
class Place:
    """Where acts are done: the ledger that takes them, the clock, and who is told."""

    ledger: Ledger
    clock: Clock
    telemetry: Telemetry


KEY_REUSED: Final = Declined(Trouble.CONFLICT, "this Idempotency-Key was used for something else")
OK: Final = 200


async def do(kind: str, asked: Asked, keys: Keys, decide: Decide, *, at: Place) -> Answer:
    """Act once, and count and say what was done; what was done before, or is declined, is no news.

    Raises UnavailableError.
    """
    answer = await act(at.ledger, asked, keys, at.clock.now(), decide)
    if isinstance(answer, Done) and not answer.repeated:
        tell(kind, asked, at.telemetry)
    return answer


def tell(kind: str, asked: Asked, telemetry: Telemetry) -> None:
    """Count what an operator did, and say it."""
    telemetry.count("operator_acts_total", kind=kind)
    telemetry.log("info", "an operator acted", kind=kind, actor=asked.actor)


def write_down(draft: Draft, kind: str, about: str, asked: Asked, detail: Mapping[str, Json]) -> None:
    """Put an act on record: what was done to what, by whom and why."""
    draft.put_act(Act(at=draft.now, actor=asked.actor, kind=kind, object=about, reason=asked.reason, detail=detail))


async def act(ledger: Ledger, asked: Asked, keys: Keys, now: float, decide: Decide) -> Answer:
    """Do it in one transaction with the note of its answer; what is declined leaves nothing behind.

    Raises UnavailableError.
    """
    answer: list[Answer] = []

    def decide_once(known: Known) -> Changes:
        given = known.desk.answers.get(asked.answer_key or "")
        if given is not None:
            answer[:] = [Done(about=given.document, repeated=True) if given.digest == asked.digest else KEY_REUSED]
            return Changes()
        draft = Draft(known, now)
        answer[:] = [decide(draft, known)]
        if isinstance(answer[0], Declined):
            return Changes()
        _note(draft, asked, answer[0])
        return draft.changes()

    await ledger.transact(_with_answer(keys, asked), decide_once)
    return answer[0]


async def answered(ledger: Ledger, asked: Asked, now: float) -> Answer | None:
    """What the caller's key was answered before; None if nothing was, or there is no key.

    For acts that look around before they decide: what they did themselves must not decline them the second time.
    """
    if asked.key is None:
        return None
    answer = await act(ledger, asked, Keys(), now, lambda *_: _NEW)
    return None if answer is _NEW else answer


_NEW: Final = Declined(Trouble.NOT_FOUND, "nothing was answered under this key")


def _note(draft: Draft, asked: Asked, done: Done) -> None:
    key = asked.answer_key
    if key is not None:
        kept = GivenAnswer(key=key, digest=asked.digest, status=OK, document=done.about, given_at=draft.now)
        draft.put_desk(DeskChanges(answers=(kept,)))


def _with_answer(keys: Keys, asked: Asked) -> Keys:
    if asked.answer_key is None:
        return keys
    return replace(keys, desk=replace(keys.desk, answers=keys.desk.answers | {asked.answer_key}))
