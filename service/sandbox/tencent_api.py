"""Tencent's door: signature, envelope, field rules and faults around the operations (API 3.0, version 2020-02-10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import uuid4

import orjson

from service.sandbox.clock import SandboxClock
from service.sandbox.configuration import TENCENT, SandboxConfiguration, TencentAccount
from service.sandbox.exchange import Answer, Arrived, Call, Effect, RefusedError
from service.sandbox.faults import Draw, FaultKind, FaultRule
from service.sandbox.field_rules import first_finding
from service.sandbox.gateway_error import gateway_error
from service.sandbox.tencent_actions import OPERATIONS, WRITES, Context, natural_key
from service.sandbox.tencent_fields import FIELDS
from service.sandbox.tencent_signature import SignatureRefusedError, parse_authorization, verify
from service.sandbox.tencent_state import TencentInstance

VERSION = "2020-02-10"
MAX_BODY_BYTES = 10 * 1024 * 1024
_FINDING_CODES = {"unknown": "UnknownParameter", "missing": "MissingParameter", "wrong type": "InvalidParameter"}
_CONTENT_TYPES = {"application/json", "application/json; charset=utf-8"}
_DBERROR = ("InternalError.DBError", "Internal database access failure.")


class TencentApi:
    """All Tencent accounts of the sandbox and what stands in their applications."""

    def __init__(self, configuration: SandboxConfiguration, clock: SandboxClock) -> None:
        self._configuration = configuration
        self._clock = clock
        self._accounts = {account.secret_id: account for account in configuration.tencent}
        ids = sorted({app for account in configuration.tencent for app in account.sdk_app_ids})
        self._instances = {app: TencentInstance(app) for app in ids}
        self._apply_ids = count(1)

    def name_action(self, arrived: Arrived) -> str:
        """What X-TC-Action says."""
        return arrived.headers.get("x-tc-action", "")

    def instance(self, sdk_app_id: int) -> TencentInstance | None:
        """One application, with approvals up to this moment."""
        found = self._instances.get(sdk_app_id)
        if found is not None:
            found.approve_due(self._clock.monotonic())
        return found

    def instances(self) -> Iterable[TencentInstance]:
        """Every application, with approvals up to this moment."""
        return [instance for app in self._instances if (instance := self.instance(app)) is not None]

    def open(self, arrived: Arrived, *, clock_offset: float) -> Call:
        """Check the signature and read the body; parameters are judged later, behind the quota."""
        action, request_id = self.name_action(arrived), str(uuid4())
        try:
            account, claimed = None, None
            authorization = parse_authorization(arrived.headers.get("authorization"))
            claimed = authorization.secret_id
            account = self._account(claimed)
            verify(
                authorization,
                secret_key=account.secret_key,
                headers=arrived.headers,
                body=arrived.body,
                now=arrived.wall + clock_offset,
            )
            _check_token(account, arrived.headers.get("x-tc-token"))
        except SignatureRefusedError as refused:
            answer = _failure(refused.code, str(refused), request_id)
            return Call(
                vendor=TENCENT,
                request_id=request_id,
                action=action or None,
                account=claimed,
                site=account.site if account else None,
                signature=refused.code,
                refusal=answer,
            )
        return _read(arrived, account, action, request_id)

    def console_call(self, account: str, action: str, params: Mapping[str, Any]) -> Call | None:
        """The same call without a request around it; None if the account or the operation does not exist."""
        held = self._accounts.get(account)
        if held is None or action not in OPERATIONS:
            return None
        return _call(held, action, params, str(uuid4()))

    def perform(self, call: Call, draw: Draw) -> Answer:
        """Validate the parameters and run the operation."""
        try:
            done = self._run(call, draw)
        except RefusedError as refused:
            return _failure(refused.code, refused.message, call.request_id)
        return _success(done.fields, call.request_id, done.effect)

    def throttled(self, call: Call, code: str | None = None) -> Answer:
        """RequestLimitExceeded: the API layer stopped it, nothing was done."""
        return _failure(code or "RequestLimitExceeded", "Too many requests in this second.", call.request_id)

    def spoiled(self, call: Call, rule: FaultRule) -> Answer:
        """What a fault puts in place of the right answer."""
        match rule.kind:
            case FaultKind.DBERROR_BEFORE | FaultKind.DBERROR_AFTER:
                return _failure(*_DBERROR, call.request_id)
            case FaultKind.HTTP_BEFORE | FaultKind.HTTP_AFTER:
                return gateway_error(rule.status)
            case FaultKind.THROTTLE:
                return self.throttled(call, rule.code)
            case FaultKind.EXPIRED_TOKEN:
                return _failure("AuthFailure.TokenFailure", "The token is not valid any more.", call.request_id)
            case _:
                return _failure(rule.code or "InternalError", "A fault switch made this error.", call.request_id)

    def _account(self, secret_id: str) -> TencentAccount:
        account = self._accounts.get(secret_id)
        if account is None:
            raise SignatureRefusedError("AuthFailure.SecretIdNotFound", "The SecretId is not found.")
        return account

    def _run(self, call: Call, draw: Draw) -> Any:
        account = self._accounts[call.account or ""]
        action = call.action or ""
        finding = first_finding(call.params, FIELDS[action], china=account.site == "cn")
        if finding is not None:
            raise RefusedError(_FINDING_CODES[finding.kind], f"The parameter `{finding.path}` is {finding.kind}.")
        app = call.params["SdkAppId"]
        instance = self.instance(app) if app in account.sdk_app_ids else None
        if instance is None:
            raise RefusedError("InvalidParameterValue.InstanceNotExist", "The instance does not exist.")
        return OPERATIONS[action](self._context(account, instance, action, draw), call.params)

    def _context(self, account: TencentAccount, instance: TencentInstance, action: str, draw: Draw) -> Context:
        usual = "success" if action == "CreateOwnNumberApply" else "error"
        return Context(
            instance=instance,
            account=account,
            configuration=self._configuration,
            now=self._clock.monotonic(),
            wall=self._clock.wall(),
            duplicate_mode=draw.duplicate_mode or self._configuration.duplicates.get(action) or usual,
            read_lag=draw.read_lag,
            page_cap=draw.page_cap or self._configuration.page_cap,
            next_apply_id=lambda: next(self._apply_ids),
        )


def _read(arrived: Arrived, account: TencentAccount, action: str, request_id: str) -> Call:
    """Read a signed request as far as it can be read; what can't is refused."""
    params: Mapping[str, Any] = {}
    refusal = None
    try:
        _check_head(arrived, action)
        params = _decode(arrived.body)
    except RefusedError as refused:
        refusal = _failure(refused.code, refused.message, request_id)
    return replace(_call(account, action, params, request_id), signature="ok", refusal=refusal)


