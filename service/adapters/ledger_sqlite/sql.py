"""SQLite's ways of saying what every statement of its ledger says."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import orjson

from service.adapters.ledger_sql.questions import Question

LIST: Final = re.compile(r"= ANY\(\$(\d+)::text\[\]\)")
CAST: Final = re.compile(r"::\w+")


def upsert(table: str, columns: str, key: str) -> str:
    """An INSERT that replaces the row of the same key."""
    names = columns.split(", ")
    news = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key.split(", "))
    return f"{insert(table, columns)} ON CONFLICT ({key}) DO UPDATE SET {news}"


def update(table: str, columns: str, key: str) -> str:
    """An UPDATE of these columns alone: indexes of others are left as they are. The key's value comes last."""
    news = ", ".join(f"{name} = ?" for name in columns.split(", "))
    return f"UPDATE {table} SET {news} WHERE {key} = ?"  # noqa: S608  constants of this package


def insert(table: str, columns: str) -> str:
    """A plain INSERT with one placeholder per column."""
    places = ", ".join("?" * len(columns.split(", ")))
    return f"INSERT INTO {table} ({columns}) VALUES ({places})"  # noqa: S608  constants of this package


def json_list(values: Iterable[str]) -> str:
    """For `IN (SELECT value FROM json_each(?))`: one constant statement for any number of keys."""
    return orjson.dumps(sorted(values)).decode()


@lru_cache(maxsize=256)
def in_sqlite(statement: str) -> str:
    """A statement of `questions` as SQLite understands it."""
    listed = LIST.sub(r"IN (SELECT value FROM json_each(?\1))", statement)
    return CAST.sub("", listed).replace("$", "?")


def ask(connection: sqlite3.Connection, question: Question) -> sqlite3.Cursor:
    """The rows that answer it."""
    values = [json_list(value) if isinstance(value, list) else value for value in question.values]
    return connection.execute(in_sqlite(question.statement), values)
