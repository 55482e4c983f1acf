"""What is asked of a ledger in SQL, each question written once.

They are said as PostgreSQL understands them; SQLite's adapter says the same in its own words (`in_sqlite`).

Pages are walks: rows of one table in the order of one column, as one index gives them. So a ledger with one connection
can read them piece by piece, however far apart the rows lie that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from service.adapters.ledger_sql import desk_rows, rows
from service.application.inquiry import ActQuery, EventQuery, LetterQuery
from service.application.ports import CommandQuery

T = TypeVar("T")

NEWEST: Final = 2**63 - 1
"""Before every row, where the newest come first."""
LETTERS: Final = "substr(topic, 1, 4) = 'dlq.'"
"""Of messages: those that carry a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A statement with its values; `$n` is the n-th."""

    statement: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of a row; `{0}` in `text` stands for the value."""

    text: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Rows of a table behind `after`, in the order of `cursor`, for which all that is `asked` is true.

    They lie one behind the other in an index whose first columns are as `along` says. `index` is its name in SQLite;
    None is the table's own order. Each row ends with its cursor.
    """

    table: str
    columns: str
    cursor: str
    index: str | None
    after: Any
    along: tuple[Condition, ...] = ()
    asked: tuple[Condition, ...] = ()
    newest_first: bool = False

    def page(self, after: Any, last: Any, limit: int, *, by: str = "") -> Question:
        """The rows behind `after`, up to and with `last` unless that is None; `by` names the index to go by."""
        way = "DESC" if self.newest_first else "ASC"
        until = () if last is None else (Condition(f"{self.cursor} {'>' if self.newest_first else '<'}= {{0}}", last),)
        where, values = _all_of((*self.along, self._behind(after), *until, *self.asked))
        return Question(
            statement=f"SELECT {self.columns}, {self.cursor} FROM {self.table} {by} WHERE {where} "  # noqa: S608  constants
            f"ORDER BY {self.cursor} {way} LIMIT ${len(values) + 1}",
            values=(*values, limit),
        )

    def ahead(self, after: Any, steps: int, *, by: str = "") -> Question:
        """The cursor so many steps behind `after`, asked of the index alone."""
        way = "DESC" if self.newest_first else "ASC"
        where, values = _all_of((*self.along, self._behind(after)))
        return Question(
            statement=f"SELECT {self.cursor} FROM {self.table} {by} WHERE {where} "  # noqa: S608  constants
            f"ORDER BY {self.cursor} {way} LIMIT 1 OFFSET ${len(values) + 1}",
            values=(*values, steps - 1),
        )

    def _behind(self, after: Any) -> Condition:
        return Condition(f"{self.cursor} {'<' if self.newest_first else '>'} {{0}}", after)


def _all_of(conditions: Sequence[Condition]) -> tuple[str, tuple[Any, ...]]:
    texts = [condition.text.format(f"${nth}") for nth, condition in enumerate(conditions, start=1)]
    return " AND ".join(texts), tuple(condition.value for condition in conditions)


def in_order(found: Iterable[tuple[Any, T]], limit: int, *, newest_first: bool) -> list[T]:
    """One page of what several walks found, each row with its cursor; one that moved meanwhile is not shown twice."""
    rows_by_cursor = dict(found)
    return [rows_by_cursor[cursor] for cursor in sorted(rows_by_cursor, reverse=newest_first)[:limit]]


def commands(query: CommandQuery) -> list[Walk]:
    """The commands of a listing, in the order of their ids."""
    ways = [
        Way("plan_id", "commands_of_plan"),
        Way("subject", "commands_of_subject"),
        Way("resource", "commands_of_resource"),
    ]
    return _by_id("commands", rows.COMMAND, query, ways, _equal(query, "operation", "account"))


def plans(query: CommandQuery) -> list[Walk]:
    """The plans of a listing, in the order of their ids."""
    ways = [Way("plan_id", "sqlite_autoindex_plans_1", "id"), Way("subject", "plans_of_subject")]
    failed_in = [] if query.operation is None else [Condition(FAILED_IN, query.operation)]
    return _by_id("plans", rows.PLAN, query, ways, [*_equal(query, "account"), *failed_in])


# written so that each plan is asked about by itself, and through the index of its commands
FAILED_IN: Final = """(
    SELECT 1 FROM commands AS c WHERE c.plan_id = plans.id AND c.state || '' = 'failed' AND c.operation = {0} LIMIT 1
) IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Way:
    """A filter that an index serves: its name, the index, and the column if that is called otherwise."""

    name: str
    index: str
    column: str | None = None


def _by_id(
    table: str, columns: str, query: CommandQuery, ways: Sequence[Way], asked: Sequence[Condition]
) -> list[Walk]:
    """One walk along the narrowest index; along that of states, one for each of them."""
    asked = [*asked, *_failed_with(query), *_when("coalesce(ended_at, created_at)", query)]
    named = [way for way in ways if getattr(query, way.name) is not None]
    equal = [Condition(f"{way.column or way.name} = {{0}}", getattr(query, way.name)) for way in named]
    if named and query.states:
        asked.append(Condition("state = ANY({0}::text[])", sorted(query.states)))
    walk = Walk(
        table=table,
        columns=columns,
        cursor="id",
        index=named[0].index if named else f"sqlite_autoindex_{table}_1",
        after=query.after or "",
        along=tuple(equal[:1]),
        asked=(*equal[1:], *asked),
    )
    if named or not query.states:
        return [walk]
    states = sorted(set(query.states))
    return [replace(walk, index=f"{table}_by_state", along=(Condition("state = {0}", state),)) for state in states]


