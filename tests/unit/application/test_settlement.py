"""Settlement: the durable mark before a call, and one durable write for what it came to."""

from __future__ import annotations

import asyncio

import pytest

from service.application.ports import LostClaimError, UnavailableError
from service.application.settlement import Settlement
from service.domain.binding import BindingState
from service.domain.command import CommandState
from service.domain.lifecycle import ForbiddenTransitionError
from service.domain.outcome import ErrorClass, Failure, NotYet, Outcome, Result, Succeeded
from service.domain.settling import SettlingPolicy
from service.domain.value import replace
from tests.builders import make_binding, make_plan
from tests.fakes.clock import FixedRandomness, VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import BUSY, LOST, READ, REFUSED
from tests.unit.application.bench import CREATE_CALL, SENT, Bench, as_another_owners, store_hire

DONE = Succeeded(result=Result.DONE, request_id="req-1")


async def test_mark_is_durable_when_it_returns(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    kept = bench.command(command)
    assert (kept.state, kept.attempts, kept.owner) == (CommandState.IN_FLIGHT, 1, bench.session.fence)
    assert claim.command == kept
    assert [(a.number, a.call, a.ended_at) for a in bench.ledger.durable.attempts.values()] == [
        (1, CREATE_CALL.operation, None)
    ]
    assert bench.ledger.durable.history[-1].after is CommandState.IN_FLIGHT


async def test_a_second_mark_of_one_claim_is_a_bug_and_writes_nothing(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    with pytest.raises(ForbiddenTransitionError):
        await bench.settlement.mark(claim, CREATE_CALL, bench.slot())
    assert bench.command(command).attempts == 1
    assert [row.after for row in bench.ledger.durable.history] == [CommandState.IN_FLIGHT]


@pytest.mark.parametrize("change", [{"owner": None}, {"owner": 99}, {"epoch": 1}])
async def test_mark_for_lost_work_is_refused_and_writes_nothing(bench: Bench, change: dict[str, int | None]) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.claim()
    as_another_owners(bench.ledger, command, **change)
    with pytest.raises(LostClaimError):
        await bench.settlement.mark(claim, CREATE_CALL, bench.slot())
    assert bench.ledger.durable.attempts == {}
    assert bench.command(command).state is CommandState.PENDING


async def test_mark_of_a_create_after_absence_makes_the_resource_ours(bench: Bench) -> None:
    await store_hire(bench.ledger)
    assert not bench.binding().ours
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    assert bench.binding().create_sent
    assert claim.binding == bench.binding()


async def test_mark_of_another_call_proves_no_ownership(bench: Bench) -> None:
    await store_hire(bench.ledger)
    await bench.settlement.mark(await bench.claim(), replace(CREATE_CALL, creates=False), bench.slot())
    assert not bench.binding().ours


@pytest.mark.parametrize("outcome", [BUSY, REFUSED])
async def test_create_that_was_certainly_refused_proves_no_ownership(bench: Bench, outcome: Failure) -> None:
    await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.settlement.settle(claim, outcome, sent=SENT, writes=True)
    assert not bench.binding().create_sent


async def test_create_in_doubt_stays_ours(bench: Bench) -> None:
    await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.settlement.settle(claim, LOST, sent=SENT, writes=True)
    assert bench.binding().create_sent


async def test_refused_modify_does_not_forget_what_was_applied(bench: Bench) -> None:
    applied = make_binding(make_plan(), state=BindingState.LIVE, applied={"name": "Agent"}, create_sent=True)
    await store_hire(bench.ledger, binding=applied)
    call, sent = replace(CREATE_CALL, creates=False), replace(SENT, creates=False)
    claim = await bench.settlement.mark(await bench.claim(), call, bench.slot())
    await bench.settlement.settle(claim, REFUSED, sent=sent, writes=True)
    assert bench.binding().ours
    assert bench.binding().state is BindingState.LIVE


async def test_reservation_ends_when_the_plan_fails_with_the_resource_known_absent(bench: Bench) -> None:
    await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.settlement.settle(claim, REFUSED, sent=SENT, writes=True)
    assert bench.binding().state is BindingState.RELEASED


async def test_success_begins_the_next_step_and_is_told(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.settlement.settle(claim, DONE, sent=SENT, writes=True)
    assert bench.command(command).state is CommandState.SUCCEEDED
    assert bench.command(f"{command.plan_id}-1").state is CommandState.PENDING
    assert bench.told() == ["command.succeeded"]
    assert bench.telemetry.counted("commands_ended_total", state="succeeded", result="done") == 1


async def test_last_success_completes_the_plan(bench: Bench) -> None:
    command = await store_hire(bench.ledger, steps=1)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.settlement.settle(claim, DONE, sent=SENT, writes=True)
    assert bench.told() == ["command.succeeded", "plan.completed"]
    assert bench.ledger.durable.plans[command.plan_id].state == "completed"
    assert bench.telemetry.counted("plans_ended_total", state="completed") == 1


async def test_unclear_reply_to_a_write_is_in_doubt_visible_and_told(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.settlement.settle(claim, LOST, sent=SENT, writes=True)
    kept = bench.command(command)
    assert (kept.state, kept.owner, kept.failure) == (CommandState.IN_DOUBT, None, LOST)
    assert kept.due_at is not None, "its settlement is due"
    assert bench.told() == ["command.in_doubt", "plan.waiting"]


async def test_unclear_reply_to_a_read_is_tried_again(bench: Bench) -> None:
    command = await store_hire(bench.ledger, steps=1, operation=READ)
    claim = await bench.claim(READ)
    await bench.settlement.settle(claim, LOST, sent=replace(SENT, call=READ, creates=False), writes=False)
    assert (bench.command(command).state, bench.command(command).cause) == (CommandState.WAITING, "retry")
    assert bench.told() == []


@pytest.mark.parametrize(
    ("outcome", "word", "code", "request_id"),
    [
        (DONE, "succeeded", None, "req-1"),
        (replace(LOST, request_id="req-2"), "ambiguous", "ReadTimeout", "req-2"),
        (REFUSED, "permanent", "InvalidParameter", None),
        (BUSY, "retryable", "InternalError", None),
    ],
)
async def test_attempt_says_what_became_of_it(
    bench: Bench, outcome: Outcome, word: str, code: str | None, request_id: str | None
) -> None:
    await store_hire(bench.ledger)
    slot = bench.slot()
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, slot)
    marked_at = bench.clock.now()
    await bench.clock.advance(0.7)
    await bench.settlement.settle(claim, outcome, sent=replace(SENT, slot_at=slot.at), writes=True)
    (attempt,) = bench.ledger.durable.attempts.values()
    assert (attempt.outcome, attempt.code, attempt.request_id) == (word, code, request_id)
    assert (attempt.slot_at, attempt.marked_at, attempt.ended_at) == (slot.at, marked_at, bench.clock.now())


async def test_each_try_is_an_attempt_of_its_own(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    for _ in range(2):
        claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
        await bench.settlement.settle(claim, BUSY, sent=SENT, writes=True)
        await bench.clock.advance(60.0)
    assert [a.number for a in bench.ledger.durable.attempts.values()] == [1, 2]
    assert (bench.command(command).attempts, bench.command(command).retries) == (2, 2)


async def test_read_is_not_marked_but_its_attempts_count(bench: Bench) -> None:
    command = await store_hire(bench.ledger, steps=1, operation=READ)
    claim = await bench.claim(READ)
    begun = bench.clock.now()
    await bench.clock.advance(0.5)
    await bench.settlement.settle(claim, BUSY, sent=replace(SENT, call=READ, creates=False), writes=False)
    (attempt,) = bench.ledger.durable.attempts.values()
    kept = bench.command(command)
    assert (attempt.number, attempt.outcome, kept.attempts, kept.first_at) == (1, "retryable", 1, begun)
    assert attempt.marked_at == begun  # when it was sent: half a second before its outcome


async def test_outcome_without_a_call_makes_no_attempt(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    outcome = Succeeded(result=Result.UNCHANGED)
    await bench.settlement.settle(await bench.claim(), outcome, sent=None, writes=True)
    assert bench.ledger.durable.attempts == {}
    assert (bench.command(command).attempts, bench.command(command).result) == (0, "unchanged")


async def test_times_add_up_to_the_commands_age(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    await bench.clock.advance(3.0)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.clock.advance(2.0)
    await bench.settlement.settle(claim, BUSY, sent=SENT, writes=True)
    await bench.clock.advance(10.0)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    await bench.clock.advance(4.0)
    await bench.settlement.settle(claim, DONE, sent=SENT, writes=True)
    kept = bench.command(command)
    assert (kept.quota_seconds, kept.vendor_seconds) == (4.0, 1.0)
    assert kept.queue_seconds + kept.quota_seconds + kept.vendor_seconds == pytest.approx(19.0)


@pytest.mark.parametrize(
    "change",
    [
        {"owner": None, "state": CommandState.SUCCEEDED},
        {"owner": None, "state": CommandState.CANCELLED},
        {"owner": 99},
        {"epoch": 1},
    ],
)
async def test_outcome_for_lost_work_is_dropped_and_counted(bench: Bench, change: dict[str, object]) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    as_another_owners(bench.ledger, command, **change)
    before = (bench.command(command), dict(bench.ledger.durable.attempts), len(bench.ledger.durable.history))
    await bench.settlement.settle(claim, DONE, sent=SENT, writes=True)
    after = (bench.command(command), dict(bench.ledger.durable.attempts), len(bench.ledger.durable.history))
    assert after == before
    assert bench.told() == []
    assert bench.telemetry.counted("outcomes_dropped_total", operation=command.operation) == 1


async def test_outcome_insists_while_the_ledger_is_away(clock: VirtualClock, telemetry: RecordingTelemetry) -> None:
    refusals = 3

    async def step(moment: str) -> None:
        nonlocal refusals
        await asyncio.sleep(0)
        if moment == "before transact" and away and refusals:
            refusals -= 1
            raise UnavailableError("ledger", "disk full")

    away = False
    ledger = FakeLedger(step=step)
    session = await ledger.open_session("me", clock.now())
    bench = Bench(clock, telemetry, ledger, session)
    command = await store_hire(ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    away = True
    await clock.finish(bench.settlement.settle(claim, DONE, sent=SENT, writes=True))
    assert bench.command(command).state is CommandState.SUCCEEDED
    assert telemetry.counted("loop_failures_total", loop="settlement", part="ledger") == 3
    assert bench.told() == ["command.succeeded"]


async def test_outcome_written_twice_after_an_unclear_commit_counts_once(
    clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    broken = False

    async def step(moment: str) -> None:
        nonlocal broken
        await asyncio.sleep(0)
        if moment == "after transact" and broken:
            broken = False
            raise UnavailableError("ledger", "the commit's answer was lost")

    ledger = FakeLedger(step=step)
    bench = Bench(clock, telemetry, ledger, await ledger.open_session("me", clock.now()))
    command = await store_hire(ledger, steps=1)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    broken = True
    await clock.finish(bench.settlement.settle(claim, DONE, sent=SENT, writes=True))
    assert bench.command(command).state is CommandState.SUCCEEDED
    assert bench.command(command).attempts == 1
    assert bench.told() == ["command.succeeded", "plan.completed"]


async def test_approval_that_has_not_come_is_looked_for_later_in_the_slow_lane(
    clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger, bench: Bench
) -> None:
    settlement = Settlement(
        ledger=ledger,
        clock=clock,
        randomness=FixedRandomness(),
        telemetry=telemetry,
        policy=SettlingPolicy(approval_poll_seconds=120.0),
    )
    command = await store_hire(ledger, steps=1, operation=READ)
    await settlement.settle(await bench.claim(READ), NotYet(), sent=None, writes=False)
    kept = bench.command(command)
    assert (kept.state, kept.cause, kept.due_at, kept.lane) == ("waiting", "approval", clock.now() + 120.0, "sweep")
    assert bench.told() == ["plan.waiting"]


async def test_lines_carry_event_command_and_attempt_and_no_names(bench: Bench) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    failure = Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameter", message="refused")
    await bench.settlement.settle(claim, failure, sent=SENT, writes=True)
    (line,) = [line for line in bench.telemetry.lines if line.event == "command failed"]
    assert (line.fields["event_id"], line.fields["command_id"], line.fields["attempt"]) == ("event-1", command.id, 1)
    assert "Agent" not in str(line.fields)
