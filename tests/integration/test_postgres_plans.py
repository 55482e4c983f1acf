"""Every hot statement of the PostgreSQL ledger finds its rows by a partial index, beside 200,000 finished commands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
import pytest

from service.adapters.ledger_postgres import claims, desk, inquiries, listings, state
from service.adapters.ledger_postgres.connection import SERVER_SETTINGS, Database
from service.adapters.ledger_postgres.schema import migrate
from service.adapters.ledger_sql import forgetting, questions, rows
from service.application.inquiry import ActQuery, EventQuery, LetterQuery
from service.application.ports import CommandQuery
from tests.builders import CREATE, GROUP, NOW
from tests.postgres.server import PostgresServer

FINISHED = 200_000
WAITING = 20_000
ALL = FINISHED + WAITING
OLD = f"n <= {FINISHED}"
FAILED = f"({OLD} AND n %% 1000 = 0)"
FAILURE = '\'{"error_class": "retryable", "code": "InternalError"}\''
FILL = f"""
INSERT INTO plans ({rows.PLAN})
SELECT 'plan-' || n, 0, CASE WHEN {FAILED} THEN 'failed' WHEN {OLD} THEN 'completed' ELSE 'open' END,
    'urn:hr', 'event-' || n, 'hired', NULL,
    NULL, NULL, 'hr.events', 0, n, 'event-' || n, NULL, 'agent:realm/' || n, 'acme_cn', 'urn:hr', NULL, n, n, NULL,
    {NOW}, NULL, 0, CASE WHEN {FAILED} THEN {FAILURE} END, 1
FROM %(numbers)s AS n;
INSERT INTO commands ({rows.COMMAND}, live)
SELECT 'cmd-' || n, 'plan-' || n, 0, 'extension', 0, 'acme_cn', '{CREATE}', '{GROUP}', 'agent:realm/' || n,
    'extension:acme_cn/' || n, '{{}}', 'live',
    CASE WHEN {FAILED} THEN 'failed' WHEN {OLD} THEN 'succeeded' WHEN n %% 2 = 0 THEN 'waiting' ELSE 'pending' END,
    'urn:hr', NULL, n, n, {NOW}, 'earlier_work', NULL, CASE WHEN {OLD} THEN NULL ELSE {NOW} END,
    NULL, 1, 0, {NOW}, {NOW}, NULL, 0, 0, 0, 'done', '{{}}', CASE WHEN {FAILED} THEN {FAILURE} END, NULL,
    NULL, 1, NOT ({OLD})
