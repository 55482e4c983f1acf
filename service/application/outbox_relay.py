"""Outbox relay: what the ledger says must be told goes to Kafka, in order, until the broker has acknowledged it.

Walk: ledger → *outbox relay* → Kafka. Called by the worker; promises that nothing is marked published before
the broker's acknowledgement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.application.ports import Clock, Ledger, Publisher, PublishRefusedError
from service.application.rounds import Stopping, keep_going
from service.application.telemetry import Telemetry
from service.domain.announcements import without_value
from service.domain.ledger_state import OutboxMessage

BATCH: Final = 500


class OutboxRelay:
    """Publishes the outbox, oldest first."""

    def __init__(self, *, ledger: Ledger, publisher: Publisher, clock: Clock, telemetry: Telemetry) -> None:
        """Everything it needs, as ports."""
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock
        self._telemetry = telemetry
        self._changed = ledger.subscribe("outbox")
        self._refused: set[str] = set()

    async def run(self, stopping: Stopping) -> None:
        """Publish until asked to stop."""
        await keep_going(
            self._round, name="outbox_relay", stopping=stopping, clock=self._clock, telemetry=self._telemetry
        )

    async def run_once(self) -> int:
        """Publish one batch; how many messages the broker acknowledged."""
        messages = await self._ledger.unpublished(BATCH)
        self._telemetry.level("outbox_pending", len(messages))
        if not messages:
            return 0
        acknowledged = await self._publish(messages)
        if acknowledged:
            await self._ledger.mark_published(acknowledged, self._clock.now())
        self._tell(messages, set(acknowledged))
        return len(acknowledged)

    async def _round(self) -> None:
        if await self.run_once() == 0:
            await self._changed()

    async def _publish(self, messages: Sequence[OutboxMessage]) -> Sequence[str]:
        fitted = [without_value(m) if m.id in self._refused else m for m in messages]
        try:
            acknowledged = await self._publisher.publish(fitted)
        except PublishRefusedError as refused:
            self._refused.add(refused.message_id)
            self._telemetry.count("publish_failures_total", reason="refused")
            self._telemetry.log("error", "the broker refuses a message", message_id=refused.message_id)
            return ()
        self._telemetry.health("publisher", ready=True)
        self._refused.difference_update(acknowledged)
        return acknowledged

    def _tell(self, messages: Sequence[OutboxMessage], acknowledged: set[str]) -> None:
        for message in messages:
            if message.id in acknowledged:
                self._telemetry.count("messages_published_total", topic=message.topic)
