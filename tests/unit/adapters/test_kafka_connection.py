"""Why no broker is reached, in words; what brokers and aiokafka say of it is tried in integration."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiokafka.errors import KafkaConnectionError
from pydantic import SecretStr

from service.adapters import kafka_connection
from service.adapters.kafka_connection import KafkaConnection, RefusedError
from service.adapters.kafka_tls import TlsFiles
from service.adapters.kafka_tokens import NoTokenError
from tests.fakes.telemetry import RecordingTelemetry

PASSWORD = "FAKE-password"
WAY = KafkaConnection(
    bootstrap_servers="one:1,two:2",
    protocol="SASL_PLAINTEXT",
    mechanism="SCRAM-SHA-256",
    username="u",
    password=SecretStr(PASSWORD),
)
FAILED = KafkaConnectionError("no broker")


async def reason(monkeypatch: pytest.MonkeyPatch, *troubles: BaseException) -> Exception:
    """What is said when connecting to each broker in turn comes to this."""
    coming = iter(troubles)

    async def connect(*_: object, **__: object) -> None:
        raise next(coming)

    monkeypatch.setattr(kafka_connection, "create_conn", connect)
    return await WAY.unreachable("kafka", FAILED, "on joining")


async def test_who_does_not_prove_to_know_the_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await reason(monkeypatch, ValueError("Server sent wrong signature!"))
    assert isinstance(found, RefusedError)
    assert "does not show that it knows the password" in str(found)


async def test_the_first_broker_that_says_why_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await reason(monkeypatch, ConnectionRefusedError(), NoTokenError("the token endpoint answered 401"))
    assert not isinstance(found, RefusedError)
    assert str(found) == "kafka: two:2: the token endpoint answered 401"


async def test_brokers_that_are_away_leave_the_clients_own_word(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await reason(monkeypatch, socket.gaierror(-2, "name"), ConnectionRefusedError())
    assert str(found) == "kafka: KafkaConnectionError on joining"


async def test_brokers_that_never_answer_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(kafka_connection, "create_conn", never)
    monkeypatch.setattr(kafka_connection, "LOOK_SECONDS", 0.01)
    async with asyncio.timeout(5):
        assert str(await WAY.unreachable("kafka", FAILED)) == "kafka: KafkaConnectionError"


def test_files_for_tls_that_are_gone_are_told_without_a_traceback() -> None:
    way = KafkaConnection(bootstrap_servers="one:1", protocol="SSL", tls=TlsFiles(ca_file="/none"))
    with pytest.raises(RefusedError, match="kafka: the files for TLS can't be used: FileNotFoundError"):
        way.client_arguments("kafka", RecordingTelemetry())


def test_no_secret_is_shown() -> None:
    assert PASSWORD not in repr(WAY)
