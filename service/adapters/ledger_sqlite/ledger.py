"""The ledger in one SQLite file: one process, one connection, one thread, one commit for all that waits."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from service.adapters.ledger_sql import questions, rows
from service.adapters.ledger_sql.gate import Turns
from service.adapters.ledger_sql.wakeups import Wakeups, touched_by
from service.adapters.ledger_sqlite import claims, erasing, file, listings, state
from service.adapters.ledger_sqlite.inquiries import SqliteInquiries
from service.adapters.ledger_sqlite.thread import LedgerThread
from service.adapters.ledger_sqlite.walks import read
from service.application.ports import Claim, ClaimRoom, CommandQuery, CommandStory, Granted
from service.domain.command import Command, Plan, Session
from service.domain.ledger_state import Changes, Keys, Known, OutboxMessage
from service.domain.retention import Erasable


def _commands_touched(_result: object) -> Iterable[str]:
    return ("commands",)


class SqliteLedger(SqliteInquiries):
    """The ports `Ledger` and `Inquiries` on SQLite. A method is one job of the thread, a page some."""

    def __init__(self, connection: sqlite3.Connection, lock: file.FileLock) -> None:
        """Use `open`."""
        self._wakeups = Wakeups()
        self._turns = Turns()
        self._lock: file.FileLock | None = lock
        super().__init__(LedgerThread(connection, self._wakeups.touch))

    @classmethod
    async def open(cls, path: str | Path, *, migrate: bool = True) -> SqliteLedger:
        """Lock the file, open it, bring its schema up to date (or, without `migrate`, insist that it is).

        Raises LedgerLockedError when another process has it, MigrationError for a schema this program may not
        use, UnavailableError when the file can't be made or read.
        """
        connection, lock = await asyncio.to_thread(_open, Path(path), migrate=migrate)
        return cls(connection, lock)

    async def close(self) -> None:
        """Finish what waits, fold the log into the file, let go of the lock. Safe to call twice."""
        await self._thread.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def open_session(self, owner: str, now: float) -> Session:
        """End whatever session stood before and start this process's own."""
        return await self._thread.run(lambda c: claims.open_session(c, owner, now), _commands_touched)

    async def keep_session(self, session: Session) -> int:
        """1: nobody else can have the file. Raises SessionEndedError when a later session was opened."""
        return await self._thread.run(lambda c: claims.keep_session(c, session))

    async def end_session(self, session: Session, now: float) -> None:
        """End it in order; what it had claimed and not marked is free again."""
        await self._thread.run(lambda c: claims.end_session(c, session, now), _commands_touched)

    async def transact(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        """Load, decide (in the ledger's thread), write; the changes with arrivals assigned.

        Raises ValueError for changes that the schema refuses, LostClaimError when the session that `keys` names has
        ended, and whatever `decide` raises; all undo everything.
        """
        return await self._thread.decide(state.Decision(keys, decide), touched_by)

    async def claim(self, session: Session, now: float, rooms: Sequence[ClaimRoom]) -> Sequence[Claim]:
        """Take due commands, oldest first; raises SessionEndedError."""
        return await self._thread.run(lambda c: claims.claim(c, self._turns, session, now, rooms), lasting=False)

    async def release(self, session: Session, command_ids: Sequence[str]) -> None:
        """Hand back claimed commands that were not marked; others are left as they are."""
        await self._thread.run(lambda c: claims.release(c, session, command_ids), _commands_touched)

    async def release_others(self, session: Session, command_ids: Collection[str]) -> int:
        """Hand back all that is claimed and not marked, but for these; how many commands that were."""
        return await self._thread.run(
            lambda c: claims.release_others(c, session, command_ids), lambda count: ("commands",) if count else ()
        )

    async def orphans(self, session: Session) -> Sequence[Command]:
        """Commands in flight that a session which has ended left behind."""
        return await self._thread.run(lambda c: claims.orphans(c, session))

    async def regroup(self, groups: Mapping[str, str]) -> int:
        """Let unfinished commands of these accounts pay to their account's present group; how many changed."""
        return await self._thread.run(
            lambda c: claims.regroup(c, groups), lambda changed: ("commands",) if changed else ()
        )

    async def reserve_slots(
        self, quota_group: str, operation: str, *, count: int, spacing: float, not_before: float
    ) -> Granted:
        """Take `count` slots `spacing` seconds apart; when they begin, and the rate in force."""
        return await self._thread.run(
            lambda c: claims.reserve_slots(
                c, quota_group, operation, count=count, spacing=spacing, not_before=not_before
            )
        )

    async def unpublished(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest messages that Kafka has not acknowledged."""
        return await self._thread.run(lambda c: listings.unpublished(c, limit))

    async def mark_published(self, ids: Sequence[str], at: float) -> None:
        """Kafka acknowledged these."""
        await self._thread.run(lambda c: listings.mark_published(c, ids, at))

    async def commands(self, query: CommandQuery) -> Sequence[Command]:
        """One page of commands, in the order of their ids."""
        return await read(self._thread, questions.commands(query), rows.command, query.limit)

    async def plans(self, query: CommandQuery) -> Sequence[Plan]:
        """One page of plans, in the order of their ids; all filters but `resource` apply."""
        return await read(self._thread, questions.plans(query), rows.plan, query.limit)

    async def story(self, command_id: str) -> CommandStory | None:
        """One command with its plan, attempts and history."""
        return await self._thread.run(lambda c: listings.story(c, command_id))

    async def erase(self, what: Erasable, *, before: float, limit: int) -> int:
        """Erase what has been over since `before`, at most `limit` of what is named; how many rows went."""
        return await self._thread.run(lambda c: erasing.erase(c, what, before, limit))

    def subscribe(self, topic: str) -> Callable[[], Awaitable[None]]:
        """A function that waits until the next commit that touched `commands` or `outbox`, or ~1 s."""
        return self._wakeups.subscribe(topic)


def _open(path: Path, *, migrate: bool) -> tuple[sqlite3.Connection, file.FileLock]:
    lock = file.FileLock(path)
    try:
        connection = file.connect(path)
        try:
            file.prepare(connection, apply=migrate)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        lock.release()
        raise
    return connection, lock
