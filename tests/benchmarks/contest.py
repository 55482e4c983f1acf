"""One round of one contender: started, warmed up, given a burst, measured until the last result, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.acceptance.scene import free_port
from tests.benchmarks import meters
from tests.benchmarks.contenders.task import Task
from tests.benchmarks.grown import of_postgres, of_sqlite
from tests.benchmarks.load import produce
from tests.kafka.broker import KafkaBroker
from tests.kafka.topics import TopicMaker, unique_name
from tests.postgres.server import PostgresServer

PARTITIONS: Final = 6
WARM_UP: Final = 300
HIRES_A_STAGE: Final = 20_000
QUIET_SECONDS: Final = 1.0


Figures = Mapping[str, float]
"""What a round of a contender came to, by name and unit."""

CALLS: Final = "calls/s"
OWN_CPU: Final = "own CPU us/call"
DATABASE_CPU: Final = "database CPU us/call"


Command = Callable[[Task, Path], tuple[Sequence[str], Mapping[str, str]]]
"""What runs a contender: its command line and what to add to the environment, from the task and a folder of its own."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Somebody who does the work."""

    name: str
    command: Command
    needs_postgres: bool = False
    ready_seconds: float = 60.0
    results_topic: str = ""
    """Where its results go if that is not for the harness to say."""
    finished: int = 0
    """How many finished commands its ledger has seen: one in a file is copied, one in PostgreSQL stays from round to
    round, for it takes minutes to make."""


@dataclass
class Arena:
    """The servers that all share, and the process under test."""

    kafka: KafkaBroker
    postgres: PostgresServer
    delay: float = 0.0
    slow_every: int = 0
    grown: dict[int, str] = field(default_factory=dict)
    """Databases by how many finished commands were made in them."""
    stages: int = 0

    @asynccontextmanager
    async def vendor(self) -> AsyncIterator[tuple[str, int]]:
        """A fresh vendor: its address and its process."""
        port = free_port()
        command = [sys.executable, "-m", "tests.benchmarks.vendor", "--port", str(port)]
        slow = ["--slow-every", str(self.slow_every), "--slow-from", str(WARM_UP)]  # who warms up need not wait
        process = _launch([*command, "--delay", str(self.delay), *slow])
        url = f"http://127.0.0.1:{port}"
        try:
            await until(lambda: _answers(url), seconds=10, what="the vendor answers")
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()

    @asynccontextmanager
    async def prepared(self, contender: Contender, vendor: str) -> AsyncIterator[Stage]:
        """Topics and, if need be, a database of the contender's own."""
        make = TopicMaker(self.kafka.bootstrap_servers)
        topic = await make(unique_name("hires"), partitions=PARTITIONS)
        results = contender.results_topic or await make(unique_name("results"), partitions=PARTITIONS)
        database = None
        if contender.needs_postgres and contender.finished:
            if contender.finished not in self.grown:
                self.grown[contender.finished] = await asyncio.to_thread(of_postgres, self.postgres, contender.finished)
            database = self.grown[contender.finished]
        elif contender.needs_postgres:
            database = self.postgres.create_database()
        self.stages += 1
        task = Task(
            kafka=self.kafka.bootstrap_servers,
            topic=topic,
            results=results,
            group=topic,
            vendor=vendor,
            database="" if database is None else self.postgres.url(database),
        )
        with tempfile.TemporaryDirectory(prefix="cordboard-bench-") as folder:
            if contender.finished and database is None:
                await asyncio.to_thread(of_sqlite, contender.finished, Path(folder) / "ledger.db")
            yield Stage(contender, task, Path(folder), first=self.stages * HIRES_A_STAGE if contender.finished else 0)
        if database is not None and database not in self.grown.values():
            self.postgres.drop_database(database)


