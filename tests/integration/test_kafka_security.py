"""Every way to speak to a Kafka that asks who comes, and what is said when it, or we, refuse."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from service.adapters.kafka_connection import KafkaConnection, Mechanism, RefusedError
from service.adapters.kafka_publisher import KafkaPublisher
from service.adapters.kafka_tls import RenewedContext, TlsFiles
from service.adapters.kafka_tokens import ClientCredentials, FetchedTokens, GivenTokens
from service.adapters.kafka_topics import KafkaTopicTimes, look_at_cluster
from service.application.ports import UnavailableError
from service.domain.ledger_state import OutboxMessage
from service.vendors.file_secret import FileSecret
from tests.authority import USER, Authority
from tests.fakes.telemetry import RecordingTelemetry
from tests.kafka.broker import KafkaBroker
from tests.kafka.security import PASSWORD, secure_kafka, set_scram_password
from tests.kafka.topics import TopicMaker

WRONG = "FAKE-wrong-password-9876543210"
DEADLINE = 5.0
PASSWORDS: list[Mechanism] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def broker(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with secure_kafka(tmp_path_factory.mktemp("kafka"), authority) as running:
        yield running


@pytest.fixture(autouse=True)
async def _lines_are_closed() -> AsyncIterator[None]:
    """aiokafka closes a line that came to nothing and does not wait until it is closed: the loop has to."""
    yield
    loop: Any = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE):
        while len(loop._selector.get_map()) > 1:  # noqa: ASYNC110 - one is the loop's own; nobody tells the others' end
            await asyncio.sleep(0.01)


@pytest.fixture
def way(broker: KafkaBroker, authority: Authority) -> KafkaConnection:
    """SASL_SSL with SCRAM-SHA-256, as it should be."""
    return KafkaConnection(
        bootstrap_servers=broker.address("SASL"),
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-256",
        username=USER,
        password=SecretStr(PASSWORD),
        tls=TlsFiles(ca_file=str(authority.ca_file)),
    )


def by_token(way: KafkaConnection, token: str) -> KafkaConnection:
    return replace(way, mechanism="OAUTHBEARER", username=None, password=None, tokens=GivenTokens(SecretStr(token)))


async def refused(way: KafkaConnection) -> str:
    """What is told of a connection that comes to nothing; by each of the clients the same."""
    with pytest.raises(RefusedError) as raised:
        await look_at_cluster(way)
    publisher = KafkaPublisher(connection=way, telemetry=RecordingTelemetry())
    with pytest.raises(RefusedError) as again:
        await publisher.publish([])
    assert str(raised.value).removeprefix("kafka") == str(again.value).removeprefix("publisher")
    assert WRONG not in str(raised.value)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("mechanism", PASSWORDS)
@pytest.mark.parametrize(("listener", "protocol"), [("SASL", "SASL_SSL"), ("CLEAR", "SASL_PLAINTEXT")])
async def test_a_password_lets_us_in(
    broker: KafkaBroker, way: KafkaConnection, mechanism: Mechanism, listener: str, protocol: Any
) -> None:
    way = replace(way, bootstrap_servers=broker.address(listener), protocol=protocol, mechanism=mechanism)
    assert (await look_at_cluster(way)).brokers == 1


async def test_a_token_lets_us_in(way: KafkaConnection, authority: Authority) -> None:
    way = by_token(way, authority.token())
    assert (await look_at_cluster(way)).brokers == 1
    assert await KafkaTopicTimes(connection=way, topics=["none"]).keeping()


async def test_a_client_certificate_lets_us_in_and_none_does_not(
    broker: KafkaBroker, way: KafkaConnection, authority: Authority
) -> None:
    cert, key = authority.certificate("client", "cordboard.example")
    nobody = replace(way, bootstrap_servers=broker.address("MUTUAL"), protocol="SSL")
    known = replace(nobody, tls=replace(nobody.tls, cert_file=str(cert), key_file=str(key)))
    assert (await look_at_cluster(known)).brokers == 1
    assert "or that we show none" in await refused(nobody)


@pytest.mark.parametrize("mechanism", PASSWORDS)
async def test_a_wrong_password_is_told(way: KafkaConnection, mechanism: Mechanism) -> None:
    told = await refused(replace(way, mechanism=mechanism, password=SecretStr(WRONG)))
    assert f"the broker refuses user or password (SASL {mechanism})" in told


@pytest.mark.parametrize(
    "token",
    [{"seconds": -60}, {"aud": "another"}, {"iss": "x"}, None],
    ids=["expired", "for another audience", "signed by somebody else", "no token at all"],
)
async def test_a_wrong_token_is_told(
    way: KafkaConnection, authority: Authority, tmp_path: Path, token: dict[str, Any] | None
) -> None:
    signer = Authority(tmp_path) if token == {"iss": "x"} else authority
    way = by_token(way, "FAKE-token" if token is None else signer.token(**token))
    assert "the broker refuses the token (SASL OAUTHBEARER)" in await refused(way)


async def test_a_mechanism_that_is_not_offered_is_told(broker: KafkaBroker, way: KafkaConnection) -> None:
    told = await refused(replace(way, bootstrap_servers=broker.address("TOKENS"), mechanism="PLAIN"))
    assert "the broker does not offer SASL PLAIN here" in told


async def test_a_broker_whose_certificate_nobody_here_signed_is_told_nothing(
    way: KafkaConnection, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    told = await refused(replace(way, tls=TlsFiles(ca_file=str(other.ca_file))))
    assert "certificate does not verify: unable to get local issuer certificate" in told
    assert "certificate does not verify" in await refused(replace(way, tls=TlsFiles()))


async def test_a_broker_that_shows_another_hosts_certificate_is_told_nothing(
    broker: KafkaBroker, way: KafkaConnection
) -> None:
    told = await refused(replace(way, bootstrap_servers=broker.address("SASL", host="localhost")))
    assert "not valid for 'localhost'" in told


async def test_a_listener_that_speaks_another_protocol_is_told(broker: KafkaBroker, way: KafkaConnection) -> None:
    for other in (KafkaConnection(bootstrap_servers=broker.address("SASL")), way):
        listener = broker.bootstrap_servers if other is way else broker.address("SASL")
        with pytest.raises(UnavailableError, match=f"or its listener does not speak {other.protocol}") as raised:
            await look_at_cluster(replace(other, bootstrap_servers=listener))
        assert not isinstance(raised.value, RefusedError), "a broker that stops looks the same"


async def test_a_token_endpoint_that_is_away_is_told(way: KafkaConnection) -> None:
    nowhere = ClientCredentials(url="http://127.0.0.1:1/", client_id="c", client_secret=SecretStr(WRONG))
    way = replace(way, mechanism="OAUTHBEARER", tokens=FetchedTokens(nowhere, lambda _: None))
    with pytest.raises(UnavailableError, match="the token endpoint gave no answer") as raised:
        await look_at_cluster(way)
    assert not isinstance(raised.value, RefusedError)


# --- `cordboard check` ------------------------------------------------------------------------------------------------


async def check(folder: Path, kafka: dict[str, Any], code: int, **environ: str) -> str:
    config = folder / "cordboard.yaml"
    config.write_text(yaml.safe_dump({"kafka": kafka, "ledger": f"sqlite:///{folder}/ledger.db"}))
    checking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "check", "--config", str(config), "--output", "json"),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await checking.communicate())[0].decode()
    assert checking.returncode == code, output
    assert WRONG not in output
    assert PASSWORD not in output
    return output


async def test_check_tells_a_wrong_password_and_what_is_not_trusted(
    broker: KafkaBroker, authority: Authority, tmp_path: Path
) -> None:
    security = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": USER, "ca_file": str(authority.ca_file)}
    kafka = {"bootstrap_servers": broker.address("SASL"), "security": security}
    variable = "CORDBOARD_KAFKA__SECURITY__PASSWORD"
    assert "refuses user or password" in await check(tmp_path, kafka, 1, **{variable: WRONG})
    untrusted = kafka | {"security": {k: v for k, v in security.items() if k != "ca_file"}}
    assert "does not verify" in await check(tmp_path, untrusted, 1, **{variable: PASSWORD})
    elsewhere = kafka | {"bootstrap_servers": broker.address("SASL", host="localhost")}
    assert "not valid for 'localhost'" in await check(tmp_path, elsewhere, 1, **{variable: PASSWORD})
    right = await check(tmp_path, kafka, 1, **{variable: PASSWORD})
    assert "missing: hr.events" in right, "let in; the topics are another matter"


# --- rotated while running --------------------------------------------------------------------------------------------


@pytest.fixture
async def publisher(broker: KafkaBroker) -> AsyncIterator[Any]:
    opened: list[KafkaPublisher] = []

    def make(way: KafkaConnection) -> tuple[KafkaPublisher, RecordingTelemetry]:
        telemetry = RecordingTelemetry()
        short = replace(way, bootstrap_servers=broker.address("SHORT"))
        opened.append(KafkaPublisher(connection=short, telemetry=telemetry))
        return opened[-1], telemetry

    yield make
    for each in opened:
        await each.close()


def message(topic: str, number: int) -> OutboxMessage:
    return OutboxMessage(
        id=f"msg_{number}", topic=topic, key=b"k", value=b"v", headers=(), order_by="k", created_at=0.0
    )


async def publish_for(seconds: float, publisher: KafkaPublisher, topic: str) -> int:
    """One message each tenth of a second; each of them acknowledged within seconds."""
    clock = asyncio.get_running_loop().time
    until, sent = clock() + seconds, 0
    while clock() < until:
        async with asyncio.timeout(DEADLINE):
            assert len(await publisher.publish([message(topic, sent)])) == 1
        sent += 1
        await asyncio.sleep(0.1)
    return sent


async def test_a_password_that_was_rotated_is_shown_by_the_next_connection(
    broker: KafkaBroker, way: KafkaConnection, publisher: Any, tmp_path: Path
) -> None:
    topic = await TopicMaker(broker.bootstrap_servers)()
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    way = replace(way, mechanism="SCRAM-SHA-512", password=FileSecret(file))
    running, telemetry = publisher(way)
    await publish_for(0.5, running, topic)
    await asyncio.to_thread(set_scram_password, broker, "FAKE-next-password-0123456789")
    try:
        file.write_text("FAKE-next-password-0123456789")
        await publish_for(7, running, topic)  # the broker ends the connection after five
        assert telemetry.counted("producer_rebuilds_total") == 0
    finally:
        await asyncio.to_thread(set_scram_password, broker, PASSWORD)


async def test_a_token_that_was_renewed_is_shown_by_the_next_connection(
    broker: KafkaBroker, way: KafkaConnection, authority: Authority, publisher: Any, tmp_path: Path
) -> None:
    topic = await TopicMaker(broker.bootstrap_servers)()
    file = tmp_path / "token"
    file.write_text(authority.token(seconds=4))
    way = replace(way, mechanism="OAUTHBEARER", tokens=GivenTokens(FileSecret(file)))
    running, telemetry = publisher(way)
    await publish_for(1.5, running, topic)
    file.write_text(authority.token(seconds=60))
    await publish_for(6, running, topic)
    assert telemetry.counted("producer_rebuilds_total") == 0


async def test_a_certificate_that_was_renewed_is_shown_by_the_next_connection(
    authority: Authority, tmp_path: Path
) -> None:
    shown: list[str] = []
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.load_cert_chain(*authority.certificate("server", "127.0.0.1"))

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert")["serialNumber"])
        writer.close()

    cert, key = authority.certificate("renewed", "cordboard.example")
    troubles: list[str] = []
    files = TlsFiles(ca_file=str(authority.ca_file), cert_file=str(cert), key_file=str(key))
    context = RenewedContext.of(files, troubles.append)

    async def connect() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0, ssl=server_side) as server:
        port = server.sockets[0].getsockname()[1]
        await connect()
        key.write_text("half of a pair was replaced, FAKE")
        await connect()
        await connect()
        authority.certificate("renewed", "cordboard.example")
        await connect()
    assert shown[0] == shown[1] == shown[2] != shown[3]
    assert troubles == ["SSLError"]
