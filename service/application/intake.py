"""Intake: records become events, plans and dead letters in the ledger; offsets follow behind.

Walk: Kafka → *intake* → ledger. Called by the worker; promises that an offset is let go only when what it
stands for is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from contracts.dead_letter import DeadLetterReason
from service.application.ends import count_ends
from service.application.intake_tracing import TracedBatch
from service.application.ports import Clock, EventSource, Ledger, UnavailableError
from service.application.rounds import UNWATCHED, Pulse, Stopping, keep_going
from service.application.telemetry import Telemetry
from service.application.topic_brakes import TopicBrakes
from service.application.tracing import Tracer, trace_id_of
from service.domain.brake import DEFAULT_BRAKE, BrakePolicy
from service.domain.ledger_state import Changes
from service.domain.record_reading import Defect, Ignored, Reading, Record, Understood, read_record
from service.domain.taking_in import IntakePolicy, ReadRecord, keys_of, take_in

MOST_FOREIGN_TYPES: Final = 100
NOT_TAKEN_IN: Final = Defect(
    reason=DeadLetterReason.NOT_TAKEN_IN, field=None, message="a fault inside Cordboard; the record may be good"
)


class Intake:
    """Drains Kafka into the ledger, a batch a transaction."""

    def __init__(
        self,
        *,
        source: EventSource,
        ledger: Ledger,
        clock: Clock,
        telemetry: Telemetry,
        policy: IntakePolicy,
        brake: BrakePolicy = DEFAULT_BRAKE,
        tracer: Tracer | None = None,
    ) -> None:
        """Everything it needs, as ports; without a tracer there are no traces."""
        self._tracer = tracer
        self._source = source
        self._ledger = ledger
        self._clock = clock
        self._telemetry = telemetry
        self._policy = policy
        self._brakes = TopicBrakes(source=source, clock=clock, telemetry=telemetry, policy=brake)
        self._fetched: Sequence[Record] = ()
        self._held: Sequence[tuple[Record, Reading]] = ()
        self._foreign_types: set[str] = set()

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Take in until asked to stop."""
        await keep_going(
            self.run_once,
            name="intake",
            stopping=stopping,
            clock=self._clock,
            telemetry=self._telemetry,
            pulse=pulse,
        )

    async def run_once(self) -> int:
        """Take in one batch; how many records it had. A batch that could not be stored is kept for the next call."""
        if not self._held:
            await self._fetch()
        readings = self._held
        batch = [ReadRecord(record, reading) for record, reading in readings if not isinstance(reading, Ignored)]
        if batch:
            await self._store(batch)
        if readings:
            self._source.taken([record for record, _ in readings])
        self._held = ()
        self._count(readings)
        return len(readings)

    async def _fetch(self) -> None:
        """Hold the next records that their topics' brakes let pass."""
        self._brakes.resume_due()
        if not self._fetched:
            self._fetched = await self._source.fetch()
        most = self._policy.max_event_bytes
        readings = [(record, read_record(record, max_event_bytes=most)) for record in self._fetched]
        self._held = self._brakes.admit(readings)
        self._fetched = ()
        self._telemetry.health("kafka", ready=True, detail=self._brakes.detail())

    def _count(self, readings: Sequence[tuple[Record, Reading]]) -> None:
        """Count records once they are taken, however often their batch was tried."""
        for record, reading in readings:
            self._telemetry.count("records_total", topic=record.topic)
            if isinstance(reading, Ignored):
                self._ignore(record, reading)

    def _ignore(self, record: Record, ignored: Ignored) -> None:
        label = self._type_label(ignored.type_label)
        self._telemetry.count("records_ignored_total", topic=record.topic, reason=ignored.reason, type=label)
        self._telemetry.log(
            "debug",
            "record ignored",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=ignored.reason,
            type=ignored.type_label,
        )

    def _type_label(self, label: str) -> str:
        """The type to count by: the first so many that this process meets, the rest together; senders make them up."""
        if label in self._foreign_types or len(self._foreign_types) < MOST_FOREIGN_TYPES:
            self._foreign_types.add(label)
            return label
        return "other"

    async def _store(self, batch: Sequence[ReadRecord]) -> None:
        """Store a batch. If a record in it meets a fault of ours, the others are stored without it, and it is kept."""
        try:
            await self._store_together(batch)
        except UnavailableError:
            raise
        except Exception as bug:  # noqa: BLE001 - one record must not stop its topic; it is logged and kept
            self._telemetry.count("loop_failures_total", loop="intake", part="bug")
            self._telemetry.log("error", "a batch met a fault of ours", records=len(batch), exc_info=bug)
            for item in batch:
                await self._store_alone(item)

    async def _store_alone(self, item: ReadRecord) -> None:
        try:
            await self._store_together([item])
        except UnavailableError:
            raise
        except Exception as bug:  # noqa: BLE001 - as above: the guilty one becomes a dead letter
            self._telemetry.log(
                "error",
                "a record can't be taken in for a fault of ours",
                topic=item.record.topic,
                partition=item.record.partition,
                offset=item.record.offset,
                exc_info=bug,
            )
            await self._store_together([ReadRecord(item.record, NOT_TAKEN_IN)])

    async def _store_together(self, batch: Sequence[ReadRecord]) -> None:
        now = self._clock.now()
        begun = self._clock.monotonic()
        store = self._transact if self._tracer is None else partial(self._traced, tracer=self._tracer)
        changes = await store(batch, now)
        self._telemetry.health("ledger", ready=True)
        self._telemetry.observe("intake_batch_seconds", self._clock.monotonic() - begun)
        count_ends(self._telemetry, changes, objective=self._policy.settling.hired_to_ready_seconds)
        self._brakes.found_bad(letter.topic for letter in changes.dead_letters if letter.reason == "id_reused")
        self._tell(batch, changes)

    async def _transact(self, batch: Sequence[ReadRecord], now: float) -> Changes:
        return await self._ledger.transact(
            keys_of(batch, self._policy), lambda known: take_in(known, batch, self._policy, now)
        )

    async def _traced(self, batch: Sequence[ReadRecord], now: float, tracer: Tracer) -> Changes:
        """The same, a span around each event, whose context is stored with its plan."""
        traced = TracedBatch(batch, tracer=tracer, now=now)
        try:
            changes = await self._transact(traced.items, now)
        except BaseException:
            traced.lost(self._clock.now())
            raise
        traced.stored(changes, self._clock.now())
        return changes

    def _tell(self, batch: Sequence[ReadRecord], changes: Changes) -> None:
        for letter in changes.dead_letters:
            self._telemetry.count("dead_letters_total", topic=letter.topic, reason=letter.reason)
            self._telemetry.log(
                "warning",
                "dead letter",
                topic=letter.topic,
                partition=letter.partition,
                offset=letter.offset,
                reason=letter.reason,
                field=letter.field,
                message=letter.message,
            )
        plans = {(plan.event_source, plan.event_id): plan for plan in changes.plans}
        written = {(i.record.topic, i.record.partition, i.record.offset): i.record.timestamp_ms for i in batch}
        for event in changes.events:
            lag = event.received_at - written[event.topic, event.partition, event.offset] / 1000
            self._telemetry.observe("stage_seconds", max(0.0, lag), operation="planning", stage="intake")
            plan = plans.get((event.source, event.id))
            outcome = "fact" if plan is None else "planned" if plan.failure is None else plan.failure.error_class.value
            self._telemetry.count("events_total", type=event.type, outcome=outcome)
            self._telemetry.log(
                "info",
                "event taken in",
                event_id=event.id,
                event_source=event.source,
                type=event.type,
                topic=event.topic,
                partition=event.partition,
                offset=event.offset,
                trace_id=None if plan is None else trace_id_of(plan.traceparent),
                plan_id=None if plan is None else plan.id,
                outcome=outcome,
            )
        known = sum(isinstance(item.reading, Understood) for item in batch) - len(changes.events)
        repeated = known - sum(letter.reason == "id_reused" for letter in changes.dead_letters)
        if repeated > 0:
            self._telemetry.count("events_total", repeated, type="any", outcome="delivered_before")
