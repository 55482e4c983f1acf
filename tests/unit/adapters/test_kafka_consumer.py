"""What the group's member is opened with."""

from typing import Any

import pytest

from service.adapters import kafka_consumer
from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from tests.fakes.telemetry import RecordingTelemetry


class _OpenedError(Exception):
    """Raised instead of joining; carries what the client was opened with."""


@pytest.mark.parametrize(("session_ms", "heartbeat_ms"), [(1_500, 500), (9_000, 3_000), (30_000, 3_000)])
async def test_a_member_is_heard_thrice_in_a_session_however_short(
    monkeypatch: pytest.MonkeyPatch, session_ms: int, heartbeat_ms: int
) -> None:
    def opened(**arguments: Any) -> None:
        raise _OpenedError(arguments)

    monkeypatch.setattr(kafka_consumer, "AIOKafkaConsumer", opened)
    source = KafkaEventSource(
        connection=KafkaConnection(bootstrap_servers="127.0.0.1:9"),
        group_id="g",
        topics=["hr.events"],
        telemetry=RecordingTelemetry(),
        session_timeout_ms=session_ms,
    )
    with pytest.raises(_OpenedError) as raised:
        await source.fetch()
    arguments = raised.value.args[0]
    assert (arguments["session_timeout_ms"], arguments["heartbeat_interval_ms"]) == (session_ms, heartbeat_ms)
