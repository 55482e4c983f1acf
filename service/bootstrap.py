"""The composition root: settings become adapters, vendors' clients and steps, opened and closed in order.

It decides nothing; the ways in run what stands here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp

from service.adapters.credentials_hidden import HiddenCredentials
from service.adapters.credentials_none import NoCredentials
from service.adapters.failpoints import Failpoints, exchange_step
from service.adapters.kafka_consumer import KafkaEventSource
from service.adapters.kafka_publisher import KafkaPublisher
from service.adapters.kafka_topics import KafkaTopicTimes
from service.adapters.ledger_postgres.ledger import PostgresLedger
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.adapters.ledger_timing import timing
from service.adapters.logs import register_secret
from service.adapters.metrics import MeteredTelemetry
from service.adapters.quota_dealing import DealtQuota
from service.adapters.quota_slots import SlotQuota
from service.adapters.quota_tokens import TokenQuota
from service.adapters.system_clock import SystemClock, SystemRandomness
from service.application.beginnings import begin_at_zero
from service.application.desk import Desk
from service.application.execution import Execution
from service.application.hold_telling import HoldTelling
from service.application.inspection import DeskLedger, Inspection
from service.application.intake import Intake
from service.application.outbox_relay import OutboxRelay
from service.application.ports import Clock, CommandQuery, Credentials, VendorClient
from service.application.present_reader import BatchingPresentReader
from service.application.replaying import ReplayRunner, Replays
from service.application.retention import Retention
from service.application.rounds import Pulse, Stopping, keep_going
from service.application.session_keeper import SessionKeeper
from service.application.settlement import Settlement
from service.application.takeover import take_over
from service.application.telemetry import Telemetry
from service.application.tracing import Tracer
from service.domain.account import Account
from service.domain.taking_in import IntakePolicy
from service.settings import Settings
from service.vendors.http_exchange import telling_before_writing
from service.vendors.registry import VENDORS

OpenLedger = SqliteLedger | PostgresLedger
LOOK_SECONDS: Final = 5.0  # between two looks whether the ledger of a window answers
CALLS: Final = {name: vendor.calls for name, vendor in VENDORS.items()}
"""By vendor every request that it may be sent."""
HIDE: Final = partial(register_secret, passing=True)
"""Told of every secret that is fetched on the way."""


@dataclass(frozen=True, kw_only=True)
class Office:
    """What a process answers questions and operators with; it needs the ledger alone. `calls` are each vendor's."""

    ledger: DeskLedger
    inspection: Inspection
    desk: Desk
    replays: Replays
    accounts: Mapping[str, Account]
    calls: Mapping[str, Sequence[str]]
    clock: Clock


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Everything one process works with, opened."""

    ledger: OpenLedger
    office: Office
    source: KafkaEventSource
    publisher: KafkaPublisher
    quota: DealtQuota
    reader: BatchingPresentReader
    intake: Intake
    execution: Execution
    relay: OutboxRelay
    keeper: SessionKeeper
    retention: Retention
    replaying: ReplayRunner
    hold_telling: HoldTelling
    telemetry: MeteredTelemetry
    clock: Clock


@asynccontextmanager
async def open_workplace(settings: Settings, telemetry: MeteredTelemetry) -> AsyncIterator[Workplace]:
    """Open ledger, vendors and Kafka's clients; what an earlier process left in flight is in doubt afterwards.

    Raises LedgerLockedError when another process has the ledger, UnavailableError when it can't be opened or read
    (afterwards nothing of it is open: it may be tried again), MigrationError when its schema is not for this program.
    """
    begin_at_zero(
        telemetry,
        accounts=settings.accounts,
        operations={name: vendor.operations for name, vendor in VENDORS.items()},
        calls=CALLS,
        topics=settings.kafka.topics,
    )
    async with AsyncExitStack() as opened:
        tracer = await _open_traces(settings, telemetry, opened)
        site = _Site(settings, telemetry, SystemClock(), Failpoints.of(os.environ), opened, tracer)
        ledger = await _open_ledger(site)
        clients = await _open_vendors(site)
        keeper = await _open_session(site, ledger, clients)
        quota, reader = _open_quota(site, ledger, clients)
        source, publisher = _open_kafka(site)
        yield Workplace(
            ledger=ledger,
            office=make_office(ledger, settings.accounts, settings.intake_policy(), site.clock, telemetry),
            source=source,
            publisher=publisher,
            quota=quota,
            reader=reader,
            intake=Intake(
                source=source,
                ledger=site.points.around(ledger, transact="intake"),
                clock=site.clock,
                telemetry=telemetry,
                policy=settings.intake_policy(),
                brake=settings.brake_policy(),
                tracer=tracer,
            ),
            execution=_execution(site, ledger, keeper, clients, quota, reader),
            relay=OutboxRelay(ledger=ledger, publisher=publisher, clock=site.clock, telemetry=telemetry, tracer=tracer),
            keeper=keeper,
            retention=_retention(site, ledger),
            replaying=ReplayRunner(
                ledger=ledger,
                policy=settings.intake_policy().planning,
                clock=site.clock,
                telemetry=telemetry,
            ),
            hold_telling=HoldTelling(ledger=ledger, clock=site.clock, telemetry=telemetry),
            telemetry=telemetry,
            clock=site.clock,
        )


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a process works with that only answers: the ledger that others work on."""

    ledger: OpenLedger
    office: Office
    telemetry: MeteredTelemetry
    clock: Clock

    async def watch(self, stopping: Stopping, pulse: Pulse) -> None:
        """Look whether the ledger answers, until asked to stop."""
        await keep_going(
            self._look, name="window", stopping=stopping, clock=self.clock, telemetry=self.telemetry, pulse=pulse
        )

    async def _look(self) -> None:
        await self.ledger.commands(CommandQuery(limit=1))
        self.telemetry.health("ledger", ready=True)
        await self.clock.sleep(LOOK_SECONDS)


