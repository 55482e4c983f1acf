"""Log lines: one JSON object each, whoever wrote them, and nothing in them that must not be read."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
import structlog

from service.adapters import logs
from service.adapters.logs import configure_logging, register_secret
from service.adapters.redaction import Redactor
from service.adapters.repeats import MOST_KINDS, Repeats

CANARY = "FAKE-canary-in-a-log"


class Lines:
    """What was written."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.text.splitlines()]

    def one(self) -> dict[str, Any]:
        (line,) = self.all()
        return line


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """Logging as the process configures it, into memory; put back as it was."""
    with configured(monkeypatch, io.StringIO()) as found:
        yield found


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    with configured(monkeypatch, Terminal()) as found:
        yield found


@contextmanager
def configured(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> Iterator[Lines]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.raiseExceptions, sys.excepthook
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    monkeypatch.setattr(logs, "REDACTOR", Redactor())
    configure_logging(stream)
    register_secret(CANARY)
    yield Lines(stream)
    root.handlers[:], level, logging.raiseExceptions, sys.excepthook = before
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)
    logging.captureWarnings(capture=False)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_a_line_is_one_json_object_with_time_level_event_logger_and_version(lines: Lines) -> None:
    structlog.stdlib.get_logger("cordboard").info("event taken in", event_id="e1", attempt=2)
    line = lines.one()
    assert line["timestamp"].endswith("Z")
    assert (line["level"], line["event"], line["logger"]) == ("info", "event taken in", "cordboard")
    assert (line["service"], line["version"]) == ("cordboard", logs.service_version())
    assert (line["event_id"], line["attempt"]) == ("e1", 2)


