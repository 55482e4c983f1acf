"""Settling by a person: somebody looked at the vendor, and says whether what is in doubt was done."""

from __future__ import annotations

from typing import Final

from service.domain.blueprint import Step
from service.domain.command import Command, CommandState, Lane
from service.domain.draft import Draft
from service.domain.ledger_state import Act
from service.domain.outcome import Json, Result, Succeeded
from service.domain.settling import SettlingPolicy, succeed
from service.domain.value import Value, replace

WHY: Final = "settled by an operator"


class Applied(Value, frozen=True, kw_only=True):
    """The vendor did it; `apply_id` is what it gave, where it gives one and the person knows it."""

    apply_id: str | None = None


class NotApplied(Value, frozen=True):
    """The vendor certainly did not do it."""


Word = Applied | NotApplied


def settle_by_hand(
    draft: Draft, command: Command, word: Word, policy: SettlingPolicy, *, actor: str, reason: str
) -> None:
    """Believe the person, and write down who it was: done, or sent again as if it had not been.

    Only of a command in doubt; what is being looked up or sent just now loses its claim.
    """
    facts = _facts(command, word)
    outcome = "not_applied" if isinstance(word, NotApplied) else "applied"
    detail = {"command": command.id, "epoch": command.epoch, "outcome": outcome, **facts}
    draft.put_act(Act(at=draft.now, actor=actor, kind="settle", object=command.resource, reason=reason, detail=detail))
    match word:
        case Applied():
            told = Succeeded(result=Result.DONE, facts=facts)
            succeed(draft, command, told, writes=True, policy=policy, actor=actor, why=WHY)
        case NotApplied():
            _send_again(draft, command, actor)


def _facts(command: Command, word: Word) -> dict[str, Json]:
    """What a success of this step tells, as far as a person can know it."""
    if isinstance(word, NotApplied):
        return {}
    match command.step:
        case Step.APPLICATION:
            known = {} if word.apply_id is None else {"apply_id": word.apply_id}
            return {"number": command.wanted.get("number"), **known}
        case Step.EXTENSION:
            return {"extension": command.wanted.get("extension")}
        case _:
            return {}


def _send_again(draft: Draft, command: Command, actor: str) -> None:
    again = draft.move(command, CommandState.PENDING, why=f"{WHY}: not applied", due_at=draft.now, actor=actor)
    lane = Lane.REPLAY if command.epoch > 0 else Lane.LIVE
    draft.put_command(replace(again, lane=lane, failure=None, absent_at=None, retries=0))
    binding = draft.binding_of(command.subject)
    if binding is not None and binding.create_sent and binding.applied is None:
        draft.put_binding(replace(binding, create_sent=False))
