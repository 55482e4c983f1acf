"""After a storm: wait until nothing moves any more, and gather what it left behind for the oracle."""

import asyncio
import subprocess
from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson

from tests.acceptance.oracle import APPLY, Evidence, LedgerRows
from tests.acceptance.scene import Scene
from tests.acceptance.storm import APP, Load


async def gather(scene: Scene, load: Load, workers: Sequence[subprocess.Popen[bytes]], *, seconds: float) -> Evidence:
    """Wait for quiet, stop the workers in order, and read everything once."""

    async def quiet() -> bool:
        for worker in workers:
            if worker.poll() is not None:
                raise AssertionError(f"a worker ended with {worker.returncode}\n{scene.log_text[-3000:]}")
        return await _is_quiet(scene, load)

    await scene.until_async(quiet, seconds=seconds, what="quiet after the storm")
    assert await asyncio.gather(*map(scene.stop_worker, workers)) == [0] * len(workers)
    state = await scene.ask_sandbox("GET", "state")
    ledger = await _read_ledger(scene)
    ended = sum(plan["state"] != "open" for plan in ledger.plans.values())
    await scene.until(lambda: len(scene.plan_ends()) >= ended, seconds=20, what="every plan's end told")
    return Evidence(
        load=load,
        journal=scene.journal,
        state=state,
        ledger=ledger,
        told=scene.events(),
        dead_letters=len({(letter.topic, letter.key, letter.value) for letter in scene.dead_letters()}),
    )


async def _read_ledger(scene: Scene) -> LedgerRows:
    if scene.database:
        return await LedgerRows.of_postgres(scene.database)
    return LedgerRows.of_sqlite(scene.folder / "ledger.db")


async def _is_quiet(scene: Scene, load: Load) -> bool:
    """Every record let go of, and every open plan behind an application in doubt whose number is not live."""
    doubted = await _all(scene, "commands", "in_doubt")
    if any(command["operation"] != APPLY for command in doubted):
        return False
    stopped = {command["subject"] for command in doubted}
    if {plan["subject"] for plan in await _all(scene, "plans", "open")} != stopped:
        return False
    live = (await scene.ask_sandbox("GET", "state"))["tencent_ccc"][APP]["numbers"]
    stored = {load.chains[subject].key.rpartition("/")[2] for subject in stopped}
    if live.keys() & stored or not await _is_all_told(scene):
        return False
    return await scene.committed() == len(load.records)


async def _is_all_told(scene: Scene) -> bool:
    """Whether no message waits: of a fleet that is stopped at once, nobody would be left to tell it.

    One process tells the rest as it stops.
    """
    if not scene.database:
        return True
    connection = await asyncpg.connect(scene.database)
    try:
        return not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM outbox WHERE published_at IS NULL)")
    finally:
        await connection.close()


async def _all(scene: Scene, what: str, state: str) -> list[dict[str, Any]]:
    """Every page of a listing; while nobody answers, something that is never quiet."""
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        status, body = await _ask_any(scene, f"/v1/{what}?state={state}&limit=200{after}")
        if status != 200:
            return [{"operation": "nobody answers", "subject": "?"}]
        page = orjson.loads(body)
        found += page["items"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


async def _ask_any(scene: Scene, path: str) -> tuple[int, bytes]:
    """What the first replica that answers says: they share a ledger, so any of them answers for all."""
    for replica in scene.http_ports:
        status, body = await scene.get(path, replica=replica)
        if status == 200:
            return status, body
    return 0, b""
