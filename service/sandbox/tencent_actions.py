"""What each Tencent operation does to the state, once the request has passed signature, quota and field rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from service.sandbox.configuration import SandboxConfiguration, TencentAccount
from service.sandbox.exchange import Effect, RefusedError
from service.sandbox.tencent_state import (
    Extension,
    LiveNumber,
    NumberForm,
    TencentInstance,
    sip_password,
    stored_number,
)

MAX_IDS_PER_READ = 20
DEFAULT_PAGE_SIZE = 20
_NATIONAL = re.compile(r"(?!00)\d{3,18}")
_CALL_TYPES = {0, 1, 2}
_CALLEE_FORMATS = {"{+E.164}", "{E.164}"}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an operation works with: the application, the moment, and the switches that apply to this request."""

    instance: TencentInstance
    account: TencentAccount
    configuration: SandboxConfiguration
    now: float
    wall: float
    duplicate_mode: str
    read_lag: float
    page_cap: int
    next_apply_id: Callable[[], int]

    @property
    def seen_at(self) -> float:
        """The moment whose state a read shows."""
        return self.now - self.read_lag


@dataclass(frozen=True, kw_only=True)
class Done:
    """An operation that succeeded: the fields of its response and what it changed."""

    fields: Mapping[str, Any]
    effect: Effect | None = None


def create_extension(context: Context, params: Mapping[str, Any]) -> Done:
    """CreateExtension; for an id that exists the configured behaviour, since the vendor documents none."""
    extension_id, name = _filled(params, "ExtensionId"), _filled(params, "ExtensionName")
    groups = _skill_groups(context, params, standing=())
    held = context.instance.extensions.current(extension_id)
    made = Extension(
        extension_id=extension_id,
        name=name,
        skill_group_ids=groups,
        relation=params.get("Relation", ""),
        created_at=int(context.wall),
        modified_at=int(context.wall),
        password=sip_password(context.configuration.seed, context.instance.sdk_app_id, extension_id),
    )
    if held is None:
        context.instance.extensions.put(extension_id, made, at=context.now)
        return Done(fields={}, effect=Effect(kind="created"))
    if not _duplicate_overwrites(context.duplicate_mode, "The extension exists."):
        return Done(fields={})
    return _write_extension(context, held, replace(made, created_at=held.created_at))


def modify_extension(context: Context, params: Mapping[str, Any]) -> Done:
    """ModifyExtension: absent fields stay as they are."""
    held = _extension(context, params, at=context.now)
    wanted = replace(
        held,
        name=params.get("ExtensionName", held.name),
        skill_group_ids=_skill_groups(context, params, standing=held.skill_group_ids),
        relation=params.get("Relation", held.relation),
        modified_at=int(context.wall),
    )
    return _write_extension(context, held, wanted)


def describe_extension(context: Context, params: Mapping[str, Any]) -> Done:
    """DescribeExtension: the registration, password included."""
    held = _extension(context, params, at=context.seen_at)
    return Done(
        fields={
            "ExtensionId": held.extension_id,
            "ExtensionDomain": f"{context.instance.sdk_app_id}.tccc.qcloud.com",
            "Password": held.password,
            "OutboundProxy": "sip.tccc.qcloud.com:5061",
            "Transport": "tls",
        }
    )


def describe_extensions(context: Context, params: Mapping[str, Any]) -> Done:
    """DescribeExtensions: by id, by key word, or all; pages from 0."""
    ids = params.get("ExtensionIds")
    if ids is not None and len(ids) > MAX_IDS_PER_READ:
        raise RefusedError("InvalidParameterValue", f"At most {MAX_IDS_PER_READ} ExtensionIds.")
    if ids:
        seen = [context.instance.extensions.visible(item, at=context.seen_at) for item in dict.fromkeys(ids)]
        found = [extension for extension in seen if extension is not None]
    else:
        found = context.instance.extensions.all_visible(at=context.seen_at)
    word = params.get("FuzzingKeyWord", "")
    found = [e for e in found if word in e.extension_id or word in e.name]
    shown = [_extension_info(context, e) for e in _page(context, params, found)]
    return Done(fields={"Total": len(found), "ExtensionList": shown})


