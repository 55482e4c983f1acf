"""What Cordboard does while something is away: Kafka, the ledger, a vendor, its keys, the time of day."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.sandbox.journal import duplicate_effects
from tests.acceptance.events import event, hired
from tests.acceptance.scene import SANDBOX, Scene
from tests.kafka.broker import KafkaBroker

LEDGER_HELD = 5
SHORT_SESSION = {"kafka": {"session_timeout_ms": 3_000}}  # who can't leave the group is soon forgotten
PATIENT = {"quarantine": {"run": 1000}}  # not what is shown here


@pytest.fixture(scope="module")
def mortal_kafka() -> Iterator[KafkaBroker]:
    """A broker for the tests that stop and kill it; every one of them leaves it running."""
    with KafkaBroker() as broker:
        yield broker


async def test_kafka_away_at_start_is_waited_for(mortal_kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(mortal_kafka, tmp_path, tag=".start") as scene:
        await scene.produce([hired(n) for n in range(100, 105)])
        await asyncio.to_thread(mortal_kafka.stop)
        worker = scene.start_worker()
        await _until_away(scene, "away: kafka", seconds=20)
        told = "waiting for something that is away"  # /readyz says so from the start, before Kafka was tried
        await scene.until(lambda: bool(scene.log_lines(told)), seconds=20, what=f"the line '{told}'")
        assert (await scene.get("/livez"))[0] == 200
        await asyncio.to_thread(mortal_kafka.start)
        await scene.until(lambda: len(scene.plan_ends()) == 5, seconds=45, what="five plan ends")
        assert await scene.away() == ""
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == 5


async def test_kafka_killed_in_the_middle_loses_and_doubles_nothing(mortal_kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(mortal_kafka, tmp_path, tag=".killed") as scene:
        worker = scene.start_worker()
        await scene.produce([hired(n) for n in range(1000, 1100)])
        await scene.until(lambda: len(scene.effects("CreateExtension")) >= 20, seconds=30, what="work has begun")
        await asyncio.to_thread(mortal_kafka.kill)
        await _until_away(scene, "away: kafka", seconds=40)
        done = len(scene.effects("CreateExtension"))
        assert done > 20, "what is in the ledger goes on without Kafka"
        await asyncio.to_thread(mortal_kafka.start)
        await scene.produce([hired(n) for n in range(1100, 1110)])
        await scene.until(lambda: len(scene.plan_ends()) == 110, seconds=60, what="every plan's end")
        await _until_away(scene, "", seconds=20)
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == 110
        _each_once(scene, 110)


async def test_a_stop_while_kafka_is_away_ends_in_time_and_is_made_good(
    mortal_kafka: KafkaBroker, tmp_path: Path
) -> None:
    async with Scene(mortal_kafka, tmp_path, tag=".stopped", settings=SHORT_SESSION) as scene:
        worker = scene.start_worker()
        await scene.produce([hired(n) for n in range(2000, 2040)])
        await scene.until(lambda: len(scene.effects("CreateExtension")) >= 5, seconds=30, what="work has begun")
        await asyncio.to_thread(mortal_kafka.kill)
        begun = time.monotonic()
        assert await scene.stop_worker(worker, deadline=60) == 0
        assert time.monotonic() - begun < 40
        await asyncio.to_thread(mortal_kafka.start)
        worker = scene.start_worker()
        await scene.until(lambda: len(scene.plan_ends()) == 40, seconds=60, what="every plan's end")
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == 40
        _each_once(scene, 40)


async def test_a_ledger_has_one_process(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(kafka, tmp_path, tag=".held") as scene:
        first = scene.start_worker()
        await scene.until_async(scene.is_ready, seconds=30, what="the first is ready")
        port = scene.http_ports.pop(0)
        second = scene.start_worker()
        assert await asyncio.to_thread(second.wait, 20) == LEDGER_HELD
        await scene.until(
            lambda: f"is open in process {first.pid}" in scene.log_text, seconds=5, what="it says who has it"
        )
        scene.http_ports[0] = port
        await scene.produce([hired(100)])
        await scene.until(lambda: len(scene.plan_ends()) == 1, seconds=20, what="the first works on")
        assert await scene.stop_worker(first) == 0


async def test_a_vendor_that_cannot_be_reached_is_tried_again_from_the_ledger(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    async with Scene(kafka, tmp_path, tag=".vendor", sandbox_late=True, settings=PATIENT) as scene:
        worker = scene.start_worker()
        route = {"account": "acme_hw", "access_code": "95500", "route": {"ivr": 7}}
        await scene.produce([hired(n) for n in range(100, 110)] + [_route(route)])
        await scene.until(lambda: len(scene.log_lines("command waiting")) >= 15, seconds=30, what="tries that failed")
        waiting = await scene.commands(state="waiting")
        retries = [command for command in waiting if command["cause"] == "retry"]
        assert {command["failure"]["error_class"] for command in retries} == {"retryable"}
        assert all(command["failure"]["advice"] for command in retries)
        assert await scene.away() == "", "a vendor that is away is no reason to restart anything"
        assert scene.plan_ends() == {}
        await scene.start_sandbox()
        await scene.until(lambda: len(scene.plan_ends()) == 11, seconds=60, what="every plan's end")
        assert await scene.stop_worker(worker) == 0
        assert len(scene.effects("createCalledRoute")) == 1
        _each_once(scene, 10)


async def test_wrong_keys_and_a_wrong_clock_say_what_to_do_and_hurt_no_other_account(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    async with Scene(kafka, tmp_path, tag=".keys", secrets=_WRONG_KEYS) as scene:
        account = {"vendor": "tencent_ccc", "base_url": scene.sandbox_url, "site": "cn", "sdk_app_id": 1400000000}
        wrong = {
            "acme_wrong": account | {"secret_id": "AKIDFAKE-cn"},
            "acme_nobody": account | {"secret_id": "AKIDFAKE-no"},
        }
        scene.settings = {"accounts": wrong, "quarantine": {"probe_seconds": 1.0}}
        worker = scene.start_worker()
        await scene.produce([hired(100, account="acme_wrong"), hired(101, account="acme_nobody"), hired(102)])
        await scene.until(
            lambda: len(_sick(scene)) == 2 and len(scene.plan_ends()) == 1,
            seconds=30,
            what="two sick accounts, one end",
        )
        _is_told(scene, "acme_wrong", "AuthFailure.SignatureFailure", "secret key")
        _is_told(scene, "acme_nobody", "AuthFailure.SecretIdNotFound", "secret id")

        await scene.ask_sandbox("PUT", "faults", {"rules": [{"kind": "clock_offset", "seconds": 600.0}]})
        await scene.produce([hired(103)])
        await scene.until(lambda: "acme_cn" in _sick(scene), seconds=30, what="the account off the clock")
        _is_told(scene, "acme_cn", "AuthFailure.SignatureExpire", "clock")
        assert "failed" not in {command["state"] for command in await scene.commands(subject="agent:workday/A103")}
        await scene.ask_sandbox("DELETE", "faults")
        await scene.until(lambda: len(scene.plan_ends()) == 2, seconds=30, what="the hire, once the clock is right")
        recovered = scene.events("provisioning.account.recovered")
        assert {event["data"]["account"] for event in recovered} == {"acme_cn"}
        assert await scene.away() == ""
        assert await scene.stop_worker(worker) == 0
        _each_once(scene, 2)
        for key in (*_WRONG_KEYS.values(), SANDBOX["tencent"][0]["secret_key"]):
            assert key not in scene.log_text


_WRONG_KEYS = {
    "CORDBOARD_ACCOUNTS__ACME_WRONG__SECRET_KEY": "FAKE-wrong-key-9876543210",
    "CORDBOARD_ACCOUNTS__ACME_NOBODY__SECRET_KEY": "FAKE-other-key-9876543210",
}


async def test_without_the_ledgers_disk_nothing_is_sent_and_nothing_is_lost(kafka: KafkaBroker, tmp_path: Path) -> None:
    async with Scene(kafka, tmp_path, tag=".disk") as scene:
        worker = scene.start_worker()
        await scene.produce([hired(n) for n in range(1000, 1060)])
        await scene.until(lambda: len(scene.effects("CreateExtension")) >= 10, seconds=30, what="work has begun")
        scene.fill_disk(worker, full=True)
        await _until_away(scene, "away: ledger", seconds=20)
        await scene.produce([hired(n) for n in range(1060, 1070)])
        await _more_tries(scene)
        await _quiet(scene)  # what was marked before goes out within its lead time
        sent = len(_writes(scene))
        assert sent <= scene.ledger_rows("SELECT count(*) FROM attempts WHERE call LIKE '%.CreateExtension'")[0][0]
        await _more_tries(scene)
        assert len(_writes(scene)) == sent, "nothing goes out without its mark"
        assert (await scene.get("/livez"))[0] == 200
        scene.fill_disk(worker, full=False)
        await scene.until(lambda: len(scene.plan_ends()) == 70, seconds=60, what="every plan's end")
        await _until_away(scene, "", seconds=20)
        assert await scene.stop_worker(worker) == 0
        assert await scene.committed() == 70
        _each_once(scene, 70)


async def _until_away(scene: Scene, what: str, *, seconds: float) -> None:
    async def says_so() -> bool:
        return await scene.away() == what

    await scene.until_async(says_so, seconds=seconds, what=f"/readyz saying '{what}'")


def _route(data: dict[str, Any]) -> Any:
    return event("crm.number.purchased.v1", "route-1", data, key="95500")


async def _more_tries(scene: Scene) -> None:
    event = "waiting for something that is away"
    seen = len(scene.log_lines(event))
    await scene.until(lambda: len(scene.log_lines(event)) >= seen + 5, seconds=30, what="it tries on")


async def _quiet(scene: Scene) -> None:
    """No write has come for a second: five times the lead that slots have."""
    last = [len(_writes(scene)), time.monotonic()]

    def still() -> bool:
        if len(_writes(scene)) != last[0]:
            last[:] = [len(_writes(scene)), time.monotonic()]
        return time.monotonic() - last[1] > 1.0

    await scene.until(still, seconds=20, what="no write for a second")


def _writes(scene: Scene) -> list[Any]:
    return [entry for entry in scene.journal if entry.action == "CreateExtension"]


def _sick(scene: Scene) -> dict[str, Any]:
    """By account: why it was stopped, as it was last told."""
    told = scene.events("provisioning.account.quarantined")
    return {event["data"]["account"]: event["data"]["failure"] for event in told}


def _is_told(scene: Scene, account: str, code: str, advice: str) -> None:
    failure = _sick(scene)[account]
    assert (failure["error_class"], failure["code"]) == ("credentials", code)
    assert advice in failure["advice"]


def _each_once(scene: Scene, hires: int) -> None:
    assert duplicate_effects(scene.journal) == []
    assert scene.bursts() == []
    assert len(scene.effects("CreateExtension")) == hires
    assert all(len(ids) == 1 for ids in scene.plan_ends().values())
    assert scene.events("provisioning.command.in_doubt") == []
