"""Every ledger: what operators' acts load and write beside the work."""

from __future__ import annotations

import asyncio

import pytest

from service.application.inquiry import ActQuery, LetterQuery
from service.domain.dead_letter import LetterState
from service.domain.desk import DeskChanges, DeskKeys, GivenAnswer, QuotaRate
from service.domain.ledger_state import Changes, HoldKind, Keys, Known
from service.domain.replay import ItemState, ReplayState
from service.domain.value import replace
from tests.builders import CREATE, GROUP, NOW, make_event, make_plan
from tests.conformance.ledger.bench import (
    DeskLedger,
    known,
    make_act,
    make_hold,
    make_item,
    make_letter,
    make_replay,
    on_desk,
    put,
    put_desk,
)


def make_answer(**fields: object) -> GivenAnswer:
    defaults = {"key": "ann:1", "digest": "d", "status": 202, "document": {"id": "replay-1", "n": [1]}, "given_at": NOW}
    return GivenAnswer(**{**defaults, **fields})  # type: ignore[arg-type]


async def test_an_answer_is_kept_as_it_was_given_first(ledger: DeskLedger) -> None:
    await put_desk(ledger, answers=[make_answer()])
    await put_desk(ledger, answers=[make_answer(status=500)])

    assert (await on_desk(ledger, answers={"ann:1", "ann:2"})).desk.answers == {"ann:1": make_answer()}


async def test_a_replay_is_replaced(ledger: DeskLedger) -> None:
    replay = make_replay(rate=2.5)
    await put_desk(ledger, replays=[replay, make_replay(2)])
    ended = replace(
        replay,
        state=ReplayState.FINISHED,
        changed_at=NOW + 9,
        paced_from=NOW + 2,
        paced_begun=7,
        ended_at=NOW + 9,
        counts={"succeeded": 3},
    )
    await put_desk(ledger, replays=[ended])

    assert (await on_desk(ledger, replays={"replay-1", "replay-9"})).desk.replays == {"replay-1": ended}
    assert await ledger.replay("replay-1") == ended


async def test_an_item_is_written_once_after_it_was_made(ledger: DeskLedger) -> None:
    begun = make_item(1, state=ItemState.BEGUN, epoch=1, at=NOW + 1)
    refused = make_item(1, state=ItemState.REFUSED, why="overtaken", at=NOW + 2)
    await put_desk(ledger, items=[make_item(1), make_item(2)])
    await put_desk(ledger, items=[begun])
    await put_desk(ledger, items=[refused, make_item(3)])

    items = [standing.item for standing in await ledger.replay_items("replay-1")]

    assert items == [begun, make_item(2), make_item(3)]


async def test_a_dead_letter_is_closed_where_it_lies(ledger: DeskLedger) -> None:
    letter, other = make_letter(1), make_letter(2)
    await put(ledger, dead_letters=[letter, other])
    closed = replace(letter, state=LetterState.RESUBMITTED, closed_at=NOW + 5)
    await put_desk(ledger, letters=[closed])
    await put(ledger, dead_letters=[letter])  # read again: it stays closed

    letters = (await on_desk(ledger, letters={letter.place, other.place, ("hr.events", 7, 7)})).desk.letters

    assert {place: replace(one, seq=0) for place, one in letters.items()} == {
        letter.place: closed,
        other.place: other,
    }
    assert letters[letter.place].seq < letters[other.place].seq


async def test_of_two_letters_at_one_place_the_newer_is_meant(ledger: DeskLedger) -> None:
    """A topic that was deleted and made anew counts its records from the beginning."""
    await put(ledger, dead_letters=[make_letter(1, digest="former")])
    await put(ledger, dead_letters=[make_letter(1, digest="now")])
    place = make_letter(1).place

    newer = (await on_desk(ledger, letters={place})).desk.letters[place]
    await put_desk(ledger, letters=[replace(newer, state=LetterState.DISCARDED, closed_at=NOW)])

    assert newer.digest == "now"
    states = {one.digest: one.state for one in await ledger.dead_letters(LetterQuery())}
    assert states == {"former": LetterState.OPEN, "now": LetterState.DISCARDED}


async def test_holds_that_are_named_are_loaded_released_or_not(ledger: DeskLedger) -> None:
    sick, other = make_hold(1, account="a"), make_hold(2, account="b")
    released = make_hold(3, kind=HoldKind.HOLD, released_at=NOW)
    await put(ledger, holds=[sick, other, released])

    assert (await on_desk(ledger, holds={"hold-2", "hold-3", "hold-9"})).holds == (other, released)
    both = await ledger_knows(
        ledger, Keys(accounts=frozenset({"a"}), desk=DeskKeys(holds=frozenset({"hold-1", "hold-3"})))
    )
    assert both.holds == (sick, released)
    assert (await known(ledger, accounts={"a", "b"})).holds == (sick, other)