def create_own_number_apply(context: Context, params: Mapping[str, Any]) -> Done:
    """CreateOwnNumberApply: a form that waits for a person, or for the approval time."""
    instance = context.instance
    numbers = tuple(_detail_number(context, detail) for detail in params["DetailList"])
    if not numbers or len(set(numbers)) != len(numbers):
        raise RefusedError("InvalidParameterValue", "DetailList must name each number once.")
    if any(instance.numbers.current(number) is not None for number in numbers):
        raise RefusedError("InvalidParameterValue.PhoneNumInvalid", "The number is live already.")
    waiting = [form for form in instance.pending if set(form.numbers) & set(numbers)]
    if waiting and context.duplicate_mode != "success":
        _duplicate_overwrites(context.duplicate_mode, "The number is under review.")
    if len(instance.pending) >= context.configuration.pending_limit:
        raise RefusedError("InvalidParameterValue.WaitingApprovalOverflow", "Too many forms are waiting.")
    seconds = context.configuration.approval_seconds
    form = NumberForm(
        apply_id=context.next_apply_id(),
        sip_trunk_id=params["SipTrunkId"],
        numbers=numbers,
        status="pending",
        due=None if seconds is None else context.now + seconds,
    )
    instance.forms[form.apply_id] = form
    return Done(fields={"ApplyId": form.apply_id}, effect=Effect(kind="applied"))


def describe_numbers(context: Context, params: Mapping[str, Any]) -> Done:
    """DescribeNumbers: the live numbers; no call-in URL, as at the vendor."""
    found = context.instance.numbers.all_visible(at=context.seen_at)
    shown = [_number_info(context, number) for number in _page(context, params, found)]
    return Done(fields={"TotalCount": len(found), "Numbers": shown})


def bind_number_call_in_interface(context: Context, params: Mapping[str, Any]) -> Done:
    """BindNumberCallInInterface: one URL per live number. Without CallInInterface nothing changes (undocumented)."""
    if params.get("NumberType", "number") not in {"number", "inner"}:
        raise RefusedError("InvalidParameterValue", "NumberType must be inner or number.")
    held = context.instance.numbers.current(_filled(params, "Number"))
    if held is None or params.get("NumberType") == "inner":
        raise RefusedError("InvalidParameterValue", "There is no such number.")
    if "CallInInterface" not in params:
        return Done(fields={})
    url = params["CallInInterface"]["URL"]
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise RefusedError("InvalidParameterValue", "URL must be an http or https address.")
    context.instance.numbers.put(held.number, replace(held, url=url), at=context.now)
    return Done(fields={}, effect=Effect(kind="bound", changed=url != held.url))


Operation = Callable[[Context, Mapping[str, Any]], Done]

OPERATIONS: Mapping[str, Operation] = {
    "CreateExtension": create_extension,
    "DescribeExtension": describe_extension,
    "DescribeExtensions": describe_extensions,
    "ModifyExtension": modify_extension,
    "CreateOwnNumberApply": create_own_number_apply,
    "DescribeNumbers": describe_numbers,
    "BindNumberCallInInterface": bind_number_call_in_interface,
}
WRITES = frozenset({"CreateExtension", "ModifyExtension", "CreateOwnNumberApply", "BindNumberCallInInterface"})


def natural_key(action: str, params: Mapping[str, Any], *, country_code: str) -> str | None:
    """What the request is about, in the journal's words; None when it does not say."""
    app = params.get("SdkAppId")
    match action:
        case "CreateExtension" | "ModifyExtension" | "DescribeExtension":
            return f"extension:{app}/{params.get('ExtensionId')}"
        case "DescribeExtensions":
            ids = params.get("ExtensionIds")
            return f"extensions:{app}/{','.join(map(str, ids)) if isinstance(ids, list) else '*'}"
        case "CreateOwnNumberApply":
            return _form_key(app, params.get("DetailList"), country_code=country_code)
        case "BindNumberCallInInterface":
            return f"number:{app}/{params.get('Number')}"
        case "DescribeNumbers":
            return f"numbers:{app}/*"
    return None


def form_key(app: int, numbers: tuple[str, ...]) -> str:
    """The natural key of a number form: its stored numbers in order of text."""
    return f"number:{app}/{','.join(sorted(numbers))}"


