from typing import Any

import pytest

from contracts.inbound import AgentChanged, AgentHired, NumberPurchased, NumberRouted
from service.domain.account import NumberDefaults
from service.domain.binding import Binding
from service.domain.blueprint import CannotPlanError
from service.domain.plans import tencent_ccc
from service.domain.wanted import (
    CallInWanted,
    ExtensionLast,
    ExtensionWanted,
    NumberApplicationWanted,
    NumberLiveWanted,
    RegistrationWanted,
)
from tests.builders import CHANGED, HIRED, NUMBER, PURCHASED, ROUTED, make_account, make_binding, make_inbound

APPLIED = {"extension": "1009", "name": "Li Na", "email": "li.na@example.com", "skill_group_ids": [5]}


def bound_to(extension: str, **fields: Any) -> Binding:
    return make_binding(subject="agent:r/E1", resource=f"extension:acme_cn/{extension}", **fields)


def hired(held: Binding | None = None, **data: Any) -> tuple[Any, ...]:
    event = make_inbound(HIRED, data=data).data
    assert isinstance(event, AgentHired)
    return tuple(step.wanted for step in tencent_ccc.hired("agent:r/E1", event, make_account(), held).steps)


def changed(held: Binding | None = None, **data: Any) -> ExtensionWanted:
    """What a change wants: one step, always."""
    event = make_inbound(CHANGED, data=data).data
    assert isinstance(event, AgentChanged)
    (step,) = tencent_ccc.changed("agent:r/E1", event, make_account(), held).steps
    assert (step.step, step.operation) == ("extension", tencent_ccc.CREATE_EXTENSION)
    assert isinstance(step.wanted, ExtensionWanted)
    return step.wanted


def routed(defaults: NumberDefaults | None = None, **data: Any) -> CallInWanted:
    """What a routing wants: one step, always."""
    event = make_inbound(ROUTED, data=data).data
    assert isinstance(event, NumberRouted)
    account = make_account() if defaults is None else make_account(numbers=defaults)
    (step,) = tencent_ccc.routed(event, account, None).steps
    assert (step.step, step.operation) == ("call_in", tencent_ccc.BIND_NUMBER_CALL_IN)
    assert isinstance(step.wanted, CallInWanted)
    return step.wanted


def purchased(defaults: NumberDefaults | None = None, **data: Any) -> tuple[Any, ...]:
    event = make_inbound(PURCHASED, data=data).data
    assert isinstance(event, NumberPurchased)
    account = make_account() if defaults is None else make_account(numbers=defaults)
    return tuple(step.wanted for step in tencent_ccc.purchased(event, account).steps)


def test_hire_wants_the_extension_as_given_and_then_its_registration() -> None:
    assert hired(skill_group_ids=[5, 6], email=" li.na@example.com ") == (
        ExtensionWanted(extension="1001", name="Li Na", email="li.na@example.com", skill_group_ids=(5, 6)),
        RegistrationWanted(extension="1001"),
    )


def test_absent_fields_are_left_as_they_are() -> None:
    assert hired(email=...)[0] == ExtensionWanted(extension="1001", name="Li Na")


def test_empty_list_of_skill_groups_is_never_sent() -> None:
    assert hired(skill_group_ids=[])[0].skill_group_ids is None


def test_events_extension_goes_before_the_bound_one() -> None:
    assert hired(bound_to("1009"), extension=...)[1] == RegistrationWanted(extension="1009")
    assert hired(bound_to("1009"))[1] == RegistrationWanted(extension="1001")


def test_hire_gives_everything_itself_and_takes_nothing_from_what_was_applied() -> None:
    held = bound_to("1009", applied=APPLIED)
    assert hired(held, extension=..., email=...)[0] == ExtensionWanted(extension="1009", name="Li Na")


# --- changed ----------------------------------------------------------------------------------------------------------


def test_change_wants_what_it_gives_and_nothing_else() -> None:
    given: dict[str, Any] = {
        "extension": "1001",
        "name": "Li Na-Wang",
        "email": " li@example.com ",
        "skill_group_ids": [6],
    }
    assert changed(**given) == ExtensionWanted(
        extension="1001", name="Li Na-Wang", email="li@example.com", skill_group_ids=(6,)
    )
    assert changed(bound_to("1009")) == ExtensionWanted(extension="1009")
    assert changed(bound_to("1009"), skill_group_ids=[]).skill_group_ids is None


def test_change_carries_what_was_applied_last_apart_from_what_it_gives() -> None:
    wanted = changed(bound_to("1009", applied=APPLIED), skill_group_ids=[6])
    assert (wanted.name, wanted.email, wanted.skill_group_ids) == (None, None, (6,))
    assert wanted.last == ExtensionLast(name="Li Na", email="li.na@example.com", skill_group_ids=(5,))