@dataclass(frozen=True)
class Stage:
    """A contender's task, and the folder that it finds again when it is started anew."""

    contender: Contender
    task: Task
    folder: Path
    first: int = 0
    """The first hire's number: a ledger that stays must not know it."""

    @asynccontextmanager
    async def started(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        """The contender at work; what it printed is shown if anything goes wrong meanwhile."""
        command, environment = self.contender.command(self.task, self.folder)
        process = _launch(command, environment, log=self.folder / "log")
        try:
            yield process
        except BaseException:
            sys.stderr.write((self.folder / "log").read_text(errors="replace")[-3000:])
            raise
        finally:
            await _end(process)


async def contest(arena: Arena, contender: Contender, *, hires: int) -> Figures:
    """A burst worked off: from its first record's production to its last result."""
    async with (
        arena.vendor() as (vendor, vendor_pid),
        arena.prepared(contender, vendor) as stage,
        stage.started() as process,
    ):
        task = stage.task
        await produce(task.kafka, task.topic, stage.first, WARM_UP)
        async with _counting(task) as results:
            before = await results()
            await until(
                lambda: described(vendor, WARM_UP),
                seconds=contender.ready_seconds,
                what=f"{contender.name} warm",
                worker=process,
            )
            told = await _settled(results)
            each = max(1, round((told - min(before, told)) / WARM_UP)) if before < told else 1
            await quiet()
            pids = {"own": process.pid, "vendor": vendor_pid, "kafka": arena.kafka.pid, "database": arena.postgres.pid}
            spent = {name: meters.cpu_seconds(pid) for name, pid in pids.items() if pid is not None}
            machine, harness = meters.machine_cpu_seconds(), time.process_time()
            begun = await produce(task.kafka, task.topic, stage.first + WARM_UP, hires)
            await until(
                lambda: _told(results, told + each * hires),
                seconds=hires / 20 + 120,
                what=f"{contender.name}: {hires} hires done",
                worker=process,
            )
            ended = time.monotonic()
            cost = {name: meters.cpu_seconds(pid) - spent[name] for name, pid in pids.items() if pid is not None}
            ours = sum(cost.values()) + time.process_time() - harness
            foreign = (meters.machine_cpu_seconds() - machine - ours) / ((ended - begun) * (os.cpu_count() or 1))
        stats = await stats_of(vendor)
        done = stats["calls"]["DescribeExtension"]
        assert done >= WARM_UP + hires, f"{contender.name}: {done} of {WARM_UP + hires} hires are done"
        calls, seconds = 2 * hires, ended - begun  # reads before a send are counted apart: they are no work done
        return {
            CALLS: calls / seconds,
            OWN_CPU: cost["own"] / calls * 1e6,
            DATABASE_CPU: cost.get("database", 0.0) / calls * 1e6 if contender.needs_postgres else 0.0,
            "Kafka CPU us/call": cost.get("kafka", 0.0) / calls * 1e6,
            "vendor CPU us/call": cost["vendor"] / calls * 1e6,
            "reads before a send": float(stats["calls"]["DescribeExtensions"]),
            "created again": float(stats["again"]),
            "peak MiB": meters.peak_mib(process.pid),
            "foreign CPU %": foreign * 100,
        }


def _launch(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, log: Path = Path(os.devnull)
) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - the contenders' own command lines
            command, env={**os.environ, **(environment or {})}, stdout=file, stderr=file, start_new_session=True
        )


@asynccontextmanager
async def _counting(task: Task) -> AsyncIterator[Callable[[], Any]]:
    """How many results there are: the sum of the topic's end offsets, which costs nobody anything."""
    consumer = AIOKafkaConsumer(bootstrap_servers=task.kafka)
    await consumer.start()
    try:
        partitions = [TopicPartition(task.results, n) for n in range(PARTITIONS)]
        consumer.assign(partitions)
        consumer.pause(*partitions)

        async def count() -> int:
            return sum((await consumer.end_offsets(partitions)).values())

        yield count
    finally:
        await consumer.stop()


async def _settled(count: Callable[[], Any]) -> int:
    """The count once it has not changed for a while."""
    last, since = await count(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        await asyncio.sleep(0.1)
        now = await count()
        if now != last:
            last, since = now, time.monotonic()
    return int(last)


async def quiet(patience: float = 4.0) -> None:
    """Wait for a moment in which the machine does next to nothing."""
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up:
        before = meters.machine_cpu_seconds()
        await asyncio.sleep(0.5)
        if meters.machine_cpu_seconds() - before < 0.1:
            return


async def _told(count: Callable[[], Any], wanted: int) -> bool:
    return bool(await count() >= wanted)


async def described(vendor: str, wanted: int) -> bool:
    """Whether so many hires are done."""
    return bool((await stats_of(vendor))["calls"]["DescribeExtension"] >= wanted)


async def stats_of(vendor: str) -> dict[str, Any]:
    """What came to the vendor."""
    async with aiohttp.ClientSession() as session, session.get(f"{vendor}/stats") as response:
        found: dict[str, Any] = await response.json()
        return found


async def _answers(url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        await stats_of(url)
        return True
    return False


async def until(
    condition: Callable[[], Any],
    *,
    seconds: float,
    what: str,
    every: float = 0.02,
    worker: subprocess.Popen[bytes] | None = None,
) -> None:
    """Wait for a condition; TimeoutError says what was awaited, RuntimeError that the worker ended meanwhile."""
    give_up = time.monotonic() + seconds
    while not await condition():
        if worker is not None and worker.poll() is not None:
            raise RuntimeError(f"{what}: the process has ended with {worker.returncode}")
        if time.monotonic() > give_up:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(every)


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.to_thread(process.wait, 20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
