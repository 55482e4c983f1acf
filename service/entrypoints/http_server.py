"""Listens for the HTTP API; what is no HTTP request is refused without repeating a byte of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy

from service.entrypoints.answers import SECURITY_HEADERS
from service.entrypoints.problems import problem

_LOG: Final = logging.getLogger("cordboard.http")


class _Exchange(web.RequestHandler):
    """One connection. What aiohttp itself logs and answers quotes the header at fault: somebody's token, perhaps."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - quotes the request
    ) -> web.StreamResponse:
        """The answer to what could not be read, or went wrong outside of every handler; the connection ends."""
        _LOG.warning("a request came to nothing: %s", type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        answer = problem(HTTPStatus(status), "this request could not be read or answered", headers=SECURITY_HEADERS)
        answer.force_close()
        return answer


def _expecting_nothing_else(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Ignore expectations beside 100-continue, as RFC 9110 (10.1.1) allows.

    aiohttp would refuse them before any middleware, repeating the header, and fail where it is no text.
    """

    def made(message: RawRequestMessage, *rest: object) -> web.BaseRequest:
        if message.headers.get("Expect", "100-continue").lower() != "100-continue":
            headers = message.headers.copy()
            headers.popall("Expect")
            message = message._replace(headers=CIMultiDictProxy(headers))
        return make(message, *rest)

    return made


@asynccontextmanager
async def listening(app: web.Application, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve the application; the port it listens on. Raises OSError when it can't listen there."""
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    try:
        loop = asyncio.get_running_loop()
        connections = cast("web.Server", runner.server)  # there is one once it is set up
        connections.request_factory = _expecting_nothing_else(connections.request_factory)
        exchange = partial(_Exchange, connections, loop=loop, access_log=None)  # type: ignore[arg-type]  # None: no log
        server = await loop.create_server(exchange, host, port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
    finally:
        await runner.cleanup()
