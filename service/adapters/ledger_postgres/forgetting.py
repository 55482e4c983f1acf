"""Forgetting a person in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping

from service.adapters.ledger_postgres.claims import affected
from service.adapters.ledger_postgres.connection import Transaction
from service.adapters.ledger_postgres.state import lock, write
from service.adapters.ledger_sql import forgetting
from service.domain.ledger_state import Act, Changes


async def forget(transaction: Transaction, subject: str, act: Act) -> Mapping[str, int] | None:
    """As the port `Inquiries` says. The subject is locked, as by every decision about it."""
    await lock(transaction, {subject})
    connection = transaction.connection
    if await connection.fetchval(forgetting.HAS_OPEN_PLAN, subject) is not None:
        return None
    key = forgetting.key_of(subject)
    commands = forgetting.rewritten(await connection.fetch(forgetting.COMMANDS, subject))
    bindings = forgetting.rewritten(await connection.fetch(forgetting.BINDINGS, subject))
    await connection.executemany(forgetting.COMMAND, commands)
    await connection.executemany(forgetting.BINDING, [(subject, *row) for row in bindings])
    await write(connection, [Changes(acts=(act,))], None)
    return {
        "events": affected(await connection.execute(forgetting.EVENTS, subject)),
        "commands": len(commands),
        "bindings": len(bindings),
        "dead_letters": 0 if key is None else affected(await connection.execute(forgetting.MESSAGES, key)),
    }
