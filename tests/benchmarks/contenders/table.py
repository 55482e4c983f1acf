"""Who competes, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from tests.acceptance.scene import free_port
from tests.benchmarks.contenders.task import SDK_APP_ID, Task
from tests.benchmarks.contest import Contender

COMPILED: Final = Path(__file__).parents[3] / ".cache/bench-java"
LIFTED: Final = 1_000
"""Requests a second: so high that nobody waits for it, and the quota's whole machinery runs all the same."""
COUNTS: Final = "counts.json"
SECRETS: Final = {"CORDBOARD_ACCOUNTS__ACME__SECRET_KEY": "FAKE-secret-key-0123456789"}


def python(name: str, module: str, *, postgres: bool = False) -> Contender:
    """A contender in this folder."""

    def command(task: Task, folder: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        return [sys.executable, "-m", f"tests.benchmarks.contenders.{module}", task.dump()], {}

    return Contender(name=name, command=command, needs_postgres=postgres)


def java(name: str, main_class: str) -> Contender:
    """A contender that `make bench` has compiled."""

    def command(task: Task, folder: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        path = f"{COMPILED}:{COMPILED}/jars/*"
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", path, main_class, task.dump()], {}

    return Contender(name=name, command=command)


def cordboard(name: str, *, postgres: bool, quota: float = LIFTED, altered: str = "", finished: int = 0) -> Contender:
    """Cordboard as it is delivered, one worker; or altered, or with so many finished commands in its ledger."""

    def command(task: Task, folder: Path) -> tuple[Sequence[str], Mapping[str, str]]:
        parts = urlsplit(task.database)
        ledger = task.database.replace(f":{parts.password}@", "@") if postgres else f"sqlite:///{folder}/ledger.db"
        document: dict[str, Any] = {
            "kafka": {"bootstrap_servers": task.kafka, "group_id": task.group, "topics": [task.topic]},
            "ledger": ledger,
            "http": {"host": "127.0.0.1", "port": free_port()},
            "defaults": {task.topic: {"account": "acme", "realm": "workday"}},
            "accounts": {
                "acme": {
                    "vendor": "tencent_ccc",
                    "base_url": task.vendor,
                    "site": "cn",
                    "sdk_app_id": SDK_APP_ID,
                    "secret_id": "AKIDFAKE",
                    "quotas": {"default": quota},
                }
            },
        }
        (folder / "cordboard.yaml").write_text(yaml.safe_dump(document))
        password = {"CORDBOARD_LEDGER_PASSWORD": parts.password or ""} if postgres else {}
        what = ["tests.benchmarks.contenders.altered_cordboard", altered] if altered else ["service"]
        counts = {"COUNTS": str(folder / COUNTS)}
        run = ["run", "--config", str(folder / "cordboard.yaml")]
        return [sys.executable, "-m", *what, *run], SECRETS | password | counts

    return Contender(
        name=name,
        command=command,
        needs_postgres=postgres,
        results_topic="provisioning.results",
        finished=finished,
    )


BARE: Final = python("bare loop", "bare_loop")
CORDBOARD_SQLITE: Final = cordboard("cordboard (SQLite)", postgres=False)
CORDBOARD_POSTGRES: Final = cordboard("cordboard (PostgreSQL)", postgres=True)
PARALLEL_CONSUMER: Final = java("Parallel Consumer", "ParallelConsumerContender")
PROCRASTINATE: Final = python("procrastinate", "with_procrastinate", postgres=True)
DBOS: Final = python("DBOS", "with_dbos", postgres=True)
