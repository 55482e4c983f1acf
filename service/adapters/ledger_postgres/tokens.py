"""The fleet's quotas in PostgreSQL: who holds which token, by the server's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from service.adapters.ledger_postgres.connection import Connection, Database, Transaction, only_row
from service.adapters.ledger_postgres.sql import NOW
from service.adapters.ledger_postgres.state import lock
from service.application.ports import Lent, LentToken
from service.domain.quota import window
from service.domain.quota_tokens import Ask, Counter, Token, Wish, cold, lend

SELECT_NOW_AND_RATE: Final = f"""
SELECT {NOW}, (SELECT rate FROM quota_rates WHERE quota_group = $1 AND operation = $2)
"""  # noqa: S608
SELECT_TOKENS = """
SELECT number, free_at, owner, until FROM quota_tokens WHERE quota_group = $1 AND operation = $2 ORDER BY number
"""
SELECT_ASKS = "SELECT owner, wanted, asked_at FROM quota_asks WHERE quota_group = $1 AND operation = $2 ORDER BY owner"
UPSERT_TOKENS = """
INSERT INTO quota_tokens (quota_group, operation, number, free_at, owner, until)
SELECT $1, $2, t.* FROM unnest($3::integer[], $4::float8[], $5::bigint[], $6::float8[]) AS t
ON CONFLICT (quota_group, operation, number)
DO UPDATE SET free_at = excluded.free_at, owner = excluded.owner, until = excluded.until
"""
DELETE_TOKENS = "DELETE FROM quota_tokens WHERE quota_group = $1 AND operation = $2 AND number >= $3"
DELETE_ASKS = "DELETE FROM quota_asks WHERE quota_group = $1 AND operation = $2"
INSERT_ASKS = """
INSERT INTO quota_asks (quota_group, operation, owner, wanted, asked_at)
SELECT $1, $2, a.* FROM unnest($3::bigint[], $4::integer[], $5::float8[]) AS a
"""


class Tokens:
    """Lends the tokens of every quota group and operation."""

    def __init__(self, database: Database) -> None:
        """On a database that is open."""
        self._database = database

    async def lend(
        self,
        quota_group: str,
        operation: str,
        *,
        owner: int,
        wanted: int,
        returned: Mapping[int, float],
        rate: float,
        gap: float,
    ) -> Lent:
        """As the port `TokenBook` says."""

        async def work(transaction: Transaction) -> Lent:
            await lock(transaction, {f"quota:{quota_group}:{operation}"})
            connection, key = transaction.connection, (quota_group, operation)
            now, changed = await only_row(connection, SELECT_NOW_AND_RATE, *key)
            in_force = rate if changed is None else changed
            most, span = window(in_force)
            stored, before = await _load(connection, key, most, span, now)
            wish = Wish(owner=owner, wanted=wanted, returned={n: now + free for n, free in returned.items()})
            after, share = lend(before, wish, gap=gap * span, now=now)
            await _store(connection, key, stored, after)
            mine = [LentToken(number=t.number, free_in=t.free_at - now, lasts=t.until - now) for t in after.of(owner)]
            return Lent(tokens=tuple(mine), share=share, rate=in_force)

        return await self._database.transaction(work)


async def _load(
    connection: Connection, key: tuple[str, str], most: int, span: float, now: float
) -> tuple[frozenset[Token], Counter]:
    """What is stored, and the quota as it stands: tokens it was given since are cold, those it lost are no more."""
    rows = await connection.fetch(SELECT_TOKENS, *key)
    tokens = [Token(number=row[0], free_at=row[1], owner=row[2], until=row[3]) for row in rows]
    if len(tokens) > most:
        await connection.execute(DELETE_TOKENS, *key, most)
    asks = [Ask(owner=row[0], wanted=row[1], at=row[2]) for row in await connection.fetch(SELECT_ASKS, *key)]
    known = {token.number for token in tokens}
    added = [token for token in cold(most, span, now) if token.number not in known]
    counter = Counter(tokens=(*(t for t in tokens if t.number < most), *added), asks=tuple(asks))
    return frozenset(tokens), counter


async def _store(connection: Connection, key: tuple[str, str], stored: frozenset[Token], after: Counter) -> None:
    changed: Sequence[Token] = [token for token in after.tokens if token not in stored]
    if changed:
        columns = zip(*((t.number, t.free_at, t.owner, t.until) for t in changed), strict=True)
        await connection.execute(UPSERT_TOKENS, *key, *columns)
    await connection.execute(DELETE_ASKS, *key)
    if after.asks:
        await connection.execute(INSERT_ASKS, *key, *zip(*((a.owner, a.wanted, a.at) for a in after.asks), strict=True))