FROM %(numbers)s AS n;
INSERT INTO facts
SELECT 'fact-' || n, 'agent:realm/' || n, 'approved', NULL, NULL, 0, CASE WHEN {OLD} THEN 'cmd-' || n END
FROM %(numbers)s AS n WHERE n > {FINISHED} - 20000;
INSERT INTO events
SELECT 'urn:hr', 'event-' || n, 'hired', 'd', 'agent:realm/' || n, 'hr.events', 0, n, {NOW}, '{{}}', n
FROM %(numbers)s AS n;
INSERT INTO replay_items
SELECT 'replay-' || n / 1000, n, 'plan-' || n, 0, CASE WHEN {OLD} THEN 'begun' ELSE 'pending' END
FROM %(numbers)s AS n;
INSERT INTO dead_letters
SELECT 'hr.events', 0, n, 'not_json', NULL, '', 1, 'd', {NOW}, 'open' FROM %(numbers)s AS n WHERE n %% 10 = 0;
INSERT INTO acts (at, actor, kind, object, reason, detail)
SELECT {NOW}, 'ann', 'hold', 'hold-' || n, '', '{{}}' FROM %(numbers)s AS n WHERE n %% 10 = 0;
INSERT INTO event_digests SELECT md5(n::text), 'd', n, 0, NULL, NULL, NULL FROM %(numbers)s AS n;
INSERT INTO bindings
SELECT 'agent:realm/' || n, 1, 'extension:acme_cn/' || n, 'acme_cn', 'live', 'plan-' || n, '{{}}', n, '{{}}', 1, 0
FROM %(numbers)s AS n;
INSERT INTO outbox (id, topic, headers, order_by, created_at, published_at, owner)
SELECT 'm-' || n, 't', '[]', 'agent:realm/' || n, 0, CASE WHEN {OLD} THEN 1 END, 1
FROM %(numbers)s AS n;
"""  # noqa: S608
SESSIONS = """
INSERT INTO sessions (owner, started_at, expires_at, ended_at)
SELECT 'pod-' || n, 0, 0, CASE WHEN n < 1000 THEN 1 END FROM generate_series(1, 1000) AS n;
"""
FINISHED_WORK = FILL % {"numbers": f"generate_series(1, {FINISHED})"}
WAITING_WORK = FILL % {"numbers": f"generate_series({FINISHED} + 1, {ALL})"}
LEDGERS = {
    "statistics of now": f"{SESSIONS}{FINISHED_WORK}{WAITING_WORK} ANALYZE;",
    "statistics of a quiet hour": f"{SESSIONS}{FINISHED_WORK} ANALYZE; {WAITING_WORK}",
}


@dataclass(frozen=True)
class Hot:
    """A statement that runs all day, and the indexes that it may use."""

    name: str
    statement: str
    arguments: Sequence[Any]
    indexes: frozenset[str]


def hot(name: str, statement: str, arguments: Sequence[Any], *indexes: str) -> Hot:
    return Hot(name, statement, arguments, frozenset(indexes))


def walk(name: str, walks: Sequence[questions.Walk], *indexes: str) -> Hot:
    """The first page of a walk."""
    question = walks[0].page(walks[0].after, None, 50)
    return hot(name, question.statement, question.values, *indexes)


LIVE = ("commands_live_of_subject", "commands_live_of_resource", "commands_of_plan")
BUSY = ("commands_claimed", "commands_in_flight", "commands_by_state")
NAMES = [f"agent:realm/{FINISHED + n}" for n in range(40)]
RESOURCES = [f"extension:acme_cn/{FINISHED + n}" for n in range(40)]
IDS = [f"cmd-{FINISHED + n}" for n in range(1, 41)]
PLANS = [f"plan-{FINISHED + n}" for n in range(1, 41)]
EVENTS = [f"event-{n}" for n in range(40)]
LAST_REPLAY = f"replay-{FINISHED // 1000 + 5}"
CLOSED = (["open"], [NOW], ["hr.events"], [0], [10], ["d"])
COMMANDS: list[tuple[str, dict[str, Any], str]] = [
    ("", {}, "commands_pkey"),
    ("of a code", {"states": ("failed",), "code": "Internal*", "since": NOW - 1}, "commands_by_state"),
    ("of no code", {"states": ("failed",), "code": "Other"}, "commands_by_state"),
    ("of a subject", {"subject": "agent:realm/7", "states": ("failed", "pending")}, "commands_of_subject"),
    ("of a resource", {"resource": "extension:acme_cn/7", "operation": CREATE}, "commands_of_resource"),
    ("of a plan", {"plan_id": "plan-7", "account": "acme_cn"}, "commands_of_plan"),
]
PLANS_ASKED: list[tuple[Any, ...]] = [
    ("", {"account": "acme_cn"}, "plans_pkey"),
    ("of an operation", {"states": ("failed",), "operation": CREATE}, "plans_by_state", "commands_of_plan"),
    ("of no operation", {"states": ("failed",), "operation": "none"}, "plans_by_state", "commands_of_plan"),
    ("of a subject", {"subject": "agent:realm/7", "code": "*"}, "plans_of_subject"),
    ("by id", {"plan_id": "plan-7"}, "plans_pkey"),
]
EVENTS_ASKED: list[tuple[str, dict[str, Any], str]] = [
    ("", {"type": "hired"}, "events_arrival_key"),
    ("of an id", {"id": "event-7", "source": "urn:hr"}, "events_by_id"),
    ("of a subject", {"subject": "agent:realm/7", "since": 0.0}, "events_of_subject"),
]
PAGE = ([GROUP], [CREATE], ["live"], ["acme_cn"], [float("-inf")], [0], [0], [90])
STATEMENTS = [
    hot("due", claims.SELECT_DUE, (NOW, *PAGE), "commands_due", *LIVE),
    hot("look around", claims.LOOK_AROUND, (1, [GROUP], [CREATE], ["live"]), "commands_due"),
    hot("lock chosen", claims.LOCK_CHOSEN, (IDS,), "commands_pkey"),
    hot("take", claims.TAKE, (NOW, IDS, 1), "commands_pkey", "plans_pkey", "bindings_pkey", *LIVE),
    hot("release", claims.RELEASE_COMMANDS, (IDS, 1), "commands_pkey", "commands_claimed"),
    hot("release others", claims.RELEASE_OTHERS, (1, IDS), "commands_claimed"),
    hot("free", claims.FREE_CLAIMED, ([1, 2],), "commands_claimed"),
    hot("orphans", claims.SELECT_ORPHANS, (), "commands_in_flight", "commands_by_state"),
    hot("probes", claims.SELECT_PROBES, (NOW, IDS[:1]), "commands_pkey", *LIVE),
    hot("under way", claims.IS_UNDER_WAY, ("acme_cn", None, None, None), *BUSY),
    hot(
        "load",
        state.LOAD,
        ([1], ["a", "b"], PLANS, NAMES, RESOURCES, ["acme_cn"]),
        *("plans_pkey", "plans_open", "commands_live_of_subject", "commands_live_of_resource", "commands_of_plan"),
        *("bindings_held", "bindings_pkey", "facts_waiting", "event_digests_pkey", "event_digests_arrival_key"),
    ),
    hot("live", state.UPDATE_LIVE, (PLANS, [True] * len(PLANS), IDS[:3]), "commands_of_plan"),
    hot("unpublished", listings.SELECT_UNPUBLISHED, (1, 500), "outbox_unpublished", "outbox_in_line", "sessions_pkey"),
    hot("published", listings.MARK_PUBLISHED, (NOW, ["m-1"]), "outbox_id_key"),
    hot("oldest", inquiries.OLDEST, (), "commands_unfinished"),
    hot("tallies", inquiries.TALLIES, (), "commands_unfinished", "commands_by_state", "plans_open", "plans_by_state"),
    hot(
        "acts' keys",
        desk.LOAD,
        (["a"], ["r"], ["h"], ["hr.events"] * 40, [0] * 40, list(range(40)), ["urn:hr"] * 40, EVENTS),
        *("answers_pkey", "replays_pkey", "dead_letters_pkey", "events_pkey", "events_by_id"),
    ),
    hot("close letters", desk.CLOSE_LETTERS, CLOSED, "dead_letters_pkey"),
    hot("told", questions.TOLD, (["m-1", "m-2"],), "outbox_id_key"),
    hot("letter bytes", questions.LETTER_BYTES, ("m-1",), "outbox_id_key", "outbox_of_letters"),
    hot("replays", questions.REPLAYS, (50,), "replays_by_age"),
    hot("unfinished replays", questions.REPLAYS_UNFINISHED, (50,), "replays_unfinished"),
    hot("items", questions.ITEMS, (LAST_REPLAY, 0, 100), "replay_items_pkey", "plans_pkey"),
    hot("pending items", questions.ITEMS_PENDING, (LAST_REPLAY, 0, 100), "replay_items_pending", "plans_pkey"),
    hot("begun", questions.BEGUN, (LAST_REPLAY, 0, 2**31 - 1), "replay_items_pkey"),
    hot("has open plan", forgetting.HAS_OPEN_PLAN, (NAMES[0],), "plans_open"),
    hot("forget events", forgetting.EVENTS, (NAMES[0],), "events_of_subject"),
    hot("forget commands", forgetting.COMMANDS, (NAMES[0],), "commands_of_subject", "commands_live_of_subject"),
    hot("forget bindings", forgetting.BINDINGS, (NAMES[0],), "bindings_pkey"),
    hot("forget letters", forgetting.MESSAGES, (b"1",), "outbox_of_letters"),
    *(walk(f"commands {name}", questions.commands(CommandQuery(**query)), index) for name, query, index in COMMANDS),
    *(walk(f"plans {name}", questions.plans(CommandQuery(**query)), *indexes) for name, query, *indexes in PLANS_ASKED),
    *(walk(f"events {name}", [questions.events(EventQuery(**query))], index) for name, query, index in EVENTS_ASKED),
    walk("dead letters", [questions.dead_letters(LetterQuery(reason="not_json", before=900))], "dead_letters_by_seq"),
    walk("acts", [questions.acts(ActQuery(actor="ann", before=900))], "acts_pkey"),
]


@pytest.fixture(scope="module", params=LEDGERS)
def filled(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[str]:
    name = postgres.create_database()
    asyncio.run(_fill(postgres.url(name), LEDGERS[request.param]))
    yield postgres.url(name)
    postgres.drop_database(name)


async def _fill(url: str, script: str) -> None:
    await migrate(Database(url, password=None, connections=1))
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(script)
    finally:
        await connection.close()


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("one", STATEMENTS, ids=lambda one: one.name)
async def test_hot_statement_reads_by_its_index_alone(filled: str, one: Hot, mode: str) -> None:
    connection = await asyncpg.connect(filled, server_settings={**SERVER_SETTINGS, "plan_cache_mode": mode})
    try:
        await connection.execute("BEGIN")  # and never COMMIT: it is really run, for not every plan is told otherwise
        found = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {one.statement}", *one.arguments)
    finally:
        await connection.close()
    nodes = list(_nodes(orjson.loads(found)[0]["Plan"]))
    scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    used = {node["Index Name"] for node in nodes if "Index Name" in node}

    assert scanned <= SMALL, scanned
    assert used, "no index at all"
    assert used <= one.indexes | SMALL_INDEXES, used - one.indexes
    assert looked_at_in_vain(nodes) <= MOST_IN_VAIN, "an index is read as a whole"


SMALL = {"holds", "answers", "replays"}
"""Tables that stay small."""
SMALL_INDEXES = {"replays_by_age", "holds_standing", "holds_pkey", "sessions_pkey", "sessions_open"}


MOST_IN_VAIN = 5_000
"""Rows that an index gave and a filter refused, over all of a statement."""


def looked_at_in_vain(nodes: Sequence[dict[str, Any]]) -> float:
    return sum(
        float(node["Actual Loops"] * node.get("Rows Removed by Filter", 0)) for node in nodes if "Index Name" in node
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)
