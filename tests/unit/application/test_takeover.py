"""Takeover: what a dead process left in flight is in doubt before anything is claimed; nothing else is touched."""

from __future__ import annotations

import orjson

from service.application.takeover import take_over
from service.domain.command import Command, CommandState, Lane, WaitCause
from service.domain.outcome import Result, Succeeded, WhenUnclear
from service.domain.settling import SettlingPolicy
from service.domain.value import replace
from tests.fakes.clock import VirtualClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.vendor import CREATE
from tests.unit.application.bench import CREATE_CALL, SENT, Bench, store_hire


async def leave_in_flight(bench: Bench, number: int = 1) -> Command:
    """A command that was marked, by a process that then died."""
    command = await store_hire(bench.ledger, number)
    await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    return bench.command(command)


RULES = {CREATE: WhenUnclear.READ_BACK}


async def restart(ledger: FakeLedger, clock: VirtualClock, telemetry: RecordingTelemetry) -> tuple[FakeLedger, int]:
    again = ledger.reopen()
    session = await again.open_session("next", clock.now())
    return again, await take_over(
        ledger=again, session=session, clock=clock, telemetry=telemetry, policy=SettlingPolicy(), rules=RULES
    )


async def test_orphan_becomes_in_doubt_and_is_told_with_its_plan(
    bench: Bench, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    orphan = await leave_in_flight(bench)
    await clock.advance(30.0)
    ledger, found = await restart(bench.ledger, clock, telemetry)
    kept = ledger.durable.commands[orphan.id]
    assert found == 1
    assert (kept.state, kept.owner, kept.lane) == (CommandState.IN_DOUBT, None, Lane.SETTLE)
    assert kept.due_at == clock.now() + SettlingPolicy().first_look_seconds
    assert kept.failure is not None
    assert kept.failure.code == "ProcessEnded"
    assert bench.told() == ["command.in_doubt", "plan.waiting"]
    waiting = orjson.loads(list(ledger.durable.outbox.values())[1].value or b"")
    assert waiting["data"]["cause"] == "in_doubt"
    assert ledger.durable.history[-1].after is CommandState.IN_DOUBT


async def test_attempt_and_ownership_of_an_orphan_stay_as_they_were_marked(
    bench: Bench, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    orphan = await leave_in_flight(bench)
    attempts = dict(bench.ledger.durable.attempts)
    ledger, _ = await restart(bench.ledger, clock, telemetry)
    assert ledger.durable.attempts == attempts
    assert ledger.durable.commands[orphan.id].attempts == 1
    assert bench.binding().create_sent


async def test_nothing_but_orphans_changes(bench: Bench, clock: VirtualClock, telemetry: RecordingTelemetry) -> None:
    orphan = await leave_in_flight(bench)
    others = [
        await store_hire(bench.ledger, 2),
        await store_hire(bench.ledger, 3, state=CommandState.WAITING, cause=WaitCause.RETRY, due_at=clock.now() + 9),
        await store_hire(bench.ledger, 4, state=CommandState.IN_DOUBT, due_at=None, attempts=1),
    ]
    before = dict(bench.ledger.durable.commands)
    ledger, _ = await restart(bench.ledger, clock, telemetry)
    assert {i for i, command in ledger.durable.commands.items() if command != before[i]} == {orphan.id}
    assert all(ledger.durable.commands[other.id] == before[other.id] for other in others)


async def test_claimed_but_unsent_is_no_orphan_and_can_be_claimed_again(
    bench: Bench, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    command = await store_hire(bench.ledger)
    await bench.claim()
    ledger, found = await restart(bench.ledger, clock, telemetry)
    assert found == 0
    assert ledger.durable.commands[command.id] == replace(command, owner=None, claims=1)


async def test_second_start_finds_nothing_left_and_tells_nothing_again(
    bench: Bench, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    await leave_in_flight(bench)
    ledger, _ = await restart(bench.ledger, clock, telemetry)
    told = bench.told()
    _, found = await restart(ledger, clock, telemetry)
    assert found == 0
    assert bench.told() == told


async def test_outcome_that_comes_after_the_takeover_is_dropped(
    bench: Bench, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    command = await store_hire(bench.ledger)
    claim = await bench.settlement.mark(await bench.claim(), CREATE_CALL, bench.slot())
    session = await bench.ledger.open_session("next", clock.now())  # the old process is frozen, not dead
    await take_over(
        ledger=bench.ledger, session=session, clock=clock, telemetry=telemetry, policy=SettlingPolicy(), rules=RULES
    )
    await bench.settlement.settle(claim, Succeeded(result=Result.DONE), sent=SENT, writes=True)
    assert bench.command(command).state is CommandState.IN_DOUBT
    assert telemetry.counted("outcomes_dropped_total") == 1
