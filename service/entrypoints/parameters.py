"""What a request may say beside its body: its query, the id in its path, its key. All else in a query is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from service.entrypoints.problems import ProblemError

TEXT_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]{0,1024}$"
"""At most 1024 characters, none of them a control character."""
KEY_PATTERN: Final = r"^[!-~]([ -~]{0,253}[!-~])?$"
"""1 to 255 printable ASCII characters; a header has no spaces around its value."""
CURSOR: Final = re.compile("[0-9]{1,18}")
IDEMPOTENCY_KEY: Final = "Idempotency-Key"

_TEXT: Final = re.compile(TEXT_PATTERN)
_KEY: Final = re.compile(KEY_PATTERN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a query: text, one of `choices`, or a whole number within `span`; a `flag` may be empty.

    A `moment` is a time or an age, a `cursor` what a page said of the next one.
    """

    name: str
    about: str = ""
    repeats: bool = False
    choices: tuple[str, ...] = ()
    span: tuple[int, int] | None = None
    default: int | None = None
    flag: bool = False
    moment: bool = False
    cursor: bool = False

    def fault(self, value: str) -> str | None:
        """What is wrong with a value, in words that do not repeat it."""
        if not _is_text(value):
            return f"{self.name} is unprintable or over 1024 characters"
        if not value and not self.flag:
            return "a parameter is empty"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}"
        if self.cursor and not CURSOR.fullmatch(value):
            return f"{self.name} is no cursor of this listing"
        if self.span is not None and not _is_within(value, self.span):
            return f"{self.name} must be {self.span[0]} to {self.span[1]}"
        return None


def read_query(request: web.Request, known: Sequence[Parameter]) -> dict[str, list[str]]:
    """The query's parameters with their values. Raises ProblemError (400)."""
    by_name = {parameter.name: parameter for parameter in known}
    found: dict[str, list[str]] = {}
    for name, value in request.query.items():
        if name not in by_name:
            raise _bad(f"no such parameter; there are: {', '.join(by_name) or 'none'}")
        fault = by_name[name].fault(value)
        if fault is not None:
            raise _bad(fault)
        found.setdefault(name, []).append(value)
        if len(found[name]) > 1 and not by_name[name].repeats:
            raise _bad(f"{name} may be given once")
    return found


def path_id(request: web.Request) -> str:
    """The id in the path. Raises ProblemError (404) for what can't be one."""
    found = request.match_info["id"]
    if not _is_text(found):
        raise ProblemError(HTTPStatus.NOT_FOUND, "nothing has this id")
    return found


def idempotency_key(request: web.Request) -> str | None:
    """The key by which a request that is sent again is known; None without one. Raises ProblemError (400)."""
    given = request.headers.getall(IDEMPOTENCY_KEY, [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise _bad(f"{IDEMPOTENCY_KEY} must be 1 to 255 printable ASCII characters, given once")
    return given[0]


def _is_text(value: str) -> bool:
    """Also whether it can be written: bytes that are no UTF-8 come as halves of surrogate pairs."""
    return _TEXT.fullmatch(value) is not None and not any("\ud800" <= char <= "\udfff" for char in value)


def _is_within(value: str, span: tuple[int, int]) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= 9 and span[0] <= int(value) <= span[1]


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
