"""What acts load and write in SQLite beside the work: replays, dead letters, quotas, answers given before."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from service.adapters.ledger_sql import desk_rows, rows
from service.adapters.ledger_sql.grouping import LoadedDesk, desk_changes
from service.adapters.ledger_sqlite.sql import insert, json_list, upsert
from service.domain.desk import DeskChanges, DeskKeys, DeskKnown

SELECT_ANSWERS: Final = f"""
SELECT {desk_rows.ANSWER} FROM answers WHERE idempotency_key IN (SELECT value FROM json_each(?))
"""  # noqa: S608
SELECT_REPLAYS: Final = f"SELECT {desk_rows.REPLAY} FROM replays WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
SELECT_HOLDS: Final = f"SELECT {rows.HOLD} FROM holds WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608
# of letters that lay at one place, in topics of one name, the newest comes last
SELECT_LETTERS: Final = f"""
SELECT {rows.DEAD_LETTER}, seq FROM dead_letters
WHERE (topic, "partition", "offset") IN (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)) ORDER BY seq
"""  # noqa: S608
SELECT_CONTENTS: Final = f"""
SELECT {rows.EVENT} FROM events WHERE (source, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))
"""  # noqa: S608
INSERT_ANSWER: Final = f"{insert('answers', desk_rows.ANSWER)} ON CONFLICT DO NOTHING"
UPSERT_REPLAY: Final = upsert("replays", desk_rows.REPLAY, "id")
UPSERT_ITEM: Final = (
    f"{upsert('replay_items', desk_rows.ITEM, 'replay_id, number')} WHERE replay_items.state = 'pending'"
)
CLOSE_LETTER: Final = """
UPDATE dead_letters SET state = ?, closed_at = ? WHERE topic = ? AND "partition" = ? AND "offset" = ? AND digest = ?
"""
UPSERT_RATE: Final = upsert("quota_rates", desk_rows.RATE, "quota_group, operation")


def load(connection: sqlite3.Connection, keys: DeskKeys) -> LoadedDesk:
    """What the ledger holds for the keys."""
    found = connection.execute
    answers = map(desk_rows.answer, found(SELECT_ANSWERS, (json_list(keys.answers),)))
    replays = map(desk_rows.replay, found(SELECT_REPLAYS, (json_list(keys.replays),)))
    letters = map(rows.dead_letter, found(SELECT_LETTERS, (_tuples(keys.letters),)))
    contents = map(rows.event, found(SELECT_CONTENTS, (_tuples(keys.contents),)))
    return LoadedDesk(
        known=DeskKnown(
            answers={answer.key: answer for answer in answers},
            replays={replay.id: replay for replay in replays},
            letters={letter.place: letter for letter in letters},
        ),
        holds=tuple(map(rows.hold, found(SELECT_HOLDS, (json_list(keys.holds),)))),
        contents={(event.source, event.id): event for event in contents},
    )


def _tuples(keys: Iterable[tuple[str | int, ...]]) -> str:
    return orjson.dumps(list(keys)).decode()


def write(connection: sqlite3.Connection, many: Sequence[DeskChanges]) -> None:
    """Write what acts have changed."""
    changes = desk_changes(many)
    connection.executemany(INSERT_ANSWER, map(desk_rows.answer_row, changes.answers))
    connection.executemany(UPSERT_REPLAY, map(desk_rows.replay_row, changes.replays))
    connection.executemany(UPSERT_ITEM, map(desk_rows.item_row, changes.items))
    connection.executemany(CLOSE_LETTER, map(desk_rows.closed_row, changes.letters))
    connection.executemany(UPSERT_RATE, map(desk_rows.rate_row, changes.rates))
