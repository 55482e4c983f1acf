"""Planning rules for Tencent Cloud Contact Center: extensions for agents, own numbers with their review."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from contracts.inbound import AgentChanged, AgentData, AgentHired, NumberPurchased, NumberRouted
from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.blueprint import Blueprint, Step, StepBlueprint, first_given, incomplete, invalid, unsupported
from service.domain.callback_url import objection
from service.domain.phone_number import e164
from service.domain.wanted import (
    CallInWanted,
    ExtensionLast,
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


def hired(subject: str, event: AgentHired, account: Account, held: Binding | None) -> Blueprint:
    """Ensure the agent's extension, then fetch its registration."""
    wanted = _extension(event, held, last=None)
    registration = StepBlueprint(
        step=Step.REGISTRATION,
        operation=DESCRIBE_EXTENSION,
        wanted=RegistrationWanted(extension=wanted.extension),
    )
    return _for_agent(subject, account, wanted, registration)


def changed(subject: str, event: AgentChanged, account: Account, held: Binding | None) -> Blueprint:
    """Ensure the agent's extension as far as the event says how; its registration stays as it was."""
    return _for_agent(subject, account, _extension(event, held, last=_last_applied(held)))


def _extension(
    event: AgentHired | AgentChanged, held: Binding | None, *, last: ExtensionLast | None
) -> ExtensionWanted:
    _refuse_clearing(event, ("name", "email", "extension", "skill_group_ids"))
    bound = None if held is None else held.resource.rpartition("/")[2]
    return ExtensionWanted(
        extension=first_given("extension", event.extension, bound),
        name=event.name,
        email=event.email.strip() if event.email else None,
        skill_group_ids=event.skill_group_ids or None,  # an empty list is never sent: its meaning is undocumented
        last=last,
    )


def _last_applied(held: Binding | None) -> ExtensionLast | None:
    if held is None or held.applied is None:
        return None
    return ExtensionLast.model_validate({name: held.applied.get(name) for name in ExtensionLast.model_fields})


def _for_agent(subject: str, account: Account, wanted: ExtensionWanted, *more: StepBlueprint) -> Blueprint:
    return Blueprint(
        subject=subject,
        resource=f"extension:{account.name}/{wanted.extension}",
        account=account,
        steps=(StepBlueprint(step=Step.EXTENSION, operation=CREATE_EXTENSION, wanted=wanted), *more),
    )


def number_subject(text: str, account: Account) -> str:
    """The subject of a number event, as `number:<account>/<E.164>`."""
    return f"number:{account.name}/{e164(text, account.country)}"


def purchased(event: NumberPurchased, account: Account) -> Blueprint:
    """Apply for the own number, wait for the review, then bind the call-in URL unless it only calls out."""
    number, country = _number(event, account), account.country
    _refuse_clearing(event, _CLEARABLE_OF_A_NUMBER)
    application = _application(number, event, account)
    steps = [
        StepBlueprint(step=Step.APPLICATION, operation=CREATE_OWN_NUMBER_APPLY, wanted=application),
        StepBlueprint(
            step=Step.APPROVAL, operation=DESCRIBE_NUMBERS, wanted=NumberLiveWanted(number=number, country=country)
        ),
    ]
    if application.call_type != "outbound":
        steps.append(_call_in(number, event, account))
    return _for_number(number, account, steps)


def routed(event: NumberRouted, account: Account, _held: Binding | None) -> Blueprint:
    """Bind the number's call-in URL."""
    number = _number(event, account)
    _refuse_clearing(event, ("callback_url",))
    return _for_number(number, account, [_call_in(number, event, account)])


def _number(event: NumberPurchased | NumberRouted, account: Account) -> str:
    if event.number is None:
        raise incomplete("number", "this vendor knows numbers by their `number`; an access code is not enough")
    return e164(event.number, account.country)


def _call_in(number: str, event: NumberPurchased | NumberRouted, account: Account) -> StepBlueprint:
    url = first_given("callback_url", event.callback_url, account.numbers.callback_url)
    fault = objection(url, allow_private=account.numbers.allow_private_callbacks)
    if fault is not None:
        raise invalid("callback_url", f"`callback_url` {fault}")
    wanted = CallInWanted(number=number, country=account.country, callback_url=url)
    return StepBlueprint(step=Step.CALL_IN, operation=BIND_NUMBER_CALL_IN, wanted=wanted)


def _for_number(number: str, account: Account, steps: Iterable[StepBlueprint]) -> Blueprint:
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


def _refuse_clearing(event: AgentData | NumberPurchased | NumberRouted, fields: tuple[str, ...]) -> None:
    """`null` means clear; how this vendor clears a field is documented for none of them."""
    for field in fields:
        if field in event.model_fields_set and getattr(event, field) is None:
            raise unsupported(field, f"`{field}` is null (clear it): how the vendor clears it is not documented")
