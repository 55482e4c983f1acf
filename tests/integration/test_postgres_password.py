"""A PostgreSQL password that is rotated while the ledger is open: connections made from then on show the new one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from service.adapters.ledger_postgres.ledger import PostgresLedger
from service.application.ports import CommandQuery, UnavailableError
from service.vendors.file_secret import READ_EVERY_SECONDS, FileSecret
from tests.postgres.server import PostgresServer

NEXT = "FAKE-next-password-0123456789"


async def test_a_rotated_password_is_shown_by_connections_made_then(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = own_postgres.url(own_postgres.create_database())
    parts = urlsplit(url)
    file = tmp_path / "password"
    file.write_text(parts.password or "")
    now = [0.0]
    secret = FileSecret(file, now=lambda: now[0])
    without = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
    ledger = await PostgresLedger.open(without, password=secret, session_seconds=60.0)
    try:
        admin = await asyncpg.connect(own_postgres.admin_url())
        await admin.execute(f"ALTER ROLE {parts.username} PASSWORD '{NEXT}'")
        assert list(await ledger.commands(CommandQuery(limit=1))) == [], "connections that are open stay"
        file.write_text(NEXT)
        now[0] += READ_EVERY_SECONDS
        await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", parts.username)
        await admin.close()
        async with asyncio.timeout(10):
            assert await _asked(ledger) == []
    finally:
        await ledger.close()


async def _asked(ledger: PostgresLedger) -> list[object]:
    """A first question may meet a connection that is lost, and has to be asked again."""
    while True:
        try:
            return list(await ledger.commands(CommandQuery(limit=1)))
        except (UnavailableError, asyncpg.InternalClientError):  # asyncpg's word for one that ends as it is asked
            await asyncio.sleep(0.05)
