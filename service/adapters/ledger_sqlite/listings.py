"""What the SQLite ledger shows at once: one command's story, counts, the outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from service.adapters.ledger_sql import rows
from service.adapters.ledger_sqlite.sql import json_list
from service.application.ports import CommandStory
from service.domain.ledger_state import OutboxMessage

SELECT_COMMAND = f"SELECT {rows.COMMAND} FROM commands WHERE id = ?"  # noqa: S608
SELECT_PLAN = f"SELECT {rows.PLAN} FROM plans WHERE id = ?"  # noqa: S608
SELECT_ATTEMPTS = f"SELECT {rows.ATTEMPT} FROM attempts WHERE command_id = ? ORDER BY epoch, number"  # noqa: S608
SELECT_HISTORY = f"SELECT {rows.HISTORY} FROM history WHERE command_id = ? ORDER BY seq"  # noqa: S608
SELECT_UNPUBLISHED = f"""
SELECT {rows.OUTBOX}, seq FROM outbox INDEXED BY outbox_unpublished WHERE published_at IS NULL ORDER BY seq LIMIT ?
"""  # noqa: S608
MARK_PUBLISHED = """
UPDATE outbox SET published_at = ? WHERE id IN (SELECT value FROM json_each(?)) AND published_at IS NULL
"""


def story(connection: sqlite3.Connection, command_id: str) -> CommandStory | None:
    """One command with all that happened to it."""
    row = connection.execute(SELECT_COMMAND, (command_id,)).fetchone()
    if row is None:
        return None
    command = rows.command(row)
    return CommandStory(
        command=command,
        plan=rows.plan(connection.execute(SELECT_PLAN, (command.plan_id,)).fetchone()),
        attempts=tuple(map(rows.attempt, connection.execute(SELECT_ATTEMPTS, (command_id,)))),
        history=tuple(map(rows.history, connection.execute(SELECT_HISTORY, (command_id,)))),
    )


def unpublished(connection: sqlite3.Connection, limit: int) -> list[OutboxMessage]:
    """The oldest messages still to be sent."""
    return [rows.outbox(row) for row in connection.execute(SELECT_UNPUBLISHED, (limit,))]


def mark_published(connection: sqlite3.Connection, ids: Sequence[str], at: float) -> None:
    """These were acknowledged; a second time changes nothing."""
    connection.execute(MARK_PUBLISHED, (at, json_list(ids)))
