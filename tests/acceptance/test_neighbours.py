"""One resource that fails for ever and one account that is sick hurt nobody else: two runs side by side."""

import asyncio
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from service.entrypoints.demo_day import DayRecord
from service.sandbox.journal import windows_over_quota
from tests.acceptance.events import event, hired
from tests.acceptance.scene import QUOTAS, SANDBOX, Scene
from tests.kafka.broker import KafkaBroker

SICK_ACCOUNT = {
    "vendor": "tencent_ccc",
    "site": "intl",
    "sdk_app_id": 1400000001,
    "secret_id": "AKIDFAKE-sg",
}
RIGHT_KEY, WRONG_KEY = "FAKE-secret-key-sg-0123456789", "FAKE-wrong-key-9876543210"
KEY_VARIABLE = "CORDBOARD_ACCOUNTS__ACME_SG__SECRET_KEY"
FAILING = {"kind": "http_before", "action": "*Extension", "match": "*/9999", "status": 503}
QUICK = {"timing": {"connect_seconds": 0.5, "read_seconds": 0.5, "read_lag_seconds": 0.0}}
MOST, GRACE = 1.5, 0.1


async def test_a_resource_that_fails_for_ever_and_a_sick_account_hurt_nobody_else(
    kafka: KafkaBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Any
) -> None:
    sandbox = {"tencent": [*SANDBOX["tencent"], _at_the_sandbox()]}
    scenes = {
        name: Scene(
            kafka,
            _folder(tmp_path, name),
            tag=f".{name}",
            secrets={KEY_VARIABLE: key},
            settings=dict(QUICK),
            sandbox_settings=sandbox,
        )
        for name, key in (("sick", WRONG_KEY), ("clean", RIGHT_KEY))
    }
    async with scenes["sick"] as sick, scenes["clean"] as clean:
        for scene in (sick, clean):
            scene.settings["accounts"] = {"acme_sg": {**SICK_ACCOUNT, "base_url": scene.sandbox_url}}
        await sick.ask_sandbox("PUT", "faults", {"rules": [FAILING]})
        workers = [sick.start_worker(), clean.start_worker()]
        for scene in (sick, clean):
            await scene.produce(_trouble())
        await sick.until(lambda: _is_in_trouble(sick), seconds=40, what="an account in quarantine, a resource failing")
        await clean.until(
            lambda: len(_told(clean, "provisioning.plan.completed")) == len(_trouble()),
            seconds=40,
            what="the clean run's start",
        )
        others = _others()
        await asyncio.gather(sick.produce(others), clean.produce(others))
        for scene in (sick, clean):
            await scene.until(
                lambda scene=scene: len(_waits(scene)) == _commands(others),  # type: ignore[misc]
                seconds=60,
                what="the others' commands",
            )
        assert _is_in_trouble(sick), "what was sick had to be so all the time"
        quarantined = _told(sick, "provisioning.account.quarantined")
        assert [told["data"]["account"] for told in quarantined] == ["acme_sg"]
        assert _told(sick, "provisioning.account.recovered") == []
        assert _ended_of_the_sick(sick) == [], "they wait, they do not fail"
        for scene, worker in zip((sick, clean), workers, strict=True):
            assert await scene.stop_worker(worker) == 0
            assert windows_over_quota(scene.journal, QUOTAS) == []
        beside, alone = _p99(_waits(sick)), _p99(_waits(clean))
    with capsys.disabled():
        sys.stdout.write(
            f"\n  p99 wait of {_commands(others)} commands: clean {alone:.3f} s, beside the sick {beside:.3f} s\n"
        )
    record_property("p99_wait_beside_the_sick", beside)
    record_property("p99_wait_clean", alone)
    assert beside <= MOST * alone + GRACE


def _at_the_sandbox() -> dict[str, Any]:
    return {
        "secret_id": SICK_ACCOUNT["secret_id"],
        "secret_key": RIGHT_KEY,
        "sdk_app_ids": [SICK_ACCOUNT["sdk_app_id"]],
        "site": "intl",
    }


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _trouble() -> list[DayRecord]:
    """Work for the failing resource, with more behind it, and for the sick account."""
    failing = [
        hired(9999),
        event("hr.agent.changed.v1", "change-9999", {"agent_id": "A9999", "name": "B"}, key="A9999"),
    ]
    return failing + [hired(n, account="acme_sg") for n in range(8000, 8010)]


def _others() -> list[DayRecord]:
    """Sixty events that have nothing to do with any of that, at both vendors."""
    routes = [
        event(
            "crm.number.purchased.v1",
            f"route-{n}",
            {"account": "acme_hw", "access_code": str(95_000 + n), "route": {"ivr": 7}},
            key=str(n),
        )
        for n in range(12)
    ]
    return [hired(n) for n in range(1000, 1048)] + routes


def _commands(records: list[DayRecord]) -> int:
    """A hire is two commands, a route is one."""
    return sum(2 if record.what.startswith("hire-") else 1 for record in records)


def _told(scene: Scene, kind: str) -> list[dict[str, Any]]:
    """What a scene's worker told; the result topics are both's. A recovery names no cause: the clean run has none."""
    told = scene.events(kind)
    return [event for event in told if event["data"].get("caused_by", {}).get("topic", scene.tag).endswith(scene.tag)]


def _is_in_trouble(scene: Scene) -> bool:
    tries = [entry for entry in scene.journal if entry.action == "CreateExtension" and entry.status == 503]
    return len(tries) >= 2 and bool(_told(scene, "provisioning.account.quarantined"))


def _is_sick(told: dict[str, Any]) -> bool:
    return told["data"]["account"] == "acme_sg" or str(told["data"]["resource"]).endswith("/9999")


def _ended_of_the_sick(scene: Scene) -> list[dict[str, Any]]:
    kinds = ("provisioning.command.failed", "provisioning.command.succeeded")
    return [told for kind in kinds for told in _told(scene, kind) if _is_sick(told)]


def _waits(scene: Scene) -> list[float]:
    """Seconds from a command's making to its end, of the others."""
    names = ("queue_seconds", "quota_seconds", "vendor_seconds")
    told = [event["data"] for event in _told(scene, "provisioning.command.succeeded") if not _is_sick(event)]
    return [sum(data["timing"][name] for name in names) for data in told]


def _p99(waits: list[float]) -> float:
    return sorted(waits)[math.ceil(0.99 * len(waits)) - 1]
