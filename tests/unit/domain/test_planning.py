from datetime import UTC, date, datetime
from typing import Any

import pytest

from contracts.inbound import AgentHired
from service.domain.account import Account, NumberDefaults
from service.domain.binding import Binding, BindingState
from service.domain.blueprint import Blueprint, FactBlueprint, FactKind, Refusal
from service.domain.outcome import ErrorClass
from service.domain.planning import PlanningPolicy, effective_at, plan_event, subject_of
from tests.builders import (
    APPROVED,
    CHANGED,
    HIRED,
    NUMBER,
    PURCHASED,
    REFUSED,
    ROUTED,
    make_account,
    make_binding,
    make_inbound,
    make_planning_policy,
)

POLICY = make_planning_policy()
ROUTE = {"number": ..., "callback_url": ..., "account": "acme_hw", "access_code": "1000", "route": {"ivr": 7}}


def bound(extension: str = "1001", account: str = "acme_cn", state: BindingState = BindingState.LIVE) -> Binding:
    return make_binding(
        subject="agent:workday/E1", resource=f"extension:{account}/{extension}", account=account, state=state
    )


def planned(event_type: str = HIRED, binding: Binding | None = None, **data: Any) -> Blueprint:
    found = plan_event(make_inbound(event_type, data=data), POLICY, binding)
    assert isinstance(found, Blueprint), found
    return found


def refused(event_type: str = HIRED, binding: Binding | None = None, **data: Any) -> tuple[ErrorClass, str | None]:
    found = plan_event(make_inbound(event_type, data=data), POLICY, binding)
    assert isinstance(found, Refusal), found
    return found.failure.error_class, found.failure.field


def test_hire_is_about_the_agent_of_the_topics_realm_and_changes_an_extension() -> None:
    blueprint = planned()
    assert (blueprint.subject, blueprint.resource) == ("agent:workday/E1", "extension:acme_cn/1001")
    assert [step.step for step in blueprint.steps] == ["extension", "registration"]


def test_event_names_its_account_before_the_topics_default() -> None:
    assert planned(account="acme_sg").resource == "extension:acme_sg/1001"


@pytest.mark.parametrize(
    ("event_type", "data", "subject", "steps"),
    [
        (PURCHASED, {}, f"number:acme_cn/{NUMBER}", ["application", "approval", "call_in"]),
        (PURCHASED, {"number": "021 5000 1234"}, f"number:acme_cn/{NUMBER}", ["application", "approval", "call_in"]),
        (PURCHASED, {"call_type": "outbound"}, f"number:acme_cn/{NUMBER}", ["application", "approval"]),
        (PURCHASED, ROUTE, "route:acme_hw/1000/", ["route"]),
        (PURCHASED, {**ROUTE, "ext_code": "12"}, "route:acme_hw/1000/12", ["route"]),
        (ROUTED, {}, f"number:acme_cn/{NUMBER}", ["call_in"]),
        (ROUTED, {"number": "021 5000 1234"}, f"number:acme_cn/{NUMBER}", ["call_in"]),
        (ROUTED, ROUTE, "route:acme_hw/1000/", ["route"]),
        (ROUTED, {**ROUTE, "ext_code": "12", "number": NUMBER}, "route:acme_hw/1000/12", ["route"]),
    ],
)
def test_number_event_is_planned_by_the_accounts_vendor(
    event_type: str, data: dict[str, Any], subject: str, steps: list[str]
) -> None:
    blueprint = planned(event_type, **data)
    assert (blueprint.subject, blueprint.resource) == (subject, subject)
    assert [step.step for step in blueprint.steps] == steps


@pytest.mark.parametrize(("event_type", "kind"), [(APPROVED, FactKind.APPROVED), (REFUSED, FactKind.REFUSED)])
@pytest.mark.parametrize("number", [NUMBER, "021 5000 1234"])
def test_fact_finds_its_number_however_it_is_written(event_type: str, kind: FactKind, number: str) -> None:
    found = plan_event(make_inbound(event_type, data={"number": number, "apply_id": 5}), POLICY, None)
    assert found == FactBlueprint(subject=f"number:acme_cn/{NUMBER}", kind=kind, apply_id="5")


