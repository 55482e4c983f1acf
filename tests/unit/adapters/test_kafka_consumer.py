"""What the group's member is opened with."""

from typing import Any

import pytest

from service.adapters import kafka_consumer
from service.adapters.kafka_connection import KafkaConnection
from service.adapters.kafka_consumer import KafkaEventSource
from tests.fakes.telemetry import RecordingTelemetry


class _OpenedError(Exception):
    """Raised instead of joining; carries what the client was opened with."""


async def opened_with(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> dict[str, Any]:
    def opened(**arguments: Any) -> None:
        raise _OpenedError(arguments)

    monkeypatch.setattr(kafka_consumer, "AIOKafkaConsumer", opened)
    connection = KafkaConnection(bootstrap_servers="127.0.0.1:9")
    source = KafkaEventSource(
        connection=connection, group_id="g", topics=["hr.events"], telemetry=RecordingTelemetry(), **settings
    )
    with pytest.raises(_OpenedError) as raised:
        await source.fetch()
    arguments: dict[str, Any] = raised.value.args[0]
    return arguments


async def test_a_member_bears_no_name_unless_it_is_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await opened_with(monkeypatch))["group_instance_id"] is None
    assert (await opened_with(monkeypatch, group_instance_id="pod-0"))["group_instance_id"] == "pod-0"


async def test_what_is_fetched_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = await opened_with(monkeypatch, max_poll_records=7, max_partition_fetch_bytes=9_000)
    assert (arguments["max_poll_records"], arguments["max_partition_fetch_bytes"]) == (7, 9_000)


@pytest.mark.parametrize(("session_ms", "heartbeat_ms"), [(1_500, 500), (9_000, 3_000), (30_000, 3_000)])
async def test_a_member_is_heard_thrice_in_a_session_however_short(
    monkeypatch: pytest.MonkeyPatch, session_ms: int, heartbeat_ms: int
) -> None:
    arguments = await opened_with(monkeypatch, session_timeout_ms=session_ms)
    assert (arguments["session_timeout_ms"], arguments["heartbeat_interval_ms"]) == (session_ms, heartbeat_ms)
