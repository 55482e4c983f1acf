"""What operators ask of the PostgreSQL ledger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_postgres.forgetting import forget
from service.adapters.ledger_postgres.listings import read
from service.adapters.ledger_sql import desk_rows, questions, rows
from service.application.inquiry import MOST_ROWS, ActQuery, EventQuery, ItemStanding, LetterQuery, Tally
from service.domain.dead_letter import DeadLetter
from service.domain.desk import QuotaRate
from service.domain.ledger_state import Act, Hold, StoredEvent
from service.domain.replay import Replay

T = TypeVar("T")

ALL: Final = 2**31 - 1
# From indexes of what is unfinished or failed alone: what has succeeded is not told, as nobody could count it at once.
TALLIES: Final = f"""
SELECT 'command', account, operation, lane, state, coalesce(cause, ''), '', '', count(*), NULL::float8, NULL::float8
FROM commands WHERE state || '' IN {rows.UNFINISHED} GROUP BY account, operation, lane, state, cause
UNION ALL
SELECT 'command', account, operation, lane, state, coalesce(cause, ''), coalesce(failure::json ->> 'error_class', ''),
    coalesce(failure::json ->> 'code', ''), count(*), min(ended_at), max(ended_at)
FROM commands WHERE state = 'failed' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
UNION ALL
SELECT 'plan', coalesce(account, ''), '', '', state, '', '', '', count(*), NULL, NULL
FROM plans WHERE state || '' = 'open' GROUP BY account, state
UNION ALL
SELECT 'plan', coalesce(account, ''), CASE planned WHEN 0 THEN 'planning' ELSE '' END, '', state, '',
    coalesce(failure::json ->> 'error_class', ''), coalesce(failure::json ->> 'code', ''), count(*),
    min(ended_at), max(ended_at)
FROM plans WHERE state = 'failed' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""  # noqa: S608
OLDEST: Final = f"""
SELECT account, lane, state, min(created_at) FROM commands
WHERE state || '' IN {rows.UNFINISHED} GROUP BY account, lane, state
"""  # noqa: S608


class PostgresInquiries:
    """The port `Inquiries` on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """Asks the ledger's own database."""
        self._database = database

    async def events(self, query: EventQuery) -> Sequence[StoredEvent]:
        """One page of events, newest first."""
        return await self._page(questions.events(query), rows.event, query.limit)

    async def dead_letters(self, query: LetterQuery) -> Sequence[DeadLetter]:
        """One page of dead letters, newest first."""
        return await self._page(questions.dead_letters(query), rows.dead_letter, query.limit)

    async def acts(self, query: ActQuery) -> Sequence[Act]:
        """One page of acts, newest first."""
        return await self._page(questions.acts(query), rows.act, query.limit)

    async def holds(self, *, standing: bool, limit: int = MOST_ROWS) -> Sequence[Hold]:
        """Holds that stand, the newest first, or those that were released, the last released first."""
        statement = questions.HOLDS_STANDING if standing else questions.HOLDS_RELEASED
        return await self._all(statement, rows.hold, limit)

    async def rates(self) -> Sequence[QuotaRate]:
        """What persons have changed about quotas, by group and operation."""
        return await self._all(questions.RATES, desk_rows.rate)

    async def tallies(self) -> Sequence[Tally]:
        """How many commands and plans stand how, of what is unfinished or failed."""
        return await self._all(TALLIES, desk_rows.tally)

    async def oldest(self) -> Mapping[tuple[str, str, str], float]:
        """When the oldest unfinished command of each account, lane and state was made."""
        return dict(await self._all(OLDEST, lambda row: ((row[0], row[1], row[2]), row[3])))

    async def told(self, message_ids: Collection[str]) -> Mapping[str, float | None]:
        """Of these messages those that the outbox still has, each with when it was acknowledged."""
        return dict(await self._all(questions.TOLD, lambda row: (row[0], row[1]), sorted(message_ids)))

    async def letter_bytes(self, message_id: str) -> tuple[bytes | None, bytes | None] | None:
        """Key and value of a dead letter's message while the outbox has it."""
        found = await self._all(questions.LETTER_BYTES, lambda row: (row[0], row[1]), message_id)
        return found[0] if found else None

    async def replays(self, *, unfinished: bool, limit: int = 50) -> Sequence[Replay]:
        """Replays, newest first; only those that run or are paused, or all."""
        statement = questions.REPLAYS_UNFINISHED if unfinished else questions.REPLAYS
        return await self._all(statement, desk_rows.replay, limit)

    async def replay(self, replay_id: str) -> Replay | None:
        """One replay."""
        found = await self._all(questions.REPLAY, desk_rows.replay, replay_id)
        return found[0] if found else None

    async def replay_items(
        self, replay_id: str, *, pending: bool = False, after: int = 0, limit: int = MOST_ROWS
    ) -> Sequence[ItemStanding]:
        """The plans of a replay behind number `after`, in their order; only those still to be begun, or all."""
        statement = questions.ITEMS_PENDING if pending else questions.ITEMS
        return await self._all(statement, desk_rows.standing, replay_id, after, limit)

    async def begun(self, replay_id: str) -> int:
        """How many plans of a replay are no longer pending."""
        [whole] = await self._all(questions.BEGUN, desk_rows.begun, replay_id, 0, ALL)
        return whole.begun

    async def forget(self, subject: str, act: Act) -> Mapping[str, int] | None:
        """Erase what is known of the person behind a subject, and keep the act; None while it has unfinished work."""
        return await self._database.transaction(lambda transaction: forget(transaction, subject, act))

    async def _page(self, walk: questions.Walk, decode: Callable[[Any], T], limit: int) -> list[T]:
        async with self._database.connection() as connection:
            return await read(connection, [walk], decode, limit)

    async def _all(self, statement: str, decode: Callable[[Any], T], *values: Any) -> list[T]:
        async with self._database.connection() as connection:
            return [decode(row) for row in await connection.fetch(statement, *values)]
