"""`cordboard topics`: the topics Cordboard needs, with their settings, and making those that are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from contracts.dead_letter import dead_letter_topic
from contracts.outbound import CREDENTIALS_TOPIC, FAILURES_TOPIC, RESULTS_TOPIC
from service.adapters.kafka_topics import TopicManifest, create_topics, look_at_cluster
from service.application.ports import UnavailableError
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, say, show_rows, stop
from service.settings import Settings

USUAL_REPLICAS: Final = 3
THERE, MADE = "there already", "made"
DAY_MS: Final = 24 * 60 * 60 * 1000
DEAD_LETTER_BYTES: Final = 2 * 1024 * 1024  # a whole record of 1 MiB, with its headers and those added
SEALED: Final = {
    "cleanup.policy": "compact,delete",  # the newest of each agent, and not for ever
    "retention.ms": str(7 * DAY_MS),
    "segment.ms": str(DAY_MS),  # what is in the segment that is written to is neither compacted nor deleted
}
COLUMNS: Final = {
    "name": "topic",
    "partitions": "partitions",
    "replication_factor": "replicas",
    "settings": "settings",
    "outcome": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person asked for; without a replication factor it is one replica a broker, at most three."""

    partitions: int
    replication_factor: int | None

    def factor(self, brokers: int) -> int:
        """The replication factor on a cluster of that size."""
        return self.replication_factor or max(1, min(USUAL_REPLICAS, brokers))


def topic_names(settings: Settings) -> list[str]:
    """Every topic Cordboard needs: those that are read, what is told, and where bad records go."""
    read = settings.kafka.topics
    sealed = any(account.credentials.mode == "sealed" for account in settings.accounts.values())
    told = [RESULTS_TOPIC, FAILURES_TOPIC, *([CREDENTIALS_TOPIC] if sealed else [])]
    return [*read, *told, *(dead_letter_topic(name) for name in read)]


def manifest(names: Sequence[str], *, partitions: int, replication_factor: int) -> list[TopicManifest]:
    """These topics with their settings."""
    safe = {"min.insync.replicas": "2"} if replication_factor >= USUAL_REPLICAS else {}
    plain = {"cleanup.policy": "delete", **safe}
    sealed = {**plain, **SEALED}
    dead = {**plain, "max.message.bytes": str(DEAD_LETTER_BYTES), "retention.ms": str(30 * DAY_MS)}
    return [
        TopicManifest(
            name=name,
            partitions=partitions,
            replication_factor=replication_factor,
            settings=sealed if name == CREDENTIALS_TOPIC else dead if name.startswith(dead_letter_topic("")) else plain,
        )
        for name in names
    ]


def show_topics(settings: Settings, wish: Wish, output: Output, *, create: bool) -> ExitCode:
    """Print the manifest; with `create`, make what is missing and say what became of each."""
    if not create:
        wanted = _manifest(settings, wish, brokers=USUAL_REPLICAS)
        show_rows([_row(topic) for topic in wanted], COLUMNS, output)
        say("nothing was made; --create makes what is missing")
        return ExitCode.DONE
    try:
        rows = asyncio.run(_create(settings, wish))
    except UnavailableError as away:
        where = settings.kafka.bootstrap_servers
        raise stop(f"Kafka at {where} can't be reached ({away})", ExitCode.UNREACHABLE) from None
    show_rows(rows, COLUMNS, output)
    failed = sum(row["outcome"] not in {THERE, MADE} for row in rows)
    if failed == 0:
        return ExitCode.DONE
    return ExitCode.FAILED if failed == len(rows) else ExitCode.PARTLY_FAILED


def _manifest(settings: Settings, wish: Wish, *, brokers: int) -> list[TopicManifest]:
    return manifest(topic_names(settings), partitions=wish.partitions, replication_factor=wish.factor(brokers))


async def _create(settings: Settings, wish: Wish) -> list[dict[str, Any]]:
    connection = settings.kafka.connection()
    cluster = await look_at_cluster(connection)
    wanted = _manifest(settings, wish, brokers=cluster.brokers)
    missing = [topic for topic in wanted if topic.name not in cluster.topics]
    answers = await create_topics(connection, missing) if missing else {}
    made = {topic.name: answers.get(topic.name, "no answer") or MADE for topic in missing}
    return [_row(topic) | {"outcome": made.get(topic.name, THERE)} for topic in wanted]


def _row(topic: TopicManifest) -> dict[str, Any]:
    return {
        "name": topic.name,
        "partitions": topic.partitions,
        "replication_factor": topic.replication_factor,
        "settings": dict(topic.settings),
    }
