"""The ledger in PostgreSQL: many processes, each under a session of its own, one commit for all that waits in each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from pydantic import SecretStr

from service.adapters.ledger_postgres import claims, erasing, listings
from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_postgres.inquiries import PostgresInquiries
from service.adapters.ledger_postgres.listening import Listening
from service.adapters.ledger_postgres.schema import prepare
from service.adapters.ledger_postgres.tokens import Tokens
from service.adapters.ledger_postgres.writer import Writer
from service.adapters.ledger_sql import questions, rows
from service.adapters.ledger_sql.gate import Turns
from service.adapters.ledger_sql.wakeups import Wakeups, touched_by
from service.application.ports import Claim, ClaimRoom, CommandQuery, CommandStory, Lent
from service.domain.command import Command, Plan, Session
from service.domain.ledger_state import Changes, Keys, Known, OutboxMessage
from service.domain.retention import Erasable


class PostgresLedger(PostgresInquiries):
    """The ports `Ledger` and `Inquiries` on PostgreSQL.

    Intake and everything else write through a writer each, so that a batch of records does not hold up a mark.
    """

    def __init__(self, database: Database, *, session_seconds: float) -> None:
        """Use `open`."""
        super().__init__(database)
        self._session_seconds = session_seconds
        self._session: Session | None = None
        self._turns = Turns()
        self._wakeups = Wakeups()
        self._listening = Listening(database, self._wakeups.touch)
        self._tokens = Tokens(database)
        self._taking_in = Writer(database, owner=self._fence, committed=self._committed)
        self._writing = Writer(database, owner=self._fence, committed=self._committed)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        password: SecretStr | None = None,
        session_seconds: float,
        migrate: bool = True,
    ) -> PostgresLedger:
        """Connect and bring the schema up to date (or, without `migrate`, insist that it is).

        Raises MigrationError for a schema or server this program may not use, UnavailableError when there is no
        way to it. A session lasts `session_seconds` from each time it is prolonged.
        """
        database = Database(url, password=password)
        await database.open()
        try:
            await prepare(database, apply=migrate)
        except BaseException:
            await database.close()
            raise
        ledger = cls(database, session_seconds=session_seconds)
        ledger._listening.start()
        return ledger

    async def close(self) -> None:
        """Finish what waits and close every connection. Safe to call twice."""
        await self._taking_in.close()
        await self._writing.close()
        await self._listening.close()
        await self._database.close()

    def _fence(self) -> int | None:
        return None if self._session is None else self._session.fence

    def _committed(self, changes: Changes) -> None:
        topics = list(touched_by(changes))
        self._wakeups.touch(topics)
        self._listening.tell(topic for topic in topics if topic == "commands")

    def _commands_touched(self) -> None:
        self._wakeups.touch(("commands",))
        self._listening.tell(("commands",))

    async def open_session(self, owner: str, now: float) -> Session:  # noqa: ARG002 - times are the server's
        """Start this process's own session; the owner's session before it and those whose time is over end."""
        seconds = self._session_seconds
        self._session = await self._database.transaction(
            lambda t: claims.open_session(t, owner, seconds), claims.CLAIMS
        )
        self._commands_touched()
        return self._session

    async def keep_session(self, session: Session) -> int:
        """Prolong the session and end those whose time is over; how many are open. Raises SessionEndedError."""
        seconds = self._session_seconds
        fleet, ended = await self._database.transaction(lambda t: claims.keep_session(t, session, seconds))
        if ended:
            self._commands_touched()
            self._wakeups.touch(("outbox",))
        return fleet

    async def end_session(self, session: Session, now: float) -> None:  # noqa: ARG002
        """End it in order; what it had claimed and not marked is free again."""
        await self._database.transaction(lambda t: claims.end_session(t, session))
        self._commands_touched()

    async def transact(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        """Load, decide, write; the changes with arrivals assigned.

        Raises ValueError for changes that the schema refuses, LostClaimError when the session that `keys` names has
        ended, and whatever `decide` raises; all undo everything. `decide` may be called more than once.
        """
        return await (self._taking_in if keys.events else self._writing).run(keys, decide)

    async def claim(self, session: Session, now: float, rooms: Sequence[ClaimRoom]) -> Sequence[Claim]:
        """Take due commands, oldest first; raises SessionEndedError."""
        return await self._database.transaction(
            lambda t: claims.claim(t, self._turns, session, now, rooms), claims.CLAIMS
        )

    async def release(self, session: Session, command_ids: Sequence[str]) -> None:
        """Hand back claimed commands that were not marked; others are left as they are."""
        async with self._database.connection() as connection:
            await claims.release(connection, session, command_ids)
        self._commands_touched()

    async def release_others(self, session: Session, command_ids: Collection[str]) -> int:
        """Hand back all that is claimed and not marked, but for these; how many commands that were."""
        async with self._database.connection() as connection:
            count = await claims.release_others(connection, session, command_ids)
        self._commands_touched()
        return count

    async def orphans(self, session: Session) -> Sequence[Command]:  # noqa: ARG002 - whoever asks
        """Commands in flight that a session which has ended left behind."""
        async with self._database.connection() as connection:
            return await claims.orphans(connection)

    async def regroup(self, groups: Mapping[str, str]) -> int:
        """Let unfinished commands of these accounts pay to their account's present group; how many changed."""
        async with self._database.connection() as connection:
            changed = await claims.regroup(connection, groups)
        if changed:
            self._commands_touched()
        return changed

    async def lend_tokens(
        self,
        quota_group: str,
        operation: str,
        *,
        wanted: int,
        returned: Mapping[int, float],
        rate: float,
        gap: float,
    ) -> Lent:
        """Prolong this session's tokens, return some, and take up to its fair share of the fleet's."""
        return await self._tokens.lend(
            quota_group,
            operation,
            owner=self._fence() or 0,
            wanted=wanted,
            returned=returned,
            rate=rate,
            gap=gap,
        )

    async def unpublished(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest messages that Kafka has not acknowledged and that are this session's to send."""
        async with self._database.connection() as connection:
            return await listings.unpublished(connection, self._fence(), limit)

    async def mark_published(self, ids: Sequence[str], at: float) -> None:
        """Kafka acknowledged these."""
        async with self._database.connection() as connection:
            await listings.mark_published(connection, ids, at)

    async def commands(self, query: CommandQuery) -> Sequence[Command]:
        """One page of commands, in the order of their ids."""
        async with self._database.connection() as connection:
            return await listings.read(connection, questions.commands(query), rows.command, query.limit)

    async def plans(self, query: CommandQuery) -> Sequence[Plan]:
        """One page of plans, in the order of their ids; all filters but `resource` apply."""
        async with self._database.connection() as connection:
            return await listings.read(connection, questions.plans(query), rows.plan, query.limit)

    async def story(self, command_id: str) -> CommandStory | None:
        """One command with its plan, attempts and history."""
        async with self._database.connection() as connection:
            return await listings.story(connection, command_id)

    async def erase(self, what: Erasable, *, before: float, limit: int) -> int:
        """Erase what has been over since `before`, at most `limit` of what is named; how many rows went."""
        return await self._database.transaction(lambda t: erasing.erase(t, what, before, limit))

    def subscribe(self, topic: str) -> Callable[[], Awaitable[None]]:
        """A function that waits until the next commit that touched `commands` or `outbox`, or ~1 s."""
        return self._wakeups.subscribe(topic)
