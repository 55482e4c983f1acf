"""The demo: one command, a realistic mixed day, and a table of what happened and why."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from service.adapters.embedded_broker import EmbeddedBroker, EmbeddedBrokerMissingError
from service.adapters.logs import configure_logging
from service.adapters.metrics import MeteredTelemetry
from service.application.ports import CommandQuery
from service.application.rounds import Stopping
from service.application.watchdog import Watchdog
from service.bootstrap import Workplace, open_workplace
from service.domain.command import Command, CommandState, Plan, PlanState
from service.entrypoints.cli_options import learn_secrets
from service.entrypoints.demo_day import DayRecord, DayShape, mixed_day
from service.entrypoints.demo_report import Report, print_report
from service.entrypoints.demo_town import FAULTS_TOLD, SANDBOX, crm_clerk, demo_settings, seed_town
from service.entrypoints.worker import Front, serving, work
from service.sandbox.server import RunningSandbox, start_sandbox

TOPICS: Final = (
    "hr.events",
    "crm.events",
    "provisioning.results",
    "provisioning.failures",
    "dlq.hr.events",
    "dlq.crm.events",
)
TOLD: Final = ("provisioning.results", "provisioning.failures")
DEADLINE_SECONDS: Final = 50.0


def run_demo(*, stay: bool = False, hires: int = 60) -> int:
    """Run the demo; 0 if everything ended as the story says, 1 if something is still under way at the deadline."""
    console = Console(stderr=True)
    try:
        return asyncio.run(_demo(console, stay=stay, hires=hires))
    except EmbeddedBrokerMissingError as missing:
        console.print(f"[red]{missing}[/red]")
        return 1


@dataclass(frozen=True, slots=True)
class _Town:
    broker: str
    sandbox: RunningSandbox
    workplace: Workplace
    watchdog: Watchdog
    port: int
    folder: Path


async def _demo(console: Console, *, stay: bool, hires: int) -> int:
    stopping = Stopping()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.ask)
    shape = DayShape(hires=hires, second_ids=max(1, hires // 15))
    day = mixed_day(shape, seed=7)
    async with _open_town(stopping) as town:
        console.print(f"Embedded broker {town.broker}, both vendors' sandbox {town.sandbox.base_url}, SQLite ledger.")
        console.print(f"A mixed day of {len(day)} records; the vendors have a bad one: {FAULTS_TOLD}.")
        working = asyncio.create_task(work(town.workplace, stopping, shutdown_seconds=5.0, watchdog=town.watchdog))
        done = await _live_the_day(town, day, console, stopping)
        report = await _gather(town, day, stay=stay)
        print_report(report, Console(), done=done)
        if stay and not stopping.asked:
            console.print("\nStaying up until Ctrl-C.")
            await _tell_what_is_told(town, console, stopping)
        stopping.ask()
        await working
    return 0 if done else 1


@asynccontextmanager
async def _open_town(stopping: Stopping) -> AsyncIterator[_Town]:
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="cordboard-demo-")))
        broker = opened.enter_context(EmbeddedBroker(TOPICS))
        sandbox = await start_sandbox(SANDBOX)
        opened.push_async_callback(sandbox.close)
        seed_town(sandbox)
        settings = demo_settings(brokers=broker.bootstrap_servers, sandbox_url=sandbox.base_url, folder=folder, port=0)
        logs = opened.enter_context((folder / "demo.log").open("w"))
        configure_logging(logs, level=settings.log.level)
        learn_secrets(settings)
        telemetry = MeteredTelemetry()
        workplace = await opened.enter_async_context(open_workplace(settings, telemetry))
        watchdog = Watchdog(clock=workplace.clock, telemetry=telemetry, policy=settings.liveness_policy())
        front = Front(stopping=stopping, watchdog=watchdog)
        opened.enter_context(front.showing(workplace.office))
        port = await opened.enter_async_context(serving(front, telemetry, settings))
        yield _Town(broker.bootstrap_servers, sandbox, workplace, watchdog, port, folder)


async def _live_the_day(town: _Town, day: Sequence[DayRecord], console: Console, stopping: Stopping) -> bool:
    """Produce the day, play CRM, and watch until every plan has ended or stands in doubt."""
    producer = AIOKafkaProducer(bootstrap_servers=town.broker, enable_idempotence=True)
    await producer.start()

    async def produce(record: DayRecord) -> None:
        await producer.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(record.headers))

    numbers = [r.key.decode() for r in day if r.what == "purchased"]
    refused = [r.key.decode() for r in day if r.what == "refused"]
    clerk = asyncio.create_task(crm_clerk(town.sandbox, numbers[:2], refused, produce))
    try:
        for record in day:
            await produce(record)
        return await _watch(town, _plans_in(day), console, stopping)
    finally:
        clerk.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await clerk
        await producer.stop()


async def _watch(town: _Town, expected: int, console: Console, stopping: Stopping) -> bool:
    give_up = time.monotonic() + DEADLINE_SECONDS
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=not sys.stderr.isatty()) as progress:
        ended = progress.add_task("plans ended", total=expected)
        while time.monotonic() < give_up and not stopping.asked:
            plans, commands = await _everything(town.workplace)
            over = [plan for plan in plans if plan.state is not PlanState.OPEN]
            doubtful = {c.plan_id for c in commands if c.state is CommandState.IN_DOUBT}
            waits = f", {len(doubtful)} in doubt" if doubtful else ""
            progress.update(ended, completed=len(over), description=f"plans ended{waits}")
            if len(over) + len(doubtful) >= expected:
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 0.25)
    return False


async def _tell_what_is_told(town: _Town, console: Console, stopping: Stopping) -> None:
    """Print a line for every event published from here on, until asked to stop."""
    consumer = AIOKafkaConsumer(*TOLD, bootstrap_servers=town.broker, auto_offset_reset="latest")
    await consumer.start()
    try:
        asked = asyncio.create_task(stopping.wait())
        while not asked.done():
            polled = await consumer.getmany(timeout_ms=300)
            for record in chain.from_iterable(polled.values()):
                console.print(f"  told: {_told(record.value or b'{}')}", highlight=False, soft_wrap=True)
    finally:
        await consumer.stop()


def _told(value: bytes) -> str:
    event = orjson.loads(value)
    what = event["type"].removeprefix("provisioning.")
    return f"{what} about {event['subject']}, epoch {event['data'].get('epoch', 0)}"


async def _gather(town: _Town, day: Sequence[DayRecord], *, stay: bool) -> Report:
    plans, commands = await _everything(town.workplace)
    return Report(
        day=tuple(day),
        plans=tuple(plans),
        commands=tuple(commands),
        journal=tuple(town.sandbox.journal.entries),
        url=f"http://127.0.0.1:{town.port}",
        sandbox_url=town.sandbox.base_url,
        broker=town.broker,
        stay=stay,
    )


async def _everything(workplace: Workplace) -> tuple[list[Plan], list[Command]]:
    """All plans and commands, page by page."""
    plans: list[Plan] = []
    commands: list[Command] = []
    while page := await workplace.ledger.plans(CommandQuery(after=plans[-1].id if plans else None, limit=500)):
        plans += page
    while found := await workplace.ledger.commands(
        CommandQuery(after=commands[-1].id if commands else None, limit=500)
    ):
        commands += found
    return plans, commands


def _plans_in(day: Sequence[DayRecord]) -> int:
    """How many plans a day makes: each good event once."""
    return sum(record.what in {"hired", "second_id", "purchased", "refused", "routed", "incomplete"} for record in day)