@pytest.mark.parametrize(
    ("event_type", "data", "field"),
    [
        (HIRED, {"account": "nobody"}, "account"),
        (HIRED, {"extension": ...}, "extension"),
        (CHANGED, {}, "extension"),
        (CHANGED, {"extension": "1001", "account": "nobody"}, "account"),
        (ROUTED, {"callback_url": ...}, "callback_url"),
        (ROUTED, {"number": "none"}, "number"),
        (ROUTED, {"account": "nobody"}, "account"),
        (ROUTED, {**ROUTE, "route": ...}, "route"),
        (PURCHASED, {"account": "nobody"}, "account"),
        (PURCHASED, {"callback_url": ...}, "callback_url"),
        (PURCHASED, {"number": "none"}, "number"),
        (PURCHASED, {"number": ..., "access_code": "1000"}, "number"),
        (PURCHASED, {"account": "acme_hw"}, "access_code"),
        (PURCHASED, {**ROUTE, "route": ...}, "route"),
        (APPROVED, {"number": "none"}, "number"),
        (REFUSED, {"account": "nobody"}, "account"),
    ],
)
def test_what_nobody_gives_is_incomplete_and_named(event_type: str, data: dict[str, Any], field: str) -> None:
    assert refused(event_type, **data) == (ErrorClass.INCOMPLETE, field)


@pytest.mark.parametrize("field", ["sip_trunk_id", "call_type", "max_concurrent_calls", "max_calls_per_second"])
def test_number_setting_that_neither_event_nor_account_gives_is_named(field: str) -> None:
    settings = {"sip_trunk_id": 1, "call_type": "both", "max_concurrent_calls": 1, "max_calls_per_second": 1}
    bare = make_account(numbers=NumberDefaults.model_validate({**settings, field: None}))
    found = plan_event(make_inbound(PURCHASED), make_planning_policy(bare), None)
    assert isinstance(found, Refusal)
    assert (found.failure.error_class, found.failure.field) == (ErrorClass.INCOMPLETE, field)


def test_topic_without_a_default_account_leaves_it_to_the_event() -> None:
    policy = PlanningPolicy(accounts={"acme_cn": make_account()})
    found = plan_event(make_inbound(), policy, None)
    assert isinstance(found, Refusal)
    assert (found.failure.field, found.account, found.subject) == ("account", None, "agent:default/E1")
    assert isinstance(plan_event(make_inbound(data={"account": "acme_cn"}), policy, None), Blueprint)


@pytest.mark.parametrize(
    ("event_type", "data", "field"),
    [
        (HIRED, {"email": None}, "email"),
        (HIRED, {"extension": None}, "extension"),
        (HIRED, {"skill_group_ids": None}, "skill_group_ids"),
        (PURCHASED, {"prefix": None}, "prefix"),
        (PURCHASED, {"callback_url": None}, "callback_url"),
        (PURCHASED, {"sip_trunk_id": None}, "sip_trunk_id"),
        (PURCHASED, {"call_type": None}, "call_type"),
        (PURCHASED, {"max_concurrent_calls": None}, "max_concurrent_calls"),
        (PURCHASED, {"max_calls_per_second": None}, "max_calls_per_second"),
        (PURCHASED, {**ROUTE, "ext_code": None}, "ext_code"),
        (PURCHASED, {**ROUTE, "media_type": None}, "media_type"),
        (PURCHASED, {**ROUTE, "route": None}, "route"),
        (HIRED, {"account": "acme_hw"}, None),
        (CHANGED, {"account": "acme_hw"}, None),
        (CHANGED, {"extension": "1001", "name": None}, "name"),
        (ROUTED, {"callback_url": None}, "callback_url"),
        (ROUTED, {**ROUTE, "route": None}, "route"),
        (APPROVED, {"account": "acme_hw"}, None),
    ],
)
def test_clearing_and_what_the_vendor_lacks_are_unsupported(
    event_type: str, data: dict[str, Any], field: str | None
) -> None:
    assert refused(event_type, **data) == (ErrorClass.UNSUPPORTED, field)


def test_agent_keeps_the_extension_and_account_they_are_bound_to() -> None:
    assert planned(binding=bound("1009"), extension=...).resource == "extension:acme_cn/1009"
    assert planned(binding=bound("1009", "acme_sg"), extension=...).resource == "extension:acme_sg/1009"
    assert planned(binding=bound(), extension="1001").resource == "extension:acme_cn/1001"
    assert planned(CHANGED, bound("1009", "acme_sg")).resource == "extension:acme_sg/1009"


