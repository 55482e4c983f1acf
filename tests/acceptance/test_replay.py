"""A replay of everything that failed, beside live traffic, started twice, its server killed in the middle."""

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.entrypoints.demo_day import DayRecord
from service.sandbox.journal import duplicate_effects, windows_over_quota
from tests.acceptance.events import event, hired
from tests.acceptance.scene import Scene
from tests.kafka.broker import KafkaBroker

NO_SEAT = "LimitExceeded.Seat"
FAILS = ({"kind": "error_before", "action": "*Extension", "match": "*/2[0-9][0-9][0-9][0-9]", "code": NO_SEAT},)
FIRST, OVERTAKEN_FROM, LIVE_FROM = 20_000, 25_000, 30_000


@dataclass(frozen=True, kw_only=True)
class Size:
    """`failed` hires fail, `overtaken` changes do, each then overtaken by another; `live` hires come a second."""

    failed: int
    overtaken: int
    quota: int
    live: float


SMALL = Size(failed=60, overtaken=6, quota=40, live=20.0)
LARGE = Size(failed=500, overtaken=50, quota=20, live=12.0)


@pytest.mark.parametrize("size", [SMALL, pytest.param(LARGE, marks=pytest.mark.long)], ids=["66", "550"])
async def test_a_replay_started_twice_and_killed_in_the_middle_does_everything_once(
    kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Any, size: Size
) -> None:
    quotas = {"default": size.quota}
    settings = {
        "accounts": {"acme_cn": {"quotas": quotas}},
        "timing": {"connect_seconds": 1.0, "read_seconds": 3.0, "read_lag_seconds": 0.5},
        "kafka": {"group_instance_id": "pod-0"},
    }
    sandbox = {"quotas": {"tencent_ccc": quotas}}
    scene = Scene(kafka, tmp_path, tag=f".replay{size.failed}", settings=settings, sandbox_settings=sandbox)
    async with scene:
        worker = scene.start_worker()
        await _fail(scene, size)
        live = _Live(scene, size.live)
        traffic = asyncio.create_task(live.run())
        preview = await _preview(scene)
        assert (preview["eligible"], preview["refused"]) == (size.failed, {"overtaken": size.overtaken})
        replays = await _start_twice(scene, preview["size"])
        await scene.until(lambda: _created(scene) >= size.failed // 3, seconds=300, what="a third of it done")
        await scene.kill_worker(worker)
        killed_at, before = time.monotonic(), _created(scene)
        worker = scene.start_worker()
        await scene.until(lambda: _created(scene) > before, seconds=30, what="the replay going on after the restart")
        went_on = time.monotonic() - killed_at
        done = [await _finished(scene, replay, seconds=600) for replay in replays]
        live.stopping.set()
        await traffic
        await scene.until(lambda: live.done() == len(live.sent), seconds=60, what="every live hire done")
        again = await scene.post("/v1/replays", _request("and again"))
        assert await scene.stop_worker(worker) == 0
        _judge(scene, size, done)
        waits = live.waits()
    assert again[0] == 404, "nothing that failed is left"
    figures = {
        "replayed": size.failed,
        "live hires beside it": len(waits),
        "live p99 s": round(waits[math.ceil(0.99 * len(waits)) - 1], 3),
        "first replayed effect after kill -9 s": round(went_on, 2),
        "seconds": round(max(float(one["took"]) for one in done), 1),
    }
    with capsys.disabled():
        sys.stdout.write("\n" + "".join(f"  {name:<40} {figure}\n" for name, figure in figures.items()))
    for name, figure in figures.items():
        record_property(name, figure)


async def _fail(scene: Scene, size: Size) -> None:
    """Hires fail for want of seats; changes of others as well, and these are overtaken by a later one that works."""
    employed = range(OVERTAKEN_FROM, OVERTAKEN_FROM + size.overtaken)
    await scene.produce(hired(n) for n in employed)
    await _ended(scene, "completed", size.overtaken)
    await scene.ask_sandbox("PUT", "faults", {"rules": list(FAILS)})
    await scene.produce([*(_renamed(n, "first") for n in employed), *(hired(FIRST + n) for n in range(size.failed))])
    await _ended(scene, "failed", size.overtaken + size.failed)
    await scene.ask_sandbox("DELETE", "faults")
    await scene.produce(_renamed(n, "second") for n in employed)
    await _ended(scene, "completed", 2 * size.overtaken)


def _renamed(n: int, turn: str) -> DayRecord:
    data = {"agent_id": f"A{n}", "name": f"Agent {n}, {turn} name"}
    return event("hr.agent.changed.v1", f"{turn}-{n}", data, key=f"A{n}")


async def _ended(scene: Scene, how: str, number: int) -> None:
    await scene.until(
        lambda: len(scene.events(f"provisioning.plan.{how}")) >= number, seconds=240, what=f"{number} plans {how}"
    )


def _request(reason: str, **more: Any) -> dict[str, Any]:
    return {"selection": {"code": "LimitExceeded*"}, "reason": reason, **more}


async def _preview(scene: Scene) -> dict[str, Any]:
    status, found = await scene.post("/v1/replay-preview", {"selection": {"code": "LimitExceeded*"}})
    assert status == 200, found
    return dict(found)


async def _start_twice(scene: Scene, size: int) -> list[str]:
    """Two operators at the same moment; the second one's reply is lost, and asked for again under the same key."""
    asked = [
        scene.post("/v1/replays", _request(f"seats were bought, said {who}", expected=size), key=who)
        for who in ("ann", "bob", "bob")
    ]
    answers = await asyncio.gather(*asked)
    assert {status for status, _ in answers} == {202}, answers
    ids = [answer["id"] for _, answer in answers]
    assert ids[1] == ids[2]
    return sorted(set(ids))


async def _finished(scene: Scene, replay_id: str, *, seconds: float) -> dict[str, Any]:
    begun = time.monotonic()
    found: dict[str, Any] = {}

    async def finished() -> bool:
        status, body = await scene.get(f"/v1/replays/{replay_id}")
        found.update(orjson.loads(body) if status == 200 else {})
        return found.get("state") == "finished"

    await scene.until_async(finished, seconds=seconds, what=f"{replay_id} finished")
    return found | {"took": time.monotonic() - begun}


def _created(scene: Scene) -> int:
    return sum(_number(entry.natural_key) < OVERTAKEN_FROM for entry in scene.effects("CreateExtension"))


def _number(key: object) -> int:
    return int(str(key).rpartition("/")[2])


def _judge(scene: Scene, size: Size, done: Sequence[dict[str, Any]]) -> None:
    """Each of them once, whichever replay began it; what was overtaken was left as the later event made it."""
    assert duplicate_effects(scene.journal) == []
    assert windows_over_quota(scene.journal, {"tencent_ccc": {"default": size.quota}}) == []
    created = Counter(_number(entry.natural_key) for entry in scene.effects("CreateExtension"))
    assert [n for n in range(FIRST, FIRST + size.failed) if created[n] != 1] == []
    renamed = list(scene.effects("ModifyExtension"))
    assert len(renamed) == size.overtaken
    assert all("second" in str(entry.wanted) for entry in renamed)
    total: Counter[str] = Counter()
    for replay in done:
        assert replay["state"] == "finished"
        assert set(replay["outcomes"]) <= {"succeeded", "refused"}
        assert set(replay["refused"]) <= {"overtaken", "replayed", "running", "satisfied"}
        total.update(replay["refused"])
    assert total["overtaken"] == size.overtaken
    begun = sum(replay["outcomes"].get("succeeded", 0) for replay in done)
    assert begun == size.failed
    told = Counter(e["data"]["plan_id"] for e in _once(scene.events("provisioning.plan.completed")) if _epoch(e) == 1)
    assert set(told.values()) == {1}
    assert len(told) == size.failed + size.overtaken


def _once(events: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    return list({event["id"]: event for event in events}.values())


def _epoch(event: dict[str, Any]) -> int:
    return int(event["data"]["epoch"])


@dataclass
class _Live:
    """Hires that come all the while, at an even pace."""

    scene: Scene
    rate: float
    sent: dict[int, float] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        begun = time.monotonic()
        async with self.scene.producer() as produce:
            while not self.stopping.is_set():
                n = LIVE_FROM + len(self.sent)
                await asyncio.sleep(max(0.0, begun + len(self.sent) / self.rate - time.monotonic()))
                self.sent[n] = time.monotonic()
                await produce([hired(n)])

    def done(self) -> int:
        return sum(_number(entry.natural_key) >= LIVE_FROM for entry in self.scene.effects("CreateExtension"))

    def waits(self) -> list[float]:
        """Seconds from each one's event to its call, ascending."""
        calls = {_number(entry.natural_key): entry.arrival for entry in self.scene.effects("CreateExtension")}
        return sorted(calls[n] - at for n, at in self.sent.items())
