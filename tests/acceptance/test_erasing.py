"""Retention on real processes: what is over goes, and what its topic still holds is not done again."""

import sqlite3
from pathlib import Path

from service.sandbox.journal import duplicate_effects
from tests.acceptance.events import hired
from tests.acceptance.scene import Scene
from tests.kafka.broker import KafkaBroker

AGE_SECONDS = 100 * 86_400.0
TIMES = {
    "events": ("received_at",),
    "event_digests": ("received_at",),
    "plans": ("created_at", "ended_at"),
    "outbox": ("created_at", "published_at"),
}


async def test_event_whose_plan_was_erased_is_not_done_again_when_its_topic_is_read_again(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    async with Scene(kafka, tmp_path, tag=".erase") as scene:
        worker = scene.start_worker()
        await scene.produce([hired(n) for n in range(3000, 3010)])
        await scene.until(lambda: len(scene.plan_ends()) == 10, seconds=60, what="every plan's end")
        assert await scene.stop_worker(worker) == 0
        _age(scene)

        worker = scene.start_worker()
        await scene.until(lambda: _count(scene, "plans") == 0, seconds=30, what="the plans to be erased")
        await scene.produce([hired(n) for n in range(3000, 3011)])
        await scene.until(lambda: len(scene.plan_ends()) == 11, seconds=60, what="the one new plan's end")

        await scene.until(lambda: _count(scene, "events") == 1, seconds=30, what="the erased events' end")
        assert (_count(scene, "plans"), _count(scene, "event_digests"), _count(scene, "bindings")) == (1, 11, 11)
        assert await scene.metric("events_total", outcome="delivered_before") == 10
        assert await scene.metric("erased_rows_total", what="plans") > 20
        assert await scene.stop_worker(worker) == 0
        assert duplicate_effects(scene.journal) == []
        assert len(scene.effects("CreateExtension")) == 11


def _age(scene: Scene) -> None:
    """Everything in the ledger happened a hundred days earlier."""
    connection = sqlite3.connect(next(path for path in scene.ledger_files if path.suffix == ".db"))
    for table, columns in TIMES.items():
        news = ", ".join(f"{column} = {column} - {AGE_SECONDS}" for column in columns)
        connection.execute(f"UPDATE {table} SET {news}")  # noqa: S608 - constants of this module
    connection.commit()
    connection.close()


def _count(scene: Scene, table: str) -> int:
    count: int = scene.ledger_rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608 - constants of this module
    return count
