"""Printing: colours on a terminal only, nothing that steers it, and no secret."""

from __future__ import annotations

import io
import json
import sys

import pytest

from service.adapters.redaction import Redactor
from service.entrypoints import rendering
from service.entrypoints.rendering import Output, say, show_fields, show_json, show_rows

COLUMNS = {"id": "id", "state": "state"}
ROWS: list[dict[str, str | None]] = [{"id": "x" * 100, "state": "failed"}, {"id": "b", "state": None}]


class Terminal(io.StringIO):
    """A stdout that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    redactor = Redactor()
    redactor.register("FAKE-canary")
    monkeypatch.setattr(rendering, "REDACTOR", redactor)
    return "FAKE-canary"


def test_a_pipe_gets_whole_values_and_no_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    show_rows(ROWS, COLUMNS, Output.TABLE)
    out = capsys.readouterr().out
    assert "x" * 100 in out
    assert "\x1b" not in out


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert rendering.console().no_color is not coloured


def test_json_is_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(ROWS, COLUMNS, Output.JSON)
    assert json.loads(capsys.readouterr().out) == ROWS


def test_no_rows_are_said_beside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows([], COLUMNS, Output.TABLE, empty="no commands match")
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "no commands match\n")
    show_rows([], COLUMNS, Output.JSON)
    assert json.loads(capsys.readouterr().out) == []


def test_nothing_printed_steers_a_terminal_or_shows_a_secret(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    evil = f"\x1b]0;title\x07 [bold] {secret}"
    show_rows([{"id": evil, "state": [evil]}], COLUMNS, Output.TABLE)
    show_fields({"id": evil, "wanted": {"a": evil}, "nothing": None})
    show_json({"id": evil})
    say(evil)
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert "\x1b" not in text
    assert "\x07" not in text
    assert secret not in text
    assert "[bold]" in text
