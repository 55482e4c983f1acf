"""Which requests the HTTP API lets in: from this host, without a body nobody reads, with parameters it knows."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from service.entrypoints.problems import ProblemError

MAX_BODY_BYTES: Final = 16 * 1024
LONGEST_VALUE: Final = 1024


@web.middleware
async def for_this_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a browser that was led here under a foreign name (DNS rebinding), and large bodies."""
    if not _is_loopback(request.url.host or ""):
        raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, "this API answers to loopback names only")
    unsized = request.content_length is None and request.can_read_body
    if unsized or (request.content_length or 0) > MAX_BODY_BYTES:
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {MAX_BODY_BYTES} bytes")
    return await handler(request)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def parameters(request: web.Request, known: Mapping[str, bool]) -> dict[str, list[str]]:
    """The query's parameters; `known` says of each whether it may repeat. Raises ProblemError (400)."""
    found: dict[str, list[str]] = {}
    for name, value in request.query.items():
        if name not in known:
            raise _bad(f"no such parameter; there are: {', '.join(known) or 'none'}")
        if len(value) > LONGEST_VALUE or not value.isprintable():
            raise _bad(f"{name} is unprintable or over {LONGEST_VALUE} characters")
        found.setdefault(name, []).append(value)
    for name, values in found.items():
        if len(values) > 1 and not known[name]:
            raise _bad(f"{name} may be given once")
    return found


def path_id(request: web.Request) -> str:
    """The id in the path. Raises ProblemError (404) for what can't be one."""
    found = request.match_info["id"]
    if len(found) > LONGEST_VALUE or not found.isprintable():
        raise ProblemError(HTTPStatus.NOT_FOUND, "nothing has this id")
    return found


def _bad(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail)
