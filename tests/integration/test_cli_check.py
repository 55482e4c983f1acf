"""`check` and `topics` against a real Kafka and the sandbox: what is found, and what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from service.adapters.ledger_sqlite import file as ledger
from service.entrypoints.cli import app
from service.entrypoints.cli_sandbox import APP, HUAWEI_KEY, HUAWEI_SECRET, TENCENT_ID, TENCENT_KEY, TRYING
from service.sandbox.server import RunningSandbox, start_sandbox
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker, unique_name

SECRETS = {
    "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": TENCENT_KEY,
    "CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET": HUAWEI_SECRET,
}


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    running = await start_sandbox(TRYING)
    yield running
    await running.close()


@pytest.fixture
def config(tmp_path: Path, sandbox: RunningSandbox) -> Path:
    """Settings of two accounts at the sandbox, and of no Kafka that answers."""
    document = {
        "kafka": {"bootstrap_servers": "127.0.0.1:1"},
        "ledger": f"sqlite:///{tmp_path}/ledger.db",
        "accounts": {
            "acme_cn": {
                "vendor": "tencent_ccc",
                "base_url": sandbox.base_url,
                "sdk_app_id": APP,
                "secret_id": TENCENT_ID,
            },
            "acme_hw": {"vendor": "huawei_aicc", "base_url": sandbox.base_url, "app_key": HUAWEI_KEY},
        },
    }
    path = tmp_path / "cordboard.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


async def run(*arguments: str, **environ: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env={**SECRETS, **environ})


async def check(config: Path, code: int, **environ: str) -> dict[str, dict[str, Any]]:
    result = await run("check", "--config", str(config), "--output", "json", **environ)
    assert result.exit_code == code, result.output
    assert "FAKE-sandbox-secret" not in result.output
    assert "FAKE-sandbox-app-secret" not in result.output
    return {row["part"]: row for row in json.loads(result.stdout)}


async def test_vendors_answer_and_a_broker_that_does_not_is_unreachable(config: Path) -> None:
    found = await check(config, 6)
    assert {part: row["verdict"] for part, row in found.items()} == {
        "configuration": "ok",
        "kafka": "unreachable",
        "ledger": "ok",
        "account acme_cn": "ok",
        "account acme_hw": "ok",
    }
    assert "start it" in found["kafka"]["advice"]


async def test_a_check_changes_nothing_at_the_vendor_and_makes_no_ledger(
    config: Path, sandbox: RunningSandbox, tmp_path: Path
) -> None:
    await check(config, 6)
    assert {entry.action for entry in sandbox.journal.entries if entry.effect_applied} <= {"tokenByAkSk"}
    assert not list(tmp_path.glob("ledger*"))  # noqa: ASYNC240 - a test may look


async def test_a_wrong_key_says_what_to_do(config: Path) -> None:
    found = await check(config, 1, CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY="FAKE-other")
    assert "AuthFailure.SignatureFailure" in found["account acme_cn"]["found"]
    assert "secret key" in found["account acme_cn"]["advice"]


async def test_a_vendor_that_is_away_is_unreachable(config: Path) -> None:
    found = await check(config, 6, CORDBOARD_ACCOUNTS__ACME_HW__BASE_URL="http://127.0.0.1:1")
    assert found["account acme_hw"]["verdict"] == "unreachable"
    assert "ConnectRefused" in found["account acme_hw"]["found"]


async def test_a_ledger_that_a_server_has_is_fine(config: Path, tmp_path: Path) -> None:
    ledger.migrate(tmp_path / "ledger.db")
    lock = ledger.FileLock(tmp_path / "ledger.db")
    try:
        found = await check(config, 6)
    finally:
        lock.release()
    assert "in use" in found["ledger"]["found"]


async def test_topics_are_made_once_and_then_all_is_well(kafka: KafkaBroker, config: Path) -> None:
    hr, crm = unique_name("hr"), unique_name("crm")
    environ = {"CORDBOARD_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "CORDBOARD_KAFKA__TOPICS": f"{hr},{crm}"}
    found = await check(config, 1, **environ)
    assert f"missing: {hr}, {crm}" in found["topics"]["found"]
    made = await run("topics", "--create", "--partitions", "2", "--config", str(config), "-o", "json", **environ)
    assert made.exit_code == 0, made.output
    outcomes = {row["name"]: row["outcome"] for row in json.loads(made.stdout)}
    assert (outcomes[hr], outcomes[f"dlq.{crm}"]) == ("made", "made")
    found = await check(config, 0, **environ)
    assert found["topics"]["found"] == "all 6 are there"
    assert "identities are kept for 400 days" in found["retention"]["found"]
    again = await run("topics", "--create", "--config", str(config), "-o", "json", **environ)
    assert {row["outcome"] for row in json.loads(again.stdout)} == {"there already"}


async def test_a_topic_that_keeps_its_records_for_longer_than_identities_are_kept_fails_the_check(
    kafka: KafkaBroker, make_topic: TopicMaker, config: Path
) -> None:
    hr, crm = await make_topic(config={"retention.ms": "-1"}), await make_topic()
    environ = {"CORDBOARD_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "CORDBOARD_KAFKA__TOPICS": f"{hr},{crm}"}

    found = (await check(config, 1, **environ))["retention"]

    assert found["verdict"] == "failed"
    assert f"{hr} keeps its records for ever" in found["found"]
    assert crm not in found["found"]
    assert "retention.identity_days" in found["advice"]


async def test_a_topic_the_broker_refuses_is_told(kafka: KafkaBroker, config: Path) -> None:
    environ = {
        "CORDBOARD_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "CORDBOARD_KAFKA__TOPICS": unique_name("hr"),
    }
    result = await run(
        "topics", "--create", "--replication-factor", "3", "--config", str(config), "-o", "json", **environ
    )
    assert result.exit_code in {1, 4}
    assert "InvalidReplicationFactorError" in {row["outcome"] for row in json.loads(result.stdout)}
