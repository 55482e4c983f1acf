"""Intake: a batch is one transaction, and an offset is let go only when what it stands for is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from service.application.intake import MOST_FOREIGN_TYPES, Intake
from service.application.ports import UnavailableError
from service.application.rounds import Stopping
from service.domain.brake import BrakePolicy
from service.domain.ledger_state import Changes, Known
from service.domain.record_reading import Record, Understood
from service.domain.taking_in import IntakePolicy, ReadRecord, take_in
from tests.fakes.clock import VirtualClock
from tests.fakes.kafka import FakeEventSource
from tests.fakes.ledger import FakeLedger
from tests.fakes.telemetry import RecordingTelemetry
from tests.unit.application.events import POLICY, approved, event, hired, purchased

AWAY = UnavailableError("ledger", "disk full")


class Doings:
    """The ledger's moments in order, and trouble to meet there."""

    def __init__(self) -> None:
        self.moments: list[str] = []
        self.trouble: dict[str, list[Exception]] = {}

    async def step(self, moment: str) -> None:
        await asyncio.sleep(0)
        self.moments.append(moment)
        if self.trouble.get(moment):
            raise self.trouble[moment].pop(0)


@pytest.fixture
def doings() -> Doings:
    return Doings()


@pytest.fixture
def ledger(doings: Doings) -> FakeLedger:
    return FakeLedger(step=doings.step)


@pytest.fixture
def source(doings: Doings) -> FakeEventSource:
    def taken(records: Sequence[Record]) -> None:
        doings.moments.append(f"taken {len(records)}")

    return FakeEventSource(on_taken=taken)


@pytest.fixture
def intake(source: FakeEventSource, ledger: FakeLedger, clock: VirtualClock, telemetry: RecordingTelemetry) -> Intake:
    return Intake(source=source, ledger=ledger, clock=clock, telemetry=telemetry, policy=POLICY)


async def test_batch_is_stored_in_one_transaction_before_its_offsets_are_let_go(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, doings: Doings
) -> None:
    for number in range(1, 6):
        source.add(hired(number))
    assert await intake.run_once() == 5
    assert doings.moments == ["before transact", "after transact", "taken 5"]
    assert len(ledger.durable.plans) == 5
    assert len(ledger.durable.commands) == 10


@pytest.mark.parametrize("moment", ["before transact", "after transact"])
async def test_batch_that_could_not_be_stored_is_kept_and_tried_again(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, doings: Doings, moment: str
) -> None:
    source.batch = 1
    source.add(hired(1))
    source.add(hired(2))
    doings.trouble[moment] = [AWAY, AWAY]
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await intake.run_once()
        assert source.committed == []
    assert await intake.run_once() == 1
    assert source.fetches == 1
    assert [record.offset for record in source.committed] == [0]
    assert len(ledger.durable.plans) == 1


async def test_batch_that_met_a_passing_bug_is_stored_one_by_one(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, doings: Doings
) -> None:
    source.add(hired(1))
    source.add(hired(2))
    doings.trouble["before transact"] = [KeyError("x")]
    assert await intake.run_once() == 2
    assert len(ledger.durable.plans) == 2
    assert ledger.durable.outbox == {}


async def test_records_are_counted_once_however_often_their_batch_is_tried(
    intake: Intake, source: FakeEventSource, doings: Doings, telemetry: RecordingTelemetry
) -> None:
    source.add(hired(1))
    source.add(None)
    source.add(b"not json")
    doings.trouble["before transact"] = [AWAY, AWAY, AWAY]
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await intake.run_once()
    await intake.run_once()
    assert telemetry.counted("records_total") == 3
    assert telemetry.counted("records_ignored_total") == 1
    assert telemetry.counted("dead_letters_total") == 1


