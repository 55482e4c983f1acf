"""Errors of the HTTP API as problem details (RFC 9457), for whatever goes wrong on the way."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from service.application.ports import UnavailableError
from service.entrypoints.answers import answer
from service.entrypoints.api_models import Problem

_LOG: Final = logging.getLogger("cordboard.http")
MEDIA_TYPE: Final = "application/problem+json"


class ProblemError(Exception):
    """Ends a request with a problem; `detail` says what is wrong in words that repeat no secret."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        """Further members are those of `Problem`."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.members = members


def problem(
    status: HTTPStatus,
    detail: str,
    *,
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The document of a problem."""
    document = Problem(
        type="about:blank", title=status.phrase, status=status.value, detail=detail, **dict(members or {})
    )
    return answer(document, status=status, media_type=MEDIA_TYPE, headers=headers)


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal and every fault below into problem details."""
    try:
        return await handler(request)
    except ProblemError as refused:
        return problem(refused.status, refused.detail, members=refused.members, headers=refused.headers)
    except web.HTTPMethodNotAllowed as refused:
        allowed = ", ".join(sorted(refused.allowed_methods))
        detail = f"{refused.method} is not possible here; {allowed} is"
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})
    except web.HTTPException as refused:
        status = HTTPStatus(refused.status)
        return problem(status, status.description or status.phrase)
    except UnavailableError as away:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{away.part} is away; try again", headers={"Retry-After": "1"})
    except Exception:  # noqa: BLE001 - a fault of ours is logged, and still answered in the promised form
        _LOG.exception("a request failed unexpectedly")
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault inside Cordboard; its log says more")
