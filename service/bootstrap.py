"""The composition root: settings become adapters, vendors' clients and steps, opened and closed in order.

It decides nothing; the ways in run what stands here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp

from service.adapters.credentials_hidden import HiddenCredentials
from service.adapters.credentials_none import NoCredentials
from service.adapters.failpoints import Failpoints, exchange_step
from service.adapters.kafka_consumer import KafkaEventSource
from service.adapters.kafka_publisher import KafkaPublisher
from service.adapters.ledger_sqlite import SqliteLedger
from service.adapters.logs import register_secret
from service.adapters.metrics import MeteredTelemetry
from service.adapters.quota_slots import SlotQuota
from service.adapters.system_clock import SystemClock, SystemRandomness
from service.application.ends import show_quarantines
from service.application.execution import Execution
from service.application.intake import Intake
from service.application.outbox_relay import OutboxRelay
from service.application.ports import Clock, VendorClient
from service.application.present_reader import BatchingPresentReader
from service.application.settlement import Settlement
from service.application.takeover import take_over
from service.domain.account import Account
from service.settings import Settings
from service.vendors.http_exchange import telling_when_sent
from service.vendors.registry import VENDORS


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """Everything one process works with, opened."""

    ledger: SqliteLedger
    source: KafkaEventSource
    publisher: KafkaPublisher
    quota: SlotQuota
    reader: BatchingPresentReader
    intake: Intake
    execution: Execution
    relay: OutboxRelay
    telemetry: MeteredTelemetry
    clock: Clock


@asynccontextmanager
async def open_workplace(settings: Settings, telemetry: MeteredTelemetry) -> AsyncIterator[Workplace]:
    """Open ledger, vendors and Kafka's clients; what an earlier process left in flight is in doubt afterwards.

    Raises LedgerLockedError when another process has the ledger, UnavailableError when it can't be opened or read
    (afterwards nothing of it is open: it may be tried again), MigrationError when its schema is not for this program.
    """
    clock = SystemClock()
    points = Failpoints.of(os.environ)
    async with AsyncExitStack() as opened:
        ledger = await SqliteLedger.open(settings.ledger_path)
        opened.push_async_callback(ledger.close)
        points.within(ledger, open_session="session", claim="claim", reserve_slots="slots")
        points.within(ledger, release="release", mark_published="published")
        session = await ledger.open_session(f"{socket.gethostname()}:{os.getpid()}", clock.now())
        telemetry.health("ledger", ready=True)
        accounts = settings.accounts
        moved = await ledger.regroup({name: account.group() for name, account in accounts.items()})
        if moved:
            telemetry.log("info", "commands pay to their account's present quota group", commands=moved)
        await show_quarantines(telemetry, ledger, accounts)
        clients = await _open_vendors(opened, settings, accounts, clock)
        clients = {name: points.around(client, exchange=exchange_step(client)) for name, client in clients.items()}
        await take_over(
            ledger=points.around(ledger, transact="takeover"),
            session=session,
            clock=clock,
            telemetry=telemetry,
            policy=settings.settling_policy(),
            rules={name: op.when_unclear for client in clients.values() for name, op in client.operations.items()},
        )
        quota = SlotQuota(
            ledger=ledger,
            clock=clock,
            telemetry=telemetry,
            margin=settings.quota.margin,
            lead_seconds=settings.quota.lead_seconds,
        )
        opened.push_async_callback(quota.close)
        reader = BatchingPresentReader(
            quota=quota, accounts=accounts, clients=clients, clock=clock, telemetry=telemetry
        )
        opened.push_async_callback(reader.close)
        settlement = Settlement(
            ledger=ledger,
            session=session,
            clock=clock,
            randomness=SystemRandomness(),
            telemetry=telemetry,
            policy=settings.settling_policy(),
        )
        source = KafkaEventSource(
            connection=settings.kafka_connection(),
            group_id=settings.kafka.group_id,
            topics=settings.kafka.topics,
            telemetry=telemetry,
            session_timeout_ms=settings.kafka.session_timeout_ms,
            max_poll_interval_ms=settings.kafka.max_poll_interval_ms,
            max_poll_records=settings.kafka.max_poll_records,
        )
        opened.push_async_callback(source.close)
        points.within(source, fetch="fetch", taken="taken", commit_durable="commit")
        publisher = KafkaPublisher(connection=settings.kafka_connection(), telemetry=telemetry)
        opened.push_async_callback(publisher.close)
        points.within(publisher, publish="publish")
        yield Workplace(
            ledger=ledger,
            source=source,
            publisher=publisher,
            quota=quota,
            reader=reader,
            intake=Intake(
                source=source,
                ledger=points.around(ledger, transact="intake"),
                clock=clock,
                telemetry=telemetry,
                policy=settings.intake_policy(),
                brake=settings.brake_policy(),
            ),
            execution=Execution(
                ledger=ledger,
                session=session,
                settlement=points.around(settlement, mark="mark", settle="settle"),
                reader=reader,
                quota=quota,
                accounts=accounts,
                clients=clients,
                clock=clock,
                telemetry=telemetry,
                policy=settings.settling_policy(),
            ),
            relay=OutboxRelay(ledger=ledger, publisher=publisher, clock=clock, telemetry=telemetry),
            telemetry=telemetry,
            clock=clock,
        )


async def _open_vendors(
    opened: AsyncExitStack, settings: Settings, accounts: Mapping[str, Account], clock: Clock
) -> Mapping[str, VendorClient]:
    """One HTTP session for all; one client for each account."""
    session = await opened.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[telling_when_sent()],
        )
    )
    hide = partial(register_secret, passing=True)
    credentials = HiddenCredentials(NoCredentials(), hide)
    clients: dict[str, VendorClient] = {}
    for name, account in accounts.items():
        client = VENDORS[account.vendor].open(
            account, session, clock, credentials, limits=settings.exchange_limits(), on_secret=hide
        )
        opened.push_async_callback(client.close)
        clients[name] = client
    return clients
