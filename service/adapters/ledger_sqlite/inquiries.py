"""What operators ask of the SQLite ledger: every answer in hops that hold its one connection for a moment each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from service.adapters.ledger_sql import desk_rows, questions, rows
from service.adapters.ledger_sqlite.forgetting import forget
from service.adapters.ledger_sqlite.sql import in_sqlite, json_list
from service.adapters.ledger_sqlite.thread import LedgerThread
from service.adapters.ledger_sqlite.walks import MOST_LOOKED_AT, MOST_SHOWN, read
from service.application.inquiry import (
    MOST_ROWS,
    ActQuery,
    EventQuery,
    ItemStanding,
    LetterQuery,
    Tally,
)
from service.domain.dead_letter import DeadLetter
from service.domain.desk import QuotaRate
from service.domain.ledger_state import Act, Hold, StoredEvent
from service.domain.replay import Replay

T = TypeVar("T")

TALLIES: Final = f"SELECT {desk_rows.TALLY} FROM tallies"  # noqa: S608
OLDEST: Final = f"""
SELECT account, lane, state, (
    SELECT created_at FROM commands AS c INDEXED BY commands_oldest
    WHERE c.account = g.account AND c.lane = g.lane AND c.state = g.state AND c.state IN {rows.UNFINISHED}
    ORDER BY created_at LIMIT 1
) FROM (SELECT DISTINCT account, lane, state FROM tallies WHERE kind = 'command' AND state IN {rows.UNFINISHED}) AS g
"""  # noqa: S608


class SqliteInquiries:
    """The port `Inquiries` on SQLite."""

    def __init__(self, thread: LedgerThread) -> None:
        """Asks through the ledger's own thread."""
        self._thread = thread

    async def events(self, query: EventQuery) -> Sequence[StoredEvent]:
        """One page of events, newest first."""
        return await read(self._thread, [questions.events(query)], rows.event, query.limit)

    async def dead_letters(self, query: LetterQuery) -> Sequence[DeadLetter]:
        """One page of dead letters, newest first."""
        return await read(self._thread, [questions.dead_letters(query)], rows.dead_letter, query.limit)

    async def acts(self, query: ActQuery) -> Sequence[Act]:
        """One page of acts, newest first."""
        return await read(self._thread, [questions.acts(query)], rows.act, query.limit)

    async def holds(self, *, standing: bool, limit: int = MOST_ROWS) -> Sequence[Hold]:
        """Holds that stand, the newest first, or those that were released, the last released first."""
        statement = questions.HOLDS_STANDING if standing else questions.HOLDS_RELEASED
        return await self._all(statement, rows.hold, limit)

    async def rates(self) -> Sequence[QuotaRate]:
        """What persons have changed about quotas, by group and operation."""
        return await self._all(questions.RATES, desk_rows.rate)

    async def tallies(self) -> Sequence[Tally]:
        """How many commands and plans stand how, of all that the ledger has; nothing is counted for it."""
        return await self._all(TALLIES, desk_rows.tally)

    async def oldest(self) -> Mapping[tuple[str, str, str], float]:
        """When the oldest unfinished command of each account, lane and state was made; one look for each."""
        found = await self._all(OLDEST, lambda row: ((row[0], row[1], row[2]), row[3]))
        return {key: since for key, since in found if since is not None}

    async def told(self, message_ids: Collection[str]) -> Mapping[str, float | None]:
        """Of these messages those that the outbox still has, each with when it was acknowledged."""
        wanted, told = sorted(message_ids), dict[str, float | None]()
        for first in range(0, len(wanted), MOST_LOOKED_AT):
            told |= await self._all(questions.TOLD, tuple, json_list(wanted[first : first + MOST_LOOKED_AT]))
        return told

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
        found: list[ItemStanding] = []
        while len(found) < limit:
            most = min(limit - len(found), MOST_SHOWN)
            page = await self._all(statement, desk_rows.standing, replay_id, after, most)
            found += page
            if len(page) < most:
                break
            after = page[-1].item.number
        return found

    async def begun(self, replay_id: str) -> int:
        """How many plans of a replay are no longer pending."""
        begun = after = 0
        while True:
            [page] = await self._all(questions.BEGUN, desk_rows.begun, replay_id, after, MOST_LOOKED_AT)
            begun += page.begun
            if page.number < MOST_LOOKED_AT:
                return begun
            after = page.last

    async def forget(self, subject: str, act: Act) -> Mapping[str, int] | None:
        """Erase what is known of the person behind a subject, and keep the act; None while it has unfinished work."""
        return await self._thread.run(lambda connection: forget(connection, subject, act))

    async def _all(self, statement: str, decode: Callable[[Any], T], *values: Any) -> list[T]:
        def work(connection: sqlite3.Connection) -> list[T]:
            return [decode(row) for row in connection.execute(in_sqlite(statement), values)]

        return await self._thread.run(work)
