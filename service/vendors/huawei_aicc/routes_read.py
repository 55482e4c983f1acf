"""queryCalledRoute: which route an access code and extension code have now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field

from service.application.ports import Send
from service.domain.account import Account
from service.domain.outcome import Call, ErrorClass, Failure, Json, Look, Seen
from service.domain.wanted import CalledRouteWanted
from service.vendors.huawei_aicc.wire import HuaweiReply, HuaweiRequest

NAME = "huawei_aicc.queryCalledRoute"
PAGE_ROWS = 100
MAX_PAGES = 100
DEVICE_TYPES: Mapping[str, int] = {"skill_queue": 1, "ivr": 3}
"""support.huaweicloud.com/intl/en-us/api-cec/cec_07_1030.html, read 2025-11."""

INCOMPLETE = Failure(
    error_class=ErrorClass.AMBIGUOUS,
    code="IncompleteListing",
    message="the vendor's listing could not be read whole, so what it lacks is unknown",
)


def _as_text(value: object) -> object:
    """Ids have 19 digits, more than a double holds: they stay text, also where the vendor writes a number."""
    return str(value) if isinstance(value, int) else value


Id = Annotated[str, BeforeValidator(_as_text)]


class QueryCalledRouteRequest(HuaweiRequest):
    """support.huaweicloud.com/intl/en-us/api-cec/cec_07_1033.html, read 2025-11; `offset` counts rows."""

    access_code: str
    ext_code: str | None = None
    limit: int
    offset: int


class CalledRoute(HuaweiReply):
    """One row. `id` is what modify takes (delete takes `dnid`); the media type comes in two casings."""

    id: Id
    access_code: str
    ext_code: str | None = None
    devicetype: int
    device_id: int
    media_type: int = Field(alias="mediatypeId", validation_alias=AliasChoices("mediatypeId", "mediaTypeId"))
    editable: int | None = None


class CalledRoutes(HuaweiReply):
    """`total` counts all rows that match, over all pages."""

    total: int
    called_route_list: tuple[CalledRoute, ...] | None = None


class QueryCalledRouteReply(HuaweiReply):
    """The listing under `data`."""

    data: CalledRoutes


@dataclass(frozen=True, slots=True)
class _Listing:
    rows: Mapping[str, CalledRoute]
    trouble: Failure | None


class RoutesRead:
    """Fulfils `PresentRead`; what it has seen has the fields of `seen_route`.

    One command a look: each asks for its own access code, and gathering several would only make the first wait.
    """

    operation = NAME
    batch = 1

    async def look(self, account: Account, wanted: Sequence[Mapping[str, Json]], send: Send) -> Sequence[Look]:
        """Read what the vendor lists for the codes and pick the exact match on our side."""
        return [await _look(account, CalledRouteWanted.model_validate(one), send) for one in wanted]


async def _look(account: Account, want: CalledRouteWanted, send: Send) -> Look:
    """Whether the vendor matches codes exactly is not documented: its rows are a superset at best.

    Of several rows under one key, which the vendor should not have, one that is as wanted counts first.
    """
    listing = await _read(account, want, send)
    matches = [row for row in listing.rows.values() if _key(row.access_code, row.ext_code) == _wanted_key(want)]
    if not matches:
        return listing.trouble or Seen(None)
    best = min(matches, key=lambda row: (not is_as_wanted(want, seen_route(row)), row.id))
    return Seen(seen_route(best))


async def _read(account: Account, want: CalledRouteWanted, send: Send) -> _Listing:
    """Pages by row offset until as many distinct rows are in as each page said there are."""
    rows: dict[str, CalledRoute] = {}
    for _ in range(MAX_PAGES):
        request = QueryCalledRouteRequest(
            access_code=want.access_code, ext_code=want.ext_code or None, limit=PAGE_ROWS, offset=len(rows)
        )
        reply = await send(Call(operation=NAME, account=account.name, body=request.body()))
        if isinstance(reply, Failure):
            return _Listing(rows, reply)
        page = QueryCalledRouteReply.model_validate(reply.body).data
        fresh = {row.id: row for row in page.called_route_list or () if row.id not in rows}
        rows |= fresh
        if len(rows) == page.total:
            return _Listing(rows, None)
        if not fresh or len(rows) > page.total:
            return _Listing(rows, INCOMPLETE)
    return _Listing(rows, INCOMPLETE)


def seen_route(row: CalledRoute) -> Mapping[str, Json]:
    """A row in the room's own words; the types as the vendor counts them."""
    return {
        "id": row.id,
        "device_type": row.devicetype,
        "device_id": row.device_id,
        "media_type": row.media_type,
        "editable": row.editable,
    }


def is_as_wanted(want: CalledRouteWanted, state: Mapping[str, Json]) -> bool:
    """Device and, where it was given, media type stand as wanted."""
    device = (DEVICE_TYPES[want.device_type], want.device_id)
    return device == (state["device_type"], state["device_id"]) and want.media_type in {None, state["media_type"]}


def _wanted_key(want: CalledRouteWanted) -> tuple[str, str]:
    return _key(want.access_code, want.ext_code)


def _key(access_code: str, ext_code: str | None) -> tuple[str, str]:
    return access_code, ext_code or ""
