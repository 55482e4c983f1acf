"""Pages of a large table, read in hops, so that the one connection is held only for a moment each time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from service.adapters.ledger_sql.questions import Walk, in_order
from service.adapters.ledger_sql.rows import Row
from service.adapters.ledger_sqlite.sql import ask
from service.adapters.ledger_sqlite.thread import LedgerThread

T = TypeVar("T")

FEWEST_LOOKED_AT: Final = 100  # rows of one hop: each may be a page of the file, to be read from a disk
MOST_LOOKED_AT: Final = 2_000
SHORT_SECONDS: Final = 0.005  # after a hop that took less, the next looks at twice as many
LONG_SECONDS: Final = 0.010  # and after one that took more, at half as many
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
    steps = FEWEST_LOOKED_AT
    while after is not None and len(found) < limit:
        most = min(limit - len(found), MOST_SHOWN)
        hop = await thread.run(partial(_hop, walk=walk, after=after, last=last, steps=steps, most=most))
        found += [(row[-1], decode(row)) for row in hop.shown]
        after, steps = hop.following, _paced(steps, hop.seconds)
    return found


def _paced(steps: int, seconds: float) -> int:
    """How many rows the next hop looks at: a file that the system has in memory is read faster than one on a disk."""
    if seconds < SHORT_SECONDS:
        return min(2 * steps, MOST_LOOKED_AT)
    return steps if seconds <= LONG_SECONDS else max(steps // 2, FEWEST_LOOKED_AT)


@dataclass(frozen=True, slots=True)
class _Hop:
    """What one hop came by, behind which cursor to go on (None at the end), and how long it took."""

    shown: list[Row]
    following: Any
    seconds: float


def _hop(connection: sqlite3.Connection, *, walk: Walk, after: Any, last: Any, steps: int, most: int) -> _Hop:
    """The next rows that match, of at most so many looked at."""
    begun = time.monotonic()
    by = "NOT INDEXED" if walk.index is None else f"INDEXED BY {walk.index}"
    ahead = ask(connection, walk.ahead(after, steps, by=by)).fetchone() if walk.asked else None
    stop = None if ahead is None or (last is not None and ahead[0] >= last) else ahead[0]
    shown: list[Row] = ask(connection, walk.page(after, last if stop is None else stop, most, by=by)).fetchall()
    following = shown[-1][-1] if len(shown) == most else stop
    return _Hop(shown, following, time.monotonic() - begun)
