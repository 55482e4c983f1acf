"""Outbox relay: what the ledger says must be told goes to Kafka, in order, until the broker has acknowledged it.

Walk: ledger → *outbox relay* → Kafka. Called by the worker; promises that nothing is marked published before
the broker's acknowledgement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

from service.application.ports import Clock, Ledger, Publisher, PublishRefusedError
from service.application.rounds import UNWATCHED, Pulse, Stopping, keep_going, rest
from service.application.telemetry import Telemetry
from service.application.tracing import Span, Tracer
from service.domain.announcements import bare, retraced, trace_of, without_value
from service.domain.ledger_state import OutboxMessage

BATCH: Final = 500
MOST_REST_SECONDS: Final = 0.05  # between two batches
FITTINGS: Final = (without_value, bare)
"""What a message that is refused as too large is made into, one refusal after another."""


class OutboxRelay:
    """Publishes the outbox, oldest first."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        publisher: Publisher,
        clock: Clock,
        telemetry: Telemetry,
        tracer: Tracer | None = None,
    ) -> None:
        """Everything it needs, as ports; without a tracer there are no traces."""
        self._tracer = tracer
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock
        self._telemetry = telemetry
        self._changed = ledger.subscribe("outbox")
        self._refused: Counter[str] = Counter()

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Publish until asked to stop."""
        await keep_going(
            self._round,
            name="outbox_relay",
            stopping=stopping,
            clock=self._clock,
            telemetry=self._telemetry,
            pulse=pulse,
        )

    async def run_once(self) -> int:
        """Publish one batch; how many messages the broker acknowledged."""
        messages = await self._ledger.unpublished(BATCH)
        self._telemetry.level("outbox_pending", len(messages))
        age = self._clock.now() - messages[0].created_at if messages else 0.0
        self._telemetry.level("outbox_oldest_seconds", max(0.0, age))
        if not messages:
            return 0
        acknowledged = [*await self._publish(messages), *self._hopeless(messages)]
        if acknowledged:
            await self._ledger.mark_published(acknowledged, self._clock.now())
        self._tell(messages, set(acknowledged))
        return len(acknowledged)

    async def _round(self) -> None:
        begun = self._clock.monotonic()
        if await self.run_once() == 0:
            await self._changed()
        else:
            await rest(begun, most=MOST_REST_SECONDS, clock=self._clock)

    async def _publish(self, messages: Sequence[OutboxMessage]) -> Sequence[str]:
        fitted = [_fitted(m, self._refused[m.id]) for m in messages if self._refused[m.id] <= len(FITTINGS)]
        try:
            publish = self._publisher.publish if self._tracer is None else partial(self._traced, tracer=self._tracer)
            acknowledged = await publish(fitted)
        except PublishRefusedError as refused:
            self._refused[refused.message_id] += 1
            self._telemetry.count("publish_failures_total", reason="refused")
            self._telemetry.log("error", "the broker refuses a message", message_id=refused.message_id)
            return ()
        self._telemetry.health("publisher", ready=True)
        for message_id in acknowledged:
            self._refused.pop(message_id, None)
        return acknowledged

    async def _traced(self, messages: Sequence[OutboxMessage], tracer: Tracer) -> Sequence[str]:
        """Publish, a span around each result event, which carries its context; tried again, it is another span."""
        now, spans, acknowledged = self._clock.now(), dict[str, tuple[str, Span]](), set[str]()
        told = [_spanned(message, tracer, now, spans) for message in messages]
        try:
            sent = await self._publisher.publish(told)
            acknowledged.update(sent)
            return sent
        finally:
            ended = self._clock.now()
            for message_id, (topic, span) in spans.items():
                outcome = "acknowledged" if message_id in acknowledged else "lost"
                span.end(ended, topic=topic, outcome=outcome)

    def _hopeless(self, messages: Sequence[OutboxMessage]) -> list[str]:
        """What the broker refuses in every form is let go, loudly: it must not hold up all that comes after it."""
        hopeless = [m.id for m in messages if self._refused[m.id] > len(FITTINGS)]
        for message_id in hopeless:
            self._telemetry.count("publish_failures_total", reason="given_up")
            self._telemetry.log("error", "a message that no broker takes is given up", message_id=message_id)
            del self._refused[message_id]
        return hopeless

    def _tell(self, messages: Sequence[OutboxMessage], acknowledged: set[str]) -> None:
        for message in messages:
            if message.id in acknowledged:
                self._telemetry.count("messages_published_total", topic=message.topic)


def _spanned(message: OutboxMessage, tracer: Tracer, now: float, spans: dict[str, tuple[str, Span]]) -> OutboxMessage:
    """The message as its span's own; as it is where its trace is not recorded."""
    parent = trace_of(message)
    span = None if parent is None else tracer.begin("publish", parent=parent, at=now)
    if span is None:
        return message
    spans[message.id] = (message.topic, span)
    return retraced(message, span.traceparent)


def _fitted(message: OutboxMessage, refusals: int) -> OutboxMessage:
    return message if refusals == 0 else FITTINGS[refusals - 1](message)
