"""The main job on real processes: a mixed day in, each effect once, every end told, no secret in any sink."""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from service.entrypoints.demo_day import DayRecord, DayShape, mixed_day
from service.sandbox.journal import duplicate_effects, utilisation, windows_over_quota
from tests.acceptance.scene import QUOTAS, Scene
from tests.acceptance.secrecy import leaks, sinks
from tests.kafka.broker import KafkaBroker

THOUSAND = DayShape(
    hires=530,
    second_ids=30,
    tccc_numbers=110,
    outbound_numbers=20,
    refused_numbers=0,
    aicc_routes=130,
    incomplete=10,
    malformed=20,
    foreign=70,
    repeated=0.1,
)


async def test_a_thousand_mixed_events_are_done_once_and_told(
    own_kafka: KafkaBroker, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    day = mixed_day(THOUSAND)
    kinds = Counter(record.what for record in day)
    assert len(day) == 1000
    async with Scene(own_kafka, tmp_path) as scene:
        await scene.produce(day)
        worker = scene.start_worker()
        plans = len(day) - kinds["malformed"] - kinds["foreign"] - kinds["repeated"]
        await scene.until(
            lambda: len(_ends(scene)) >= plans and len(scene.dead_letters()) >= kinds["malformed"],
            seconds=150,
            what=f"{plans} plan ends and {kinds['malformed']} dead letters",
        )
        http = [
            await scene.get(path) for path in ("/metrics", "/v1/commands?limit=200", "/v1/plans?limit=200", "/readyz")
        ]
        secrets = [text.encode() for text in await _secrets(scene)]
        running = [path.read_bytes() for path in scene.ledger_files]  # with its write-ahead log
        assert await scene.stop_worker(worker) == 0
        _each_effect_once(scene, kinds)
        _one_end_a_plan(scene, plans, kinds)
        _dead_letters_are_the_malformed(scene, day)
        used = utilisation(scene.journal, "CreateExtension", 20)
        with capsys.disabled():
            sys.stdout.write(f"\nCreateExtension: {used:.4f} of its quota used; requests: {_requests(scene)}\n")
        record_property("create_extension_utilisation", used)
        assert used >= 0.97
        assert all(status == 200 for status, _ in http)
        _no_secret_in_any_sink(scene, secrets, [body for _, body in http], b"".join(running))


def _ends(scene: Scene) -> list[dict[str, Any]]:
    return [*scene.events("provisioning.plan.completed"), *scene.events("provisioning.plan.failed")]


def _each_effect_once(scene: Scene, kinds: Counter[str]) -> None:
    journal = scene.journal
    assert duplicate_effects(journal) == []
    assert windows_over_quota(journal, QUOTAS) == []
    effects = Counter(entry.action for entry in journal if entry.effect_applied)
    assert effects["CreateExtension"] == kinds["hired"]
    assert effects["CreateOwnNumberApply"] == kinds["purchased"]
    assert effects["BindNumberCallInInterface"] == THOUSAND.tccc_numbers
    assert effects["createCalledRoute"] == kinds["routed"]
    assert effects["ModifyExtension"] == effects["modifyCalledRoute"] == 0


def _one_end_a_plan(scene: Scene, plans: int, kinds: Counter[str]) -> None:
    ends = {event["id"]: event for event in _ends(scene)}.values()
    by_plan = Counter(event["data"]["plan_id"] for event in ends)
    assert len(by_plan) == plans
    assert set(by_plan.values()) == {1}
    failed = [event for event in ends if event["type"] == "provisioning.plan.failed.v1"]
    assert len(failed) == kinds["incomplete"]
    assert {event["data"]["failure"]["field"] for event in failed} == {"extension"}
    unchanged = [e for e in scene.events("provisioning.command.succeeded") if e["data"]["result"] == "unchanged"]
    assert len(unchanged) == kinds["second_id"]


def _dead_letters_are_the_malformed(scene: Scene, day: list[DayRecord]) -> None:
    malformed = Counter((record.key, record.value) for record in day if record.what == "malformed")
    assert Counter((letter.key, letter.value) for letter in scene.dead_letters()) == malformed


async def _secrets(scene: Scene) -> list[str]:
    answer = await scene.ask_sandbox("GET", "secrets")
    secrets: list[str] = answer if isinstance(answer, list) else answer["secrets"]
    assert len(secrets) > THOUSAND.hires  # a password for every extension, the keys, the tokens
    return secrets


def _no_secret_in_any_sink(scene: Scene, secrets: list[bytes], http: list[bytes], running: bytes) -> None:
    assert leaks({**sinks(scene), "ledger while it ran": running, "http": b"".join(http)}, secrets) == set()


def _requests(scene: Scene) -> dict[str, int]:
    return dict(Counter(str(entry.action) for entry in scene.journal))
