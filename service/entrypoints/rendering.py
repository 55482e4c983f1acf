"""What commands print: data on stdout as a table or as JSON, everything else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.adapters.logs import REDACTOR
from service.entrypoints.exit_codes import ExitCode

WIDE: Final = 240  # columns where nobody looks: a pipe must not cut ids
Row = Mapping[str, Any]


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"


def say(text: str) -> None:
    """A line for the person, on stderr, without secrets and control characters."""
    sys.stderr.write(_printable(REDACTOR.without_secrets(text)) + "\n")


def stop(text: str, code: ExitCode) -> typer.Exit:
    """Say why it ends; raise what comes back."""
    say(text)
    return typer.Exit(code.value)


def show_json(document: object) -> None:
    """One JSON document on stdout."""
    body = orjson.dumps(REDACTOR.json_without_secrets(document), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sys.stdout.write(body.decode())


def show_rows(rows: Sequence[Row], columns: Mapping[str, str], output: Output, *, empty: str = "nothing") -> None:
    """Rows as JSON, or as a table of the `columns` (field → heading); a table without rows says so on stderr."""
    if output is Output.JSON:
        show_json(list(rows))
    elif rows:
        console().print(_table(rows, columns))
    else:
        say(empty)


def show_fields(fields: Row) -> None:
    """One thing as a table of two columns, without what is not there."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, {}, [], ""):
            table.add_row(Text(name.replace("_", " ")), _cell(value))
    console().print(table)


def console() -> Console:
    """A console on stdout: colours and the terminal's width on a terminal only, and not with NO_COLOR."""
    terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        width=None if terminal or "COLUMNS" in os.environ else WIDE,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _table(rows: Sequence[Row], columns: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(field)) for field in columns))
    return table


def _cell(value: object) -> Text:
    if value is None:
        return Text("")
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return Text(_printable(REDACTOR.without_secrets(text)))


def _printable(text: str) -> str:
    """Without what would steer a terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