@asynccontextmanager
async def open_window(settings: Settings, telemetry: MeteredTelemetry) -> AsyncIterator[Window]:
    """Open the ledger alone: no session, no Kafka, no vendor. Raises as `open_workplace`."""
    clock = SystemClock()
    ledger = timing(await open_ledger(settings), telemetry)
    try:
        telemetry.health("ledger", ready=True)
        yield Window(
            ledger=ledger,
            office=make_office(ledger, settings.accounts, settings.intake_policy(), clock, telemetry),
            telemetry=telemetry,
            clock=clock,
        )
    finally:
        await ledger.close()


def make_office(
    ledger: DeskLedger, accounts: Mapping[str, Account], policy: IntakePolicy, clock: Clock, telemetry: Telemetry
) -> Office:
    """All that answers questions and operators, over one ledger."""
    return Office(
        ledger=ledger,
        inspection=Inspection(ledger=ledger, accounts=accounts, clock=clock),
        desk=Desk(ledger=ledger, accounts=accounts, policy=policy, clock=clock, telemetry=telemetry),
        replays=Replays(
            ledger=ledger,
            accounts=accounts,
            policy=policy.planning,
            looks={name: look for vendor in VENDORS.values() for name, look in vendor.looks.items()},
            clock=clock,
            telemetry=telemetry,
        ),
        accounts=accounts,
        calls=CALLS,
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class _Site:
    """What everything is built with; what is opened is closed by `opened`, in reverse order."""

    settings: Settings
    telemetry: MeteredTelemetry
    clock: Clock
    points: Failpoints
    opened: AsyncExitStack
    tracer: Tracer | None


def _own_name(settings: Settings) -> str:
    """What this process is known by in the ledger and in traces."""
    return settings.kafka.group_instance_id or f"{socket.gethostname()}:{os.getpid()}"


async def _open_traces(settings: Settings, telemetry: MeteredTelemetry, opened: AsyncExitStack) -> Tracer | None:
    """Who takes spans; nobody, and nothing of it is even loaded, unless the settings name a collector."""
    if settings.traces.otlp_endpoint is None:
        return None
    from service.adapters.traces import open_otlp_tracer  # noqa: PLC0415 - an extra, and not free to load

    tracer = open_otlp_tracer(
        settings.traces.otlp_endpoint,
        sample_ratio=settings.traces.sample_ratio,
        telemetry=telemetry,
        instance=_own_name(settings),
    )
    opened.push_async_callback(tracer.close)
    return tracer


async def open_ledger(settings: Settings) -> OpenLedger:
    """The ledger that the settings name, its schema brought up to date. Raises as `open_workplace`."""
    if settings.is_shared:
        return await PostgresLedger.open(
            settings.ledger,
            password=settings.ledger_password,
            session_seconds=settings.session_seconds,
        )
    return await SqliteLedger.open(settings.ledger_path)


async def _open_ledger(site: _Site) -> OpenLedger:
    """The ledger, its waiting work paying to the accounts' present quota groups."""
    ledger = await open_ledger(site.settings)
    site.opened.push_async_callback(ledger.close)
    site.points.within(ledger, open_session="session", claim="claim")
    if isinstance(ledger, SqliteLedger):
        site.points.within(ledger, reserve_slots="slots")
    else:
        site.points.within(ledger, lend_tokens="slots")
    site.points.within(ledger, release="release", mark_published="published")
    timing(ledger, site.telemetry)
    site.telemetry.level("ready_objective_seconds", site.settings.objectives.hired_to_ready_seconds)
    site.telemetry.health("ledger", ready=True)
    accounts = site.settings.accounts
    moved = await ledger.regroup({name: account.group() for name, account in accounts.items()})
    if moved:
        site.telemetry.log("info", "commands pay to their account's present quota group", commands=moved)
    return ledger


async def _open_session(site: _Site, ledger: OpenLedger, clients: Mapping[str, VendorClient]) -> SessionKeeper:
    """This process's session; what ended ones left in flight is put in doubt, now and whenever one ends."""
    keeper = SessionKeeper(
        ledger=ledger,
        owner=_own_name(site.settings),
        seconds=site.settings.session_seconds,
        clock=site.clock,
        telemetry=site.telemetry,
        take_over=partial(
            take_over,
            ledger=site.points.around(ledger, transact="takeover"),
            clock=site.clock,
            telemetry=site.telemetry,
            policy=site.settings.settling_policy(),
            rules={name: op.when_unclear for client in clients.values() for name, op in client.operations.items()},
            tracer=site.tracer,
        ),
    )
    site.opened.push_async_callback(keeper.close)
    await keeper.open()
    return keeper


def _quota(site: _Site, ledger: OpenLedger) -> DealtQuota:
    """Slots of our own, or our share of the fleet's."""
    margin, lead = site.settings.quota.margin, site.settings.quota.lead_seconds
    if isinstance(ledger, PostgresLedger):
        return TokenQuota(book=ledger, clock=site.clock, telemetry=site.telemetry, margin=margin, lead_seconds=lead)
    return SlotQuota(ledger=ledger, clock=site.clock, telemetry=site.telemetry, margin=margin, lead_seconds=lead)


def _open_quota(
    site: _Site, ledger: OpenLedger, clients: Mapping[str, VendorClient]
) -> tuple[DealtQuota, BatchingPresentReader]:
    settings = site.settings
    quota = _quota(site, ledger)
    site.opened.push_async_callback(quota.close)
    reader = BatchingPresentReader(
        quota=quota,
        accounts=settings.accounts,
        clients=clients,
        clock=site.clock,
        telemetry=site.telemetry,
        tracer=site.tracer,
    )
    site.opened.push_async_callback(reader.close)
    return quota, reader


def _open_kafka(site: _Site) -> tuple[KafkaEventSource, KafkaPublisher]:
    """Both connect at their first use, so that Kafka may be away."""
    kafka, connection = site.settings.kafka, site.settings.kafka.connection(HIDE)
    source = KafkaEventSource(
        connection=connection,
        group_id=kafka.group_id,
        topics=kafka.topics,
        telemetry=site.telemetry,
        group_instance_id=kafka.group_instance_id,
        session_timeout_ms=kafka.session_timeout_ms,
        max_poll_interval_ms=kafka.max_poll_interval_ms,
        max_poll_records=kafka.max_poll_records,
        max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
    )
    site.opened.push_async_callback(source.close)
    site.points.within(source, fetch="fetch", taken="taken", commit_durable="commit")
    publisher = KafkaPublisher(connection=connection, telemetry=site.telemetry)
    site.opened.push_async_callback(publisher.close)
    site.points.within(publisher, publish="publish")
    return source, publisher


def _retention(site: _Site, ledger: OpenLedger) -> Retention:
    return Retention(
        ledger=ledger,
        topics=KafkaTopicTimes(connection=site.settings.kafka.connection(HIDE), topics=site.settings.kafka.topics),
        clock=site.clock,
        telemetry=site.telemetry,
        policy=site.settings.retention_policy(),
    )


def _execution(  # noqa: PLR0917 - what execution is made of, each of its own type
    site: _Site,
    ledger: OpenLedger,
    keeper: SessionKeeper,
    clients: Mapping[str, VendorClient],
    quota: DealtQuota,
    reader: BatchingPresentReader,
) -> Execution:
    policy = site.settings.settling_policy()
    settlement = Settlement(
        ledger=ledger,
        clock=site.clock,
        randomness=SystemRandomness(),
        telemetry=site.telemetry,
        policy=policy,
        tracer=site.tracer,
    )
    return Execution(
        ledger=ledger,
        own=keeper,
        settlement=site.points.around(settlement, mark="mark", settle="settle"),
        reader=reader,
        quota=quota,
        accounts=site.settings.accounts,
        clients=clients,
        clock=site.clock,
        telemetry=site.telemetry,
        policy=policy,
        tracer=site.tracer,
    )


def _credentials(account: Account) -> Credentials:
    """Where the passwords of an account go."""
    if account.credentials.public_key_file is None:
        return NoCredentials()
    from service.adapters.credentials_sealed import SealedCredentials, read_public_key  # noqa: PLC0415 - not free to load

    return SealedCredentials(read_public_key(account.credentials.public_key_file))


async def _open_vendors(site: _Site) -> Mapping[str, VendorClient]:
    """One HTTP session for all; one client for each account."""
    session = await site.opened.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[telling_before_writing()],
        )
    )
    limits = site.settings.exchange_limits()
    clients: dict[str, VendorClient] = {}
    for name, account in site.settings.accounts.items():
        credentials = HiddenCredentials(_credentials(account), HIDE)
        client = VENDORS[account.vendor].open(account, session, site.clock, credentials, limits=limits, on_secret=HIDE)
        site.opened.push_async_callback(client.close)
        clients[name] = site.points.around(client, exchange=exchange_step(client))
    return clients
