"""PostgreSQL as the ledger reaches it: a pool, transactions whose end is always known, and what errors mean."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import asyncpg
from pydantic import SecretStr

from service.application.ports import UnavailableError

if TYPE_CHECKING:
    Connection = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection = Pool = Any

T = TypeVar("T")

# Names are locked in the order of their hashes: two transactions that need some of the same ones can't wait for each
# other. Row locks alone would not do: a plan that another transaction is about to insert has no row yet.
LOCKED: Final = "count(pg_advisory_xact_lock(k)) FROM (SELECT k FROM unnest(%s) AS t(k) ORDER BY k OFFSET 0) AS keys"

CONNECT_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 15.0  # without an answer for so long the line is taken as dead (half open)
IN_DOUBT_SECONDS: Final = 30.0  # a commit whose reply was lost is asked after for so long
ASK_AGAIN_SECONDS: Final = 0.1
CONNECTIONS: Final = 6  # two writers, claims, outbox, session, and one for whoever reads
SERVER_SETTINGS: Final = {
    "application_name": "cordboard",
    "timezone": "UTC",
    "plan_cache_mode": "force_generic_plan",  # planning costs several times what the hot statements do
    "enable_seqscan": "off",  # those are planned once, maybe when their tables were empty; each has its index
    "jit": "off",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",  # what a frozen process has locked must come free
    "statement_timeout": "14s",
}
OUR_MISTAKES: Final = (
    asyncpg.SyntaxOrAccessError,
    asyncpg.DataError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.InternalClientError,
)
AWAY: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, asyncio.IncompleteReadError)


class UncertainError(UnavailableError):
    """A commit was asked for and its reply lost, and the ledger stays away: nobody knows whether it is written."""


@dataclass(slots=True)
class Transaction:
    """One transaction under way. Whoever writes sets `xid`, so that the end is known even if its reply is lost."""

    connection: Connection
    xid: str | None = None


def lock_key(name: str) -> int:
    """A name as PostgreSQL's advisory locks take it: 64 bits of its hash."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


def translated(error: Exception) -> Exception:
    """What a caller of the port gets to see.

    A broken rule of the schema is a ValueError, a server that is away, restarts or is out of something
    UnavailableError; the rest is a bug, as is. Messages name no value: those stand in the details, which stay here.
    """
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        refused = ValueError(f"the ledger refuses this change: {error}")
        refused.__cause__ = error
        return refused
    if isinstance(error, AWAY) and not isinstance(error, OUR_MISTAKES):
        away = UnavailableError("ledger", str(error) or type(error).__name__)
        away.__cause__ = error
        return away
    return error


def _begin(names: Iterable[str]) -> str:
    """The beginning of a transaction that holds the names: one round trip, so keys stand in it (they are numbers)."""
    keys = ",".join(str(lock_key(name)) for name in names)
    locked = LOCKED % f"'{{{keys}}}'::bigint[]"
    return f"BEGIN; SELECT {locked}" if keys else "BEGIN"


async def only_row(connection: Connection, statement: str, *arguments: Any) -> asyncpg.Record:
    """The row of a statement that always has one."""
    row = await connection.fetchrow(statement, *arguments)
    assert row is not None, "an aggregate, or a SELECT without FROM"  # noqa: S101
    return row


async def _leave_as_it_is(_connection: object) -> None:
    """Nothing here outlives its transaction, so that a connection need not be cleaned, a round trip each time."""


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, password: SecretStr | None, connections: int = CONNECTIONS) -> None:
        """Nothing is opened yet. `url` as libpq reads it, without a password."""
        self._url = url
        self._password = password
        self._connections = connections
        self._pool: Pool | None = None

    async def open(self) -> None:
        """Connect; raises UnavailableError."""
        try:
            self._pool = await asyncpg.create_pool(
                min_size=0,  # else asyncpg fills the log with a traceback a second while the server is away
                max_size=self._connections,
                max_inactive_connection_lifetime=60.0,
                reset=_leave_as_it_is,
                command_timeout=COMMAND_SECONDS,
                **self.arguments(),
            )
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
        except AWAY as error:
            raise translated(error) from error
        except UnavailableError:
            await self.close()
            raise

    def arguments(self) -> dict[str, Any]:
        """How asyncpg reaches the database; it asks for the password with each connection, which may be rotated."""
        return {
            "dsn": self._url,
            "password": None if self._password is None else self._password.get_secret_value,
            "timeout": CONNECT_SECONDS,
            "server_settings": SERVER_SETTINGS,
        }

    async def close(self) -> None:
        """Close every connection, those in use after a few seconds by force. Safe to call twice."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await pool.close()
        except (TimeoutError, *AWAY):
            pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool; everything that goes wrong on it is translated."""
        if self._pool is None:
            raise UnavailableError("ledger", "closed")
        pool = self._pool
        try:
            connection = await pool.acquire(timeout=COMMAND_SECONDS)
            try:
                yield connection
            finally:
                with suppress(asyncpg.InternalClientError):  # it was lost, and the pool took it back by itself
                    await pool.release(connection)
        except AWAY as error:
            raise translated(error) from error

    async def transaction(self, work: Callable[[Transaction], Awaitable[T]], names: Iterable[str] = ()) -> T:
        """Do the work in one transaction, once nobody else holds the names; its result, once it is on disk.

        UnavailableError means that nothing was written; UncertainError that this could not be found out.
        """
        async with self.connection() as connection:
            transaction = Transaction(connection)
            try:
                await connection.execute(_begin(names))
                result = await work(transaction)
            except BaseException:
                with suppress(*AWAY):  # a connection that is lost has rolled back by itself
                    await connection.execute("ROLLBACK")
                raise
            lost = await self._commit(connection)
        if lost is not None:
            await self._make_sure(transaction.xid, lost)
        return result

    async def _commit(self, connection: Connection) -> Exception | None:
        """Commit; the trouble that leaves open whether it happened."""
        commit = asyncio.ensure_future(connection.execute("COMMIT"))
        try:
            await asyncio.shield(commit)
        except asyncpg.IntegrityConstraintViolationError:
            raise
        except AWAY as trouble:
            return trouble
        except asyncio.CancelledError:
            with suppress(Exception):
                await commit  # the caller has gone; the connection must not be handed on in the middle of it
            raise
        return None

    async def _make_sure(self, xid: str | None, lost: Exception) -> None:
        """Return if the transaction was committed after all; raise UnavailableError if not."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + IN_DOUBT_SECONDS
        while xid is not None and loop.time() < give_up:
            try:
                async with self.connection() as connection:
                    status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", xid)
            except UnavailableError:
                status = "in progress"
            if status == "committed":
                return
            if status == "aborted":
                raise translated(lost) from lost
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        raise UncertainError("ledger", f"the reply to a commit was lost: {type(lost).__name__}") from lost
