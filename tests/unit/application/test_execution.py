"""Execution: nothing is sent before its mark is durable, nothing twice for one mark, and nobody is left behind."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest

from service.application.ports import UnavailableError
from service.domain.binding import BindingState
from service.domain.command import CommandState, Session, WaitCause
from service.domain.outcome import Call, ErrorClass, Failure, NotYet, Seen
from service.domain.retry import RULES
from service.domain.value import replace
from tests.builders import make_binding, make_plan
from tests.fakes.clock import VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import BUSY, CREATE, LIST, LOST, READ, REFUSED, THROTTLED, create_if_absent
from tests.unit.application.bench import (
    ACCOUNT,
    Bench,
    as_another_owners,
    create_operation,
    read_operation,
    store_hire,
)

ROOMS = {(CREATE, "live"): 40, (READ, "live"): 40}
AWAY = UnavailableError("ledger", "disk full")
Moments = dict[str, Exception]


class Weather:
    """What the ledger meets: at a moment such as "before transact" the exception set for it."""

    def __init__(self) -> None:
        self.trouble: Moments = {}
        self.once: Moments = {}

    async def step(self, moment: str) -> None:
        await asyncio.sleep(0)
        if moment in self.once:
            raise self.once.pop(moment)
        if moment in self.trouble:
            raise self.trouble[moment]


@pytest.fixture
def weather() -> Weather:
    return Weather()


@pytest.fixture
def ledger(weather: Weather) -> FakeLedger:
    return FakeLedger(step=weather.step)


def live_rooms(bench: Bench) -> dict[tuple[str, str], int]:
    return {key: room for key, room in bench.free_rooms().items() if key[1] == "live"}


@pytest.fixture(autouse=True)
def every_room_is_given_back(bench: Bench) -> Iterator[None]:
    assert live_rooms(bench) == ROOMS
    yield
    assert live_rooms(bench) == ROOMS
    assert bench.execution._tasks == {}
    assert bench.execution._sending == set()


# ---------------------------------------------------------------------- the mark


async def test_nothing_is_sent_before_its_mark_is_durable(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    seen: list[tuple[str, int, int]] = []

    def look(call: Call) -> None:
        kept = bench.command(command)
        seen.append((kept.state, kept.attempts, len(bench.ledger.durable.attempts)))

    bench.vendor.on_arrival = look
    assert await bench.run() == 1
    assert seen == [("in_flight", 1, 1)]
    assert bench.command(command).state is CommandState.SUCCEEDED


async def test_nothing_is_marked_while_it_queues_for_its_slot(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.quota.open.clear()
    await bench.execution.run_once()
    await bench.clock.advance(5.0)
    assert bench.command(command).state is CommandState.PENDING
    assert bench.ledger.durable.attempts == {}
    bench.quota.open.set()
    await bench.clock.finish(bench.execution.idle())


async def test_mark_that_fails_sends_nothing_and_the_command_is_tried_again(bench: Bench, weather: Weather) -> None:
    command = await store_hire(bench.ledger)
    weather.once["before transact"] = AWAY
    await bench.run()
    assert bench.vendor.journal == []
    kept = bench.command(command)
    assert (kept.state, kept.cause, kept.attempts) == (CommandState.WAITING, "retry", 0)
    assert kept.failure is not None
    assert kept.failure.code == "ledger_away"


async def test_mark_for_a_lost_claim_sends_nothing(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.quota.open.clear()
    await bench.execution.run_once()
    await bench.clock.settle()
    as_another_owners(bench.ledger, command, owner=99)
    bench.quota.open.set()
    await bench.clock.finish(bench.execution.idle())
    assert bench.vendor.journal == []
    assert bench.command(command).state is CommandState.PENDING


async def test_late_slot_is_given_up_for_another_under_the_same_mark(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.quota.late = 2
    await bench.run()
    assert len(bench.vendor.journal) == 1
    assert [a.number for a in bench.ledger.durable.attempts.values()] == [1]
    assert bench.command(command).attempts == 1
    assert bench.telemetry.counted("slots_given_up_total", operation=CREATE) == 2
    assert [row.after for row in bench.ledger.durable.history[:1]] == ["in_flight"]


async def test_slot_is_of_the_calls_own_operation_in_the_commands_lane(
    clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger, session: Session
) -> None:
    modify = "tencent_ccc.ModifyExtension"
    operation = create_operation(rule=lambda *_: Call(operation=modify, account="acme_cn", body={}))
    bench = Bench(clock, telemetry, ledger, session, (operation, read_operation()))
    await store_hire(ledger, lane="replay")
    await bench.run()
    (reserved,) = bench.quota.journal
    assert (reserved.operation, reserved.lane, reserved.account) == (modify, "replay", "acme_cn")


async def test_ledger_away_for_the_second_slot_of_a_marked_command_is_no_doubt(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.quota.late = 1

    async def away_after_the_first() -> None:
        await bench.clock.until(lambda: bench.quota.given_up == 1)

    bench.quota.due.clear()
    await bench.execution.run_once()
    await bench.clock.settle()
    bench.quota.trouble.append(AWAY)
    bench.quota.due.set()
    await away_after_the_first()
    await bench.clock.finish(bench.execution.idle())
    assert bench.vendor.journal == []
    assert (bench.command(command).state, bench.command(command).cause) == (CommandState.WAITING, "retry")
    assert not bench.binding().create_sent


# ---------------------------------------------------------------------- the present


async def test_absent_is_created_after_the_look(bench: Bench) -> None:
    await store_hire(bench.ledger)
    await bench.run()
    assert len(bench.reader.asked) == 1
    assert len(bench.vendor.calls(CREATE)) == 1
    assert bench.binding().state is BindingState.LIVE


async def test_equal_and_ours_is_unchanged_without_a_call(bench: Bench) -> None:
    ours = make_binding(make_plan(), state=BindingState.LIVE, applied={"name": "Agent"})
    command = await store_hire(bench.ledger, binding=ours)
    bench.reader.looks = [Seen({"name": "Agent"})]
    await bench.run()
    assert bench.vendor.journal == []
    assert bench.quota.journal == []
    assert (bench.command(command).state, bench.command(command).result) == (CommandState.SUCCEEDED, "unchanged")


async def test_anothers_resource_is_a_conflict_and_the_reservation_ends(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.reader.looks = [Seen({"name": "Somebody"})]
    await bench.run()
    assert bench.vendor.journal == []
    assert bench.command(command).state is CommandState.FAILED
    assert bench.command(f"{command.plan_id}-1").state is CommandState.CANCELLED
    assert bench.binding().state is BindingState.RELEASED
    assert bench.told() == ["command.failed", "command.cancelled", "plan.failed"]


async def test_mere_reservation_is_not_ours_and_neither_is_a_binding_of_another_resource(bench: Bench) -> None:
    told: list[bool] = []

    def rule(wanted: Any, seen: Any, ours: bool) -> Any:
        told.append(ours)
        return create_if_absent(wanted, seen, ours)

    bench.operations[0].rule = rule
    await store_hire(bench.ledger)
    elsewhere = make_binding(
        make_plan(2), state=BindingState.LIVE, applied={"name": "Agent"}, resource="extension:acme_cn/9999"
    )
    await store_hire(bench.ledger, 2, binding=elsewhere)
    ours = make_binding(make_plan(3), state=BindingState.LIVE, applied={"name": "Agent"})
    await store_hire(bench.ledger, 3, binding=ours)
    await bench.clock.advance(60.0)  # what was applied is no news to the reads
    await bench.run()
    assert told == [False, False, True]


@pytest.mark.parametrize("trouble", [LOST, BUSY])
async def test_look_that_failed_sends_nothing_and_is_tried_again(bench: Bench, trouble: Failure) -> None:
    command = await store_hire(bench.ledger)
    bench.reader.looks = [replace(trouble, retries=1, afterwards=ErrorClass.CREDENTIALS)]
    await bench.run()
    kept = bench.command(command)
    assert bench.vendor.journal == []
    assert (kept.state, kept.cause) == (CommandState.WAITING, "retry")
    assert kept.failure is not None
    assert kept.failure.error_class is ErrorClass.RETRYABLE
    assert (kept.failure.retries, kept.failure.afterwards) == (1, ErrorClass.CREDENTIALS)


async def test_look_without_a_slot_is_tried_again(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.reader.looks = [AWAY]
    await bench.run()
    assert (bench.command(command).state, bench.command(command).cause) == (CommandState.WAITING, "retry")


async def test_request_that_cannot_be_prepared_takes_no_slot_and_is_tried_again(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.unprepared = LOST
    await bench.run()
    assert bench.quota.journal == []
    assert bench.vendor.journal == []
    assert (bench.command(command).state, bench.command(command).cause) == (CommandState.WAITING, "retry")


# ---------------------------------------------------------------------- replies


async def test_unclear_reply_to_a_write_leaves_the_command_in_doubt(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.script(CREATE, LOST)
    await bench.run()
    assert bench.command(command).state is CommandState.IN_DOUBT
    await bench.clock.advance(3600.0)
    await bench.run()
    assert bench.command(command).state is CommandState.IN_DOUBT, "what can't be read back is not sent again"
    assert len(bench.vendor.journal) == 1


async def test_certain_refusal_fails_the_command(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.script(CREATE, REFUSED)
    await bench.run()
    assert bench.command(command).state is CommandState.FAILED
    assert bench.telemetry.counted("vendor_requests_total", operation=CREATE, outcome="permanent") == 1


@pytest.mark.parametrize("operation", [CREATE, READ])
async def test_throttled_call_slows_the_quota_of_its_operation(bench: Bench, operation: str) -> None:
    await store_hire(bench.ledger, steps=1, operation=operation)
    bench.vendor.script(operation, THROTTLED)
    await bench.run()
    assert bench.quota.throttles == [("acme_cn", operation)]


@pytest.mark.parametrize("reply", [LOST, REFUSED, BUSY])
async def test_no_other_trouble_slows_a_quota(bench: Bench, reply: Failure) -> None:
    await store_hire(bench.ledger)
    bench.vendor.script(CREATE, reply)
    await bench.run()
    assert bench.quota.throttles == []


async def test_read_is_sent_without_a_mark_and_counts_its_attempts(bench: Bench) -> None:
    command = await store_hire(bench.ledger, steps=1, operation=READ)
    states: list[str] = []
    bench.vendor.on_arrival = lambda call: states.append(bench.command(command).state)
    bench.vendor.script(READ, BUSY)
    await bench.run()
    await bench.clock.advance(60.0)
    await bench.run()
    assert states == ["pending", "waiting"]
    assert (bench.command(command).state, bench.command(command).attempts) == (CommandState.SUCCEEDED, 2)
    assert [a.outcome for a in bench.ledger.durable.attempts.values()] == ["retryable", "succeeded"]


async def test_unclear_reply_to_a_read_is_tried_again(bench: Bench) -> None:
    command = await store_hire(bench.ledger, steps=1, operation=READ)
    bench.vendor.script(READ, LOST)
    await bench.run()
    assert (bench.command(command).state, bench.command(command).cause) == (CommandState.WAITING, "retry")


async def test_not_yet_is_looked_for_again(
    clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger, session: Session
) -> None:
    waits = read_operation(rule=lambda *_: NotYet())
    bench = Bench(clock, telemetry, ledger, session, (create_operation(), waits))
    command = await store_hire(ledger, steps=1, operation=READ)
    await bench.run()
    assert bench.command(command).cause == "approval"
    await clock.advance(300.0)
    assert await bench.run() == 1


async def test_retries_are_bounded_and_do_not_wait_in_a_task(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.script(CREATE, *[BUSY] * 20)
    for _ in range(20):
        await bench.run()
        await bench.clock.advance(60.0)
    assert bench.command(command).state is CommandState.FAILED
    assert len(bench.vendor.journal) == RULES[BUSY.error_class].attempts + 1


# ---------------------------------------------------------------------- trouble inside Cordboard


@pytest.mark.parametrize("bug", [KeyError("x"), AWAY])
async def test_bug_in_the_exchange_of_a_write_is_a_doubt(bench: Bench, bug: Exception) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.script(CREATE, bug)
    await bench.run()
    assert bench.command(command).state is CommandState.IN_DOUBT
    assert [a.outcome for a in bench.ledger.durable.attempts.values()] == ["ambiguous"]


@pytest.mark.parametrize("bug", [KeyError("x"), AWAY])
async def test_bug_in_judging_a_writes_answer_is_a_doubt(bench: Bench, bug: Exception) -> None:
    command = await store_hire(bench.ledger)
    bench.operations[0].bug = bug
    await bench.run()
    assert bench.command(command).state is CommandState.IN_DOUBT


@pytest.mark.parametrize("place", ["exchange", "judge"])
async def test_bug_around_a_read_is_tried_again_and_counts_its_attempt(bench: Bench, place: str) -> None:
    command = await store_hire(bench.ledger, steps=1, operation=READ)
    if place == "judge":
        bench.operations[1].bug = KeyError("x")
    else:
        bench.vendor.script(READ, KeyError("x"))
    await bench.run()
    kept = bench.command(command)
    assert (kept.state, kept.cause, kept.attempts) == (CommandState.WAITING, "retry", 1)


async def test_bug_before_the_mark_is_tried_again_and_then_failed(bench: Bench) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("x")

    bench.operations[0].rule = broken
    command = await store_hire(bench.ledger)
    await bench.run()
    assert (bench.command(command).state, bench.command(command).cause) == (CommandState.WAITING, "retry")
    for _ in range(RULES[ErrorClass.RETRYABLE].attempts + 1):
        await bench.clock.advance(60.0)
        await bench.run()
    assert bench.command(command).state is CommandState.FAILED
    assert bench.vendor.journal == []


async def test_outcome_that_cannot_be_written_is_a_doubt_after_a_send(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.operations[0].facts = {"extension": object()}  # no store takes it
    await bench.run()
    assert len(bench.vendor.journal) == 1
    assert bench.command(command).state is CommandState.IN_DOUBT
    assert "an outcome could not be written" in bench.telemetry.events("error")


async def test_command_that_cannot_be_settled_at_all_is_said_and_hurts_nobody(bench: Bench, weather: Weather) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.on_arrival = lambda call: weather.trouble.update({"before transact": KeyError("x")})
    await bench.run()
    assert bench.command(command).state is CommandState.IN_FLIGHT
    assert "a command is left without an outcome" in bench.telemetry.events("error")
    weather.trouble.clear()
    await store_hire(bench.ledger, 2)
    assert await bench.run() == 1


async def test_command_of_an_account_no_longer_configured_fails_and_says_so(bench: Bench) -> None:
    command = await store_hire(bench.ledger, account="acme_gone")
    await bench.run()
    kept = bench.command(command)
    assert kept.state is CommandState.FAILED
    assert kept.failure is not None
    assert (kept.failure.error_class, kept.failure.field) == (ErrorClass.INCOMPLETE, "account")


async def test_bug_of_one_command_does_not_hurt_its_neighbours(bench: Bench) -> None:
    commands = [await store_hire(bench.ledger, n) for n in range(1, 6)]
    bench.vendor.script(CREATE, *[KeyError("x")])
    assert await bench.run() == 5
    assert sorted(bench.command(c).state for c in commands) == ["in_doubt"] + ["succeeded"] * 4


# ---------------------------------------------------------------------- claims


async def test_one_at_a_time_per_subject_and_resource(bench: Bench) -> None:
    first = await store_hire(bench.ledger)
    same_subject = await store_hire(bench.ledger, 2, steps=1, subject=first.subject, resource="extension:acme_cn/77")
    same_resource = await store_hire(bench.ledger, 3, steps=1, resource=first.resource)
    other = await store_hire(bench.ledger, 4, steps=1)
    bench.vendor.answering.clear()
    assert await bench.clock.finish(bench.execution.run_once()) == 2
    await bench.clock.advance(5.0)
    assert await bench.clock.finish(bench.execution.run_once()) == 0
    assert {bench.command(c).state for c in (first, other)} == {CommandState.IN_FLIGHT}
    assert {bench.command(c).state for c in (same_subject, same_resource)} == {CommandState.PENDING}
    bench.vendor.answering.set()
    await bench.clock.finish(bench.execution.idle())


async def test_no_more_is_claimed_than_there_is_room_before_the_send(bench: Bench) -> None:
    for number in range(1, 101):
        await store_hire(bench.ledger, number, steps=1)
    bench.quota.open.clear()
    assert await bench.clock.finish(bench.execution.run_once()) == 40
    assert await bench.clock.finish(bench.execution.run_once()) == 0
    bench.quota.open.set()
    bench.vendor.answering.clear()
    await bench.clock.settle()  # sent, and in flight: the room is free again
    assert live_rooms(bench) == ROOMS
    assert await bench.clock.finish(bench.execution.run_once()) == 40
    bench.vendor.answering.set()
    await bench.clock.finish(bench.execution.idle())


async def test_slow_vendor_does_not_hold_up_the_next_claims(bench: Bench) -> None:
    bench.vendor.answering.clear()
    for number in range(1, 4):
        await store_hire(bench.ledger, number, steps=1)
        assert await bench.clock.finish(bench.execution.run_once()) == 1
        await bench.clock.settle()
    assert len(bench.vendor.journal) == 3
    bench.vendor.answering.set()
    await bench.clock.finish(bench.execution.idle())


# ---------------------------------------------------------------------- drain


async def test_drain_hands_back_what_was_not_sent(bench: Bench) -> None:
    commands = [await store_hire(bench.ledger, n) for n in range(1, 4)]
    bench.quota.open.clear()
    await bench.execution.run_once()
    await bench.clock.settle()
    begun = bench.clock.monotonic()
    await bench.clock.finish(bench.execution.drain(10.0))
    assert bench.clock.monotonic() == begun
    assert [bench.command(c).owner for c in commands] == [None] * 3
    assert bench.vendor.journal == []


async def test_drain_right_after_a_claim_gives_everything_back(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    await bench.execution.run_once()
    await bench.clock.finish(bench.execution.drain(10.0))
    assert bench.command(command).owner is None


async def test_drain_lets_what_was_sent_settle(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    bench.vendor.answering.clear()
    await bench.execution.run_once()
    await bench.clock.settle()
    draining = asyncio.ensure_future(bench.execution.drain(10.0))
    await bench.clock.advance(3.0)
    assert not draining.done()
    bench.vendor.answering.set()
    await bench.clock.finish(draining)
    assert bench.command(command).state is CommandState.SUCCEEDED


async def test_drain_ends_within_its_deadline_and_leaves_the_rest_in_flight(bench: Bench) -> None:
    sent = await store_hire(bench.ledger)
    bench.vendor.answering.clear()
    await bench.execution.run_once()
    await bench.clock.settle()
    begun = bench.clock.monotonic()
    await bench.clock.finish(bench.execution.drain(10.0))
    assert bench.clock.monotonic() - begun == pytest.approx(10.0)
    assert bench.command(sent).state is CommandState.IN_FLIGHT  # the next start puts it in doubt


async def test_drain_of_nothing_ends_at_once(bench: Bench) -> None:
    await bench.clock.finish(bench.execution.drain(10.0), within=0.0)


async def test_drain_survives_a_ledger_that_is_away(bench: Bench, weather: Weather) -> None:
    await store_hire(bench.ledger)
    bench.quota.open.clear()
    await bench.execution.run_once()
    weather.trouble["before release"] = AWAY
    await bench.clock.finish(bench.execution.drain(10.0))
    assert bench.telemetry.events("warning") == ["commands are handed back by the next start"]


def test_every_operation_and_lane_has_room(bench: Bench) -> None:
    assert ACCOUNT.rate(CREATE) == 20.0
    assert set(bench.free_rooms()) == {
        (op, lane) for op in (CREATE, READ) for lane in ("live", "settle", "replay", "sweep")
    }
    assert LIST not in {operation for operation, _ in bench.free_rooms()}


async def test_nothing_is_written_once_the_session_may_have_ended(bench: Bench) -> None:
    command = await store_hire(bench.ledger, steps=1)
    bench.own.stands = False

    await bench.run()

    kept = bench.command(command)
    assert bench.vendor.journal == []
    assert (kept.state, kept.cause) == (CommandState.WAITING, WaitCause.RETRY)
    assert kept.failure is not None
    assert kept.failure.code == "held_back"


async def test_what_was_marked_under_a_session_that_has_ended_is_not_sent_under_the_next(bench: Bench) -> None:
    await store_hire(bench.ledger, steps=1)
    bench.quota.late = 1
    bench.quota.due.clear()
    await bench.execution.run_once()
    await bench.clock.settle()
    bench.own.current = Session(bench.session.fence + 1, "worker")  # another process has ended ours meanwhile
    bench.quota.due.set()

    await bench.clock.finish(bench.execution.idle())

    assert bench.quota.given_up == 1
    assert bench.vendor.journal == []


async def test_rooms_are_shared_by_the_fleet(bench: Bench) -> None:
    alone = bench.free_rooms()
    bench.own.fleet = 4
    shared = bench.free_rooms()
    bench.own.fleet = 1

    assert shared == {pool: math.ceil(room / 4) for pool, room in alone.items()}