def _form_key(app: Any, details: Any, *, country_code: str) -> str | None:
    if not isinstance(details, list) or not all(isinstance(detail, dict) for detail in details):
        return None
    numbers = (str(detail.get("PhoneNumber")) for detail in details)
    return form_key(app, tuple(stored_number(number, country_code=country_code) for number in numbers))


def _write_extension(context: Context, held: Extension, wanted: Extension) -> Done:
    context.instance.extensions.put(held.extension_id, wanted, at=context.now)
    changed = replace(wanted, modified_at=0) != replace(held, modified_at=0)
    return Done(fields={}, effect=Effect(kind="modified", changed=changed))


def _duplicate_overwrites(mode: str, message: str) -> bool:
    """False: answer success and change nothing. Raises for the modes that refuse."""
    if mode == "error":
        raise RefusedError("InvalidParameterValue", message)
    if mode == "dberror":
        raise RefusedError("InternalError.DBError", "Internal database access failure.")
    return mode == "overwrite"


def _extension(context: Context, params: Mapping[str, Any], *, at: float) -> Extension:
    held = context.instance.extensions.visible(_filled(params, "ExtensionId"), at=at)
    if held is not None:
        return held
    if context.configuration.missing_extension == "dberror":
        raise RefusedError("InternalError.DBError", "Internal database access failure.")
    raise RefusedError("InvalidParameterValue", "There is no such extension.")


def _skill_groups(context: Context, params: Mapping[str, Any], *, standing: tuple[int, ...]) -> tuple[int, ...]:
    groups = params.get("SkillGroupIds")
    if groups is None:
        return standing
    if groups or context.configuration.empty_skill_groups == "clear":
        return tuple(dict.fromkeys(groups))
    if context.configuration.empty_skill_groups == "ignore":
        return standing
    raise RefusedError("InvalidParameterValue", "SkillGroupIds is empty.")


def _detail_number(context: Context, detail: Mapping[str, Any]) -> str:
    if detail["CallType"] not in _CALL_TYPES:
        raise RefusedError("InvalidParameterValue", "CallType must be 0, 1 or 2.")
    if detail["MaxCallCount"] < 0 or detail["MaxCallPSec"] < 0:
        raise RefusedError("InvalidParameterValue", "MaxCallCount and MaxCallPSec can't be negative.")
    if detail.get("OutboundCalleeFormat", "{E.164}") not in _CALLEE_FORMATS:
        raise RefusedError("InvalidParameterValue", "OutboundCalleeFormat must be {+E.164} or {E.164}.")
    if not _NATIONAL.fullmatch(detail["PhoneNumber"]):
        raise RefusedError("InvalidParameterValue.PhoneNumInvalid", "PhoneNumber must be national digits.")
    return stored_number(detail["PhoneNumber"], country_code=context.account.country_code)


def _filled(params: Mapping[str, Any], name: str) -> str:
    value = str(params[name])
    if not value.strip():
        raise RefusedError("InvalidParameterValue", f"{name} is empty.")
    return value


def _page(context: Context, params: Mapping[str, Any], found: list[Any]) -> list[Any]:
    number, size = params.get("PageNumber", 0), params.get("PageSize", DEFAULT_PAGE_SIZE)
    if number < 0 or size < 1:
        raise RefusedError("InvalidParameterValue", "PageNumber starts at 0, PageSize at 1.")
    size = min(size, context.page_cap)
    return found[number * size : (number + 1) * size]


def _extension_info(context: Context, extension: Extension) -> dict[str, Any]:
    app = context.instance.sdk_app_id
    return {
        "SdkAppId": app,
        "FullExtensionId": f"{extension.extension_id}@{app}.tccc.qcloud.com",
        "ExtensionId": extension.extension_id,
        "SkillGroupId": ",".join(map(str, extension.skill_group_ids)),
        "ExtensionName": extension.name,
        "CreateTime": extension.created_at,
        "ModifyTime": extension.modified_at,
        "Status": 0,
        "Register": False,
        "Relation": extension.relation,
        "RelationName": "",
    }


def _number_info(context: Context, number: LiveNumber) -> dict[str, Any]:
    info: dict[str, Any] = {"Number": number.number, "CallOutSkillGroupIds": [], "State": 1}
    if context.account.site == "cn":
        info["CostType"] = 1
    return info
