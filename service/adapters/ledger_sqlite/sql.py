"""SQLite's ways of saying what every statement of its ledger says."""

from __future__ import annotations

from collections.abc import Iterable

import orjson


def upsert(table: str, columns: str, key: str) -> str:
    """An INSERT that replaces the row of the same key."""
    names = columns.split(", ")
    news = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key.split(", "))
    return f"{insert(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {news}"


def insert(table: str, columns: str) -> str:
    """A plain INSERT with one placeholder per column."""
    places = ", ".join("?" * len(columns.split(", ")))
    return f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608  constants of this package


def json_list(values: Iterable[str]) -> str:
    """For `IN (SELECT value FROM json_each(?))`: one constant statement for any number of keys."""
    return orjson.dumps(sorted(values)).decode()
