"""`cordboard check`: is everything there that a server needs? Each finding says what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from service.adapters.credentials_none import NoCredentials
from service.adapters.kafka_connection import RefusedError
from service.adapters.kafka_topics import KafkaTopicTimes, look_at_cluster
from service.adapters.ledger_sql.migrations import MigrationError
from service.adapters.ledger_sqlite.file import LedgerLockedError
from service.adapters.system_clock import SystemClock
from service.application.ports import Send, UnavailableError, VendorClient
from service.domain.account import Account
from service.domain.advice import advise
from service.domain.outcome import ErrorClass, Failure
from service.domain.plans import huawei_aicc, tencent_ccc
from service.domain.retention import TopicKeeping, in_days, objections
from service.domain.wanted import CalledRouteWanted, ExtensionWanted, Wanted
from service.entrypoints import ledger_schema
from service.entrypoints.cli_topics import topic_names
from service.entrypoints.exit_codes import ExitCode
from service.entrypoints.rendering import Output, show_rows
from service.settings import Settings
from service.vendors.registry import VENDORS

COLUMNS: Final = {"part": "part", "verdict": "verdict", "found": "found", "advice": "what to do"}
OK, FAILED, AWAY = "ok", "failed", "unreachable"

HARMLESS: Final[Mapping[str, tuple[str, Wanted]]] = {
    tencent_ccc.VENDOR: (tencent_ccc.CREATE_EXTENSION, ExtensionWanted(extension="1", name="check")),
    huawei_aicc.VENDOR: (
        huawei_aicc.CREATE_CALLED_ROUTE,
        CalledRouteWanted(access_code="0", device_type="ivr", device_id=1),
    ),
}
"""By vendor: the operation whose read of the present is asked, and about what. It changes nothing and proves host,
key, rights, clock and site at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the table; `verdict` is ok, failed or unreachable."""

    part: str
    verdict: str
    found: str
    advice: str = ""


def show_check(settings: Settings, output: Output) -> ExitCode:
    """Look at everything, print what was found, and say by the exit code whether a server could work."""
    findings = asyncio.run(look_at_everything(settings))
    show_rows([asdict(finding) for finding in findings], COLUMNS, output)
    wrong = {finding.verdict for finding in findings} - {OK}
    if not wrong:
        return ExitCode.DONE
    return ExitCode.UNREACHABLE if wrong == {AWAY} else ExitCode.FAILED


async def look_at_everything(settings: Settings) -> list[Finding]:
    """Kafka, ledger and every account, side by side."""
    accounts = _accounts(settings)
    kafka, ledger, vendors = await asyncio.gather(
        _kafka(settings), asyncio.to_thread(_ledger, settings), _vendors(settings)
    )
    return [Finding(part="configuration", verdict=OK, found="readable"), *accounts, *kafka, ledger, *vendors]


def _accounts(settings: Settings) -> list[Finding]:
    if settings.accounts:
        return [_sealing(account) for account in settings.accounts.values() if account.credentials.public_key_file]
    return [
        Finding(part="accounts", verdict=FAILED, found="none is configured", advice="add one under `accounts:`"),
    ]


def _sealing(account: Account) -> Finding:
    """To which key the account's passwords are sealed, so that its owner can compare; a bad one is a fault before."""
    from service.adapters.credentials_sealed import read_public_key  # noqa: PLC0415 - not free to load

    key = read_public_key(account.credentials.public_key_file or "")
    return Finding(part=f"credentials {account.name}", verdict=OK, found=f"sealed to {key.kind}, kid {key.kid}")


async def _kafka(settings: Settings) -> list[Finding]:
    servers = settings.kafka.bootstrap_servers
    try:
        present = (await look_at_cluster(settings.kafka.connection())).topics
        times = await _times(settings, present)
    except RefusedError as refused:
        advice = "correct kafka.security, or what the brokers know of us"
        return [Finding(part="kafka", verdict=FAILED, found=str(refused), advice=advice)]
    except UnavailableError as away:
        advice = "start it, or correct kafka.bootstrap_servers and kafka.security"
        return [Finding(part="kafka", verdict=AWAY, found=f"{servers}: {away}", advice=advice)]
    return [Finding(part="kafka", verdict=OK, found=servers), _topics(settings, present), *_retention(settings, times)]


async def _times(settings: Settings, present: frozenset[str]) -> Sequence[TopicKeeping]:
    """How long the topics that are read keep their records, of those that are there."""
    topics = [topic for topic in settings.kafka.topics if topic in present]
    if not topics:
        return ()
    return await KafkaTopicTimes(connection=settings.kafka.connection(), topics=topics).keeping()


