"""Who asks: bearer tokens, known by their hash alone, and what their holders may do."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.entrypoints.problems import ProblemError
from service.settings_sections import Role, TokenSettings

LONGEST_HEADER: Final = 512
CHALLENGE: Final[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}
_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request; `name` goes into the record of what an operator does."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether what needs this role is open to the caller."""
        return self.role in {role, Role.OPERATOR}


LOCAL: Final = Caller("local", Role.OPERATOR)
"""Everybody, where no token is configured: such an API listens on loopback only."""

_CALLER: Final = web.RequestKey("caller", Caller)


class Tokens:
    """The tokens that are configured."""

    def __init__(self, configured: Mapping[str, TokenSettings]) -> None:
        """By name; none: everybody is let in."""
        self._known = [(token.sha256, Caller(name, token.role)) for name, token in configured.items()]

    @property
    def off(self) -> bool:
        """True when nobody is asked for a token."""
        return not self._known

    def caller(self, token: str) -> Caller | None:
        """Whose token this is. It takes as long whoever's it is, and if it is nobody's."""
        digest = token_hash(token)
        found: Caller | None = None
        for known, caller in self._known:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def token_hash(token: str) -> str:
    """What is kept of a token; why no slower hash: see `TokenSettings`."""
    return hashlib.sha256(token.encode()).hexdigest()


def caller(request: web.Request) -> Caller:
    """Who sent the request. Raises KeyError on a public route, which asks nobody."""
    return request[_CALLER]


def authenticating(tokens: Tokens, public: Collection[str]) -> Middleware:
    """Let nobody on who is not known, wherever they want to go; only the `public` paths ask no one."""

    @web.middleware
    async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path not in public:
            request[_CALLER] = LOCAL if tokens.off else _known(request, tokens)
        return await handler(request)

    return authenticated


def _known(request: web.Request, tokens: Tokens) -> Caller:
    given = request.headers.getall("Authorization", [])
    if not given:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "a token is needed: Authorization: Bearer …", headers=CHALLENGE)
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 and len(given[0]) <= LONGEST_HEADER else None
    known = None if found is None else tokens.caller(found[1])
    if known is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "no such token is known", headers=CHALLENGE)
    return known
