"""Planning rules for Huawei Cloud AICC: called routes from access codes to queues and flows."""

from __future__ import annotations

from typing import Final

from contracts.inbound import NumberPurchased
from service.domain.account import Account
from service.domain.blueprint import Blueprint, Step, StepBlueprint, incomplete, unsupported
from service.domain.wanted import CalledRouteWanted

VENDOR: Final = "huawei_aicc"
CREATE_CALLED_ROUTE: Final = "huawei_aicc.createCalledRoute"


def purchased(event: NumberPurchased, account: Account) -> Blueprint:
    """Ensure the called route of the access code."""
    if event.access_code is None:
        raise incomplete("access_code", "this vendor routes access codes; `access_code` is given by nobody")
    for field in ("route", "ext_code", "media_type"):
        if field in event.model_fields_set and getattr(event, field) is None:
            raise unsupported(field, f"`{field}` is null (clear it): a called route can't do without it or change it")
    if event.route is None:
        raise incomplete("route", "`route` names the skill queue or IVR flow; it is given by nobody")
    to_queue = event.route.skill_queue is not None
    device = event.route.skill_queue if to_queue else event.route.ivr
    assert device is not None, "the contract requires exactly one of the two"  # noqa: S101
    wanted = CalledRouteWanted(
        access_code=event.access_code,
        ext_code=event.ext_code,
        media_type=event.media_type if event.media_type is not None else 5,
        device_type="skill_queue" if to_queue else "ivr",
        device_id=device,
    )
    subject = f"route:{account.name}/{event.access_code}/{event.ext_code or ''}"
    step = StepBlueprint(step=Step.ROUTE, operation=CREATE_CALLED_ROUTE, wanted=wanted)
    return Blueprint(subject=subject, resource=subject, account=account, steps=(step,))
