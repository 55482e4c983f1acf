"""Log lines: one JSON object each, the standard library's loggers among them, redacted as the last thing done."""

from __future__ import annotations

import json
import logging
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.types import EventDict, Processor, WrappedLogger

from service.adapters.redaction import PLAIN, Redactor, names_a_secret

LEVELS: Final = ("debug", "info", "warning", "error")
CHATTY: Final = ("aiokafka", "aiohttp.access", "kafka", "asyncio")
"""Loggers of libraries that are heard from `warning` up, unless everything is at `debug`."""
MOST_FRAMES: Final = 30

REDACTOR: Final = Redactor()
"""The process's own: log lines are written from everywhere."""


def register_secret(value: str, *, passing: bool = False) -> None:
    """Hide a secret wherever a line would show it. `passing`: fetched on the way (tokens, SIP passwords)."""
    REDACTOR.register(value, passing=passing)


@cache
def service_version() -> str:
    """Cordboard's version as it was installed."""
    try:
        return version("cordboard")
    except PackageNotFoundError:
        return "0+source"


def configure_logging(stream: TextIO, *, level: str = "info") -> None:
    """Send every line of this process to `stream`: structlog's, the standard library's, and what nobody caught."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_chain(structlog.stdlib.add_logger_name),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redact, _render],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a line that can't be made must not be printed as it is
    structlog.configure(  # our own lines need nothing of the standard library's, whose records cost more than the rest
        processors=[*_chain(_add_own_name), _finish],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Out(handler),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _tell_uncaught


class _Out:
    """Writes our own lines to where a handler writes everybody else's; a line that can't be written is lost."""

    def __init__(self, handler: logging.StreamHandler[TextIO]) -> None:
        self._handler = handler

    def msg(self, line: str) -> None:
        """One line."""
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(line + handler.terminator)
            handler.stream.flush()
        except Exception:  # noqa: BLE001, S110 - as the handler does: whoever tells something has work to do
            pass
        finally:
            handler.release()

    debug = info = warning = error = critical = msg


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
    if not all(isinstance(value, PLAIN) and not names_a_secret(key) for key, value in line.items()):
        return None
    try:
        return orjson.dumps(_in_order(line)).decode()
    except (TypeError, ValueError):
        return None


def _render(_: WrappedLogger, __: str, line: EventDict) -> str:
    return _as_json(_in_order(line))


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
