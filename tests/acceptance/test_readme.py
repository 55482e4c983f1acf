"""What the README says under "Run it" is done as it is written: its commands, its configuration, its event."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import pytest
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from service.sandbox.configuration import configuration_from_json
from service.sandbox.server import RunningSandbox, start_sandbox
from tests.acceptance.scene import free_port
from tests.kafka.broker import KafkaBroker

ROOT = Path(__file__).resolve().parents[2]
README: Final = (ROOT / "README.md").read_text()
COMMANDS: Final = re.findall(r"^    cordboard/bin/(cordboard .+?)(?: +# .*)?$", README, re.MULTILINE)
INSTALL: Final = re.findall(r"^    (python3 -m venv .+)$", README, re.MULTILINE)
FILE = "cordboard.yaml"
KEYS: Final = {"tencent": "FAKE-secret-key-cn-0123456789", "huawei": "FAKE-app-secret-0123456789"}


def block(beginning: str) -> str:
    """The indented block of the README that begins so."""
    found = re.search(rf"^(?:    {re.escape(beginning)}.*\n)(?:(?:    .*)?\n)*?(?=\S|\n\S)", README, re.MULTILINE)
    assert found is not None, beginning
    return "\n".join(line.removeprefix("    ") for line in found[0].rstrip().splitlines())


def environ(kafka: KafkaBroker, sandbox: RunningSandbox) -> dict[str, str]:
    """What differs here: where Kafka and the vendors are, and the keys, under the names that the README gives."""
    return os.environ | {
        "CORDBOARD_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "CORDBOARD_ACCOUNTS__ACME_CN__BASE_URL": f"{sandbox.base_url}/",
        "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": KEYS["tencent"],
        "CORDBOARD_ACCOUNTS__ACME_HW__BASE_URL": sandbox.base_url,
        "CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET": KEYS["huawei"],
        "CORDBOARD_HTTP__PORT": str(free_port()),
    }


async def test_configuration_commands_and_event_of_the_readme_work_as_written(
    own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    written = block("kafka: {")
    (tmp_path / FILE).write_text(written)
    accounts = yaml.safe_load(written)["accounts"]
    cn, hw = accounts["acme_cn"], accounts["acme_hw"]
    sandbox = await start_sandbox(
        configuration_from_json(
            {
                "tencent": [
                    {"secret_id": cn["secret_id"], "secret_key": KEYS["tencent"], "sdk_app_ids": [cn["sdk_app_id"]]}
                ],
                "huawei": [{"app_key": hw["app_key"], "app_secret": KEYS["huawei"]}],
            }
        )
    )
    known = environ(own_kafka, sandbox)
    checked, topics, run = (shlex.split(line)[1:] for line in COMMANDS)
    try:
        assert "topic" in await done(checked, tmp_path, known, code=1), "before there are topics, check says so"
        await done(topics, tmp_path, known)
        await done(checked, tmp_path, known)
        told = await told_after(run, tmp_path, known, own_kafka)
    finally:
        await sandbox.close()
    event = orjson.loads(block('{"specversion"'))
    assert told["type"] == "provisioning.plan.completed.v1"
    assert told["subject"] == f"agent:workday/{event['data']['agent_id']}"


@pytest.mark.long
async def test_installation_of_the_readme_works_as_written(tmp_path: Path) -> None:
    (line,) = INSTALL
    for part in line.replace(" .", f" {ROOT}").replace("cordboard", str(tmp_path / "cordboard"), 2).split(" && "):
        await asyncio.to_thread(subprocess.run, shlex.split(part), check=True, timeout=300)
    found = subprocess.run(  # noqa: S603, ASYNC221 - our own program, at once
        [tmp_path / "cordboard" / "bin" / "cordboard", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip()


async def done(words: Sequence[str], folder: Path, known: dict[str, str], *, code: int = 0) -> str:
    """Run one command; what it printed."""
    command = [sys.executable, "-m", "service", *words]
    found = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=known, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == code, f"$ cordboard {shlex.join(words)}\n{found.stdout}{found.stderr}"
    return found.stdout + found.stderr


async def told_after(run: Sequence[str], folder: Path, known: dict[str, str], kafka: KafkaBroker) -> dict[str, str]:
    """Run the server, write the README's event, and wait for the first word of its plan's end."""
    consumer = AIOKafkaConsumer(
        "provisioning.results", bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "service", *run]
        server = subprocess.Popen(command, cwd=folder, env=known, stdout=log, stderr=log)  # noqa: S603, ASYNC220
    try:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            await producer.send_and_wait("hr.events", block('{"specversion"').encode(), key=b"A1024")
        async with asyncio.timeout(60):
            async for message in consumer:
                found: dict[str, str] = orjson.loads(message.value)
                if found["type"].startswith("provisioning.plan."):
                    return found
        raise AssertionError((folder / "log").read_text())
    finally:
        await consumer.stop()
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 30) == 0
