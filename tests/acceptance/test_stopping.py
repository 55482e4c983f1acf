"""Stopping on real processes: in order (SIGTERM), by force (kill -9), and a reply that never came."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from service.sandbox.journal import duplicate_effects
from tests.acceptance.events import hired, purchased
from tests.acceptance.scene import Scene
from tests.kafka.broker import KafkaBroker

SLOW = {"kind": "latency", "action": "Create*", "seconds": 1.0}
LONG_SESSION = {"kafka": {"session_timeout_ms": 30_000}}  # who does not leave the group is waited for so long


async def test_a_worker_stopped_in_the_middle_settles_commits_and_leaves(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(kafka, tmp_path, tag=".term", settings=LONG_SESSION) as scene:
        await scene.ask_sandbox("PUT", "faults", {"rules": [SLOW]})
        produced = 0
        for turn in range(3):
            await scene.produce([hired(n) for n in range(1000 + produced, 1040 + produced)])
            produced += 40
            seen = len(scene.effects("CreateExtension"))
            worker = scene.start_worker()
            await _joined(scene, turn + 1, seconds=15)
            await scene.until(
                lambda seen=seen: len(scene.effects("CreateExtension")) >= seen + 15,  # type: ignore[misc]
                seconds=30,
                what="work in flight",
            )
            begun = time.monotonic()
            assert await scene.stop_worker(worker) == 0
            assert time.monotonic() - begun < 10
            states = Counter(state for (state,) in scene.ledger_rows("SELECT state FROM commands"))
            assert set(states) <= {"pending", "waiting", "succeeded"}, states
            assert scene.ledger_rows("SELECT count(*) FROM commands WHERE owner IS NOT NULL AND state = 'pending'") == [
                (0,)
            ]
            assert await scene.committed() == scene.ledger_rows("SELECT count(*) FROM events")[0][0] == produced
        worker = scene.start_worker()
        await scene.until(lambda: len(scene.plan_ends()) == produced, seconds=60, what="every plan's end")
        assert await scene.stop_worker(worker) == 0
        assert len(scene.effects("CreateExtension")) == produced
        assert scene.events("provisioning.command.in_doubt") == []
        _nothing_twice(scene)


async def test_what_a_killed_worker_had_in_flight_is_in_doubt_and_the_rest_is_done_once(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    async with Scene(kafka, tmp_path, tag=".kill") as scene:
        await scene.ask_sandbox("PUT", "faults", {"rules": [SLOW]})
        worker = scene.start_worker()
        await scene.produce(
            [hired(n) for n in range(2000, 2080)] + [purchased(f"+8610{82_340_000 + n}") for n in range(5)]
        )
        await scene.until(lambda: len(scene.effects("CreateExtension")) >= 15, seconds=30, what="work in flight")
        await scene.kill_worker(worker)
        flying = {row[0] for row in scene.ledger_rows("SELECT id FROM commands WHERE state = 'in_flight'")}
        assert flying, "nothing was in flight: the test shows nothing"
        worker = scene.start_worker()
        await scene.until(lambda: len(_doubts(scene)) == len(flying), seconds=30, what=f"{len(flying)} doubts told")
        assert set(_doubts(scene)) == flying
        assert set(_waiting(scene, "in_doubt")) == {event["data"]["plan_id"] for event in _doubt_events(scene)}
        # what did reach the vendor is found there; what did not stays in doubt until it was absent twice
        await scene.until_async(
            lambda: _only_absent_left(scene), seconds=60, what="every end but of what never arrived"
        )
        assert {command["id"] for command in await scene.commands(state="in_doubt")} <= flying
        assert await scene.stop_worker(worker) == 0
        told = len(_doubt_events(scene))
        assert told == len(flying), "each is told once"
        before = _assignments(scene)  # the restarted one may have done it all before the group forgot the killed one
        worker = scene.start_worker()  # a second restart tells nothing anew
        await _joined(scene, before + 1, seconds=25)
        assert await scene.stop_worker(worker) == 0
        assert len(_doubt_events(scene)) == told
        _nothing_twice(scene)


async def test_a_lost_reply_is_a_doubt_that_later_work_waits_behind(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(kafka, tmp_path, tag=".lost") as scene:
        lost = [
            {"kind": "reply_lost_after", "action": "CreateExtension", "match": "*/3001"},
            {"kind": "reply_lost_before", "action": "CreateExtension", "match": "*/3002"},
            {"kind": "truncated_body", "action": "CreateOwnNumberApply", "count": 1},
        ]
        await scene.ask_sandbox("PUT", "faults", {"rules": lost})
        worker = scene.start_worker()
        await scene.produce([hired(n) for n in range(3001, 3006)] + [purchased("+861082340001")])
        await scene.until(
            lambda: len(_doubts(scene)) == 3 and len(scene.plan_ends()) == 5,
            seconds=40,
            what="three doubts, and the ends of all but the create that never arrived",
        )
        await scene.produce([hired(3002, event_id="again", name="New Name"), hired(3003, event_id="other")])
        await scene.until(lambda: len(scene.plan_ends()) == 6, seconds=30, what="the other agent's second hire")
        await scene.until(lambda: bool(_waiting(scene, "earlier_work")), seconds=10, what="that somebody waits behind")

        (doubted,) = await scene.commands(state="in_doubt")
        assert doubted["resource"] == "extension:acme_cn/3002"
        assert doubted["failure"]["error_class"] == "ambiguous"
        assert doubted["failure"]["advice"]
        behind = await scene.commands(subject="agent:workday/A3002", state="waiting")
        assert "earlier_work" in [command["cause"] for command in behind if command["plan_id"] != doubted["plan_id"]]
        assert len(_waiting(scene, "in_doubt")) == 3
        assert len(_waiting(scene, "earlier_work")) == 1
        assert Counter(_creates(scene)) == dict.fromkeys(range(3001, 3006), 1), "an unclear create is not sent again"
        assert len(scene.effects("CreateOwnNumberApply")) == 1
        assert await scene.stop_worker(worker) == 0
        _nothing_twice(scene)


async def _joined(scene: Scene, times: int, *, seconds: float) -> None:
    await scene.until(
        lambda: _assignments(scene) >= times,
        seconds=seconds,
        what="partitions, at once",
    )


def _assignments(scene: Scene) -> int:
    return sum(bool(line["partitions"]) for line in scene.log_lines("partitions assigned"))


def _doubts(scene: Scene) -> dict[str, set[str]]:
    """By command: the ids of the events that told its doubt."""
    told: dict[str, set[str]] = {}
    for event in scene.events("provisioning.command.in_doubt"):
        told.setdefault(event["data"]["command_id"], set()).add(event["id"])
    return told


def _doubt_events(scene: Scene) -> list[dict[str, Any]]:
    return scene.events("provisioning.command.in_doubt")


def _waiting(scene: Scene, cause: str) -> set[str]:
    """The plans that have told that they wait for this."""
    events = scene.events("provisioning.plan.waiting")
    return {event["data"]["plan_id"] for event in events if event["data"]["cause"] == cause}


def _creates(scene: Scene) -> list[int]:
    """The extensions of all requests to create one, whatever became of them."""
    keys = [entry.natural_key for entry in scene.journal if entry.action == "CreateExtension"]
    return [int(str(key).rpartition("/")[2]) for key in keys]


async def _only_absent_left(scene: Scene) -> bool:
    """Whether all 85 plans have ended but those whose create never had an effect."""
    made = {str(entry.natural_key).rpartition("/")[2] for entry in scene.effects("CreateExtension")}
    doubted = {command["resource"].rpartition("/")[2] for command in await scene.commands(state="in_doubt")}
    return len(scene.plan_ends()) + len(doubted) == 85 and not doubted & made


def _nothing_twice(scene: Scene) -> None:
    assert duplicate_effects(scene.journal) == []
    assert scene.bursts() == []
    assert all(len(ids) == 1 for ids in scene.plan_ends().values())