def test_what_is_bound_to_the_context_is_on_every_line(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(command_id="cmd_1"):
        structlog.stdlib.get_logger("cordboard").info("one")
        logging.getLogger("some.library").warning("two")
    assert [line["command_id"] for line in lines.all()] == ["cmd_1", "cmd_1"]


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    structlog.stdlib.get_logger("cordboard").debug("quiet")
    logging.getLogger("aiokafka.consumer").info("chatty")
    assert lines.text == ""


def test_the_standard_librarys_loggers_go_the_same_way(lines: Lines) -> None:
    logging.getLogger("aiokafka.client").error("no %s for %s", CANARY, "wei@acme.example")
    assert lines.one()["event"] == "no *** for ***"


def test_what_aiokafka_calls_an_error_and_tries_again_is_a_warning_and_its_faults_are_errors(lines: Lines) -> None:
    logging.getLogger("aiokafka.consumer.fetcher").error("Failed fetch messages from 1")
    logging.getLogger("aiokafka").error("Unexpected error in fetcher routine", exc_info=ValueError("x"))
    logging.getLogger("another.library").error("broken")
    assert [line["level"] for line in lines.all()] == ["warning", "error", "error"]


def test_a_retired_secret_is_hidden_like_one_that_was_fetched(lines: Lines) -> None:
    register_secret("FAKE-retired-one")
    logs.retire_secret("FAKE-retired-one")
    structlog.stdlib.get_logger("cordboard").info("plain", value="FAKE-retired-one")
    assert lines.one()["value"] == "***"


def test_warnings_are_lines_too(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old call", DeprecationWarning, stacklevel=1)
    assert "old call" in lines.one()["event"]


def test_a_secret_goes_from_wherever_it_stands(lines: Lines) -> None:
    structlog.stdlib.get_logger("cordboard").info(
        f"with {CANARY}", nested={"list": [CANARY, {"deep": f"x{CANARY}y"}]}, **{f"key {CANARY}": 1}
    )
    assert CANARY not in lines.text


@pytest.mark.parametrize("secret", ['FAKE "quoted" one', "FAKE\\backslash", "FAKE\nline\tbreak", "FAKE-höflich-密码"])
def test_a_secret_is_seen_through_the_escapes_of_a_plain_line(lines: Lines, secret: str) -> None:
    register_secret(secret)
    structlog.stdlib.get_logger("cordboard").info("plain", value=f"a {secret} b")
    assert lines.one()["value"] == "a *** b"


@pytest.mark.parametrize("beside", [2**80, "\ud800"])
def test_a_secret_is_seen_beside_what_has_to_be_written_another_way(lines: Lines, beside: object) -> None:
    register_secret("FAKE-höflich-密码")
    structlog.stdlib.get_logger("cordboard").info("odd", value="a FAKE-höflich-密码 b", beside=beside)
    assert json.loads(lines.text)["value"] == "a *** b"


def test_an_e_mail_address_goes_from_a_plain_line(lines: Lines) -> None:
    structlog.stdlib.get_logger("cordboard").info("plain", value="to wei@acme.example")
    assert lines.one()["value"] == "to ***"


def test_a_stream_that_takes_nothing_stops_nobody(lines: Lines) -> None:
    lines.stream.close()
    structlog.stdlib.get_logger("cordboard").info("lost")
    logging.getLogger("library").error("lost, too")


async def test_lines_of_one_turn_are_written_together_and_in_their_order(lines: Lines) -> None:
    log = structlog.stdlib.get_logger("cordboard")
    log.info("one")
    log.info("two")
    assert lines.text == ""
    logging.getLogger("library").warning("three")
    log.info("four")
    log.error("five")
    log.info("six")
    await asyncio.sleep(0)
    assert [line["event"] for line in lines.all()] == ["one", "two", "three", "four", "five", "six"]


def test_last_line_before_the_loop_ends_is_written(lines: Lines) -> None:
    async def main() -> None:
        structlog.stdlib.get_logger("cordboard").info("stopped")

    asyncio.run(main())
    assert lines.one()["event"] == "stopped"


def _fails_with(secret: str) -> None:
    in_a_variable = f"local {secret}"
    try:
        raise KeyError(secret)
    except KeyError as cause:
        raise ValueError(f"bad value {secret}: {len(in_a_variable)}") from cause


def test_an_exception_is_a_structure_without_variables_and_secrets(lines: Lines) -> None:
    try:
        _fails_with(CANARY)
    except ValueError as error:
        structlog.stdlib.get_logger("cordboard").error("failed", exc_info=error)
        logging.getLogger("library").exception("failed there")
    assert CANARY not in lines.text
    for line in lines.all():
        assert [part["exc_type"] for part in line["exception"]] == ["ValueError", "KeyError"]
        assert line["exception"][0]["exc_value"].startswith("bad value ***")
        assert all(frame.keys() == {"filename", "lineno", "name"} for frame in line["exception"][0]["frames"])


def test_an_exception_that_nobody_caught_is_a_line(lines: Lines) -> None:
    try:
        _fails_with(CANARY)
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    assert lines.one()["event"] == "uncaught exception"
    assert CANARY not in lines.text


async def test_a_task_whose_exception_nobody_took_is_a_line(lines: Lines) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": f"lost {CANARY}", "exception": ValueError(CANARY)})
    assert lines.one()["logger"] == "asyncio"
    assert CANARY not in lines.text


def test_a_line_that_cannot_be_made_is_dropped_in_silence(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("library").error("%d apples", CANARY)
    printed = capsys.readouterr()
    assert CANARY not in lines.text + printed.err + printed.out


@pytest.mark.parametrize("value", [2**80, "\ud800", float("nan"), object(), b"\xff", {1: 2}, {"a": {1, 2}}])
def test_any_value_can_be_written(lines: Lines, value: object) -> None:
    structlog.stdlib.get_logger("cordboard").info("odd", value=value)
    assert lines.text.startswith('{"timestamp"')


# --- said over and over -----------------------------------------------------------------------------------------------


def test_the_same_line_over_and_over_is_written_ten_times(lines: Lines) -> None:
    for attempt in range(30):
        structlog.stdlib.get_logger("cordboard").warning("waiting for something", loop="intake", attempt=attempt)
        logging.getLogger("aiokafka").error("no broker at %s", attempt)
    ours = [line for line in lines.all() if line["logger"] == "cordboard"]
    assert [line["attempt"] for line in ours] == list(range(10))
    assert len(lines.all()) == 20


def test_lines_about_different_things_are_not_alike(lines: Lines) -> None:
    for nth in range(30):
        structlog.stdlib.get_logger("cordboard").warning("command failed", command_id=f"cmd_{nth}")
        structlog.stdlib.get_logger("cordboard").warning("waiting", loop=f"loop {nth}")
    assert len(lines.all()) == 60


def test_next_line_after_a_minute_says_how_many_were_left_out() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    assert [repeats.left_out("kind") for _ in range(12)] == [0] * 10 + [None] * 2
    now[0] = 60.0
    assert [repeats.left_out("kind"), repeats.left_out("kind")] == [2, 0]


def test_kinds_of_lines_that_never_end_are_forgotten() -> None:
    repeats = Repeats(lambda: 0.0)
    assert {repeats.left_out(kind) for kind in range(3 * MOST_KINDS)} == {0}
    assert len(repeats._spells) <= MOST_KINDS


# --- on a terminal ----------------------------------------------------------------------------------------------------


def test_on_a_terminal_a_line_is_text(terminal: Lines) -> None:
    structlog.stdlib.get_logger("cordboard").info("command succeeded", operation="CreateExtension", result=None)
    logging.getLogger("aiokafka").error("no broker")
    text = re.sub("\x1b\\[[0-9;]*m", "", terminal.text)
    first, second = text.splitlines()
    assert re.search(r"info +] command succeeded +operation=CreateExtension$", first)
    assert "no broker" in second


def test_what_is_hostile_steers_no_terminal_and_secrets_stay_out(terminal: Lines) -> None:
    structlog.stdlib.get_logger("cordboard").info(
        "odd", value=f"\x1b]0;{CANARY}\x07\r\nforged", nested={"a": "\x1b[2J"}
    )
    assert CANARY not in terminal.text
    assert terminal.text.count("\n") == 1
    assert not set(terminal.text) & {"\x07", "\r"}
    assert "\x1b]" not in terminal.text
    assert "\x1b[2J" not in terminal.text


def test_exception_on_a_terminal_says_where_it_was_raised(terminal: Lines) -> None:
    try:
        _fails_with(CANARY)
    except ValueError as error:
        structlog.stdlib.get_logger("cordboard").error("failed", exc_info=error)
    assert CANARY not in terminal.text
    assert "ValueError: bad value ***" in terminal.text
    assert "in _fails_with)" in terminal.text


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_form_can_be_asked_for(lines: Lines, form: logs.Form) -> None:
    configure_logging(lines.stream, form=form)
    structlog.stdlib.get_logger("cordboard").info("said")
    assert lines.text.startswith("{") == (form == "json")
