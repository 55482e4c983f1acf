"""Erasing in SQLite: small batches, for whoever else needs the ledger waits meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from service.adapters.ledger_sql import rows
from service.adapters.ledger_sqlite.sql import json_list
from service.domain.retention import HISTORY_OF_A_PLAN, ITEMS_OF_A_REPLAY, Erasable

SELECT_ENDED_PLANS = f"""
SELECT id FROM plans INDEXED BY plans_ended
WHERE state <> 'open' AND ended_at <= ? AND NOT EXISTS (
    SELECT 1 FROM commands AS c INDEXED BY commands_of_plan
    WHERE c.plan_id = plans.id AND c.state IN {rows.UNFINISHED}
) ORDER BY ended_at, id LIMIT ?
"""  # noqa: S608
THEIR_COMMANDS = "SELECT id FROM commands WHERE plan_id IN (SELECT value FROM json_each(?))"
DELETE_HISTORY = f"""
DELETE FROM history WHERE seq IN (
    SELECT seq FROM history INDEXED BY history_of_command WHERE command_id IN ({THEIR_COMMANDS}) LIMIT ?
)
"""  # noqa: S608
DELETE_ATTEMPTS = f"DELETE FROM attempts WHERE command_id IN ({THEIR_COMMANDS})"  # noqa: S608
DELETE_COMMANDS = "DELETE FROM commands WHERE plan_id IN (SELECT value FROM json_each(?))"
DELETE_PLANS = "DELETE FROM plans WHERE id IN (SELECT value FROM json_each(?))"
DELETE_EVENTS = """
DELETE FROM events WHERE rowid IN (
    SELECT e.rowid FROM events AS e INDEXED BY events_by_age
    WHERE e.received_at <= ? AND NOT EXISTS (
        SELECT 1 FROM plans AS p INDEXED BY plans_of_event WHERE p.event_source = e.source AND p.event_id = e.id
    ) ORDER BY e.received_at LIMIT ?
)
"""
DELETE_FACTS = """
DELETE FROM facts WHERE id IN (
    SELECT f.id FROM facts AS f INDEXED BY facts_by_age
    WHERE f.received_at <= ? AND CASE
        WHEN f.taken_by IS NOT NULL THEN NOT EXISTS (SELECT 1 FROM commands AS c WHERE c.id = f.taken_by)
        ELSE NOT EXISTS (
            SELECT 1 FROM plans AS p INDEXED BY plans_open WHERE p.state = 'open' AND p.subject = f.subject
        )
    END ORDER BY f.received_at, f.id LIMIT ?
)
"""
DELETE_MESSAGES = """
DELETE FROM outbox WHERE seq IN (
    SELECT seq FROM outbox INDEXED BY outbox_published
    WHERE published_at IS NOT NULL AND published_at <= ? ORDER BY published_at LIMIT ?
)
"""
DELETE_DEAD_LETTERS = """
DELETE FROM dead_letters WHERE rowid IN (
    SELECT rowid FROM dead_letters INDEXED BY dead_letters_by_age WHERE seen_at <= ? ORDER BY seen_at LIMIT ?
)
"""
DELETE_HOLDS = """
DELETE FROM holds WHERE id IN (
    SELECT id FROM holds INDEXED BY holds_released
    WHERE released_at IS NOT NULL AND released_at <= ? ORDER BY released_at, id LIMIT ?
)
"""
DELETE_ANSWERS = """
DELETE FROM answers WHERE rowid IN (
    SELECT rowid FROM answers INDEXED BY answers_by_age WHERE given_at <= ? ORDER BY given_at LIMIT ?
)
"""
SELECT_ENDED_REPLAYS = """
SELECT id FROM replays INDEXED BY replays_ended
WHERE ended_at IS NOT NULL AND ended_at <= ? ORDER BY ended_at, id LIMIT ?
"""
DELETE_ITEMS = """
DELETE FROM replay_items WHERE (replay_id, number) IN (
    SELECT replay_id, number FROM replay_items WHERE replay_id IN (SELECT value FROM json_each(?)) LIMIT ?
)
"""
DELETE_REPLAYS = "DELETE FROM replays WHERE id IN (SELECT value FROM json_each(?))"
# fences are never given again: AUTOINCREMENT remembers the highest
DELETE_SESSIONS = """
DELETE FROM sessions WHERE fence IN (
    SELECT fence FROM sessions INDEXED BY sessions_ended
    WHERE ended_at IS NOT NULL AND ended_at <= ? ORDER BY ended_at LIMIT ?
)
"""
# An event and its identity have one arrival. The newest stays: the next event is numbered after it.
DELETE_IDENTITIES = """
DELETE FROM event_digests WHERE event_hash IN (
    SELECT d.event_hash FROM event_digests AS d INDEXED BY event_digests_by_age
    WHERE d.received_at <= ? AND d.arrival < (SELECT max(arrival) FROM event_digests)
        AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.arrival = d.arrival)
    ORDER BY d.received_at LIMIT ?
)
"""
DELETE: Final[Mapping[Erasable, str]] = {
    Erasable.EVENTS: DELETE_EVENTS,
    Erasable.FACTS: DELETE_FACTS,
    Erasable.MESSAGES: DELETE_MESSAGES,
    Erasable.DEAD_LETTERS: DELETE_DEAD_LETTERS,
    Erasable.HOLDS: DELETE_HOLDS,
    Erasable.SESSIONS: DELETE_SESSIONS,
    Erasable.ANSWERS: DELETE_ANSWERS,
    Erasable.IDENTITIES: DELETE_IDENTITIES,
}


def erase(connection: sqlite3.Connection, what: Erasable, before: float, limit: int) -> int:
    """Erase a batch; how many rows went."""
    if what is Erasable.PLANS:
        return _erase_plans(connection, before, limit)
    if what is Erasable.REPLAYS:
        return _erase_replays(connection, before, limit)
    return connection.execute(DELETE[what], (before, limit)).rowcount


def _erase_plans(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Plans with all that refers to them, children first. While there is more history, that alone."""
    plans = json_list(row[0] for row in connection.execute(SELECT_ENDED_PLANS, (before, limit)))
    most = limit * HISTORY_OF_A_PLAN
    erased = connection.execute(DELETE_HISTORY, (plans, most)).rowcount
    if erased == most:
        return erased
    for statement in (DELETE_ATTEMPTS, DELETE_COMMANDS, DELETE_PLANS):
        erased += connection.execute(statement, (plans,)).rowcount
    return erased


def _erase_replays(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Replays with their items, those first. While there are more of them, they alone."""
    replays = json_list(row[0] for row in connection.execute(SELECT_ENDED_REPLAYS, (before, limit)))
    most = limit * ITEMS_OF_A_REPLAY
    erased = connection.execute(DELETE_ITEMS, (replays, most)).rowcount
    return erased if erased == most else erased + connection.execute(DELETE_REPLAYS, (replays,)).rowcount