def _call(account: TencentAccount, action: str, params: Mapping[str, Any], request_id: str) -> Call:
    return Call(
        vendor=TENCENT,
        request_id=request_id,
        action=action or None,
        account=account.secret_id,
        site=account.site,
        app=str(params["SdkAppId"]) if "SdkAppId" in params else None,
        natural_key=natural_key(action, params, country_code=account.country_code),
        params=params,
        wanted=params if action in WRITES else None,
    )


def _check_head(arrived: Arrived, action: str) -> None:
    if len(arrived.body) > MAX_BODY_BYTES:
        raise RefusedError("RequestSizeLimitExceeded", "The request is over 10 MB.")
    if arrived.headers["content-type"].strip().lower() not in _CONTENT_TYPES:
        raise RefusedError("InvalidRequest", "Content-Type must be application/json.")
    if not action:
        raise RefusedError("MissingParameter", "The header X-TC-Action is missing.")
    version = arrived.headers.get("x-tc-version")
    if version is None:
        raise RefusedError("MissingParameter", "The header X-TC-Version is missing.")
    if version != VERSION:
        raise RefusedError("NoSuchVersion", "The version does not exist.")
    if action not in OPERATIONS:
        raise RefusedError("InvalidAction", "The action does not exist.")


def _check_token(account: TencentAccount, token: str | None) -> None:
    if token != account.token:
        raise SignatureRefusedError("AuthFailure.TokenFailure", "The token is wrong, missing or not wanted.")


def _decode(body: bytes) -> Mapping[str, Any]:
    try:
        params = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RefusedError("InvalidParameter", "The body is not JSON.") from None
    if not isinstance(params, dict):
        raise RefusedError("InvalidParameter", "The body is not a JSON object.")
    return params


def _success(fields: Mapping[str, Any], request_id: str, effect: Effect | None) -> Answer:
    body = orjson.dumps({"Response": {**fields, "RequestId": request_id}})
    return Answer(status=200, body=body, result="ok", effect=effect)


def _failure(code: str, message: str, request_id: str) -> Answer:
    error = {"Error": {"Code": code, "Message": message}, "RequestId": request_id}
    return Answer(status=200, body=orjson.dumps({"Response": error}), result=code)
