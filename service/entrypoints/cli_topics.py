"""`cordboard topics`: the topics Cordboard needs, with their settings, and making those that are missing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from contracts.dead_letter import dead_letter_topic
from contracts.outbound import FAILURES_TOPIC, RESULTS_TOPIC
from service.adapters.kafka_topics import TopicManifest, create_topics, existing_topics
from service.application.ports import UnavailableError
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, say, show_rows, stop
from service.settings import Settings

DAY_MS: Final = 24 * 60 * 60 * 1000
DEAD_LETTER_BYTES: Final = 2 * 1024 * 1024  # a whole record of 1 MiB, with its headers and those added
COLUMNS: Final = {
    "name": "topic",
    "partitions": "partitions",
    "replication_factor": "replicas",
    "settings": "settings",
    "outcome": "",
}


def manifest(read: Sequence[str], *, partitions: int, replication_factor: int) -> list[TopicManifest]:
    """Every topic: those that are read, what is told, and where bad records go."""
    safe = {"min.insync.replicas": "2"} if replication_factor >= 3 else {}
    plain = {"cleanup.policy": "delete", **safe}
    dead = {**plain, "max.message.bytes": str(DEAD_LETTER_BYTES), "retention.ms": str(30 * DAY_MS)}
    wanted = [(name, plain) for name in (*read, RESULTS_TOPIC, FAILURES_TOPIC)]
    wanted += [(dead_letter_topic(name), dead) for name in read]
    return [
        TopicManifest(name=name, partitions=partitions, replication_factor=replication_factor, settings=settings)
        for name, settings in wanted
    ]


def show_topics(settings: Settings, wanted: Sequence[TopicManifest], output: Output, *, create: bool) -> ExitCode:
    """Print the manifest; with `create`, make what is missing and say what became of each."""
    if not create:
        show_rows([_row(topic) for topic in wanted], COLUMNS, output)
        say("nothing was made; --create makes what is missing")
        return ExitCode.DONE
    try:
        outcomes = asyncio.run(_create(settings, wanted))
    except UnavailableError as away:
        raise stop(
            f"Kafka at {settings.kafka.bootstrap_servers} can't be reached ({away})", ExitCode.UNREACHABLE
        ) from None
    show_rows([_row(topic) | {"outcome": outcomes[topic.name]} for topic in wanted], COLUMNS, output)
    failed = [name for name, outcome in outcomes.items() if outcome not in {"there already", "made"}]
    if not failed:
        return ExitCode.DONE
    return ExitCode.FAILED if len(failed) == len(outcomes) else ExitCode.PARTLY_FAILED


async def _create(settings: Settings, wanted: Sequence[TopicManifest]) -> Mapping[str, str]:
    connection = settings.kafka_connection()
    present = await existing_topics(connection)
    missing = [topic for topic in wanted if topic.name not in present]
    answers = await create_topics(connection, missing) if missing else {}
    made = {topic.name: answers.get(topic.name, "no answer") or "made" for topic in missing}
    return {topic.name: made.get(topic.name, "there already") for topic in wanted}


def _row(topic: TopicManifest) -> dict[str, Any]:
    return {
        "name": topic.name,
        "partitions": topic.partitions,
        "replication_factor": topic.replication_factor,
        "settings": dict(topic.settings),
    }
