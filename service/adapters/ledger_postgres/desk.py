"""What acts load and write in PostgreSQL beside the work: replays, dead letters, quotas, answers given before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from service.adapters.ledger_postgres.connection import Connection, only_row
from service.adapters.ledger_postgres.sql import arrays, insert, upsert
from service.adapters.ledger_sql import desk_rows, rows
from service.adapters.ledger_sql.grouping import LoadedDesk, desk_changes
from service.domain.desk import DeskChanges, DeskKeys, DeskKnown

# of letters that lay at one place, in topics of one name, the newest comes last
LOAD: Final = f"""
SELECT ARRAY(SELECT ROW({desk_rows.ANSWER}) FROM answers WHERE idempotency_key = ANY($1::text[])),
    ARRAY(SELECT ROW({desk_rows.REPLAY}) FROM replays WHERE id = ANY($2::text[])),
    ARRAY(SELECT ROW({rows.HOLD}) FROM holds WHERE id = ANY($3::text[])),
    ARRAY(SELECT ROW({rows.DEAD_LETTER}, seq) FROM dead_letters
          WHERE (topic, "partition", "offset") IN (SELECT * FROM unnest($4::text[], $5::integer[], $6::bigint[]))
          ORDER BY seq),
    ARRAY(SELECT ROW({rows.EVENT}) FROM events
          WHERE (source, id) IN (SELECT * FROM unnest($7::text[], $8::text[])))
"""  # noqa: S608
INSERT_ANSWERS: Final = f"{insert('answers', desk_rows.ANSWER)} ON CONFLICT DO NOTHING"
UPSERT_REPLAYS: Final = upsert("replays", desk_rows.REPLAY, "id")
UPSERT_ITEMS: Final = (
    f"{upsert('replay_items', desk_rows.ITEM, 'replay_id, number')} WHERE replay_items.state = 'pending'"
)
CLOSE_LETTERS: Final = """
UPDATE dead_letters AS d SET state = r.state, closed_at = r.closed_at
FROM unnest($1::text[], $2::float8[], $3::text[], $4::integer[], $5::bigint[], $6::text[])
    AS r(state, closed_at, topic, "partition", "offset", digest)
WHERE (d.topic, d."partition", d."offset", d.digest) = (r.topic, r."partition", r."offset", r.digest)
"""
UPSERT_RATES: Final = upsert("quota_rates", desk_rows.RATE, "quota_group, operation")


async def load(connection: Connection, keys: DeskKeys) -> LoadedDesk:
    """What the ledger holds for the keys, in one round trip."""
    places, contents = sorted(keys.letters), sorted(keys.contents)
    answers, replays, holds, letters, events = await only_row(
        connection,
        LOAD,
        sorted(keys.answers),
        sorted(keys.replays),
        sorted(keys.holds),
        *([place[part] for place in places] for part in range(3)),
        *([key[part] for key in contents] for part in range(2)),
    )
    return LoadedDesk(
        known=DeskKnown(
            answers={row[0]: desk_rows.answer(row) for row in answers},
            replays={row[0]: desk_rows.replay(row) for row in replays},
            letters={letter.place: letter for letter in map(rows.dead_letter, letters)},
        ),
        holds=tuple(map(rows.hold, holds)),
        contents={(event.source, event.id): event for event in map(rows.event, events)},
    )


def parts(many: Sequence[DeskChanges]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The statements that write what acts have changed, each with its arguments."""
    changes = desk_changes(many)
    if changes.answers:
        yield INSERT_ANSWERS, arrays(desk_rows.answer_row, changes.answers)
    if changes.replays:
        yield UPSERT_REPLAYS, arrays(desk_rows.replay_row, changes.replays)
    if changes.items:
        yield UPSERT_ITEMS, arrays(desk_rows.item_row, changes.items)
    if changes.letters:
        yield CLOSE_LETTERS, arrays(desk_rows.closed_row, changes.letters)
    if changes.rates:
        yield UPSERT_RATES, arrays(desk_rows.rate_row, changes.rates)
