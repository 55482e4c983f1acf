"""Huawei's called routes: state, fields and the three operations (pages cec_07_1030, 1032, 1033, read 2026-08)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.sandbox.configuration import HuaweiTenant
from service.sandbox.exchange import Effect, RefusedError
from service.sandbox.field_rules import FieldRule, optional, required
from service.sandbox.versioned_table import VersionedTable

DEFAULT_MEDIA_TYPE = 5
MAX_LIMIT = 100
_MEDIA_TYPES = {2, 5, 18, 19, 53}
_MEDIA_OF_ACCESS_CODE = {5: {5, 19}, 53: {53}, 2: {2, 18}}
_SKILL_QUEUE, _IVR, _MULTIMEDIA = 1, 3, 53
_EXT_CODE = re.compile(r"[0-9*#]{0,12}")
_FIRST_ID = 1_600_000_000_000_000_000  # 19 digits, above 2**53

FIELDS: Mapping[str, Mapping[str, FieldRule]] = {
    "createCalledRoute": {
        "accessCode": required("string"),
        "extCode": optional("string"),
        "mediaTypeId": optional("int"),
        "devicetype": required("int"),
        "deviceId": required("int"),
    },
    "queryCalledRoute": {
        "accessCode": optional("string"),
        "extCode": optional("string"),
        "devicetype": optional("int"),
        "deviceDesc": optional("string"),
        "mediaTypeId": optional("int"),
        "limit": optional("int"),
        "offset": optional("int"),
    },
    "modifyCalledRoute": {"id": required("string"), "devicetype": required("int"), "deviceId": required("int")},
}


@dataclass(frozen=True, kw_only=True)
class Route:
    """An access code (and extension code) that leads to a skill queue or an IVR."""

    route_id: str
    dnid: int
    access_code: str
    ext_code: str
    media_type: int
    device_type: int
    device_id: int
    editable: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The natural key within a tenant."""
        return self.access_code, self.ext_code

    def as_dict(self) -> dict[str, Any]:
        """As a query shows it: other casing than a create takes."""
        return {
            "id": self.route_id,
            "dnid": self.dnid,
            "accessCode": self.access_code,
            "extCode": self.ext_code,
            "mediatypeId": self.media_type,
            "devicetype": self.device_type,
            "deviceId": self.device_id,
            "deviceDesc": f"{'skill queue' if self.device_type == _SKILL_QUEUE else 'ivr'} {self.device_id}",
            "editable": self.editable,
        }


