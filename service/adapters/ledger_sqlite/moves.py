"""What changes of a row as work is carried out, written alone: the indexes of all other columns stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, itemgetter
from typing import Final, Generic, TypeVar

from service.adapters.ledger_sql import rows
from service.adapters.ledger_sqlite.sql import update
from service.domain.command import Command, Plan
from service.domain.value import Value

V = TypeVar("V", bound=Value)


class Moves(Generic[V]):
    """The columns of a table that change, of a kind of value whose fields bear their names."""

    def __init__(self, kind: type[V], table: str, columns: str, row: Callable[[V], rows.Row], *, moving: str) -> None:
        """`row` gives the `columns`, of which `moving` change; the table's key is `id`."""
        places, moved = columns.split(", "), moving.split(", ")
        self.statement: Final = update(table, moving, "id")
        self._whole = row
        self._part = itemgetter(*map(places.index, (*moved, "id")))
        self._rest = attrgetter(*sorted({*kind.__struct_fields__} - {*moved}))

    def row(self, value: V) -> rows.Row:
        """The values that the statement takes."""
        part: rows.Row = self._part(self._whole(value))
        return part

    def are_all(self, before: V, after: V) -> bool:
        """Whether nothing else has changed."""
        return bool(self._rest(before) == self._rest(after))


OF_PLAN: Final = Moves(Plan, "plans", rows.PLAN, rows.plan_row, moving="epoch, state, ended_at, waiting_told, failure")
OF_COMMAND: Final = Moves(
    Command,
    "commands",
    rows.COMMAND,
    rows.command_row,
    moving="epoch, lane, state, cause, due_at, owner, attempts, retries, first_at, last_at, ended_at, queue_seconds,"
    " quota_seconds, vendor_seconds, result, facts, failure, absent_at, claims",
)
