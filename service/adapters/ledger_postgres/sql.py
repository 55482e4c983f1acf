"""PostgreSQL's ways of saying what the ledger's statements say: whole batches of rows as one array for each column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, Final, TypeVar

from service.adapters.ledger_sql.rows import Row

T = TypeVar("T")

WHOLE: Final = frozenset(
    {
        "epoch", "step_no", "attempts", "retries", "number", "generation", "size", "waiting_told", "create_sent",
        "claims", '"partition"', "planned", "from_epoch", "paced_begun", "status",
    }
)  # fmt: skip
LARGE: Final = frozenset({'"offset"', "order_revision", "order_at", "arrival", "owner", "applied_at"})
BYTES: Final = frozenset({"event_key", '"key"', "value"})
REAL: Final = frozenset({"at", "rate", "paced_from"})
PLACE: Final = re.compile(r"\$(\d+)")
NOW: Final = "extract(epoch FROM clock_timestamp())::double precision"
"""The server's clock: the one that a fleet agrees on."""


def type_of(column: str) -> str:
    """A column's type, from its name: what ends in `at` or `seconds` is a time."""
    if column in WHOLE:
        return "integer"
    if column in LARGE:
        return "bigint"
    if column in BYTES:
        return "bytea"
    return "double precision" if column.endswith(("_at", "_seconds")) or column in REAL else "text"


def insert(table: str, columns: str, *more: tuple[str, str], aside: Sequence[str] = ()) -> str:
    """An INSERT of many rows, an array a column.

    `more` are further columns, each with the expression that fills it; `aside` are names and types of what comes with
    the rows for such an expression, and is no column.
    """
    names = columns.split(", ")
    types = [*map(type_of, names), *(one.partition(" ")[2] for one in aside)]
    arrays = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(types, start=1))
    columns_in = ", ".join([*names, *(one.partition(" ")[0] for one in aside)])
    extra = "".join(f", {name}" for name, _ in more)
    values = ", ".join([*(f"r.{name}" for name in names), *(expression for _, expression in more)])
    return (
        f"INSERT INTO {table} ({columns}{extra}) "  # noqa: S608  constants of this package
        f"SELECT {values} FROM unnest({arrays}) AS r({columns_in})"
    )


def upsert(table: str, columns: str, key: str, *more: tuple[str, str], aside: Sequence[str] = ()) -> str:
    """The same, replacing rows of the same key."""
    keys = key.split(", ")
    names = [*columns.split(", "), *(name for name, _ in more)]
    news = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    return f"{insert(table, columns, *more, aside=aside)} ON CONFLICT ({key}) DO UPDATE SET {news}"


@cache
def as_one(statements: tuple[str, ...]) -> str:
    """Statements that write, as one that runs them all: their arguments follow one another."""
    if len(statements) == 1:
        return statements[0]
    parts, before = [], 0
    for nth, statement in enumerate(statements):
        parts.append(f"w{nth} AS ({PLACE.sub(partial(_moved, before), statement)})")
        before += max(int(place) for place in PLACE.findall(statement))
    return f"WITH {', '.join(parts)} SELECT"


def _moved(by: int, place: re.Match[str]) -> str:
    return f"${int(place[1]) + by}"


def arrays(row: Callable[[T], Row], values: Iterable[T]) -> list[Sequence[Any]]:
    """The rows' values, column by column."""
    return list(zip(*map(row, values), strict=True))