def _equal(query: CommandQuery | EventQuery | LetterQuery | ActQuery, *names: str) -> list[Condition]:
    return [Condition(f"{name} = {{0}}", value) for name in names if (value := getattr(query, name)) is not None]


def _when(at: str, query: CommandQuery | EventQuery | LetterQuery | ActQuery) -> Iterator[Condition]:
    if query.since is not None:
        yield Condition(f"{at} >= {{0}}::float8", query.since)
    if query.until is not None:
        yield Condition(f"{at} < {{0}}::float8", query.until)


def _failed_with(query: CommandQuery) -> Iterator[Condition]:
    """No LIKE: a code is the vendor's, and may hold what LIKE reads as a pattern."""
    if query.error_class is not None:
        yield Condition("failure::json ->> 'error_class' = {0}", query.error_class)
    if query.code is not None and query.code.endswith("*"):
        yield Condition("substr(failure::json ->> 'code', 1, length({0}::text)) = {0}::text", query.code[:-1])
    elif query.code is not None:
        yield Condition("failure::json ->> 'code' = {0}", query.code)


def events(query: EventQuery) -> Walk:
    """Events, newest first."""
    ways = {"id": "events_by_id", "subject": "events_of_subject"}
    narrow = [name for name in ways if getattr(query, name) is not None]
    conditions = _equal(query, *narrow)
    return Walk(
        table="events",
        columns=rows.EVENT,
        cursor="arrival",
        index=ways[narrow[0]] if narrow else "sqlite_autoindex_events_1",
        after=NEWEST if query.before is None else query.before,
        along=tuple(conditions[:1]),
        asked=(*conditions[1:], *_equal(query, "source", "type"), *_when("received_at", query)),
        newest_first=True,
    )


def dead_letters(query: LetterQuery) -> Walk:
    """Dead letters, newest first."""
    return Walk(
        table="dead_letters",
        columns=rows.DEAD_LETTER,
        cursor="seq",
        index=None,
        after=NEWEST if query.before is None else query.before,
        asked=(*_equal(query, "topic", "reason", "state"), *_when("seen_at", query)),
        newest_first=True,
    )


def acts(query: ActQuery) -> Walk:
    """Acts, newest first."""
    return Walk(
        table="acts",
        columns=rows.ACT,
        cursor="seq",
        index=None,
        after=NEWEST if query.before is None else query.before,
        asked=(*_equal(query, "actor", "kind", "object"), *_when("at", query)),
        newest_first=True,
    )


HOLDS_STANDING: Final = f"""
SELECT {rows.HOLD} FROM holds WHERE released_at IS NULL ORDER BY created_at DESC, id DESC LIMIT $1
"""  # noqa: S608
HOLDS_RELEASED: Final = f"""
SELECT {rows.HOLD} FROM holds WHERE released_at IS NOT NULL ORDER BY released_at DESC, id DESC LIMIT $1
"""  # noqa: S608
RATES: Final = f"SELECT {desk_rows.RATE} FROM quota_rates ORDER BY quota_group, operation"  # noqa: S608
TOLD: Final = "SELECT id, published_at FROM outbox WHERE id = ANY($1::text[])"
LETTER_BYTES: Final = f'SELECT "key", value FROM outbox WHERE id = $1 AND {LETTERS}'  # noqa: S608
REPLAY: Final = f"SELECT {desk_rows.REPLAY} FROM replays WHERE id = $1"  # noqa: S608
REPLAYS: Final = f"SELECT {desk_rows.REPLAY} FROM replays ORDER BY created_at DESC, id DESC LIMIT $1"  # noqa: S608
REPLAYS_UNFINISHED: Final = f"""
SELECT {desk_rows.REPLAY} FROM replays WHERE state IN ('running', 'paused') ORDER BY created_at DESC, id DESC LIMIT $1
"""  # noqa: S608
_ITEM: Final = ", ".join(f"i.{name}" for name in desk_rows.ITEM.split(", "))
_PLAN: Final = ", ".join(f"p.{name}" for name in rows.PLAN.split(", "))
ITEMS: Final = f"""
SELECT {_ITEM}, {_PLAN} FROM replay_items AS i LEFT JOIN plans AS p ON p.id = i.plan_id
WHERE i.replay_id = $1 AND i.number > $2 ORDER BY i.number LIMIT $3
"""  # noqa: S608
ITEMS_PENDING: Final = ITEMS.replace("WHERE", "WHERE i.state = 'pending' AND")
# of the next so many items of a replay: how many there are, the last one's number, how many are no longer pending
BEGUN: Final = """
SELECT count(*), max(number), count(*) FILTER (WHERE state <> 'pending')
FROM (SELECT number, state FROM replay_items WHERE replay_id = $1 AND number > $2 ORDER BY number LIMIT $3) AS next
"""
