"""Planning rules for Huawei Cloud AICC: called routes from access codes to queues and flows."""

from __future__ import annotations

from typing import Final

from contracts.inbound import NumberPurchased, NumberRouted
from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.blueprint import Blueprint, Step, StepBlueprint, incomplete, unsupported
from service.domain.wanted import CalledRouteWanted

VENDOR: Final = "huawei_aicc"
CREATE_CALLED_ROUTE: Final = "huawei_aicc.createCalledRoute"
DEFAULT_MEDIA_TYPE: Final = 5
"""The vendor's own (support.huaweicloud.com/intl/en-us/api-cec/cec_07_1030.html, read 2025-11)."""


def purchased(event: NumberPurchased, account: Account) -> Blueprint:
    """Ensure the called route of the access code."""
    access_code = _access_code(event)
    _refuse_clearing(event, ("route", "ext_code", "media_type"))
    media_type = DEFAULT_MEDIA_TYPE if event.media_type is None else event.media_type
    return _called_route(access_code, event, account, media_type)


def routed(event: NumberRouted, account: Account, held: Binding | None) -> Blueprint:
    """Ensure the called route of the access code, with the media type applied before, else whichever it has."""
    access_code = _access_code(event)
    _refuse_clearing(event, ("route", "ext_code"))
    applied = (held.applied if held is not None else None) or {}
    return _called_route(access_code, event, account, applied.get("media_type"))


def _access_code(event: NumberPurchased | NumberRouted) -> str:
    if event.access_code is None:
        raise incomplete("access_code", "this vendor routes access codes; `access_code` is given by nobody")
    return event.access_code


def _refuse_clearing(event: NumberPurchased | NumberRouted, fields: tuple[str, ...]) -> None:
    for field in fields:
        if field in event.model_fields_set and getattr(event, field) is None:
            raise unsupported(field, f"`{field}` is null (clear it): a called route can't do without it or change it")


def _called_route(
    access_code: str, event: NumberPurchased | NumberRouted, account: Account, media_type: int | None
) -> Blueprint:
    if event.route is None:
        raise incomplete("route", "`route` names the skill queue or IVR flow; it is given by nobody")
    to_queue = event.route.skill_queue is not None
    device = event.route.skill_queue if to_queue else event.route.ivr
    assert device is not None, "the contract requires exactly one of the two"  # noqa: S101
    wanted = CalledRouteWanted(
        access_code=access_code,
        ext_code=event.ext_code,
        media_type=media_type,
        device_type="skill_queue" if to_queue else "ivr",
        device_id=device,
    )
    subject = f"route:{account.name}/{access_code}/{event.ext_code or ''}"
    step = StepBlueprint(step=Step.ROUTE, operation=CREATE_CALLED_ROUTE, wanted=wanted)
    return Blueprint(subject=subject, resource=subject, account=account, steps=(step,))
