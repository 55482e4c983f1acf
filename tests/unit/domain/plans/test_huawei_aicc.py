from typing import Any

import pytest

from contracts.inbound import NumberPurchased, NumberRouted
from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.blueprint import Blueprint, CannotPlanError
from service.domain.plans.huawei_aicc import CREATE_CALLED_ROUTE, purchased, routed
from service.domain.wanted import CalledRouteWanted
from tests.builders import PURCHASED, ROUTED, make_binding, make_inbound

ACCOUNT = Account(name="acme_hw", vendor="huawei_aicc")


def planned(**data: Any) -> Blueprint:
    given = {"number": ..., "callback_url": ..., "access_code": "1000", "route": {"ivr": 7}, **data}
    event = make_inbound(PURCHASED, data=given).data
    assert isinstance(event, NumberPurchased)
    return purchased(event, ACCOUNT)


@pytest.mark.parametrize("device", ["skill_queue", "ivr"])
def test_access_code_is_routed_to_what_the_event_names(device: Any) -> None:
    (step,) = planned(route={device: 7}).steps
    assert (step.step, step.operation) == ("route", CREATE_CALLED_ROUTE)
    assert step.wanted == CalledRouteWanted(media_type=5, access_code="1000", device_type=device, device_id=7)


def test_route_is_voice_unless_the_event_says_otherwise() -> None:
    wanted = [planned().steps[0].wanted, planned(media_type=0).steps[0].wanted]
    assert [w.model_dump()["media_type"] for w in wanted] == [5, 0]


def test_queue_or_flow_may_have_the_id_nought() -> None:
    assert planned(route={"skill_queue": 0}).steps[0].wanted.model_dump()["device_id"] == 0


@pytest.mark.parametrize(("ext_code", "subject"), [(..., "route:acme_hw/1000/"), ("12", "route:acme_hw/1000/12")])
def test_codes_name_the_route(ext_code: Any, subject: str) -> None:
    assert (planned(ext_code=ext_code).subject, planned(ext_code=ext_code).resource) == (subject, subject)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"access_code": ..., "number": "1"}, "missing:access_code"),
        ({"route": ...}, "missing:route"),
        ({"route": None}, "unsupported:route"),
        ({"ext_code": None}, "unsupported:ext_code"),
        ({"media_type": None}, "unsupported:media_type"),
    ],
)
def test_what_is_missing_or_cleared_is_named(data: dict[str, Any], code: str) -> None:
    with pytest.raises(CannotPlanError) as refused:
        planned(**data)
    assert refused.value.failure.code == code


# --- routed -----------------------------------------------------------------------------------------------------------


def rerouted(held: Binding | None = None, **data: Any) -> CalledRouteWanted:
    """What a routing wants: one step, always."""
    given = {"number": ..., "callback_url": ..., "access_code": "1000", "route": {"ivr": 8}, **data}
    event = make_inbound(ROUTED, data=given).data
    assert isinstance(event, NumberRouted)
    (step,) = routed(event, ACCOUNT, held).steps
    assert (step.step, step.operation) == ("route", CREATE_CALLED_ROUTE)
    assert isinstance(step.wanted, CalledRouteWanted)
    return step.wanted


@pytest.mark.parametrize("device", ["skill_queue", "ivr"])
def test_routing_names_the_new_target(device: Any) -> None:
    wanted = CalledRouteWanted(access_code="1000", ext_code="12", device_type=device, device_id=8)
    assert rerouted(ext_code="12", route={device: 8}) == wanted


@pytest.mark.parametrize(("applied", "media_type"), [(None, None), ({"media_type": 19}, 19), ({"device_id": 7}, None)])
def test_routing_keeps_the_media_type_that_was_applied_or_whichever_stands(
    applied: Any, media_type: int | None
) -> None:
    held = make_binding(subject="route:acme_hw/1000/", resource="route:acme_hw/1000/", applied=applied)
    assert rerouted(held).media_type == media_type


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"access_code": ..., "number": "1"}, "missing:access_code"),
        ({"route": ...}, "missing:route"),
        ({"route": None}, "unsupported:route"),
        ({"ext_code": None}, "unsupported:ext_code"),
    ],
)
def test_routing_without_what_it_needs_is_named(data: dict[str, Any], code: str) -> None:
    with pytest.raises(CannotPlanError) as refused:
        rerouted(**data)
    assert refused.value.failure.code == code
