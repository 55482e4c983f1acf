"""What is taken out of a ledger's rows when a person is forgotten: names and addresses, wherever they are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from service.adapters.ledger_sql.questions import LETTERS
from service.adapters.ledger_sql.rows import Cells, to_json
from service.domain.outcome import Json
from service.domain.replaying import ERASED

HAS_OPEN_PLAN = "SELECT 1 FROM plans WHERE state || '' = 'open' AND subject = $1 LIMIT 1"
EVENTS = "UPDATE events SET data = '{}' WHERE subject = $1 AND data <> '{}'"
COMMANDS = "SELECT id, wanted FROM commands WHERE subject = $1"
COMMAND = "UPDATE commands SET wanted = $2 WHERE id = $1"
BINDINGS = "SELECT generation, applied FROM bindings WHERE subject = $1 AND applied IS NOT NULL"
BINDING = "UPDATE bindings SET applied = $3 WHERE subject = $1 AND generation = $2"
MESSAGES = f"""
UPDATE outbox SET value = NULL
WHERE "key" = $1 AND {LETTERS} AND published_at IS NOT NULL AND value IS NOT NULL
"""  # noqa: S608


def rewritten(found: Iterable[Cells]) -> list[tuple[Any, str]]:
    """Of keys with a wanted or applied state each those that told anything of a person, and what is left of it."""
    return [(row[0], left) for row in found if (left := _without_person(row[1])) is not None]


def _without_person(text: str) -> str | None:
    state = orjson.loads(text)
    left = _without(state)
    return None if left == state else to_json(left)


def _without(state: Mapping[str, Json]) -> dict[str, Json]:
    left = dict(state)
    if left.get("name") is not None:
        left["name"] = ERASED
    if left.get("email") is not None:
        left["email"] = None
    if isinstance(left.get("last"), dict):
        left["last"] = _without(left["last"])
    return left


def key_of(subject: str) -> bytes | None:
    """The key of the records about an agent, which is all that a dead letter tells of whom it is about; else None."""
    kind, _, name = subject.partition(":")
    return name.partition("/")[2].encode() if kind == "agent" else None