async def test_loop_stores_the_kept_batch_when_the_ledger_is_back(
    intake: Intake,
    source: FakeEventSource,
    ledger: FakeLedger,
    doings: Doings,
    clock: VirtualClock,
    telemetry: RecordingTelemetry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_source", _Fetching(source, clock))
    source.add(hired(1))
    doings.trouble["before transact"] = [AWAY] * 4
    stopping = Stopping()
    loop = asyncio.ensure_future(intake.run(stopping))
    await clock.advance(1.0)
    assert telemetry.parts["ledger"][0] is False
    await clock.until(lambda: bool(source.committed))
    assert telemetry.parts == {"kafka": (True, ""), "ledger": (True, "")}
    assert len(ledger.durable.plans) == 1
    stopping.ask()
    await clock.finish(loop)


class _Fetching:
    """The fake source with the short wait that a real one has when there is nothing."""

    def __init__(self, source: FakeEventSource, clock: VirtualClock) -> None:
        self._source, self._clock = source, clock

    async def fetch(self) -> Sequence[Record]:
        await self._clock.sleep(0.1)
        return await self._source.fetch()

    def taken(self, records: Sequence[Record]) -> None:
        self._source.taken(records)


async def test_broker_away_is_passed_on_and_nothing_is_lost(intake: Intake, source: FakeEventSource) -> None:
    source.add(hired(1))
    source.trouble = [UnavailableError("kafka", "no broker")]
    with pytest.raises(UnavailableError):
        await intake.run_once()
    assert await intake.run_once() == 1


async def test_foreign_and_empty_records_are_counted_and_their_offsets_let_go(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, doings: Doings, telemetry: RecordingTelemetry
) -> None:
    source.add(event("com.example.other.v1", "1"))
    source.add(None)
    assert await intake.run_once() == 2
    assert doings.moments == ["taken 2"]  # nothing to store: no transaction
    assert telemetry.counted("records_ignored_total", topic="hr.events", reason="foreign_type") == 1
    assert telemetry.counted("records_ignored_total", topic="hr.events", reason="empty") == 1
    assert telemetry.counted("records_ignored_total", type="com.example.other.v1") == 1
    assert ledger.durable.dead_letters == {}


async def test_types_that_senders_make_up_do_not_grow_the_metric_for_ever(
    intake: Intake, source: FakeEventSource, telemetry: RecordingTelemetry
) -> None:
    for number in range(MOST_FOREIGN_TYPES + 5):
        source.add(event(f"com.example.made.up.v{number}", str(number)))
    while await intake.run_once():
        pass
    assert telemetry.counted("records_ignored_total", type="other") == 5
    assert telemetry.counted("records_ignored_total") == MOST_FOREIGN_TYPES + 5


async def test_bad_record_is_a_dead_letter_and_its_neighbours_are_taken_in(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, telemetry: RecordingTelemetry
) -> None:
    source.add(hired(1))
    source.add(b"not json")
    source.add(hired(2))
    await intake.run_once()
    assert len(ledger.durable.plans) == 2
    (message,) = ledger.durable.outbox.values()
    assert (message.topic, message.value, message.key) == ("dlq.hr.events", b"not json", b"key")
    assert telemetry.counted("dead_letters_total", topic="hr.events", reason="not_json") == 1
    assert len(source.committed) == 3


async def test_log_line_of_a_dead_letter_repeats_nothing_of_the_record(
    intake: Intake, source: FakeEventSource, telemetry: RecordingTelemetry
) -> None:
    source.add(b"FAKE-private")
    await intake.run_once()
    assert telemetry.events("warning") == ["dead letter"]
    assert "private" not in str(telemetry.lines)


async def test_event_delivered_twice_makes_one_plan_and_is_counted(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, telemetry: RecordingTelemetry
) -> None:
    source.add(hired(1))
    source.add(hired(1))
    await intake.run_once()
    source.add(hired(1))
    await intake.run_once()
    assert len(ledger.durable.plans) == 1
    assert telemetry.counted("events_total", outcome="planned") == 1
    assert telemetry.counted("events_total", outcome="delivered_before") == 2
    assert len(source.committed) == 3


async def test_known_id_with_another_body_is_a_dead_letter_and_not_a_delivery(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, telemetry: RecordingTelemetry
) -> None:
    source.add(hired(1))
    source.add(hired(1, department="Other"))
    await intake.run_once()
    assert len(ledger.durable.plans) == 1
    assert telemetry.counted("dead_letters_total", reason="id_reused") == 1
    assert telemetry.counted("events_total", outcome="delivered_before") == 0


async def test_events_of_a_batch_see_what_those_before_reserved(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, telemetry: RecordingTelemetry
) -> None:
    source.add(hired(1, event_id="first"))
    source.add(event("hr.agent.hired.v1", "rival", agent_id="E2", name="Bo", extension="1001"))
    await intake.run_once()
    assert telemetry.counted("events_total", outcome="planned") == 1
    assert telemetry.counted("events_total", outcome="conflict") == 1
    (binding,) = ledger.durable.bindings.values()
    assert binding.subject == "agent:workday/E1"


async def test_fact_is_kept_and_counted_as_one(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, telemetry: RecordingTelemetry
) -> None:
    source.add(approved(), topic="crm.events")
    await intake.run_once()
    assert telemetry.counted("events_total", outcome="fact") == 1
    assert [fact.taken_by for fact in ledger.durable.facts.values()] == [None]


async def test_order_of_a_subject_is_the_order_of_arrival(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger
) -> None:
    source.add(purchased(event_id="one"), topic="crm.events")
    source.add(purchased(event_id="two"), topic="crm.events")
    await intake.run_once()
    plans = sorted(ledger.durable.plans.values(), key=lambda plan: plan.order.rank)
    assert [plan.event_id for plan in plans] == ["one", "two"]


async def test_empty_fetch_is_no_work(intake: Intake, doings: Doings) -> None:
    assert await intake.run_once() == 0
    assert "before transact" not in doings.moments


# --- the brake ----------------------------------------------------------------------------------------------------


def offsets(records: Sequence[Record], topic: str = "hr.events") -> list[int]:
    return [record.offset for record in records if record.topic == topic]


async def paused_intake(intake: Intake, source: FakeEventSource, bad: int = 100) -> None:
    """Let `bad` undecodable records come in one batch: the fiftieth pauses the topic."""
    source.batch = 500
    for _ in range(bad):
        source.add(b"not json")
    await intake.run_once()


async def test_sudden_bad_records_pause_their_topic_and_are_neither_stored_nor_let_go(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger, telemetry: RecordingTelemetry
) -> None:
    await paused_intake(intake, source)
    assert source.paused == {"hr.events"}
    assert offsets(source.committed) == list(range(49))
    assert offsets(source.records) == list(range(49, 100))
    assert len(ledger.durable.outbox) == 49
    assert telemetry.counted("dead_letters_total") == telemetry.counted("records_total") == 49
    assert telemetry.counted("topic_pauses_total", topic="hr.events") == 1
    assert telemetry.levels["topic_paused", (("topic", "hr.events"),)] == 1
    assert telemetry.parts["kafka"] == (True, "paused for too many bad records: hr.events")
    (line,) = [line for line in telemetry.lines if line.level == "error"]
    assert (line.fields["topic"], line.fields["bad"], line.fields["seen"]) == ("hr.events", 50, 50)
    assert "brake.share" in str(line.fields["what_to_do"])


async def test_other_topics_go_on_while_one_is_paused(
    intake: Intake, source: FakeEventSource, ledger: FakeLedger
) -> None:
    source.batch = 500
    for _ in range(60):
        source.add(b"not json")
        source.add(hired(1), topic="crm.events")
    await intake.run_once()
    source.add(hired(2), topic="crm.events")
    source.add(hired(3))
    await intake.run_once()
    assert offsets(source.committed, "crm.events") == list(range(61))
    assert offsets(source.committed) == list(range(49))
    assert len(ledger.durable.plans) == 2


async def test_records_of_a_paused_topic_that_still_come_are_given_back(
    intake: Intake, source: FakeEventSource
) -> None:
    await paused_intake(intake, source)
    source.paused.clear()  # as between an assignment and its listener
    source.add(event("com.example.other.v1", "1"))
    assert await intake.run_once() == 0
    assert offsets(source.records) == list(range(49, 101))
    assert offsets(source.committed) == list(range(49))


async def test_two_percent_bad_of_a_thousand_pause_nothing(
    intake: Intake, source: FakeEventSource, telemetry: RecordingTelemetry
) -> None:
    for number in range(1000):
        source.add(b"not json" if number % 50 == 17 else hired(number))
    while source.records:
        await intake.run_once()
    assert len(source.committed) == 1000
    assert telemetry.counted("topic_pauses_total") == 0
    assert telemetry.counted("dead_letters_total") == 20


async def test_foreign_and_empty_records_neither_pause_a_topic_nor_excuse_it(
    intake: Intake, source: FakeEventSource
) -> None:
    source.batch = 2000
    for number in range(49):
        source.add(b"not json")
        for other in range(9):
            source.add(event("com.example.other.v1", f"{number}-{other}"))
            source.add(None)
    await intake.run_once()
    assert source.paused == set()
    source.add(b"not json")
    await intake.run_once()
    assert source.paused == {"hr.events"}


async def test_paused_topic_is_tried_again_and_goes_on_when_it_reads_well(
    intake: Intake, source: FakeEventSource, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    await paused_intake(intake, source, bad=50)
    source.records = []  # whoever wrote the bad one has mended it
    for number in range(30):
        source.add(hired(number))
    await clock.advance(59.0)
    assert await intake.run_once() == 0
    await clock.advance(1.0)
    assert await intake.run_once() == 30
    assert source.paused == set()
    assert telemetry.levels["topic_paused", (("topic", "hr.events"),)] == 0
    await intake.run_once()
    assert telemetry.parts["kafka"] == (True, "")


async def test_paused_topic_that_still_reads_badly_pauses_again_after_a_few_records(
    intake: Intake, source: FakeEventSource, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    await paused_intake(intake, source)
    for probes in range(1, 4):
        await clock.advance(60.0)
        assert await intake.run_once() == 3
        assert telemetry.counted("topic_pauses_total") == 1 + probes
        assert telemetry.levels["topic_paused", (("topic", "hr.events"),)] == 1
        assert await intake.run_once() == 0
    assert offsets(source.committed) == list(range(49 + 9))


async def test_ids_that_are_used_again_and_again_pause_the_topic_too(intake: Intake, source: FakeEventSource) -> None:
    source.batch = 100
    for number in range(300):
        source.add(hired(number, event_id="always the same"))
    await intake.run_once()
    await intake.run_once()
    assert source.paused == {"hr.events"}
    assert len(source.committed) < 200


async def test_batch_that_is_tried_again_is_judged_once(
    intake: Intake, source: FakeEventSource, doings: Doings
) -> None:
    for _ in range(30):
        source.add(b"not json")
    doings.trouble["before transact"] = [AWAY] * 5
    for _ in range(5):
        with pytest.raises(UnavailableError):
            await intake.run_once()
    await intake.run_once()
    assert source.paused == set()
    assert len(source.committed) == 30


async def test_share_of_one_lets_everything_go_to_the_dead_letter_topic(
    source: FakeEventSource, ledger: FakeLedger, clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    brake = BrakePolicy(share=1.0)
    intake = Intake(source=source, ledger=ledger, clock=clock, telemetry=telemetry, policy=POLICY, brake=brake)
    await paused_intake(intake, source)
    assert len(source.committed) == 100


# ---------------------------------------------------------------------- faults of ours


async def test_record_that_meets_a_fault_of_ours_is_kept_aside_and_the_others_go_on(
    intake: Intake,
    ledger: FakeLedger,
    source: FakeEventSource,
    telemetry: RecordingTelemetry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def faulty(known: Known, batch: Sequence[ReadRecord], policy: IntakePolicy, now: float) -> Changes:
        if any(isinstance(i.reading, Understood) and i.reading.event.id == "hire-2" for i in batch):
            raise KeyError("a bug")
        return take_in(known, batch, policy, now)

    monkeypatch.setattr("service.application.intake.take_in", faulty)
    for number in (1, 2, 3):
        source.add(hired(number))
    assert await intake.run_once() == 3
    assert {plan.event_id for plan in ledger.durable.plans.values()} == {"hire-1", "hire-3"}
    (letter,) = [m for m in ledger.durable.outbox.values() if m.topic == "dlq.hr.events"]
    assert dict(letter.headers)["cordboard_class"] == b"not_taken_in"
    assert letter.value is not None
    assert b"hire-2" in letter.value, "byte for byte"
    assert telemetry.counted("dead_letters_total", topic="hr.events", reason="not_taken_in") == 1
    assert len(source.committed) == 3


async def test_ledger_that_is_away_is_no_fault_of_a_record(
    intake: Intake, ledger: FakeLedger, source: FakeEventSource, doings: Doings
) -> None:
    source.add(hired(1))
    doings.trouble["before transact"] = [AWAY]
    with pytest.raises(UnavailableError):
        await intake.run_once()
    assert await intake.run_once() == 1
    assert ledger.durable.outbox == {}
