"""The spans of a batch of events while it is stored: each event carries its span's context into the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

from service.application.tracing import Span, Tracer
from service.domain.ledger_state import Changes
from service.domain.record_reading import InboundEvent, Understood
from service.domain.taking_in import ReadRecord

LOST: Final = "lost"


class TracedBatch:
    """A batch with a span `intake` for each event whose trace is recorded; `items` is what to store."""

    def __init__(self, batch: Sequence[ReadRecord], *, tracer: Tracer, now: float) -> None:
        """Begin the spans."""
        self._tracer = tracer
        self._spans: list[tuple[InboundEvent, Span]] = []
        self.items = [self._begun(item, now) for item in batch]

    def _begun(self, item: ReadRecord, now: float) -> ReadRecord:
        if not isinstance(item.reading, Understood):
            return item
        event = item.reading.event
        span = self._tracer.begin("intake", parent=event.traceparent, at=now)
        if span is None:
            return item
        self._spans.append((event, span))
        return ReadRecord(item.record, Understood(dataclasses.replace(event, traceparent=span.traceparent)))

    def lost(self, at: float) -> None:
        """Nobody knows whether it was stored; the batch is tried again."""
        for event, span in self._spans:
            span.end(at, topic=event.topic, partition=event.partition, outcome=LOST)

    def stored(self, changes: Changes, at: float) -> None:
        """End every span with what became of its event."""
        plans = {(plan.event_source, plan.event_id): plan for plan in changes.plans}
        taken = {_place(event.topic, event.partition, event.offset) for event in changes.events}
        refused = {_place(letter.topic, letter.partition, letter.offset) for letter in changes.dead_letters}
        for event, span in self._spans:
            place = _place(event.topic, event.partition, event.offset)
            plan = plans.get((event.source, event.id)) if place in taken else None
            untaken = "id_reused" if place in refused else "delivered_before"
            failed = None if plan is None or plan.failure is None else plan.failure.error_class.value
            span.end(
                at,
                topic=event.topic,
                partition=event.partition,
                outcome=untaken if place not in taken else "fact" if plan is None else failed or "planned",
                error_class=failed,
                plan_id=None if plan is None else plan.id,
                account=None if plan is None else plan.account,
            )


def _place(topic: str, partition: int, offset: int) -> tuple[str, int, int]:
    return topic, partition, offset
