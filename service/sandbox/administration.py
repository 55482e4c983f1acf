"""The endpoints under /_sandbox/: journal, state, faults, and the person at the console; on loopback only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from typing import Any, Literal, get_args

import orjson
from aiohttp import web

from service.sandbox.clock import SandboxClock
from service.sandbox.configuration import HUAWEI, TENCENT, SandboxConfiguration
from service.sandbox.exchange import Answer, Call, Effect
from service.sandbox.faults import Draw, FaultBoard, rules_from_json
from service.sandbox.huawei_api import HuaweiApi
from service.sandbox.journal import CONSOLE, Entry, Journal
from service.sandbox.quota_window import QuotaBook
from service.sandbox.tencent_actions import form_key
from service.sandbox.tencent_api import TencentApi
from service.sandbox.tencent_state import NumberForm, TencentInstance

PREFIX = "/_sandbox/"
Verdict = Literal["approve", "refuse"]


class NotPossibleError(Exception):
    """An admin request that can't be done; ``status`` 400, 404 or 409."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Administration:
    """What tests and operators do to a running sandbox, over HTTP or directly."""

    def __init__(
        self,
        *,
        configuration: SandboxConfiguration,
        tencent: TencentApi,
        huawei: HuaweiApi,
        quotas: QuotaBook,
        faults: FaultBoard,
        journal: Journal,
        clock: SandboxClock,
    ) -> None:
        self._configuration = configuration
        self._tencent = tencent
        self._huawei = huawei
        self._quotas = quotas
        self._faults = faults
        self._journal = journal
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """The endpoints; the caller keeps strangers out (see :func:`is_loopback`)."""
        return [
            web.get(PREFIX + "journal", self._guard(self._get_journal)),
            web.get(PREFIX + "state", self._guard(self._get_state)),
            web.get(PREFIX + "secrets", self._guard(self._get_secrets)),
            web.get(PREFIX + "faults", self._guard(self._get_faults)),
            web.put(PREFIX + "faults", self._guard(self._put_faults)),
            web.post(PREFIX + "faults", self._guard(self._add_faults)),
            web.delete(PREFIX + "faults", self._guard(self._delete_faults)),
            web.get(PREFIX + "quotas", self._guard(self._get_quotas)),
            web.put(PREFIX + "quotas", self._guard(self._put_quotas)),
            web.post(PREFIX + "tokens/expire", self._guard(self._expire_tokens)),
            web.post(PREFIX + "routes/editable", self._guard(self._set_editable)),
            web.post(PREFIX + "console", self._guard(self._act)),
            web.post(PREFIX + "numbers/{verdict}", self._guard(self._decide)),
        ]

    def state(self) -> dict[str, Any]:
        """What stands at the vendors now, without passwords."""
        tencent = {str(instance.sdk_app_id): instance.as_dict() for instance in self._tencent.instances()}
        huawei = {
            app_key: [route.as_dict() for route in book.table.all_current()]
            for app_key, book in self._huawei.routes.items()
        }
        return {"tencent_ccc": tencent, "huawei_aicc": huawei}

    def secrets(self) -> list[str]:
        """Every secret given or held here: what no sink of the product may contain."""
        held = [account.secret_key for account in self._configuration.tencent]
        held += [account.token for account in self._configuration.tencent if account.token]
        held += [tenant.app_secret for tenant in self._configuration.huawei]
        for instance in self._tencent.instances():
            held += [extension.password for extension in instance.extensions.all_current()]
        return held + self._huawei.tokens.issued

    def decide(
        self, verdict: Verdict, sdk_app_id: int, *, number: str | None = None, apply_id: int | None = None
    ) -> int:
        """Approve or refuse a pending form, named by its id or by a number in it (stored or national); gives its id.

        Raises:
            NotPossibleError: no such application, no such form, or already decided.
        """
        instance = self._tencent.instance(sdk_app_id)
        if instance is None:
            raise NotPossibleError(404, "no such application")
        form = _pending_form(instance, number=number, apply_id=apply_id)
        if verdict == "approve":
            instance.approve(form, at=self._clock.monotonic())
        else:
            instance.refuse(form)
        call = Call(
            vendor=CONSOLE,
            request_id="",
            action=verdict,
            app=str(sdk_app_id),
            natural_key=form_key(sdk_app_id, form.numbers),
            wanted={"ApplyId": form.apply_id},
        )
        effect = Effect(kind="approved" if verdict == "approve" else "refused")
        self._note(call, Answer(status=200, body=b"", result="ok", effect=effect))
        return form.apply_id

    def expire_tokens(self) -> int:
        """End every Huawei token; gives how many were still good."""
        return self._huawei.tokens.expire_all(self._clock.monotonic())

    def set_editable(self, app_key: str, access_code: str, ext_code: str, *, editable: int) -> None:
        """Set a route's ``editable`` (0 free, 1 delete only, 2 not deletable, 3 neither).

        Raises:
            NotPossibleError: no such tenant or route.
        """
        book = self._huawei.routes.get(app_key)
        held = book.table.current((access_code, ext_code)) if book is not None else None
        if book is None or held is None:
            raise NotPossibleError(404, "no such route")
        book.table.put(held.key, replace(held, editable=editable), at=self._clock.monotonic())

    def console(self, vendor: str, account: str, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Do an operation as a person at the vendor's console would: no signature, quota or fault; gives the reply.

        Raises:
            NotPossibleError: no such account or operation.
        """
        api: TencentApi | HuaweiApi = self._tencent if vendor == TENCENT else self._huawei
        call = api.console_call(account, action, params)
        if call is None:
            raise NotPossibleError(404, "no such account or operation")
        answer = api.perform(call, Draw())
        self._note(call, answer)
        return dict(orjson.loads(answer.body))

    def _note(self, call: Call, answer: Answer) -> None:
        effect = answer.effect
        self._journal.append(
            Entry(
                arrival=self._clock.monotonic(),
                wall=self._clock.wall(),
                vendor=CONSOLE,
                app=call.app,
                action=call.action,
                natural_key=call.natural_key,
                effect_applied=effect is not None,
                effect=effect.kind if effect is not None else None,
                changed=effect is not None and effect.changed,
                wanted=call.wanted,
                status=answer.status,
                result=answer.result,
            )
        )

    def _guard(
        self, handler: Callable[[web.Request], Awaitable[Any]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not is_loopback(request):
                return _json({"error": "only on loopback"}, status=403)
            try:
                return _json(await handler(request))
            except NotPossibleError as refused:
                return _json({"error": str(refused)}, status=refused.status)

        return guarded

    async def _get_journal(self, request: web.Request) -> Any:
        after = request.query.get("after", "0")
        if not after.isdecimal():
            raise NotPossibleError(400, "after must be a number")
        entries = self._journal.after(int(after))
        return {"entries": [entry.as_dict() for entry in entries], "last_seq": self._journal.last_seq}

    async def _get_state(self, request: web.Request) -> Any:  # noqa: ARG002  # a handler's signature
        return self.state()

    async def _get_secrets(self, request: web.Request) -> Any:  # noqa: ARG002  # a handler's signature
        return {"secrets": self.secrets()}

    async def _get_faults(self, request: web.Request) -> Any:  # noqa: ARG002  # a handler's signature
        return {"rules": self._faults.as_list()}

    async def _put_faults(self, request: web.Request) -> Any:
        document = await _document(request, allowed={"rules", "seed"})
        seed = document.get("seed")
        if seed is not None and not isinstance(seed, int):
            raise NotPossibleError(400, "seed must be a whole number")
        self._faults.replace(_rules(document), seed=seed)
        return {"rules": self._faults.as_list()}

    async def _add_faults(self, request: web.Request) -> Any:
        self._faults.add(*_rules(await _document(request, allowed={"rules"})))
        return {"rules": self._faults.as_list()}

    async def _delete_faults(self, request: web.Request) -> Any:  # noqa: ARG002  # a handler's signature
        self._faults.clear()
        return {"rules": []}

    async def _get_quotas(self, request: web.Request) -> Any:  # noqa: ARG002  # a handler's signature
        return self._quotas.as_dict()

    async def _put_quotas(self, request: web.Request) -> Any:
        document = await _document(request, allowed={TENCENT, HUAWEI})
        for quotas in document.values():
            if not isinstance(quotas, dict) or not all(isinstance(q, int) and q >= 1 for q in quotas.values()):
                raise NotPossibleError(400, "quotas are whole numbers from 1, by operation")
        self._quotas.change(document)
        return self._quotas.as_dict()

    async def _expire_tokens(self, request: web.Request) -> Any:  # noqa: ARG002  # a handler's signature
        return {"expired": self.expire_tokens()}

    async def _set_editable(self, request: web.Request) -> Any:
        document = await _document(request, allowed={"app_key", "access_code", "ext_code", "editable"})
        editable = document.get("editable")
        if not isinstance(editable, int) or editable not in {0, 1, 2, 3}:
            raise NotPossibleError(400, "editable must be 0, 1, 2 or 3")
        code, extension = str(document.get("access_code")), str(document.get("ext_code", ""))
        self.set_editable(str(document.get("app_key")), code, extension, editable=editable)
        return {"editable": editable}

    async def _act(self, request: web.Request) -> Any:
        document = await _document(request, allowed={"vendor", "account", "action", "params"})
        vendor, account, action = (document.get(name) for name in ("vendor", "account", "action"))
        params = document.get("params")
        if vendor not in {TENCENT, HUAWEI} or not isinstance(params, dict):
            raise NotPossibleError(400, "vendor, account, action and params are needed")
        return self.console(str(vendor), str(account), str(action), params)

    async def _decide(self, request: web.Request) -> Any:
        verdict = request.match_info["verdict"]
        if verdict not in get_args(Verdict):
            raise NotPossibleError(404, "approve or refuse")
        document = await _document(request, allowed={"sdk_app_id", "number", "apply_id"})
        app, number, apply_id = (document.get(name) for name in ("sdk_app_id", "number", "apply_id"))
        if not isinstance(app, int) or (number is None) == (apply_id is None):
            raise NotPossibleError(400, "sdk_app_id and either number or apply_id are needed")
        chosen: Verdict = "approve" if verdict == "approve" else "refuse"
        return {"apply_id": self.decide(chosen, app, number=number, apply_id=apply_id), "verdict": chosen}


def is_loopback(request: web.Request) -> bool:
    """Whether the peer of the connection is this machine."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not peer:
        return False
    address = ip_address(peer[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _pending_form(instance: TencentInstance, *, number: str | None, apply_id: int | None) -> NumberForm:
    if apply_id is not None:
        named = [form for form in instance.forms.values() if form.apply_id == apply_id]
    else:
        named = [f for f in instance.forms.values() if any(_same_number(held, str(number)) for held in f.numbers)]
    if not named:
        raise NotPossibleError(404, "no such form")
    pending = [form for form in named if form.status == "pending"]
    if not pending:
        raise NotPossibleError(409, f"the form is {named[-1].status}")
    return pending[0]


def _same_number(stored: str, given: str) -> bool:
    return given == stored or (not given.startswith("00") and len(given) >= 5 and stored[4:] == given)


async def _document(request: web.Request, *, allowed: set[str]) -> Mapping[str, Any]:
    try:
        document = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise NotPossibleError(400, "the body is not JSON") from None
    if not isinstance(document, dict) or set(document) - allowed:
        raise NotPossibleError(400, f"an object with {', '.join(sorted(allowed))} is wanted")
    return document


def _rules(document: Mapping[str, Any]) -> Any:
    try:
        return rules_from_json(document.get("rules"))
    except ValueError as error:
        raise NotPossibleError(400, str(error)) from error


def _json(document: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
