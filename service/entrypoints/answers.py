"""How the HTTP API answers: JSON without any registered secret, and headers that keep browsers and caches out."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from service.adapters.logs import REDACTOR

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def answer(
    document: BaseModel | dict[str, Any],
    *,
    status: HTTPStatus = HTTPStatus.OK,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A JSON answer; should a secret have come this far, it is masked."""
    text = document.model_dump_json() if isinstance(document, BaseModel) else orjson.dumps(document).decode()
    if not REDACTOR.is_clean(text):
        text = orjson.dumps(REDACTOR.json_without_secrets(orjson.loads(text))).decode()
    body = text.encode() + b"\n"
    return web.Response(body=body, status=status.value, content_type=media_type, headers=headers)


@web.middleware
async def with_security_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put the headers on every answer."""
    response = await handler(request)
    response.headers.update(SECURITY_HEADERS)
    response.headers["Server"] = "cordboard"
    return response
