"""Which requests the HTTP API takes on: those for a loopback name, if nobody is asked for a token, and for a time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from service.entrypoints.problems import ProblemError
from service.vendors.wire_settings import is_loopback


@web.middleware
async def for_this_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a browser that was led here under a foreign name (DNS rebinding): without tokens it would be let in."""
    if not is_loopback(request.url.host or ""):
        raise ProblemError(HTTPStatus.MISDIRECTED_REQUEST, "without tokens this API answers to loopback names only")
    return await handler(request)


def within(seconds: float) -> Middleware:
    """End what takes longer with 503; what it had begun to change may have been done or not."""

    @web.middleware
    async def in_time(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await handler(request)
        except TimeoutError:
            if not limit.expired():
                raise
            detail = f"no answer within {seconds:g} s; what was asked for may have been done"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "1"}) from None

    return in_time
