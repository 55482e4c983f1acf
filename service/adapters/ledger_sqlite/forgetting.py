"""Forgetting a person in SQLite: one subject is small, so it is one job."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from service.adapters.ledger_sql import forgetting
from service.adapters.ledger_sqlite.sql import in_sqlite
from service.adapters.ledger_sqlite.state import write
from service.domain.ledger_state import Act, Changes

HAS_OPEN_PLAN: Final = "SELECT 1 FROM plans INDEXED BY plans_open WHERE state = 'open' AND subject = ? LIMIT 1"
EVENTS: Final = in_sqlite(forgetting.EVENTS)
COMMANDS: Final = in_sqlite(forgetting.COMMANDS)
COMMAND: Final = in_sqlite(forgetting.COMMAND)
BINDINGS: Final = in_sqlite(forgetting.BINDINGS)
BINDING: Final = in_sqlite(forgetting.BINDING)
MESSAGES: Final = in_sqlite(forgetting.MESSAGES)


def forget(connection: sqlite3.Connection, subject: str, act: Act) -> Mapping[str, int] | None:
    """As the port `Inquiries` says."""
    if connection.execute(HAS_OPEN_PLAN, (subject,)).fetchone() is not None:
        return None
    key = forgetting.key_of(subject)
    commands = forgetting.rewritten(connection.execute(COMMANDS, (subject,)).fetchall())
    bindings = forgetting.rewritten(connection.execute(BINDINGS, (subject,)).fetchall())
    connection.executemany(COMMAND, commands)
    connection.executemany(BINDING, [(subject, *row) for row in bindings])
    write(connection, Changes(acts=(act,)))
    return {
        "events": connection.execute(EVENTS, (subject,)).rowcount,
        "commands": len(commands),
        "bindings": len(bindings),
        "dead_letters": 0 if key is None else connection.execute(MESSAGES, (key,)).rowcount,
    }