@pytest.mark.parametrize("state", [BindingState.LIVE, BindingState.RESERVED])
@pytest.mark.parametrize("event_type", [HIRED, CHANGED])
def test_event_that_names_another_extension_or_account_is_unsupported(event_type: str, state: BindingState) -> None:
    elsewhere = bound("1009", state=state)
    assert refused(event_type, elsewhere, extension="1001") == (ErrorClass.UNSUPPORTED, "extension")
    assert refused(event_type, bound(state=state), account="acme_sg") == (ErrorClass.UNSUPPORTED, "account")


def test_released_binding_binds_nobody() -> None:
    released = bound("1009", "acme_sg", BindingState.RELEASED)
    assert planned(binding=released).resource == "extension:acme_cn/1001"
    assert refused(binding=released, extension=...) == (ErrorClass.INCOMPLETE, "extension")
    assert refused(CHANGED, released) == (ErrorClass.INCOMPLETE, "extension")


def test_change_is_one_step_about_the_agents_extension() -> None:
    blueprint = planned(CHANGED, bound("1009"), name="Li Na-Wang")
    assert (blueprint.subject, blueprint.resource) == ("agent:workday/E1", "extension:acme_cn/1009")
    assert [step.step for step in blueprint.steps] == ["extension"]


def test_released_route_says_nothing_about_the_media_type() -> None:
    states = {BindingState.LIVE: 19, BindingState.RELEASED: None}
    for state, media_type in states.items():
        held = make_binding(resource="route:acme_hw/1000/", applied={"media_type": 19}, state=state)
        (step,) = planned(ROUTED, held, **ROUTE).steps
        assert step.wanted.model_dump()["media_type"] == media_type


@pytest.mark.parametrize(
    ("event_type", "data", "subject"),
    [
        (HIRED, {}, "agent:workday/E1"),
        (PURCHASED, {}, f"number:acme_cn/{NUMBER}"),
        (PURCHASED, {"number": "021 5000 1234"}, f"number:acme_cn/{NUMBER}"),
        (PURCHASED, {"number": "12"}, "number:acme_cn/12"),
        (PURCHASED, {"account": "nobody"}, f"number:nobody/{NUMBER}"),
        (PURCHASED, ROUTE, "route:acme_hw/1000/"),
        (PURCHASED, {**ROUTE, "number": NUMBER}, "route:acme_hw/1000/"),
        (PURCHASED, {"access_code": "1000"}, f"number:acme_cn/{NUMBER}"),
        (PURCHASED, {"account": "acme_hw"}, f"number:acme_hw/{NUMBER}"),
        (CHANGED, {}, "agent:workday/E1"),
        (ROUTED, {"number": "021 5000 1234"}, f"number:acme_cn/{NUMBER}"),
        (ROUTED, {**ROUTE, "ext_code": "12"}, "route:acme_hw/1000/12"),
        (APPROVED, {}, f"number:acme_cn/{NUMBER}"),
    ],
)
def test_subject_can_be_told_without_a_plan(event_type: str, data: dict[str, Any], subject: str) -> None:
    assert subject_of(make_inbound(event_type, data=data), POLICY) == subject


def test_refusal_repeats_no_personal_data() -> None:
    event = make_inbound(data={"extension": None})
    found = plan_event(event, POLICY, None)
    assert isinstance(found, Refusal)
    assert not any(word in repr(found) for word in ("Li Na", "li.na"))


DAY = datetime(2027, 3, 1, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("stated", "now", "effective"),
    [
        (None, DAY, None),
        (datetime(2027, 3, 1, tzinfo=UTC), DAY - 1, DAY),
        (datetime(2027, 3, 1, tzinfo=UTC), DAY, None),
        (datetime(2027, 3, 1, tzinfo=UTC), DAY + 1, None),
        (date(2027, 3, 1), DAY - 8 * 3600 - 1, DAY - 8 * 3600),
        (date(2027, 3, 1), DAY - 8 * 3600, None),
    ],
)
def test_effective_date_counts_only_if_it_is_to_come_and_days_begin_in_the_accounts_zone(
    stated: Any, now: float, effective: float | None
) -> None:
    data = AgentHired(agent_id="E1", name="Li Na", effective_at=stated)
    assert effective_at(data, "Asia/Shanghai", now) == effective


def test_vendor_without_rules_is_unsupported() -> None:
    policy = make_planning_policy(Account(name="acme_cn", vendor="another"))
    for event_type in (HIRED, CHANGED, PURCHASED, APPROVED, ROUTED):
        found = plan_event(make_inbound(event_type), policy, None)
        assert isinstance(found, Refusal)
        assert found.failure.error_class is ErrorClass.UNSUPPORTED
