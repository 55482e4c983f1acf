from typing import Any

import pytest

from contracts.inbound import AgentHired, NumberPurchased
from service.domain.account import NumberDefaults
from service.domain.blueprint import CannotPlanError
from service.domain.plans import tencent_ccc
from service.domain.wanted import (
    CallInWanted,
    ExtensionWanted,
    NumberApplicationWanted,
    NumberLiveWanted,
    RegistrationWanted,
)
from tests.builders import HIRED, NUMBER, PURCHASED, make_account, make_inbound


def hired(bound: str | None = None, **data: Any) -> tuple[Any, ...]:
    event = make_inbound(HIRED, data=data).data
    assert isinstance(event, AgentHired)
    return tuple(step.wanted for step in tencent_ccc.hired("agent:r/E1", event, make_account(), bound).steps)


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
    assert hired("1009", extension=...)[1] == RegistrationWanted(extension="1009")
    assert hired("1009")[1] == RegistrationWanted(extension="1001")


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
