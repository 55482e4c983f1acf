"""Log lines: one JSON object each, or text on a terminal; the standard library's loggers among them.

What must not be read is taken out as the last thing before a line is rendered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import EventDict, Processor, WrappedLogger

from service.adapters.redaction import PLAIN, Redactor, names_a_secret
from service.adapters.repeats import Repeats

LEVELS: Final = ("debug", "info", "warning", "error")
CHATTY: Final = ("aiokafka", "aiohttp.access", "kafka", "asyncio")
"""Loggers of libraries that are heard from `warning` up, unless everything is at `debug`."""
MOST_FRAMES: Final = 30
IDENTITIES: Final = frozenset({"command_id", "plan_id", "event_id", "message_id", "offset", "replay", "actor"})
"""Fields of lines that tell of one thing's change: each is written, however many there are."""
KINDS: Final = ("event", "loop", "part", "operation", "account", "topic", "reason", "what")
"""Fields by which lines are alike."""
UNPRINTABLE: Final = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""What could steer a terminal: shown, not sent."""

Form = Literal["auto", "json", "pretty"]

REDACTOR: Final = Redactor()
"""The process's own: log lines are written from everywhere."""


def register_secret(value: str, *, passing: bool = False) -> None:
    """Hide a secret wherever a line would show it. `passing`: fetched on the way (tokens, SIP passwords)."""
    REDACTOR.register(value, passing=passing)


def retire_secret(value: str) -> None:
    """Another secret took its place: hide it for as long as those that were fetched on the way."""
    REDACTOR.retire(value)


def log_line(level: str, event: str, **fields: object) -> None:
    """One line from where no telemetry is at hand."""
    getattr(structlog.stdlib.get_logger("cordboard"), level)(event, **fields)


@cache
def service_version() -> str:
    """Cordboard's version as it was installed."""
    try:
        return version("cordboard")
    except PackageNotFoundError:
        return "0+source"


