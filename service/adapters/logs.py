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

from service.adapters.redaction import Redactor

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
        foreign_pre_chain=_chain(),
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
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_chain(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _tell_uncaught


def _chain() -> list[Processor]:
    """What a line gets before it is redacted; tracebacks without the values of variables."""
    traceback = ExceptionDictTransformer(show_locals=False, max_frames=MOST_FRAMES)
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_service,
        structlog.processors.ExceptionRenderer(traceback),
    ]


def _add_service(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    line["service"] = "cordboard"
    line["version"] = service_version()
    return line


def _redact(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    cleaned: EventDict = REDACTOR.structure(line)
    return cleaned


def _render(_: WrappedLogger, __: str, line: EventDict) -> str:
    first = {name: line[name] for name in ("timestamp", "level", "event") if name in line}
    return _as_json({**first, **line})


def _as_json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line).decode()
    except (TypeError, ValueError):  # a whole number over 64 bits, half of a surrogate pair
        return json.dumps(line, default=str)


def _tell_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.stdlib.get_logger("cordboard").error("uncaught exception", exc_info=(kind, error, trace))
