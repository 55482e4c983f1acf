"""A whole town for acceptance tests: real Kafka, the sandbox and Cordboard, each a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord

from service.entrypoints.demo_day import DayRecord
from service.sandbox.journal import Entry, read_journal
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker

IN_TOPICS = ("hr.events", "crm.events")
OUT_TOPICS = ("provisioning.results", "provisioning.failures", "dlq.hr.events", "dlq.crm.events")
TWO_MIB = 2 * 1024 * 1024

SANDBOX: dict[str, Any] = {
    "tencent": [
        {"secret_id": "AKIDFAKE-cn", "secret_key": "FAKE-secret-key-cn-0123456789", "sdk_app_ids": [1400000000]},
    ],
    "huawei": [{"app_key": "FAKE-app-key", "app_secret": "FAKE-app-secret-0123456789"}],
    "approval_seconds": 2.0,
}
QUOTAS = {"tencent_ccc": {"default": 20}, "huawei_aicc": {"default": 5}}


@dataclass
class Scene:
    """Start with `async with Scene(broker, folder) as scene`; everything it started ends with it."""

    broker: KafkaBroker
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    sandbox_settings: dict[str, Any] = field(default_factory=dict)
    messages: list[ConsumerRecord[bytes | None, bytes | None]] = field(default_factory=list)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None
    sandbox_url: str = ""
    http_port: int = 0

    async def __aenter__(self) -> Self:
        make = TopicMaker(self.broker.bootstrap_servers)
        for topic in (*IN_TOPICS, *OUT_TOPICS):
            await make(topic, partitions=3, max_message_bytes=TWO_MIB)
        self.sandbox_url = await asyncio.to_thread(self._start_sandbox)
        self._reading = asyncio.create_task(self._read_everything())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    @property
    def journal(self) -> list[Entry]:
        """What the sandbox saw, ground truth."""
        return read_journal(self.folder / "journal.jsonl")

    @property
    def log_text(self) -> str:
        """Everything that Cordboard's processes printed."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("worker*.log")))

    @property
    def ledger_files(self) -> list[Path]:
        """The ledger's file and its companions."""
        return sorted(self.folder.glob("ledger.db*"))

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start `cordboard run`; returns at once."""
        self.http_port = self.http_port or _free_port()
        config = self.folder / "cordboard.yaml"
        config.write_text(yaml.safe_dump(self._worker_settings()))
        number = len(list(self.folder.glob("worker*.log")))
        with (self.folder / f"worker{number}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "service", "run", "--config", str(config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._secrets()},
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    async def stop_worker(self, process: subprocess.Popen[bytes], deadline: float = 40.0) -> int:
        """SIGTERM, and the exit code."""
        process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(process.wait, deadline)

    async def produce(self, records: Iterable[DayRecord]) -> None:
        """Write records to their topics, in order, acknowledged."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.broker.bootstrap_servers, enable_idempotence=True, max_request_size=TWO_MIB
        )
        await producer.start()
        try:
            sent = [await producer.send(r.topic, value=r.value, key=r.key, headers=list(r.headers)) for r in records]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """Out-events read so far whose type begins with `kind`."""
        documents = [orjson.loads(m.value) for m in self.messages if m.topic.startswith("provisioning.") and m.value]
        return [document for document in documents if document["type"].startswith(kind)]

    def dead_letters(self) -> list[ConsumerRecord[bytes | None, bytes | None]]:
        """Dead letters read so far."""
        return [message for message in self.messages if message.topic.startswith("dlq.")]

    async def until(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait for a condition; fails with what was awaited, and the end of the log, when time runs out."""
        give_up = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > give_up:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.log_text[-3000:]}")
            await asyncio.sleep(0.05)

    async def until_async(self, condition: Callable[[], Awaitable[bool]], *, seconds: float, what: str) -> None:
        """As `until`, for a condition that has to ask somebody."""
        give_up = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > give_up:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.log_text[-3000:]}")
            await asyncio.sleep(0.1)

    async def get(self, path: str, *, sandbox: bool = False) -> tuple[int, bytes]:
        """One GET at Cordboard's HTTP side, or the sandbox's; status 0 while nobody listens."""
        base = self.sandbox_url if sandbox else f"http://127.0.0.1:{self.http_port}"
        try:
            async with aiohttp.ClientSession() as session, session.get(base + path) as response:
                return response.status, await response.read()
        except aiohttp.ClientConnectionError:
            return 0, b""

    async def ask_sandbox(self, method: str, path: str, body: Any = None) -> Any:
        """Call an admin endpoint of the sandbox."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.sandbox_url}/_sandbox/{path}", json=body) as response,
        ):
            assert response.status < 300, await response.text()
            return await response.json() if response.content_type == "application/json" else None

    async def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        return (await self.get("/readyz"))[0] == 200

    def _start_sandbox(self) -> str:
        config = self.folder / "sandbox.json"
        config.write_bytes(orjson.dumps(SANDBOX | self.sandbox_settings))
        process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", "service.sandbox", "--port", "0"),
                *("--config", str(config), "--journal", str(self.folder / "journal.jsonl")),
            ],
            stdout=subprocess.PIPE,
        )
        self._processes.append(process)
        assert process.stdout is not None
        url: str = orjson.loads(process.stdout.readline())["base_url"]
        return url

    def _worker_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "kafka": {"bootstrap_servers": self.broker.bootstrap_servers, "group_id": "cordboard"},
            "ledger": f"sqlite:///{self.folder}/ledger.db",
            "http": {"host": "127.0.0.1", "port": self.http_port},
            "defaults": {
                "hr.events": {"account": "acme_cn", "realm": "workday"},
                "crm.events": {"account": "acme_cn"},
            },
            "timing": {"approval_poll_seconds": 2.0},
            "accounts": {
                "acme_cn": {
                    "vendor": "tencent_ccc",
                    "base_url": self.sandbox_url,
                    "site": "cn",
                    "sdk_app_id": 1400000000,
                    "secret_id": "AKIDFAKE-cn",
                    "numbers": {
                        "sip_trunk_id": 12,
                        "call_type": "both",
                        "max_calls_per_second": 2,
                        "callback_url": "https://calls.acme.example/in",
                    },
                },
                "acme_hw": {"vendor": "huawei_aicc", "base_url": self.sandbox_url, "app_key": "FAKE-app-key"},
            },
        }
        return _merged(settings, self.settings)

    def _secrets(self) -> dict[str, str]:
        return {
            "CORDBOARD_ACCOUNTS__ACME_CN__SECRET_KEY": SANDBOX["tencent"][0]["secret_key"],
            "CORDBOARD_ACCOUNTS__ACME_HW__APP_SECRET": SANDBOX["huawei"][0]["app_secret"],
        }

    async def _read_everything(self) -> None:
        consumer = AIOKafkaConsumer(
            *OUT_TOPICS,
            bootstrap_servers=self.broker.bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=4 * TWO_MIB,
        )
        await consumer.start()
        try:
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    self.messages.extend(records)
        finally:
            await consumer.stop()


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mapping by mapping."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
