"""Retention: what is over goes in small batches, and no identity while a topic could bring its event back."""

from __future__ import annotations

import asyncio
import math

import pytest

from service.application.ports import UnavailableError
from service.application.retention import ASK_AGAIN_SECONDS, BATCH, EVERY_SECONDS, LOOK_SECONDS, Retention
from service.application.rounds import Stopping
from service.domain.command import CommandState, PlanState
from service.domain.ledger_state import Changes, Keys
from service.domain.retention import DAY, Erasable, RetentionPolicy
from tests.builders import make_command, make_event, make_plan
from tests.fakes.clock import VirtualClock
from tests.fakes.kafka import FakeTopicTimes
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.unit.application.events import approved, event, hired, purchased
from tests.unit.application.house import House

POLICY = RetentionPolicy(finished=90 * DAY, identity=400 * DAY)
LOOP_SECONDS = 45.0  # the least patience that the watchdog can be set to


class Bench:
    """The step over the fake ledger, with what Kafka says about its topics."""

    def __init__(self, clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger) -> None:
        self.clock, self.telemetry, self.ledger = clock, telemetry, ledger
        self.topics = FakeTopicTimes()
        self.retention = Retention(ledger=ledger, topics=self.topics, clock=clock, telemetry=telemetry, policy=POLICY)

    async def finish(self) -> None:
        """One pass, batch after batch."""
        while await self.retention.run_once():
            pass

    async def pass_days(self, days: float) -> None:
        """Let days go by at once, and do the pass that is due then."""
        await self.clock.advance(days * DAY)
        await self.finish()

    async def put_ended(self, count: int = 1) -> None:
        """Plans that have just ended, each with its event and command."""
        numbers, now = range(1, count + 1), self.clock.now()
        plans = tuple(make_plan(n, state=PlanState.COMPLETED, ended_at=now) for n in numbers)
        commands = tuple(make_command(p, state=CommandState.SUCCEEDED, ended_at=now, due_at=None) for p in plans)
        events = tuple(make_event(n, received_at=now) for n in numbers)
        await self.ledger.transact(Keys(), lambda _: Changes(events=events, plans=plans, commands=commands))


@pytest.fixture
def over(clock: VirtualClock, telemetry: RecordingTelemetry, ledger: FakeLedger) -> Bench:
    return Bench(clock, telemetry, ledger)


async def test_finished_work_goes_after_its_days_and_identities_after_theirs(over: Bench) -> None:
    await over.put_ended(2)
    durable = over.ledger.durable

    await over.pass_days(89.9)
    assert len(durable.plans) == 2
    await over.pass_days(0.1)
    assert (durable.plans, durable.commands, durable.events, len(durable.identities)) == ({}, {}, {}, 2)
    await over.pass_days(310)
    assert len(durable.identities) == 1  # the newest: arrivals are counted by it

    counts = {what: over.telemetry.counted("erased_rows_total", what=what) for what in Erasable}
    assert {what: n for what, n in counts.items() if n} == {"plans": 4, "events": 2, "identities": 1}
    assert over.telemetry.events("info").count("erased what was over") == 2


async def test_each_step_erases_one_batch(over: Bench) -> None:
    await over.put_ended(BATCH + 1)
    await over.clock.advance(91 * DAY)

    assert await over.retention.run_once()

    assert len(over.ledger.durable.plans) == 1


async def test_passes_are_an_hour_apart_and_ask_kafka_anew(over: Bench) -> None:
    await over.finish()
    await over.clock.advance(EVERY_SECONDS - 1)
    await over.finish()
    assert over.topics.asked == 1
    await over.clock.advance(1)
    await over.finish()
    assert over.topics.asked == 2


async def test_a_round_is_short_even_when_nothing_is_due(over: Bench) -> None:
    stopping = Stopping()
    task = asyncio.create_task(over.retention.run(stopping))
    await over.clock.advance(2 * (EVERY_SECONDS + LOOK_SECONDS))
    assert over.topics.asked == 3
    stopping.ask()
    await over.clock.advance(LOOK_SECONDS)
    assert task.done()
    assert LOOK_SECONDS < LOOP_SECONDS


@pytest.mark.parametrize(("seconds", "level"), [(401 * DAY, "error"), (math.inf, "error"), (None, "warning")])
async def test_topic_that_could_bring_events_back_keeps_all_identities_and_is_told_once(
    over: Bench, seconds: float | None, level: str
) -> None:
    await over.put_ended(2)
    over.topics.seconds = {"hr.events": 14 * DAY, "crm.events": seconds}

    await over.pass_days(500)
    await over.pass_days(1)

    assert (over.ledger.durable.plans, len(over.ledger.durable.identities)) == ({}, 2)
    assert over.telemetry.events(level).count("no identity of an event is erased") == 1
    (told,) = [line for line in over.telemetry.lines if line.event == "no identity of an event is erased"]
    assert told.fields["topic"] == "crm.events"
    assert over.telemetry.levels["identities_kept", ()] == 1


