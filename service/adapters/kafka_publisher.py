"""Messages to Kafka: idempotent producer, acknowledged by all replicas, rebuilt after an indefinite error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from service.adapters.kafka_connection import UNREACHED, KafkaConnection, trouble_of
from service.application.ports import PublishRefusedError, UnavailableError
from service.application.telemetry import Telemetry
from service.domain.ledger_state import OutboxMessage

DEADLINE_SECONDS: Final = 20.0
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 2.0  # without a broker aiokafka would wait until every batch has expired
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)


class KafkaPublisher:
    """One producer; what it was doing when it failed is unknown, so it is thrown away and made anew."""

    def __init__(self, *, connection: KafkaConnection, telemetry: Telemetry) -> None:
        """Nothing is opened yet; the first `publish` connects."""
        self._connection = connection
        self._telemetry = telemetry
        self._producer: AIOKafkaProducer | None = None
        self._password_keeping: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[str]:
        """Send in order; the ids that the broker acknowledged, up to the first it did not."""
        producer = await self._started()
        sent: list[tuple[str, asyncio.Future[Any]]] = []
        trouble = await self._send_all(producer, messages, sent)
        if sent:
            await asyncio.wait({acknowledgement for _, acknowledgement in sent}, timeout=DEADLINE_SECONDS)
        verdicts = [_verdict(acknowledgement) for _, acknowledgement in sent]
        done = [message_id for message_id, _ in sent[: _first_bad(verdicts)]]
        bad = verdicts[len(done)] if len(done) < len(sent) else None
        if bad is not None:
            trouble = await self._trouble(sent[len(done)][0], bad)
        if trouble is not None and not done:
            raise trouble
        return done

    async def _trouble(self, message_id: str, verdict: BaseException) -> Exception:
        """What a message that was not acknowledged means for it and for the producer."""
        if isinstance(verdict, TOO_LARGE):
            return PublishRefusedError(message_id, type(verdict).__name__)
        await self._throw_away(verdict)
        return UnavailableError("publisher", type(verdict).__name__)

    async def close(self) -> None:
        """Flush and disconnect; what a broker that is away does not take stays in the outbox."""
        await self._stop()

    async def _send_all(
        self, producer: AIOKafkaProducer, messages: Sequence[OutboxMessage], sent: list[tuple[str, asyncio.Future[Any]]]
    ) -> Exception | None:
        """Hand messages to the producer until one is refused; what refused it. All of them share one deadline."""
        give_up = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        for message in messages:
            try:
                async with asyncio.timeout_at(give_up):
                    acknowledgement = await producer.send(
                        message.topic, value=message.value, key=message.key, headers=list(message.headers)
                    )
            except TOO_LARGE as too_large:
                return PublishRefusedError(message.id, type(too_large).__name__)
            except (KafkaError, TimeoutError) as indefinite:
                await self._throw_away(indefinite)
                return UnavailableError("publisher", type(indefinite).__name__)
            sent.append((message.id, acknowledgement))
        return None

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(
                enable_idempotence=True,
                acks="all",
                linger_ms=2,
                max_request_size=MAX_REQUEST_BYTES,
                **self._connection.client_arguments("publisher", self._telemetry),
            )
            try:
                await asyncio.wait_for(producer.start(), START_SECONDS)
            except UNREACHED as trouble:
                await trouble_of(producer.stop(), within=STOP_SECONDS)
                raise await self._connection.unreachable("publisher", trouble, "on connecting") from trouble
            self._producer = producer
            self._password_keeping = asyncio.create_task(self._connection.keep_password(producer.client))
        return self._producer

    async def _throw_away(self, trouble: BaseException) -> None:
        """An indefinite error: the broker may have the messages or not; the same ids go out again."""
        self._telemetry.count("publish_failures_total", reason="indefinite")
        self._telemetry.count("producer_rebuilds_total")
        self._telemetry.log("warning", "the producer is rebuilt", reason=type(trouble).__name__)
        await self._stop()

    async def _stop(self) -> None:
        producer, self._producer = self._producer, None
        if self._password_keeping is not None:
            self._password_keeping.cancel()
        if producer is not None:
            trouble = await trouble_of(producer.stop(), within=STOP_SECONDS)
            if trouble is not None:
                self._telemetry.log("warning", "the producer did not stop in order", reason=type(trouble).__name__)


def _verdict(acknowledgement: asyncio.Future[Any]) -> BaseException | None:
    """What became of a message; a future that the client cancelled says as little as one that never ended."""
    if not acknowledgement.done():
        return TimeoutError()
    return KafkaError("cancelled inside the client") if acknowledgement.cancelled() else acknowledgement.exception()


def _first_bad(verdicts: Sequence[BaseException | None]) -> int:
    return next((nth for nth, verdict in enumerate(verdicts) if verdict is not None), len(verdicts))