class RouteBook:
    """The routes of one tenant."""

    def __init__(self, *, serial: int) -> None:
        self.table: VersionedTable[tuple[str, str], Route] = VersionedTable()
        self._keys: dict[str, tuple[str, str]] = {}
        self._next_id = _FIRST_ID + serial * 1_000_000_000
        self._next_dnid = 1000 * serial + 1

    def by_id(self, route_id: str) -> Route | None:
        """A route by the string id that only a query gives."""
        key = self._keys.get(route_id)
        return self.table.current(key) if key is not None else None

    def add(self, route: Route, *, at: float) -> None:
        """Store a new route under fresh ids."""
        made = replace(route, route_id=str(self._next_id), dnid=self._next_dnid)
        self._next_id, self._next_dnid = self._next_id + 17, self._next_dnid + 1
        self._keys[made.route_id] = made.key
        self.table.put(made.key, made, at=at)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an operation works with."""

    routes: RouteBook
    tenant: HuaweiTenant
    now: float
    duplicate_mode: str
    read_lag: float
    page_cap: int
    fuzzy: bool


@dataclass(frozen=True, kw_only=True)
class Done:
    """Success: the rest of the envelope and what was changed."""

    fields: Mapping[str, Any]
    effect: Effect | None = None


def create_called_route(context: Context, params: Mapping[str, Any]) -> Done:
    """createCalledRoute: gives no id back."""
    wanted = Route(
        route_id="",
        dnid=0,
        access_code=params["accessCode"],
        ext_code=params.get("extCode", ""),
        media_type=params.get("mediaTypeId", DEFAULT_MEDIA_TYPE),
        device_type=params["devicetype"],
        device_id=params["deviceId"],
    )
    _check_codes(wanted)
    _check_media(context.tenant, wanted)
    held = context.routes.table.current(wanted.key)
    if held is None:
        context.routes.add(wanted, at=context.now)
        return Done(fields={"description": "data create success"}, effect=Effect(kind="created"))
    if context.duplicate_mode == "error":
        raise RefusedError("1", "The route exists.")
    if context.duplicate_mode == "dberror":
        raise _business_failure("Business failure.")
    if context.duplicate_mode == "overwrite":
        return _write(context, held, replace(wanted, route_id=held.route_id, dnid=held.dnid, editable=held.editable))
    return Done(fields={"description": "data create success"})


def modify_called_route(context: Context, params: Mapping[str, Any]) -> Done:
    """modifyCalledRoute: only where it leads; not for routes whose ``editable`` forbids it."""
    held = context.routes.by_id(params["id"])
    if held is None:
        raise RefusedError("1", "There is no such route.")
    if held.editable in {1, 3}:
        raise RefusedError("1", "The route can't be modified.")
    wanted = replace(held, device_type=params["devicetype"], device_id=params["deviceId"])
    _check_media(context.tenant, wanted)
    return _write(context, held, wanted)


def query_called_route(context: Context, params: Mapping[str, Any]) -> Done:
    """queryCalledRoute: every filter optional; ``offset`` counts rows."""
    limit = params.get("limit", MAX_LIMIT)
    if not 0 <= limit <= MAX_LIMIT:
        raise _bad_request(f"limit must lie between 0 and {MAX_LIMIT}")
    seen = context.routes.table.all_visible(at=context.now - context.read_lag)
    found = [route for route in seen if _matches(route, params, fuzzy=context.fuzzy)]
    offset = max(0, params.get("offset", 0))
    shown = found[offset : offset + min(limit, context.page_cap)]
    data = {"total": len(found), "calledRouteList": [route.as_dict() for route in shown]}
    return Done(fields={"description": "query success", "data": data})


OPERATIONS: Mapping[str, Callable[[Context, Mapping[str, Any]], Done]] = {
    "createCalledRoute": create_called_route,
    "queryCalledRoute": query_called_route,
    "modifyCalledRoute": modify_called_route,
}


def route_key(app_key: str, access_code: Any, ext_code: Any) -> str:
    """A route's natural key in the journal."""
    return f"route:{app_key}/{access_code}/{ext_code}"


def _write(context: Context, held: Route, wanted: Route) -> Done:
    context.routes.table.put(held.key, wanted, at=context.now)
    effect = Effect(kind="modified", changed=wanted != held)
    return Done(fields={"description": "data modify success"}, effect=effect)


def _matches(route: Route, params: Mapping[str, Any], *, fuzzy: bool) -> bool:
    for given, held in ((params.get("accessCode"), route.access_code), (params.get("extCode"), route.ext_code)):
        if given and not (given in held if fuzzy else given == held):
            return False
    if params.get("deviceDesc", "") not in route.as_dict()["deviceDesc"]:
        return False
    kinds = ((params.get("devicetype"), route.device_type), (params.get("mediaTypeId"), route.media_type))
    return all(given is None or given == held for given, held in kinds)


def _check_codes(route: Route) -> None:
    if not 1 <= len(route.access_code) <= 32:
        raise _bad_request("accessCode must have 1 to 32 characters")
    if not _EXT_CODE.fullmatch(route.ext_code):
        raise _bad_request("extCode must have at most 12 of 0-9 * #")


def _check_media(tenant: HuaweiTenant, route: Route) -> None:
    if route.device_type not in {_SKILL_QUEUE, _IVR} or route.media_type not in _MEDIA_TYPES:
        raise _bad_request("devicetype must be 1 or 3, mediaTypeId one of 2, 5, 18, 19, 53")
    if route.device_type == _IVR and route.media_type == _MULTIMEDIA:
        raise _business_failure("An IVR can't take multimedia.")
    if tenant.access_codes is None:
        return
    allowed = _MEDIA_OF_ACCESS_CODE.get(tenant.access_codes.get(route.access_code, 0), set())
    if route.media_type not in allowed:
        raise _business_failure("The access code is unknown or has another media type.")


def _bad_request(message: str) -> RefusedError:
    return RefusedError("HTTP 400", message, status=400)


def _business_failure(message: str) -> RefusedError:
    return RefusedError("HTTP 500", message, status=500)
