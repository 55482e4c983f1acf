"""Fixtures that every test folder may ask for."""

import logging
import os
import signal
from collections.abc import Generator, Iterator
from typing import Protocol

import pytest
import structlog

from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker
from tests.postgres.server import PostgresServer


class _Server(Protocol):
    """What a failure report asks of a server."""

    def log_tail(self) -> str: ...


_KAFKA = pytest.StashKey[_Server]()
_POSTGRES = pytest.StashKey[_Server]()
_PROMETHEUS = pytest.StashKey[_Server]()
# of each marker: the fixtures that earn it, the heading of the server's log in a report, where the server is put
_SERVERS = {
    "kafka": ({"kafka", "own_kafka"}, "Kafka broker log", _KAFKA),
    "postgres": ({"postgres", "own_postgres"}, "PostgreSQL log", _POSTGRES),
    "prometheus": ({"prometheus", "promtool"}, "Prometheus log", _PROMETHEUS),
}


def pytest_configure() -> None:
    """Take SIGTERM as Ctrl-C, and Ctrl-C also where a background job was told to ignore it.

    Fixtures are torn down, and no server or worker outlives a run that was ended.
    """
    os.environ.pop("COLUMNS", None)  # what is printed goes to a pipe, whoever runs us
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks for a real server, so that nobody has to remember to."""
    for item in items:
        for marker, (fixtures, _, _) in _SERVERS.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(marker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of a server's log to the report of a failed test that used the server."""
    report = yield
    for marker, (_, heading, key) in _SERVERS.items():
        server = item.stash.get(key, None) or item.session.stash.get(key, None)
        if report.failed and server is not None and item.get_closest_marker(marker):
            report.sections.append((heading, server.log_tail()))
    return report


@pytest.fixture(autouse=True)
def _logging_stays_as_it_was() -> Iterator[None]:
    """A command that runs in this process sets logging up for itself; the next test must not hear of it."""
    root, kafka_log = logging.getLogger(), logging.getLogger("aiokafka")
    before = (root.handlers[:], root.level, kafka_log.level)
    yield
    root.handlers[:], level, kafka_level = before
    root.setLevel(level)
    kafka_log.setLevel(kafka_level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """One real Kafka for the whole run, started by the first test that asks; who means to end it takes `own_kafka`."""
    with KafkaBroker() as broker:
        request.session.stash[_KAFKA] = broker
        yield broker


@pytest.fixture
def own_kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A real Kafka of the test's own, to stop, kill and restart (three seconds to start); topics by `TopicMaker`."""
    with KafkaBroker() as broker:
        request.node.stash[_KAFKA] = broker
        yield broker


@pytest.fixture
def make_topic(kafka: KafkaBroker) -> TopicMaker:
    """`await make_topic(partitions=3)` makes a topic with a unique name and returns the name."""
    return TopicMaker(kafka.bootstrap_servers)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """One real PostgreSQL for the whole run, started by the first test that asks; to end one take `own_postgres`."""
    with PostgresServer() as server:
        request.session.stash[_POSTGRES] = server
        yield server


@pytest.fixture
def own_postgres(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A real PostgreSQL of the test's own, to stop, kill and restart (a second to start), without a database yet."""
    with PostgresServer() as server:
        request.node.stash[_POSTGRES] = server
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """Address of an empty database that nobody else uses; dropped after the test, whoever is still connected."""
    name = postgres.create_database()
    yield postgres.url(name)
    postgres.drop_database(name)
