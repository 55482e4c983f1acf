"""Every ledger: what is left of a person who is forgotten."""

from __future__ import annotations

from typing import Any, Final

import pytest

from service.application.inquiry import ActQuery, EventQuery
from service.domain.binding import BindingState
from service.domain.command import Command, CommandState, PlanState
from service.domain.replaying import ERASED
from service.domain.value import replace
from tests.builders import NOW, make_binding, make_command, make_event, make_plan
from tests.conformance.ledger.bench import DeskLedger, known, make_act, message, put, stored

PERSON: Final = {"name": "Li Na", "email": "li.na@example.com"}
LEFT: Final = {"name": ERASED, "email": None}
SUBJECT: Final = "agent:realm/1"
ACT: Final = make_act(kind="forget", object=SUBJECT)
NOTHING: Final = {"events": 0, "commands": 0, "bindings": 0, "dead_letters": 0}


def wanted(about: dict[str, Any]) -> dict[str, Any]:
    return {"extension": "1001", **about, "last": {"skill_group_ids": [1], **about}}


async def put_person(ledger: DeskLedger, number: int, state: PlanState = PlanState.COMPLETED) -> Command:
    """Store all that can tell of an agent."""
    plan = make_plan(number, state=state, ended_at=NOW)
    command = make_command(plan, state=CommandState.SUCCEEDED, ended_at=NOW, due_at=None, wanted=wanted(PERSON))
    letter = {"topic": "dlq.hr.events", "key": str(number).encode()}
    await put(
        ledger,
        events=[make_event(number, data={"agent_id": str(number), **PERSON})],
        plans=[plan],
        commands=[command],
        bindings=[
            make_binding(plan, state=BindingState.RELEASED, applied=PERSON),
            make_binding(plan, state=BindingState.LIVE, applied=wanted(PERSON), generation=2),
        ],
        outbox=[
            message(10 * number, value=b"Li Na", **letter),
            message(10 * number + 1, value=b"not yet sent", **letter),
            message(10 * number + 2, value=b"a result", key=letter["key"]),
        ],
    )
    await ledger.mark_published([f"message-{10 * number}", f"message-{10 * number + 2}"], NOW)
    return command


async def test_a_person_is_taken_out_of_all_that_is_kept(ledger: DeskLedger) -> None:
    command, other = await put_person(ledger, 1), await put_person(ledger, 2)

    assert await ledger.forget(SUBJECT, ACT) == {"events": 1, "commands": 1, "bindings": 2, "dead_letters": 1}

    assert [dict(event.data) for event in await ledger.events(EventQuery(subject=SUBJECT))] == [{}]
    assert await stored(ledger, command.id) == replace(command, wanted=wanted(LEFT))
    bindings = (await known(ledger, subjects={SUBJECT})).bindings
    assert [binding.applied for binding in bindings] == [LEFT, wanted(LEFT)]
    assert await ledger.letter_bytes("message-10") == (b"1", None)
    assert await ledger.letter_bytes("message-11") == (b"1", b"not yet sent")
    assert [replace(act, seq=0) for act in await ledger.acts(ActQuery())] == [ACT]
    # of others nothing is
    assert await stored(ledger, other.id) == other
    assert await ledger.letter_bytes("message-20") == (b"2", b"Li Na")
    assert [event.data["name"] for event in await ledger.events(EventQuery(subject="agent:realm/2"))] == ["Li Na"]


async def test_forgetting_again_finds_nothing_and_keeps_the_act(ledger: DeskLedger) -> None:
    await put_person(ledger, 1)
    await ledger.forget(SUBJECT, ACT)

    assert await ledger.forget(SUBJECT, ACT) == NOTHING

    assert len(await ledger.acts(ActQuery())) == 2


async def test_nobody_is_forgotten_while_their_work_is_unfinished(ledger: DeskLedger) -> None:
    command = await put_person(ledger, 1, PlanState.OPEN)

    assert await ledger.forget(SUBJECT, ACT) is None

    assert await stored(ledger, command.id) == command
    assert list(await ledger.acts(ActQuery())) == []


@pytest.mark.parametrize("subject", ["agent:realm/9", "number:acme_cn/+862150001234"])
async def test_who_is_unknown_is_forgotten_at_once(ledger: DeskLedger, subject: str) -> None:
    await put_person(ledger, 1)

    assert await ledger.forget(subject, ACT) == NOTHING


async def test_the_digest_of_a_forgotten_event_is_known(ledger: DeskLedger) -> None:
    await put_person(ledger, 1)
    await ledger.forget(SUBJECT, ACT)

    assert (await known(ledger, events={("urn:hr", "event-1")})).digests == {("urn:hr", "event-1"): "digest-1"}