async def test_identities_go_again_once_the_topic_is_mended(over: Bench) -> None:
    await over.put_ended(2)
    over.topics.seconds = {"hr.events": math.inf}
    await over.pass_days(500)

    over.topics.seconds = {"hr.events": 14 * DAY}
    await over.pass_days(1)

    assert len(over.ledger.durable.identities) == 1
    assert "identities of events are erased again when their time is over" in over.telemetry.events("info")
    assert over.telemetry.levels["identities_kept", ()] == 0


async def test_nothing_is_erased_while_kafka_is_away_and_it_is_asked_again_soon(over: Bench) -> None:
    await over.put_ended()
    over.topics.seconds = None
    await over.pass_days(500)
    assert len(over.ledger.durable.plans) == 1
    assert over.telemetry.counted("loop_failures_total", loop="retention", part="kafka") == 1
    assert over.telemetry.parts == {}  # the consumer says whether Kafka is there

    over.topics.seconds = {"hr.events": 14 * DAY}
    await over.clock.advance(ASK_AGAIN_SECONDS)
    await over.finish()

    assert over.ledger.durable.plans == {}


async def test_pass_goes_on_where_the_ledger_went_away(over: Bench) -> None:
    await over.put_ended(2 * BATCH)
    await over.clock.advance(91 * DAY)
    await over.retention.run_once()
    durable = over.ledger.durable
    await over.ledger.close()
    with pytest.raises(UnavailableError):
        await over.retention.run_once()

    over.retention._ledger = FakeLedger(durable=durable)
    await over.finish()

    assert durable.plans == {}
    assert over.topics.asked == 1


# ---------------------------------------------------------------------- with all other steps


async def erased(house: House, clock: VirtualClock, days: float) -> None:
    """Let days go by, and what is over then."""
    clock.step_wall(days * DAY)  # nobody polls meanwhile
    topics = FakeTopicTimes()
    retention = Retention(ledger=house.ledger, topics=topics, clock=clock, telemetry=house.telemetry, policy=POLICY)
    while await retention.run_once():
        pass


async def test_event_read_again_after_its_plan_was_erased_makes_no_second_plan(
    house: House, clock: VirtualClock
) -> None:
    await house.take(hired(1), hired(2))
    calls = house.calls()
    await erased(house, clock, 399)
    assert house.ledger.durable.plans == {}

    await house.take(hired(1), hired(2))

    assert house.calls() == calls
    assert (house.ledger.durable.plans, house.ledger.durable.events) == ({}, {})
    assert house.telemetry.counted("events_total", outcome="delivered_before") == 2


async def test_known_id_with_other_content_is_a_dead_letter_even_after_the_event_was_erased(
    house: House, clock: VirtualClock
) -> None:
    await house.take(hired(1))
    await erased(house, clock, 100)

    await house.take(hired(1, email="somebody.else@example.com"))

    assert house.ledger.durable.plans == {}
    assert house.telemetry.counted("dead_letters_total", reason="id_reused") == 1


async def test_events_that_were_erased_still_order_later_ones(house: House, clock: VirtualClock) -> None:
    await house.take(hired(1, revision=5))
    await erased(house, clock, 100)

    await house.take(event("hr.agent.changed.v1", "late", agent_id="E1", name="Old Name", revision=4))

    assert house.types()[-2:] == ["command.stale", "plan.completed"]


async def test_work_after_erasing_finds_the_binding_and_nothing_left_to_do(house: House, clock: VirtualClock) -> None:
    await house.take(hired(1))
    await erased(house, clock, 100)

    await house.take(hired(1, event_id="again"))

    assert house.calls().count("CreateExtension") == 1
    (plan,) = house.ledger.durable.plans.values()
    assert plan.state is PlanState.COMPLETED


async def test_number_that_waits_for_its_approval_for_longer_than_anything_is_kept_stays(
    house: House, clock: VirtualClock
) -> None:
    await house.take(purchased(), topic="crm.events")
    await erased(house, clock, 1000)

    assert [plan.state for plan in house.ledger.durable.plans.values()] == [PlanState.OPEN]
    assert len(house.ledger.durable.events) == 1
    await house.take(approved(apply_id=4711), topic="crm.events")
    assert len(house.published("provisioning.plan.completed.v1")) == 1


async def test_approval_that_nobody_waited_for_ends_no_wait_of_long_after(house: House, clock: VirtualClock) -> None:
    await house.take(approved(), topic="crm.events")
    await erased(house, clock, 100)

    await house.take(purchased(), topic="crm.events")

    assert house.published("provisioning.plan.completed.v1") == []
    assert house.types()[-1] == "plan.waiting"


async def test_no_person_is_left_of_a_plan_that_was_erased_but_in_its_binding(
    house: House, clock: VirtualClock
) -> None:
    await house.take(hired(1), hired(2, revision="Ada"))  # the second one is a dead letter with its bytes
    assert "Ada" in str(house.ledger.durable)
    await erased(house, clock, 100)

    durable = house.ledger.durable
    left = [durable.events, durable.plans, durable.commands, durable.attempts, durable.history, durable.outbox]
    assert [*left, durable.dead_letters, durable.facts] == [{}, {}, {}, {}, [], {}, {}, {}]
