"""Planning rules for Tencent Cloud Contact Center: extensions for agents, own numbers with their review."""

from __future__ import annotations

from typing import Final

from contracts.inbound import AgentHired, NumberPurchased
from service.domain.account import Account
from service.domain.blueprint import Blueprint, Step, StepBlueprint, first_given, incomplete, unsupported
from service.domain.phone_number import e164
from service.domain.wanted import (
    CallInWanted,
    ExtensionWanted,
    NumberApplicationWanted,
    NumberLiveWanted,
    RegistrationWanted,
)

VENDOR: Final = "tencent_ccc"
CREATE_EXTENSION: Final = "tencent_ccc.CreateExtension"
DESCRIBE_EXTENSION: Final = "tencent_ccc.DescribeExtension"
CREATE_OWN_NUMBER_APPLY: Final = "tencent_ccc.CreateOwnNumberApply"
DESCRIBE_NUMBERS: Final = "tencent_ccc.DescribeNumbers"
BIND_NUMBER_CALL_IN: Final = "tencent_ccc.BindNumberCallInInterface"
_CLEARABLE_OF_A_NUMBER: Final = (
    "prefix",
    "callback_url",
    "sip_trunk_id",
    "call_type",
    "max_concurrent_calls",
    "max_calls_per_second",
)


def hired(subject: str, event: AgentHired, account: Account, bound_extension: str | None) -> Blueprint:
    """Ensure the agent's extension, then fetch its registration."""
    _refuse_clearing(event, ("email", "extension", "skill_group_ids"))
    extension = first_given("extension", event.extension, bound_extension)
    wanted = ExtensionWanted(
        extension=extension,
        name=event.name,
        email=event.email.strip() if event.email else None,
        skill_group_ids=event.skill_group_ids or None,  # an empty list is never sent: its meaning is undocumented
    )
    return Blueprint(
        subject=subject,
        resource=f"extension:{account.name}/{extension}",
        account=account,
        steps=(
            StepBlueprint(step=Step.EXTENSION, operation=CREATE_EXTENSION, wanted=wanted),
            StepBlueprint(
                step=Step.REGISTRATION, operation=DESCRIBE_EXTENSION, wanted=RegistrationWanted(extension=extension)
            ),
        ),
    )


def number_subject(text: str, account: Account) -> str:
    """The subject of a number event, as `number:<account>/<E.164>`."""
    return f"number:{account.name}/{e164(text, account.country)}"


def purchased(event: NumberPurchased, account: Account) -> Blueprint:
    """Apply for the own number, wait for the review, then bind the call-in URL unless it only calls out."""
    if event.number is None:
        raise incomplete("number", "a number at this vendor is bought by its `number`; an access code is not enough")
    _refuse_clearing(event, _CLEARABLE_OF_A_NUMBER)
    number, country = e164(event.number, account.country), account.country
    application = _application(number, event, account)
    steps = [
        StepBlueprint(step=Step.APPLICATION, operation=CREATE_OWN_NUMBER_APPLY, wanted=application),
        StepBlueprint(
            step=Step.APPROVAL, operation=DESCRIBE_NUMBERS, wanted=NumberLiveWanted(number=number, country=country)
        ),
    ]
    if application.call_type != "outbound":
        url = first_given("callback_url", event.callback_url, account.numbers.callback_url)
        call_in = CallInWanted(number=number, country=country, callback_url=url)
        steps.append(StepBlueprint(step=Step.CALL_IN, operation=BIND_NUMBER_CALL_IN, wanted=call_in))
    subject = f"number:{account.name}/{number}"
    return Blueprint(subject=subject, resource=subject, account=account, steps=tuple(steps))


def _application(number: str, event: NumberPurchased, account: Account) -> NumberApplicationWanted:
    defaults = account.numbers
    return NumberApplicationWanted(
        number=number,
        country=account.country,
        sip_trunk_id=first_given("sip_trunk_id", event.sip_trunk_id, defaults.sip_trunk_id),
        call_type=first_given("call_type", event.call_type, defaults.call_type),
        max_concurrent_calls=first_given(
            "max_concurrent_calls", event.max_concurrent_calls, defaults.max_concurrent_calls
        ),
        max_calls_per_second=first_given(
            "max_calls_per_second", event.max_calls_per_second, defaults.max_calls_per_second
        ),
        prefix=event.prefix if event.prefix is not None else defaults.prefix,
    )


def _refuse_clearing(event: AgentHired | NumberPurchased, fields: tuple[str, ...]) -> None:
    """`null` means clear; how this vendor clears a field is documented for none of them."""
    for field in fields:
        if field in event.model_fields_set and getattr(event, field) is None:
            raise unsupported(field, f"`{field}` is null (clear it): how the vendor clears it is not documented")
