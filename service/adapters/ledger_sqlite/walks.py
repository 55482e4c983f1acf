"""Pages of a large table, read in hops, so that the one connection is held only for a moment each time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from service.adapters.ledger_sql.questions import Walk, in_order
from service.adapters.ledger_sql.rows import Row
from service.adapters.ledger_sqlite.sql import ask
from service.adapters.ledger_sqlite.thread import LedgerThread

T = TypeVar("T")

MOST_LOOKED_AT: Final = 1_000  # rows of one hop: each may be a page of the file, read for itself
MOST_SHOWN: Final = 250  # of them


async def read(thread: LedgerThread, walks: Sequence[Walk], decode: Callable[[Row], T], limit: int) -> list[T]:
    """One page of what the walks come by."""
    found: list[tuple[Any, T]] = []
    for walk in walks:
        last = _last_worth(found, limit)
        found += await _walked(thread, walk, decode, limit, last)
    return in_order(found, limit, newest_first=any(walk.newest_first for walk in walks))


def _last_worth(found: Sequence[tuple[Any, object]], limit: int) -> Any:
    """The cursor behind which nothing is needed any more; None while there is none. Only one walk goes newest first."""
    return sorted(cursor for cursor, _ in found)[limit - 1] if len(found) >= limit else None


async def _walked(
    thread: LedgerThread, walk: Walk, decode: Callable[[Row], T], limit: int, last: Any
) -> list[tuple[Any, T]]:
    """What one walk comes by, each row with its cursor."""
    found: list[tuple[Any, T]] = []
    after: Any = walk.after
    while after is not None and len(found) < limit:
        most = min(limit - len(found), MOST_SHOWN)
        shown, after = await thread.run(partial(_hop, walk=walk, after=after, last=last, most=most))
        found += [(row[-1], decode(row)) for row in shown]
    return found


def _hop(connection: sqlite3.Connection, walk: Walk, after: Any, last: Any, most: int) -> tuple[list[Row], Any]:
    """The next rows that match, and behind which to go on; None at the end."""
    by = "NOT INDEXED" if walk.index is None else f"INDEXED BY {walk.index}"
    ahead = ask(connection, walk.ahead(after, MOST_LOOKED_AT, by=by)).fetchone() if walk.asked else None
    stop = None if ahead is None or (last is not None and ahead[0] >= last) else ahead[0]
    shown: list[Row] = ask(connection, walk.page(after, last if stop is None else stop, most, by=by)).fetchall()
    return shown, shown[-1][-1] if len(shown) == most else stop
