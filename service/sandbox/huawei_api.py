"""Huawei's door: tokens, envelope, field rules and faults around the route operations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson

from service.sandbox.clock import SandboxClock
from service.sandbox.configuration import HUAWEI, HuaweiTenant, SandboxConfiguration
from service.sandbox.exchange import Answer, Arrived, Call, Effect, RefusedError
from service.sandbox.faults import Draw, FaultKind, FaultRule
from service.sandbox.field_rules import FieldRule, first_finding, required
from service.sandbox.gateway_error import gateway_error
from service.sandbox.huawei_routes import FIELDS, MAX_LIMIT, OPERATIONS, Context, Done, RouteBook, route_key
from service.sandbox.huawei_tokens import MAX_TOKEN_SECONDS, TokenBook

TOKEN_PATH = "/apigovernance/api/oauth/tokenByAkSk"  # noqa: S105  # a path
ROUTE_PATH = "/apiaccess/rest/cc-management/v1/calledRoute/"
TOKEN_ACTION = "tokenByAkSk"  # noqa: S105  # an operation's name
_TOKEN_FIELDS: Mapping[str, FieldRule] = {"app_key": required("string"), "app_secret": required("string")}
_BEARER = re.compile(r"Bearer (?P<token>[^\s]+)")


class HuaweiApi:
    """All AICC tenants of the sandbox, their tokens and routes."""

    def __init__(self, configuration: SandboxConfiguration, clock: SandboxClock) -> None:
        self._configuration = configuration
        self._clock = clock
        self._tenants = {tenant.app_key: tenant for tenant in configuration.huawei}
        self.tokens = TokenBook(seed=configuration.seed, new_voids_old=configuration.new_token_voids_old)
        self.routes = {key: RouteBook(serial=i) for i, key in enumerate(self._tenants, start=1)}

    def name_action(self, arrived: Arrived) -> str:
        """The last part of the path."""
        return arrived.path.rpartition("/")[2]

    def open(self, arrived: Arrived, *, clock_offset: float) -> Call:
        """Check key pair or token and read the body; parameters are judged later, behind the quota."""
        if arrived.path == TOKEN_PATH:
            return self._open_token(arrived)
        return self._open_business(arrived, now=self._clock.monotonic() + clock_offset)

    def console_call(self, account: str, action: str, params: Mapping[str, Any]) -> Call | None:
        """The same call without a request around it; None if the tenant or the operation does not exist."""
        if account not in self._tenants or action not in OPERATIONS:
            return None
        return self._call(account, action, params)

    def perform(self, call: Call, draw: Draw) -> Answer:
        """Issue a token, or validate the parameters and run the operation."""
        try:
            if call.action == TOKEN_ACTION:
                return self._issue(call)
            return _success(self._run(call, draw))
        except RefusedError as refused:
            return _failure(refused)

    def throttled(self, call: Call, code: str | None = None) -> Answer:  # noqa: ARG002  # this vendor has no codes
        """HTTP 429; its shape is undocumented."""
        return _failure(RefusedError("HTTP 429", "Too many requests.", status=429))

    def spoiled(self, call: Call, rule: FaultRule) -> Answer:
        """What a fault puts in place of the right answer. A numeric ``code`` of three digits is an HTTP status."""
        match rule.kind:
            case FaultKind.DBERROR_BEFORE | FaultKind.DBERROR_AFTER:
                return _failure(RefusedError("HTTP 500", "Business failure.", status=500))
            case FaultKind.HTTP_BEFORE | FaultKind.HTTP_AFTER:
                return gateway_error(rule.status)
            case FaultKind.THROTTLE:
                return self.throttled(call)
            case FaultKind.EXPIRED_TOKEN:
                self.tokens.expire(call.presented, self._clock.monotonic())
                return _unauthorised()
            case _:
                code = rule.code or "1"
                status = int(code) if re.fullmatch(r"[1-5]\d\d", code) else 200
                shown = code if status == 200 else f"HTTP {code}"
                return _failure(RefusedError(shown, "A fault switch made this error.", status=status))

    def _open_token(self, arrived: Arrived) -> Call:
        request_id, params = str(uuid4()), _decoded(arrived.body)
        claimed = params.get("app_key") if params is not None else None
        app_key = claimed if isinstance(claimed, str) else None
        tenant = self._tenants.get(app_key or "")
        refusal = _head_refusal(arrived, params)
        if refusal is None and not _complete(params or {}, _TOKEN_FIELDS):
            refusal = _failure(RefusedError("HTTP 400", "app_key and app_secret are wanted, nothing else.", status=400))
        if refusal is None and (tenant is None or tenant.app_secret != (params or {}).get("app_secret")):
            refusal = _unauthorised()
        lifetime = arrived.headers.get("x-token-expire", str(self._configuration.default_token_seconds))
        return Call(
            vendor=HUAWEI,
            request_id=request_id,
            action=TOKEN_ACTION,
            account=app_key,
            natural_key=f"token:{app_key}",
            signature="ok" if refusal is None else refusal.result,
            params={"lifetime": lifetime},
            refusal=refusal,
        )

    def _open_business(self, arrived: Arrived, *, now: float) -> Call:
        action, params = self.name_action(arrived), _decoded(arrived.body)
        found = _BEARER.fullmatch(arrived.headers.get("authorization", ""))
        token = found["token"] if found else ""
        app_key = self.tokens.owner(token)
        refusal = None
        if app_key is None or not self.tokens.good(token, now):
            refusal = _unauthorised()
        elif arrived.headers.get("x-app-key", app_key) != app_key:
            refusal = _failure(RefusedError("HTTP 403", "X-APP-Key is not the token's.", status=403))
        return replace(
            self._call(app_key, action, params or {}),
            signature="ok" if refusal is None else refusal.result,
            presented=token,
            refusal=refusal or _head_refusal(arrived, params),
        )

    def _call(self, app_key: str | None, action: str, params: Mapping[str, Any]) -> Call:
        return Call(
            vendor=HUAWEI,
            request_id=str(uuid4()),
            action=action,
            account=app_key,
            natural_key=self._natural_key(action, app_key, params),
            params=params,
            wanted=params if action != "queryCalledRoute" else None,
        )

    def _natural_key(self, action: str, app_key: str | None, params: Mapping[str, Any]) -> str | None:
        if app_key is None:
            return None
        if action != "modifyCalledRoute":
            return route_key(app_key, params.get("accessCode", "*"), params.get("extCode", ""))
        held = self.routes[app_key].by_id(str(params.get("id")))
        return route_key(app_key, *held.key) if held is not None else None

    def _issue(self, call: Call) -> Answer:
        lifetime = str(call.params["lifetime"])
        if not re.fullmatch(r"\d{1,4}", lifetime) or not 1 <= int(lifetime) <= MAX_TOKEN_SECONDS:
            raise RefusedError("HTTP 400", f"X-Token-Expire must lie between 1 and {MAX_TOKEN_SECONDS}", status=400)
        app_key = call.account or ""
        token = self.tokens.issue(app_key, now=self._clock.monotonic(), seconds=int(lifetime))
        document = {
            "AccessToken": token,
            "ApplyType": "Bearer",
            "CreateTime": str(int(self._clock.wall())),
            "Expires": lifetime,
            "Scope": "",
            "AppKey": app_key,
            "UserID": "Anonymous",
        }
        return Answer(status=200, body=orjson.dumps(document), result="ok", effect=Effect(kind="token"))

    def _run(self, call: Call, draw: Draw) -> Done:
        action, tenant = call.action or "", self._tenants[call.account or ""]
        finding = first_finding(call.params, FIELDS[action])
        if finding is not None:
            raise RefusedError("HTTP 400", f"{finding.path}: {finding.kind}", status=400)
        return OPERATIONS[action](self._context(tenant, action, draw), call.params)

    def _context(self, tenant: HuaweiTenant, action: str, draw: Draw) -> Context:
        return Context(
            routes=self.routes[tenant.app_key],
            tenant=tenant,
            now=self._clock.monotonic(),
            duplicate_mode=draw.duplicate_mode or self._configuration.duplicates.get(action, "error"),
            read_lag=draw.read_lag,
            page_cap=draw.page_cap or MAX_LIMIT,
            fuzzy=self._configuration.fuzzy_route_query,
        )


def _decoded(body: bytes) -> dict[str, Any] | None:
    try:
        params = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return params if isinstance(params, dict) else None


def _head_refusal(arrived: Arrived, params: Mapping[str, Any] | None) -> Answer | None:
    if arrived.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return _failure(RefusedError("HTTP 400", "Content-Type must be application/json.", status=400))
    if params is None:
        return _failure(RefusedError("HTTP 400", "The body is not a JSON object.", status=400))
    return None


def _complete(params: Mapping[str, Any], rules: Mapping[str, FieldRule]) -> bool:
    return first_finding(params, rules) is None


def _unauthorised() -> Answer:
    return _failure(RefusedError("HTTP 401", "Unauthorized operation.", status=401))


def _success(done: Done) -> Answer:
    body = orjson.dumps({"returnCode": "0", **done.fields})
    return Answer(status=200, body=body, result="ok", effect=done.effect)


def _failure(refused: RefusedError) -> Answer:
    code = refused.code.removeprefix("HTTP ")
    body = orjson.dumps({"returnCode": code, "description": refused.message})
    return Answer(status=refused.status, body=body, result=refused.code)
