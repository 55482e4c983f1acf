"""Cordboard with one thing about it altered, to see what that costs: `... untold run --config cordboard.yaml`.

`untold` tells no figure and no line; `flush=0.005` waits so many seconds more for every commit of the ledger; `counted`
writes how many statements the ledger ran, and in how many commits, to the file that COUNTS names when it ends.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from service.adapters.ledger_postgres.connection import Database
from service.adapters.ledger_sqlite.thread import LedgerThread
from service.adapters.metrics import MeteredTelemetry
from service.entrypoints.cli import main


def tell_nothing() -> None:
    """Figures and lines go nowhere; how the parts are is still known, for who asks whether the process is ready."""

    def nothing(*_: object, **__: object) -> None:
        return

    for name in ("count", "observe", "level", "log"):
        setattr(MeteredTelemetry, name, nothing)


def flush_slowly(seconds: float) -> None:
    """Every commit takes longer, as on a slower disk."""
    on_file, on_server = LedgerThread._commit, Database._commit

    def slower(self: LedgerThread, jobs: Any) -> None:
        on_file(self, jobs)
        time.sleep(seconds)

    async def slower_there(self: Database, connection: Any) -> Exception | None:
        await asyncio.sleep(seconds)
        return await on_server(self, connection)

    LedgerThread._commit = slower  # type: ignore[method-assign]
    Database._commit = slower_there  # type: ignore[method-assign]


def count_statements(path: Path) -> None:
    """Count what goes to SQLite or to PostgreSQL."""
    counts: Counter[str] = Counter()
    live = LedgerThread._live

    def note(statement: str) -> None:
        counts["commits" if statement.startswith("COMMIT") else "statements"] += 1

    def traced(self: LedgerThread) -> None:
        self._connection.set_trace_callback(note)
        live(self)

    def noted(real: Any) -> Any:
        def call(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
            note(query)
            return real(self, query, *arguments, **options)

        return call

    LedgerThread._live = traced  # type: ignore[method-assign]
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        setattr(asyncpg.Connection, name, noted(getattr(asyncpg.Connection, name)))
    atexit.register(lambda: path.write_bytes(orjson.dumps(counts)))


def alter(how: str) -> None:
    """As asked."""
    word, _, value = how.partition("=")
    match word:
        case "untold":
            tell_nothing()
        case "flush":
            flush_slowly(float(value))
        case "counted":
            count_statements(Path(os.environ["COUNTS"]))
        case _:
            raise SystemExit(f"altered how? {how}")


if __name__ == "__main__":
    alter(sys.argv.pop(1))
    main()