def test_applied_state_with_more_in_it_than_an_extension_has_is_read_all_the_same() -> None:
    wanted = changed(bound_to("1009", applied={"extension": "1009", "name": "Li Na", "last": {"name": "Old"}}))
    assert wanted.last == ExtensionLast(name="Li Na")


@pytest.mark.parametrize("field", ["name", "email", "extension", "skill_group_ids"])
def test_change_clears_nothing(field: str) -> None:
    with pytest.raises(CannotPlanError) as refused:
        changed(bound_to("1009"), **{field: None})
    assert refused.value.failure.code == f"unsupported:{field}"


def test_change_without_an_extension_given_or_bound_is_incomplete() -> None:
    with pytest.raises(CannotPlanError) as refused:
        changed(name="Li Na")
    assert refused.value.failure.code == "missing:extension"


# --- routed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [NUMBER, "021 5000 1234"])
def test_routing_binds_the_events_url_before_the_accounts(number: str) -> None:
    default = NumberDefaults(callback_url="https://default.example.com")
    wanted = CallInWanted(number=NUMBER, country="CN", callback_url="https://pbx.example.com/night")
    assert routed(default, number=number) == wanted
    assert routed(default, callback_url=...).callback_url == "https://default.example.com"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"callback_url": ...}, "missing:callback_url"),
        ({"callback_url": None}, "unsupported:callback_url"),
        ({"number": ..., "access_code": "1000"}, "missing:number"),
    ],
)
def test_routing_without_a_url_or_number_is_named(data: dict[str, Any], code: str) -> None:
    with pytest.raises(CannotPlanError) as refused:
        routed(**data)
    assert refused.value.failure.code == code


@pytest.mark.parametrize(
    "url", ["http://pbx.example.com/", "https://10.0.0.7/FAKE-word", "https://u:FAKE-word@h.example"]
)
def test_url_that_the_vendor_may_not_be_told_to_ask_is_refused_and_not_repeated(url: str) -> None:
    for plan in (routed, purchased):
        with pytest.raises(CannotPlanError) as refused:
            plan(callback_url=url)
        failure = refused.value.failure
        assert (failure.code, failure.field) == ("invalid:callback_url", "callback_url")
        assert "10.0.0.7" not in failure.message
        assert "FAKE" not in failure.message


def test_private_url_is_bound_where_the_accounts_settings_allow_it() -> None:
    allowing = NumberDefaults(allow_private_callbacks=True)
    assert routed(allowing, callback_url="https://10.0.0.7/in").callback_url == "https://10.0.0.7/in"


# --- purchased --------------------------------------------------------------------------------------------------------


def test_purchase_applies_waits_and_binds_with_the_accounts_defaults() -> None:
    assert purchased() == (
        NumberApplicationWanted(
            number=NUMBER,
            country="CN",
            sip_trunk_id=11,
            call_type="both",
            max_concurrent_calls=10,
            max_calls_per_second=2,
        ),
        NumberLiveWanted(number=NUMBER, country="CN"),
        CallInWanted(number=NUMBER, country="CN", callback_url="https://pbx.example.com/in"),
    )


def test_event_goes_before_the_accounts_defaults() -> None:
    given: dict[str, Any] = {
        "sip_trunk_id": 99,
        "call_type": "inbound",
        "max_concurrent_calls": 3,
        "max_calls_per_second": 1,
        "prefix": "0",
    }
    assert purchased(**given)[0] == NumberApplicationWanted.model_validate({"number": NUMBER, "country": "CN", **given})


def test_account_gives_prefix_and_callback_too() -> None:
    defaults = NumberDefaults(
        sip_trunk_id=1,
        call_type="inbound",
        max_concurrent_calls=1,
        max_calls_per_second=1,
        prefix="9",
        callback_url="https://default.example.com",
    )
    application, _, call_in = purchased(defaults, callback_url=...)
    assert (application.prefix, call_in.callback_url) == ("9", "https://default.example.com")


def test_number_that_only_calls_out_needs_no_callback() -> None:
    assert len(purchased(call_type="outbound", callback_url=...)) == 2


@pytest.mark.parametrize("number", ["021 5000 1234", "+86 21 5000 1234"])
def test_number_is_kept_as_e164(number: str) -> None:
    assert {wanted.number for wanted in purchased(number=number)} == {NUMBER}


def test_access_code_is_no_number() -> None:
    with pytest.raises(CannotPlanError) as refused:
        purchased(number=..., access_code="1000")
    assert refused.value.failure.field == "number"
