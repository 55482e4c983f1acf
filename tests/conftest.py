"""Fixtures that every test folder may ask for."""

import signal
from collections.abc import Generator, Iterator

import pytest

from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker

_BROKER = pytest.StashKey[KafkaBroker]()


def pytest_configure() -> None:
    """Take SIGTERM as Ctrl-C: fixtures are torn down, and no broker or worker outlives a run that was ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks for the real broker, so that nobody has to remember to."""
    for item in items:
        if {"kafka", "own_kafka"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the broker's log to the report of a failed test that used the broker."""
    report = yield
    broker = item.stash.get(_BROKER, None) or item.session.stash.get(_BROKER, None)
    if report.failed and broker is not None and item.get_closest_marker("kafka"):
        report.sections.append(("Kafka broker log", broker.log_tail()))
    return report


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """One real Kafka for the whole run, started by the first test that asks; who means to end it takes `own_kafka`."""
    with KafkaBroker() as broker:
        request.session.stash[_BROKER] = broker
        yield broker


@pytest.fixture
def own_kafka(request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    """A real Kafka of the test's own, to stop, kill and restart (three seconds to start); topics by `TopicMaker`."""
    with KafkaBroker() as broker:
        request.node.stash[_BROKER] = broker
        yield broker


@pytest.fixture
def make_topic(kafka: KafkaBroker) -> TopicMaker:
    """`await make_topic(partitions=3)` makes a topic with a unique name and returns the name."""
    return TopicMaker(kafka.bootstrap_servers)
