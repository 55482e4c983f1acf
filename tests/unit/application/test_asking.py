"""An act is done once for each Idempotency-Key of its caller, and what is declined leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from service.application.asking import (
    KEY_REUSED,
    Answer,
    Asked,
    Declined,
    Done,
    Trouble,
    act,
    answered,
)
from service.application.ports import UnavailableError
from service.domain.draft import Draft
from service.domain.ledger_state import Act, Keys, Known
from tests.builders import NOW
from tests.fakes.ledger import FakeLedger
from tests.front_desk import asked

DECLINED = Declined(Trouble.CONFLICT, "not now")


class Counting:
    """A decision that writes an act down, and says how often it was made."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.times = 0
        self._answer = answer

    def __call__(self, draft: Draft, _: Known) -> Answer:
        self.times += 1
        draft.put_act(Act(at=draft.now, actor="ann", kind="test", object="thing", reason="because"))
        return self._answer or Done(about={"id": f"thing-{self.times}"})


async def ask(ledger: FakeLedger, by: Asked, decide: Counting) -> Answer:
    return await act(ledger, by, Keys(), NOW, decide)


async def test_the_same_key_is_answered_alike_and_done_once(ledger: FakeLedger) -> None:
    decide, by = Counting(), asked(key="k1", digest="d1")
    assert await ask(ledger, by, decide) == Done(about={"id": "thing-1"})
    assert await ask(ledger, by, decide) == Done(about={"id": "thing-1"}, repeated=True)
    assert (decide.times, len(ledger.durable.acts)) == (1, 1)


async def test_another_body_under_the_same_key_is_declined_and_not_done(ledger: FakeLedger) -> None:
    decide = Counting()
    await ask(ledger, asked(key="k1", digest="d1"), decide)
    assert await ask(ledger, asked(key="k1", digest="d2"), decide) == KEY_REUSED
    assert (decide.times, len(ledger.durable.acts)) == (1, 1)


async def test_each_caller_has_keys_of_their_own(ledger: FakeLedger) -> None:
    decide = Counting()
    await ask(ledger, asked("ann", key="k1", digest="d1"), decide)
    assert await ask(ledger, asked("bob", key="k1", digest="d2"), decide) == Done(about={"id": "thing-2"})


async def test_without_a_key_every_asking_is_an_act(ledger: FakeLedger) -> None:
    decide = Counting()
    for _ in range(2):
        await ask(ledger, asked(), decide)
    assert (decide.times, len(ledger.durable.acts), ledger.durable.answers) == (2, 2, {})


async def test_what_is_declined_leaves_no_act_and_no_answer(ledger: FakeLedger) -> None:
    by = asked(key="k1", digest="d1")
    assert await ask(ledger, by, Counting(DECLINED)) == DECLINED
    assert (ledger.durable.acts, ledger.durable.answers) == ([], {})


async def test_a_key_that_was_declined_may_be_used_again(ledger: FakeLedger) -> None:
    by = asked(key="k1", digest="d1")
    await ask(ledger, by, Counting(DECLINED))
    assert await ask(ledger, by, Counting()) == Done(about={"id": "thing-1"})


async def test_act_and_answer_are_one_transaction(ledger: FakeLedger) -> None:
    async def crash(moment: str) -> None:
        if moment == "after transact":
            await crashing.close()

    crashing = ledger.reopen(step=crash)
    by, decide = asked(key="k1", digest="d1"), Counting()
    with pytest.raises(UnavailableError):
        await ask(crashing, by, decide)
    assert await ask(crashing.reopen(), by, decide) == Done(about={"id": "thing-1"}, repeated=True)
    assert decide.times == 1


async def test_asked_at_once_under_one_key_it_is_done_once(ledger: FakeLedger) -> None:
    decide, by = Counting(), asked(key="k1", digest="d1")
    answers = await asyncio.gather(*(ask(ledger, by, decide) for _ in range(5)))
    assert [answer.about for answer in answers if isinstance(answer, Done)] == [{"id": "thing-1"}] * 5
    assert len(ledger.durable.acts) == 1


async def test_an_answer_is_kept_with_its_time_and_no_more_than_was_answered(ledger: FakeLedger) -> None:
    await ask(ledger, asked(key="k1", digest="d1"), Counting())
    (kept,) = ledger.durable.answers.values()
    assert (kept.key, kept.digest, kept.given_at, kept.document) == ("ann/k1", "d1", NOW, {"id": "thing-1"})


async def test_looking_for_an_answer_decides_nothing(ledger: FakeLedger) -> None:
    by = asked(key="k1", digest="d1")
    assert await answered(ledger, by, NOW) is None
    assert await answered(ledger, asked(), NOW) is None
    await ask(ledger, by, Counting())
    assert await answered(ledger, by, NOW) == Done(about={"id": "thing-1"}, repeated=True)
    assert await answered(ledger, asked(key="k1", digest="d2"), NOW) == KEY_REUSED