async def ledger_knows(ledger: DeskLedger, keys: Keys) -> Known:
    seen: list[Known] = []

    def look(loaded: Known) -> Changes:
        seen.append(loaded)
        return Changes()

    await ledger.transact(keys, look)
    return seen[0]


async def test_contents_of_events_come_as_they_are_stored(ledger: DeskLedger) -> None:
    await put(ledger, events=[make_event(1), make_event(2), make_event(1, source="urn:other")])

    loaded = await on_desk(ledger, contents={("urn:hr", "event-1"), ("urn:hr", "event-9")})

    assert loaded.contents == {("urn:hr", "event-1"): make_event(1, arrival=1)}


async def test_what_another_job_asked_for_is_not_shown(ledger: DeskLedger) -> None:
    await put(ledger, holds=[make_hold(1, account="a"), make_hold(2, released_at=NOW, account="a")])
    await put_desk(ledger, replays=[make_replay(1), make_replay(2)])
    asked = [
        on_desk(ledger, replays={"replay-1"}),
        on_desk(ledger, replays={"replay-2"}, holds={"hold-2"}),
        known(ledger, accounts={"a"}),
    ]

    first, second, third = await asyncio.gather(*asked)

    assert (set(first.desk.replays), set(second.desk.replays)) == ({"replay-1"}, {"replay-2"})
    assert [hold.id for hold in second.holds] == ["hold-2"]
    assert [hold.id for hold in third.holds] == ["hold-1"]
    assert (third.desk.replays, third.contents) == ({}, {})


async def test_acts_about_one_thing_take_turns(ledger: DeskLedger) -> None:
    await put_desk(ledger, replays=[make_replay()])
    keys = Keys(desk=DeskKeys(replays=frozenset({"replay-1"})))

    def count(loaded: Known) -> Changes:
        replay = loaded.desk.replays["replay-1"]
        return Changes(desk=(DeskChanges(replays=(replace(replay, paced_begun=replay.paced_begun + 1),)),))

    await asyncio.gather(*(ledger.transact(keys, count) for _ in range(8)))

    replay = await ledger.replay("replay-1")
    assert replay is not None
    assert replay.paced_begun == 8


async def test_one_answer_is_given_to_two_callers_under_one_key(ledger: DeskLedger) -> None:
    keys = Keys(desk=DeskKeys(answers=frozenset({"ann:1"})))
    given: list[int] = []

    def answer(status: int) -> None:
        def decide(loaded: Known) -> Changes:
            before = loaded.desk.answers.get("ann:1")
            given.append(status if before is None else before.status)
            return Changes(desk=() if before else (DeskChanges(answers=(make_answer(status=status),)),))

        tasks.append(asyncio.ensure_future(ledger.transact(keys, decide)))

    tasks: list[asyncio.Future[Changes]] = []
    answer(201)
    answer(202)
    await asyncio.gather(*tasks)

    assert len(set(given[-2:])) == 1


async def test_an_act_that_raises_leaves_nothing(ledger: DeskLedger) -> None:
    def decide(_: Known) -> Changes:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await ledger.transact(Keys(desk=DeskKeys(replays=frozenset({"replay-1"}))), decide)

    assert await ledger.replay("replay-1") is None


async def test_what_an_act_writes_is_there_with_the_act_itself(ledger: DeskLedger) -> None:
    rate = QuotaRate(
        quota_group=GROUP, operation=CREATE, rate=2.5, changed_at=NOW, actor="ann", reason="the vendor asked"
    )
    desk = (DeskChanges(rates=(rate,)), DeskChanges(replays=(make_replay(),), items=(make_item(),)))
    await put(ledger, plans=[make_plan()], acts=[make_act()], desk=desk)
    await put_desk(ledger, rates=[replace(rate, rate=None, changed_at=NOW + 1, reason="all is well")])

    assert list(await ledger.rates()) == [replace(rate, rate=None, changed_at=NOW + 1, reason="all is well")]
    assert [act.object for act in await ledger.acts(ActQuery())] == ["hold-1"]
    assert [standing.plan for standing in await ledger.replay_items("replay-1")] == [make_plan()]


async def test_no_quota_is_changed_to_nothing(ledger: DeskLedger) -> None:
    rate = QuotaRate(quota_group=GROUP, operation=CREATE, rate=0.0, changed_at=NOW, actor="ann", reason="stop")

    with pytest.raises(ValueError, match="the ledger refuses"):
        await put_desk(ledger, rates=[rate])
