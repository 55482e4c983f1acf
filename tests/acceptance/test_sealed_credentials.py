"""SIP passwords on real processes: sealed for their receiver or dropped, never in clear, told once across kills."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import ConsumerRecord
from jsonschema import Draft202012Validator

from contracts.generate import ROOT as CONTRACTS
from service.adapters.failpoints import ARMED, CHOSEN
from service.sandbox.configuration import SandboxConfiguration
from service.sandbox.tencent_state import sip_password
from tests.acceptance.collector import collecting
from tests.acceptance.events import event, hired
from tests.acceptance.scene import SANDBOX, Scene
from tests.acceptance.secrecy import dump, leaks, pages, sinks, spellings
from tests.kafka.broker import KafkaBroker
from tests.sealed_credentials import Receiver, header_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sealed-credentials.md"
SEALED = "provisioning.credential.sealed"
TOPIC = "provisioning.credentials"
APP: int = SANDBOX["tencent"][0]["sdk_app_ids"][0]
HIRES = range(8100, 8106)
FAST: dict[str, Any] = {
    "kafka": {"session_timeout_ms": 1500},
    "timing": {"read_lag_seconds": 0.5},
    "accounts": {"acme_cn": {"quotas": {"default": 200}}},
}
QUOTAS = {"quotas": {"tencent_ccc": {"default": 200}}}


def password_of(extension: int) -> str:
    """The password that the sandbox gives an extension."""
    return sip_password(SandboxConfiguration().seed, APP, str(extension))


def settings(credentials: dict[str, str], **more: Any) -> dict[str, Any]:
    account = {**FAST["accounts"]["acme_cn"], "credentials": credentials}
    return {**FAST, "accounts": {"acme_cn": account}, **more}


def records(scene: Scene) -> "list[ConsumerRecord[bytes | None, bytes | None]]":
    return [message for message in scene.messages if message.topic == TOPIC]


@pytest.mark.parametrize("mode", ["sealed", "none"])
@pytest.mark.parametrize("ledger", ["sqlite", "postgres"])
async def test_password_stands_in_no_sink_in_any_spelling(
    kafka: KafkaBroker, tmp_path: Path, request: pytest.FixtureRequest, ledger: str, mode: str
) -> None:
    url = request.getfixturevalue("postgres_url") if ledger == "postgres" else ""
    receiver = Receiver.with_ec()
    policy = {"mode": mode} if mode == "none" else {"mode": mode, "public_key_file": receiver.publish(tmp_path)}
    change = event("hr.agent.changed.v1", "change-1", {"agent_id": "A8100", "name": "Other"}, key="A8100")
    async with (
        collecting() as collector,
        Scene(
            kafka,
            tmp_path,
            tag=f".{ledger}.{mode}",
            database=url,
            sandbox_settings=QUOTAS,
            settings=settings(policy, traces={"otlp_endpoint": collector.endpoint}, log={"level": "debug"}),
        ) as scene,
    ):
        await scene.produce([*map(hired, HIRES), *map(hired, HIRES), change])
        worker = scene.start_worker()
        await scene.until(lambda: len(scene.plan_ends()) == len(HIRES) + 1, seconds=60, what="every plan's end")
        answers = await pages(
            scene, "/v1/explain?about=agent:workday/A8100", "/v1/explain?about=extension:acme_cn/8100"
        )
        running = sinks(scene)
        assert await scene.stop_worker(worker) == 0
        found = {f"{name} while it ran": content for name, content in running.items()}
        found |= sinks(scene) | answers | {"traces": b"".join(collector.bodies)}
        if url:
            found["dump"] = dump(url)
        assert {password_of(n) for n in HIRES} <= {*(await scene.ask_sandbox("GET", "secrets"))["secrets"]}
        assert leaks(found, [needle for n in HIRES for needle in spellings(password_of(n))]) == set()
        assert b"8100" in found["log"]
        assert b"agent:workday/A8100" in found["dump" if url else "ledger"]
        told = {end["data"]["agent"]["credential"] for end in scene.events("provisioning.plan.completed")}
        if mode == "none":
            assert records(scene) == []
            assert told == {"none"}
        else:
            assert told == {"delivered", "none"}  # none for the change, which reads no registration
            _each_is_opened_by_its_receiver_alone(records(scene), receiver)


def _each_is_opened_by_its_receiver_alone(
    told: "Sequence[ConsumerRecord[bytes | None, bytes | None]]", receiver: Receiver
) -> None:
    assert len(told) == len(HIRES)
    content = Draft202012Validator(json.loads((CONTRACTS / "schemas/sealed-credential.v1.json").read_text()))
    whole = Draft202012Validator(json.loads((CONTRACTS / f"schemas/{SEALED}.v1.json").read_text()))
    for record in told:
        document = json.loads(record.value or b"")
        whole.validate(document)
        opened = receiver.open(document["data"]["jwe"])
        content.validate(opened)
        extension = document["data"]["extension"]
        assert record.key == f"agent:workday/A{extension}".encode()
        assert opened == {
            "subject": f"agent:workday/A{extension}",
            "account": "acme_cn",
            "extension": extension,
            "password": password_of(int(extension)),
        }
    headers = [header_of(json.loads(record.value or b"")["data"]["jwe"]) for record in told]
    assert {(header["alg"], header["enc"]) for header in headers} == {("ECDH-ES+A256KW", "A256GCM")}
    assert len({header["epk"]["x"] for header in headers}) == len(headers)


DEATHS = {
    "read.after:2": "the vendor's reply is there, and nothing of it is kept",
    "settle.before:2": "the password is sealed, and that is not kept",
    "settle.after:2": "the message is kept, and not told",
}
TOLD_BUT_NOT_NOTED = "publish.after:1"


async def test_credential_is_told_under_one_id_with_one_content_wherever_the_process_dies(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    receiver = Receiver.with_rsa()
    policy = {"mode": "sealed", "public_key_file": receiver.publish(tmp_path)}
    async with Scene(kafka, tmp_path, tag=".deaths", sandbox_settings=QUOTAS, settings=settings(policy)) as scene:
        for ends, point in enumerate(DEATHS, start=1):
            await scene.produce([hired(8200 + ends)])
            await _die(scene, point)
            if point == "settle.after:2":
                await _die(scene, TOLD_BUT_NOT_NOTED)
            worker = scene.start_worker()
            await scene.until(lambda ends=ends: len(scene.plan_ends()) == ends, seconds=40, what=DEATHS[point])  # type: ignore[misc]
            await scene.until_async(lambda: _all_told(scene), seconds=20, what="an empty outbox")
            assert await scene.stop_worker(worker) == 0
        twice = len(DEATHS) + 1  # the last of them was told twice
        await scene.until(lambda: len(records(scene)) == twice, seconds=10, what="the last credential once more")
        by_agent: dict[bytes | None, set[bytes | None]] = {}
        for record in records(scene):
            by_agent.setdefault(record.key, set()).add(record.value)
        assert len(by_agent) == len(DEATHS)
        for values in by_agent.values():
            (value,) = values
            data = json.loads(value or b"")["data"]
            assert receiver.open(data["jwe"])["password"] == password_of(int(data["extension"]))
        reads = [entry for entry in scene.journal if entry.action == "DescribeExtension"]
        assert len(reads) == len(DEATHS) + 2  # the first two had to read again
        assert len(scene.effects("CreateExtension")) == len(DEATHS)
        needles = [needle for n in range(8201, 8204) for needle in spellings(password_of(n))]
        assert leaks(sinks(scene), needles) == set()


async def _die(scene: Scene, point: str) -> None:
    """A process that dies at a point."""
    scene.secrets |= {ARMED: "1", CHOSEN: point}
    worker = scene.start_worker()
    await scene.until(lambda: worker.poll() is not None, seconds=30, what=point)
    assert worker.returncode == -signal.SIGKILL, point
    scene.secrets.clear()


async def _all_told(scene: Scene) -> bool:
    return await scene.is_ready() and await scene.metric("outbox_pending") == 0


async def test_page_for_the_receiver_works_as_written(kafka: KafkaBroker, tmp_path: Path) -> None:
    commands = re.findall(r"^    (\S.+)$", PAGE.read_text(), re.MULTILINE)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (configured,) = [yaml.safe_load(text) for kind, text in blocks if kind == "yaml"]
    thumbprint, opening = (text for kind, text in blocks if kind == "python")
    reader = Reader(tmp_path)
    for command in commands:
        if command.startswith(("openssl", "chmod")):
            reader.type(command)
    policy = configured["accounts"]["acme_cn"]["credentials"]
    policy = {**policy, "public_key_file": str(tmp_path / policy["public_key_file"])}
    async with Scene(kafka, tmp_path, tag=".page", sandbox_settings=QUOTAS, settings=settings(policy)) as scene:
        worker = scene.start_worker()
        reader.environ = {"CORDBOARD_CONFIG": str(tmp_path / "cordboard.yaml"), **scene._secrets()}
        said = [reader.type(command) for command in commands if command.startswith("cordboard")]
        assert len(said) == 2
        kid = reader.python(thumbprint).strip()
        assert f"sealed to EC P-256, kid {kid}" in " ".join(said[0].split())
        assert TOPIC in said[1]
        await scene.produce([hired(8300)])
        await scene.until(lambda: bool(records(scene)), seconds=40, what="the credential")
        value = records(scene)[0].value or b""
        assert header_of(json.loads(value)["data"]["jwe"])["kid"] == kid
        assert json.loads(reader.python(opening, value)) == {
            "subject": "agent:workday/A8300",
            "account": "acme_cn",
            "extension": "8300",
            "password": password_of(8300),
        }
        assert await scene.stop_worker(worker) == 0


class Reader:
    """Somebody who types what the page says, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}

    def type(self, command: str) -> str:
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "250"}
        done = subprocess.run(  # noqa: S602 - as a reader of our own page would
            command,
            shell=True,
            cwd=self.folder,
            env={**own, **self.environ},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, program: str, given: bytes = b"") -> str:
        done = subprocess.run(  # noqa: S603 - our own page
            [sys.executable, "-c", program], cwd=self.folder, input=given, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@pytest.mark.parametrize("before", [b"", b"x", b"xy", b"xyz"])
def test_search_finds_a_secret_however_it_is_written(before: bytes) -> None:
    secret = 'FAKE/sip+"pass 42'
    plain = before + secret.encode() + b"after"
    hidden = {
        "plain": plain,
        "base64": base64.b64encode(plain),
        "base64url": base64.urlsafe_b64encode(plain),
        "hex": plain.hex().encode(),
        "json": json.dumps(plain.decode()).encode(),
        "url": b"q=FAKE%2Fsip%2B%22pass%2042",
    }
    assert leaks({**hidden, "clean": b"FAKE"}, spellings(secret)) == set(hidden)