def _retention(settings: Settings, times: Sequence[TopicKeeping]) -> list[Finding]:
    """Whether identities outlive the topics; a server erases none while it does not know that."""
    found = objections(times, settings.retention_policy())
    if found:
        advice = "; ".join(dict.fromkeys(objection.advice for objection in found))
        told = "; ".join(objection.found for objection in found)
        return [Finding(part="retention", verdict=FAILED, found=told, advice=advice)]
    longest = max((time.seconds for time in times if time.seconds is not None), default=None)
    if longest is None:
        return []
    told = f"topics keep records {in_days(longest)}, identities are kept for {settings.retention.identity_days} days"
    return [Finding(part="retention", verdict=OK, found=told)]


def _topics(settings: Settings, present: frozenset[str]) -> Finding:
    wanted = topic_names(settings)
    missing = [name for name in wanted if name not in present]
    if not missing:
        return Finding(part="topics", verdict=OK, found=f"all {len(wanted)} are there")
    advice = "make them (cordboard topics --create), or let this user see them"
    return Finding(part="topics", verdict=FAILED, found=f"missing: {', '.join(missing)}", advice=advice)


def _ledger(settings: Settings) -> Finding:
    return _postgres(settings) if settings.is_shared else _sqlite(settings)


def _postgres(settings: Settings) -> Finding:
    where = f"PostgreSQL at {urlsplit(settings.ledger).hostname or 'the default host'}"
    try:
        pending = sum(status.applied_at is None for status in ledger_schema.status(settings))
    except MigrationError as error:
        return Finding(part="ledger", verdict=FAILED, found=str(error), advice="run the version that made it")
    except UnavailableError as error:
        advice = "start it, or correct `ledger` and its password"
        return Finding(part="ledger", verdict=AWAY, found=f"{where}: {error}", advice=advice)
    return Finding(part="ledger", verdict=OK, found=f"{where}, {pending} migrations pending" if pending else where)


def _sqlite(settings: Settings) -> Finding:
    path = settings.ledger_path
    try:
        statuses = ledger_schema.status(settings)
    except LedgerLockedError:
        return Finding(part="ledger", verdict=OK, found=f"{path} is in use: a server has its lock")
    except MigrationError as error:
        return Finding(part="ledger", verdict=FAILED, found=str(error), advice="run the version that made it")
    except UnavailableError as error:
        return Finding(part="ledger", verdict=AWAY, found=str(error), advice="correct `ledger`, or the file's rights")
    if not path.parent.is_dir():
        advice = "make the folder, or correct `ledger`"
        return Finding(part="ledger", verdict=FAILED, found=f"{path.parent} is no folder", advice=advice)
    pending = sum(status.applied_at is None for status in statuses)
    if not path.exists():
        return Finding(part="ledger", verdict=OK, found=f"{path} will be made at the first start")
    return Finding(part="ledger", verdict=OK, found=f"{path}, {pending} migrations pending" if pending else str(path))


async def _vendors(settings: Settings) -> Sequence[Finding]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        return await asyncio.gather(*(_vendor(settings, account, session) for account in settings.accounts.values()))


async def _vendor(settings: Settings, account: Account, session: aiohttp.ClientSession) -> Finding:
    client = VENDORS[account.vendor].open(
        account, session, SystemClock(), NoCredentials(), limits=settings.exchange_limits()
    )
    try:
        trouble = await client.prepare() or await _ask(account, client)
    finally:
        await client.close()
    part = f"account {account.name}"
    if trouble is None:
        return Finding(part=part, verdict=OK, found=f"{account.vendor} answers, and knows the key")
    away = trouble.error_class in {ErrorClass.RETRYABLE, ErrorClass.AMBIGUOUS}
    found = f"{trouble.error_class.value} {trouble.code}: {trouble.message}"
    return Finding(part=part, verdict=AWAY if away else FAILED, found=found, advice=advise(trouble).text)


async def _ask(account: Account, client: VendorClient) -> Failure | None:
    """Read something harmless; what stood in the way."""
    operation, wanted = HARMLESS[account.vendor]
    read = client.operations[operation].present_read
    assert read is not None, "the operations listed here read before they send"  # noqa: S101
    send: Send = client.exchange
    (look,) = await read.look(account, [wanted.model_dump(mode="json")], send)
    return look if isinstance(look, Failure) else None
