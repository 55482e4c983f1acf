"""The real PostgreSQL of the tests: it keeps what was committed, however it ends, and leaves nothing behind."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.postgres.processes import children_of, is_alive
from tests.postgres.server import PostgresServer

ROOT = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection that is dropped at the end, whether or not the server is still there."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()


async def _tables(url: str) -> list[str]:
    async with _connected(url) as connection:
        rows = await connection.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY relname")
    return [row["relname"] for row in rows]


def _processes(server: PostgresServer) -> list[int]:
    assert server.pid is not None
    return [server.pid, *children_of(server.pid)]


async def test_database_of_a_test_is_empty_and_its_own(postgres: PostgresServer, postgres_url: str) -> None:
    assert await _tables(postgres_url) == []
    async with _connected(postgres_url) as connection:
        await connection.execute("CREATE TABLE mine (id int)")
    other = postgres.create_database()

    assert await _tables(postgres_url) == ["mine"]
    assert await _tables(postgres.url(other)) == []
    postgres.drop_database(other)


async def test_dropped_database_is_gone_although_somebody_was_connected(postgres: PostgresServer) -> None:
    name = postgres.create_database()
    async with _connected(postgres.url(name)) as connection:
        postgres.drop_database(name)

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.fetchval("SELECT 1")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(postgres.url(name))


async def test_copy_of_a_template_has_its_tables_and_may_be_written(postgres: PostgresServer) -> None:
    template = postgres.create_database()
    async with _connected(postgres.url(template)) as connection:
        await connection.execute("CREATE TABLE migrated (id int)")
        await connection.close()
    copy = postgres.create_database(template=template)

    async with _connected(postgres.url(copy)) as connection:
        await connection.execute("INSERT INTO migrated VALUES (1)")
    for name in (template, copy):
        postgres.drop_database(name)


async def test_address_is_of_an_ordinary_user_with_a_password(postgres: PostgresServer, postgres_url: str) -> None:
    async with _connected(postgres_url) as connection:
        user = await connection.fetchrow("SELECT * FROM pg_roles WHERE rolname = current_user")
    assert user is not None
    assert not any(user[right] for right in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication"))

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_url, password="another")
    async with _connected(postgres.admin_url()) as connection:
        assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")


async def test_commits_are_synced_and_text_is_ordered_by_its_bytes(postgres: PostgresServer, postgres_url: str) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "server_encoding": "UTF8",
        "max_connections": "100",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }
    async with _connected(postgres.admin_url()) as connection:
        rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1)", [*expected])
    async with _connected(postgres_url) as connection:
        collation = await connection.fetchval("SELECT datcollate FROM pg_database WHERE datname = current_database()")

    assert collation == "C"
    assert {row["name"]: row["setting"] for row in rows} == expected


def test_no_process_of_the_server_is_root(postgres: PostgresServer) -> None:
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in _processes(postgres)}

    assert len(owners) == 1
    assert 0 not in owners


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.kill, PostgresServer.crash])
async def test_committed_survives_and_uncommitted_is_gone(
    own_postgres: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    url = own_postgres.url(own_postgres.create_database())
    processes = _processes(own_postgres)
    async with _connected(url) as committing, _connected(url) as open_ended:
        await committing.execute("CREATE TABLE kept (id int)")
        await committing.execute("INSERT INTO kept VALUES (1)")
        await open_ended.execute("BEGIN; INSERT INTO kept VALUES (2)")
        await asyncio.to_thread(end, own_postgres)

        assert own_postgres.pid is None
        assert not any(map(is_alive, processes))
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await committing.execute("INSERT INTO kept VALUES (3)")
    await asyncio.to_thread(own_postgres.restart)

    async with _connected(url) as connection:
        assert [row["id"] for row in await connection.fetch("SELECT id FROM kept")] == [1]


@pytest.mark.postgres
def test_closed_server_leaves_nothing_even_after_a_crash() -> None:
    with PostgresServer() as server:
        processes = _processes(server)
        segment = (server.directory / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in Path("/proc/sysvipc/shm").read_text().split()
        server.crash()

    assert not any(map(is_alive, processes))
    assert not server.directory.exists()
    assert segment not in [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()]


@pytest.mark.postgres
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_ended_test_run_ends_its_server(tmp_path: Path, how: signal.Signals) -> None:
    endless = tmp_path / "test_endless.py"
    endless.write_text(
        "import os, time\n"
        "def test_endless(postgres):\n"
        "    os.write(int(os.environ['TELL']), f'{postgres.pid} {postgres.directory}\\n'.encode())\n"
        "    time.sleep(60)\n"
    )
    reading, telling = os.pipe()
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(endless)]
    run = subprocess.Popen(  # noqa: S603 - our own command line, no shell
        command,
        cwd=ROOT,
        env={**os.environ, "TELL": str(telling)},
        pass_fds=[telling],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(telling)
    try:
        with os.fdopen(reading) as told:
            told_of = re.fullmatch(r"(\d+) (.+)\n", told.readline())
        assert told_of
        run.send_signal(how)
        assert run.wait(timeout=60) == pytest.ExitCode.INTERRUPTED
    finally:
        run.kill()
        run.wait()
    assert not is_alive(int(told_of[1]))
    assert not Path(told_of[2]).exists()