def configure_logging(stream: TextIO, *, level: str = "info", form: Form = "auto") -> None:
    """Send every line of this process to `stream`: structlog's, the standard library's, and what nobody caught.

    `form`: JSON, text for people, or whichever suits where the stream goes.
    """
    pretty = form == "pretty" or (form == "auto" and stream.isatty())
    render = _Pretty(colours=stream.isatty() and "NO_COLOR" not in os.environ) if pretty else _render
    repeats = Repeats()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_note_left_out, *_chain(structlog.stdlib.add_logger_name)],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact, render],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(_no_error_yet)
    out = _Out(handler)
    handler.addFilter(partial(_is_foreign_news, repeats, out))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a line that can't be made must not be printed as it is
    structlog.configure(  # our own lines need nothing of the standard library's, whose records cost more than the rest
        processors=[
            partial(_leave_out, repeats),
            *_chain(_add_own_name),
            *([_redact, render] if pretty else [_finish]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: out,
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _tell_uncaught


def _no_error_yet(record: logging.LogRecord) -> bool:
    """What aiokafka calls an error it is about to try again, and brokers end connections as routine (KIP-368).

    What it does not get over it raises, and that is told by whoever called it. Its faults keep their level.
    """
    if record.levelno == logging.ERROR and record.name.startswith("aiokafka") and not record.exc_info:
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


class _Out:
    """Writes our own lines to where a handler writes everybody else's; a line that can't be written is lost.

    Lines below `warning` that one turn of the event loop tells are written together as it ends: each write lets go of
    the interpreter, and the ledger's thread takes it.
    """

    def __init__(self, handler: logging.StreamHandler[TextIO]) -> None:
        self._handler = handler
        self._waiting: list[str] = []

    def msg(self, line: str) -> None:
        """One line, at once, behind those that wait."""
        self._wait(line)
        self.flush()

    def info(self, line: str) -> None:
        """One line, with the others of this turn."""
        if self._wait(line) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:  # another thread's, or no loop runs
            self.flush()

    def _wait(self, line: str) -> int:
        """How many wait with this one."""
        self._handler.acquire()
        self._waiting.append(line)
        waiting = len(self._waiting)
        self._handler.release()
        return waiting

    def flush(self) -> None:
        """Write what waits."""
        handler = self._handler
        handler.acquire()
        try:
            lines, self._waiting = self._waiting, []
            if lines:
                handler.stream.write("".join(f"{line}{handler.terminator}" for line in lines))
                handler.stream.flush()
        except Exception:  # noqa: BLE001, S110 - as the handler does: whoever tells something has work to do
            pass
        finally:
            handler.release()

    debug = info
    warning = error = critical = msg


def _leave_out(repeats: Repeats, _: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """One of our lines that says what was said often enough goes no further."""
    if line.keys().isdisjoint(IDENTITIES):
        before = repeats.left_out(tuple(str(line.get(name)) for name in KINDS))
        if before is None:
            raise structlog.DropEvent
        if before:
            line["left_out"] = before
    return line


def _is_foreign_news(repeats: Repeats, out: _Out, record: logging.LogRecord) -> bool:
    """The same of others' lines: alike are those of one logger, level and message, whatever is filled in."""
    before = repeats.left_out((record.name, record.levelno, str(record.msg)))
    if before is None:
        return False
    record.left_out = before
    out.flush()  # what we said before it stands before it
    return True


def _note_left_out(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    before = getattr(line.get("_record"), "left_out", None)
    if before:
        line["left_out"] = before
    return line


def _chain(add_name: Processor) -> list[Processor]:
    """What a line gets before it is redacted; tracebacks without the values of variables."""
    traceback = ExceptionDictTransformer(show_locals=False, max_frames=MOST_FRAMES)
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        add_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service,
        structlog.processors.ExceptionRenderer(traceback),
    ]


def _add_service(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    line["service"] = "cordboard"
    line["version"] = service_version()
    return line


def _add_own_name(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    line["logger"] = "cordboard"
    return line


def _finish(logger: WrappedLogger, method: str, line: EventDict) -> str:
    """The line as text. Most have nothing in them that must not be read, and that shows on the text itself."""
    try:
        text = _plain_text(line)
        if text is not None and REDACTOR.is_clean(text):
            return text
        return _render(logger, method, _redact(logger, method, line))
    except Exception:  # noqa: BLE001 - what can't be told must not stop what it tells of
        raise structlog.DropEvent from None


def _redact(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    cleaned: EventDict = REDACTOR.structure(line)
    return cleaned


def _plain_text(line: EventDict) -> str | None:
    """The text of a line of plain values; None for one whose values have to be looked into."""
    if not _are_plain(frozenset(map(type, line.values()))) or _name_a_secret(tuple(line)):
        return None
    try:
        return orjson.dumps(_in_order(line)).decode()
    except (TypeError, ValueError):
        return None


@lru_cache(maxsize=256)
def _are_plain(kinds: frozenset[type]) -> bool:
    return all(issubclass(kind, PLAIN) for kind in kinds)


@lru_cache(maxsize=256)
def _name_a_secret(keys: tuple[str, ...]) -> bool:
    return any(map(names_a_secret, keys))


def _render(_: WrappedLogger, __: str, line: EventDict) -> str:
    return _as_json(_in_order(line))


class _Pretty:
    """Lines as people read them, the time in UTC; what is hostile in a value stays text."""

    def __init__(self, *, colours: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colours, sort_keys=False, pad_event_to=40)

    def __call__(self, logger: WrappedLogger, method: str, line: EventDict) -> str:
        raised = line.pop("exception", None)
        for known in ("service", "version", "logger"):
            line.pop(known, None)
        shown = {key.translate(UNPRINTABLE): _shown(value) for key, value in line.items() if value is not None}
        text = self._render(logger, method, shown)
        return text if raised is None else "\n".join((text, *_told_exceptions(raised)))


def _shown(value: object) -> object:
    """A value for a terminal: no control characters, parts as JSON."""
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.translate(UNPRINTABLE)


def _told_exceptions(raised: object) -> list[str]:
    """The exceptions of a line, the last one first, with the place where each was raised."""
    told = []
    for one in raised if isinstance(raised, list) else []:
        frame = (one.get("frames") or [{}])[-1]
        place = f"{frame.get('filename')}:{frame.get('lineno')} in {frame.get('name')}" if frame else "nowhere"
        told.append(f"    {one.get('exc_type')}: {one.get('exc_value')} ({place})".translate(UNPRINTABLE))
    return told


def _in_order(line: EventDict) -> dict[str, Any]:
    first = {name: line[name] for name in ("timestamp", "level", "event") if name in line}
    return {**first, **line}


def _as_json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line).decode()
    except (TypeError, ValueError):  # a whole number over 64 bits, half of a surrogate pair
        return json.dumps(line, default=str)


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.stdlib.get_logger("cordboard").error("uncaught exception", exc_info=(kind, error, trace))
