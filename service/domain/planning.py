"""What an event turns into: a pure function of the event, the account's settings and the subject's binding.

Explicit tables say which rule serves which event at which vendor; a pair without a rule is `unsupported`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from contracts.inbound import (
    AgentChanged,
    AgentData,
    AgentHired,
    InboundData,
    NumberApproved,
    NumberPurchased,
    NumberRefused,
    NumberRouted,
)
from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.blueprint import (
    Blueprint,
    CannotPlanError,
    FactBlueprint,
    FactKind,
    Planned,
    Refusal,
    incomplete,
    unsupported,
)
from service.domain.plans import huawei_aicc, tencent_ccc
from service.domain.record_reading import InboundEvent
from service.domain.value import Value, field

R = TypeVar("R")


class TopicDefaults(Value, frozen=True, kw_only=True):
    """What a topic's settings say about its events: the account they mean, the realm their agent ids live in."""

    account: str | None = None
    realm: str = "default"


_NO_DEFAULTS: Final = TopicDefaults()


class PlanningPolicy(Value, frozen=True, kw_only=True):
    """Everything planning takes from the settings."""

    accounts: Mapping[str, Account]
    defaults: Mapping[str, TopicDefaults] = field(default_factory=dict)

    def topic(self, name: str) -> TopicDefaults:
        """A topic's defaults; a topic without any has none."""
        return self.defaults.get(name, _NO_DEFAULTS)


PurchasedRule = Callable[[NumberPurchased, Account], Blueprint]
RoutedRule = Callable[[NumberRouted, Account, Binding | None], Blueprint]
HiredRule = Callable[[str, AgentHired, Account, Binding | None], Blueprint]
ChangedRule = Callable[[str, AgentChanged, Account, Binding | None], Blueprint]

PURCHASED: Final[Mapping[str, PurchasedRule]] = {
    tencent_ccc.VENDOR: tencent_ccc.purchased,
    huawei_aicc.VENDOR: huawei_aicc.purchased,
}
ROUTED: Final[Mapping[str, RoutedRule]] = {
    tencent_ccc.VENDOR: tencent_ccc.routed,
    huawei_aicc.VENDOR: huawei_aicc.routed,
}
HIRED: Final[Mapping[str, HiredRule]] = {tencent_ccc.VENDOR: tencent_ccc.hired}
CHANGED: Final[Mapping[str, ChangedRule]] = {tencent_ccc.VENDOR: tencent_ccc.changed}
FACT_SUBJECT: Final[Mapping[str, Callable[[str, Account], str]]] = {tencent_ccc.VENDOR: tencent_ccc.number_subject}


def plan_event(event: InboundEvent, policy: PlanningPolicy, binding: Binding | None) -> Planned:
    """Plan one event. `binding` is its subject's, as the events before it left it.

    The subject of a refusal is the best that could be told.
    """
    try:
        match event.data:
            case AgentHired() | AgentChanged():
                return _plan_agent(event, event.data, policy, binding)
            case NumberPurchased():
                account = _account(event, policy)
                return _rule(PURCHASED, account, event)(event.data, account)
            case NumberRouted():
                account = _account(event, policy)
                return _rule(ROUTED, account, event)(event.data, account, _held(binding))
            case NumberApproved() | NumberRefused():
                return _plan_fact(event, event.data, policy)
            case _:
                raise unsupported(None, f"no planning rule for {event.type}")
    except CannotPlanError as refusal:
        account_name = _account_name(event, policy, binding)
        return Refusal(subject=subject_of(event, policy), account=account_name, failure=refusal.failure)


def subject_of(event: InboundEvent, policy: PlanningPolicy) -> str:
    """Whom an event is about, also when it can't be planned (a number that can't be read: as its sender wrote it)."""
    account = _account_name(event, policy) or "?"
    match event.data:
        case AgentData() as data:
            return f"agent:{policy.topic(event.topic).realm}/{data.agent_id}"
        case NumberPurchased() | NumberRouted() as data if _is_route(data, account, policy):
            return f"route:{account}/{data.access_code}/{data.ext_code or ''}"
        case NumberPurchased() | NumberRouted() | NumberApproved() | NumberRefused():
            return _number_subject(str(event.data.number), account, policy)
        case _:
            return f"event:{event.source}/{event.id}"


def _is_route(data: NumberPurchased | NumberRouted, account_name: str, policy: PlanningPolicy) -> bool:
    """Without a number it is about an access code; with both, about what the account's vendor goes by."""
    account = policy.accounts.get(account_name)
    by_code = account is not None and account.vendor not in FACT_SUBJECT
    return data.number is None or (by_code and data.access_code is not None)


def _number_subject(number: str, account_name: str, policy: PlanningPolicy) -> str:
    as_written = f"number:{account_name}/{number}"
    account = policy.accounts.get(account_name)
    rule = None if account is None else FACT_SUBJECT.get(account.vendor)
    if account is None or rule is None:
        return as_written
    try:
        return rule(number, account)
    except CannotPlanError:
        return as_written


def effective_at(data: InboundData, time_zone: str, now: float) -> float | None:
    """When the event becomes true (seconds since the epoch) if that is still to come, else None."""
    stated = data.effective_at
    if stated is None:
        return None
    if isinstance(stated, datetime):
        moment = stated
    else:
        assert isinstance(stated, date)  # noqa: S101 - narrows the union for the type checker
        moment = datetime.combine(stated, time.min, ZoneInfo(time_zone))
    seconds = moment.astimezone(UTC).timestamp()
    return seconds if seconds > now else None


def _plan_agent(
    event: InboundEvent, data: AgentHired | AgentChanged, policy: PlanningPolicy, binding: Binding | None
) -> Blueprint:
    account = _account(event, policy, binding)
    subject, held = subject_of(event, policy), _held(binding)
    _refuse_moves(data, held, account)
    if isinstance(data, AgentHired):
        return _rule(HIRED, account, event)(subject, data, account, held)
    return _rule(CHANGED, account, event)(subject, data, account, held)


def _held(binding: Binding | None) -> Binding | None:
    return binding if binding is not None and binding.held else None


def _refuse_moves(data: AgentData, held: Binding | None, account: Account) -> None:
    """An agent keeps extension and account until departures exist."""
    if held is None:
        return
    if held.account != account.name:
        raise unsupported("account", f"the agent is bound to {held.resource}: moving between accounts is not done")
    if data.extension is not None and held.resource != f"extension:{account.name}/{data.extension}":
        raise unsupported("extension", f"the agent is bound to {held.resource}: changing extensions is not done")


def _plan_fact(event: InboundEvent, data: NumberApproved | NumberRefused, policy: PlanningPolicy) -> FactBlueprint:
    account = _account(event, policy)
    subject = _rule(FACT_SUBJECT, account, event)(data.number, account)
    kind = FactKind.APPROVED if isinstance(data, NumberApproved) else FactKind.REFUSED
    return FactBlueprint(subject=subject, kind=kind, apply_id=None if data.apply_id is None else str(data.apply_id))


def _rule(table: Mapping[str, R], account: Account, event: InboundEvent) -> R:
    try:
        return table[account.vendor]
    except KeyError:
        raise unsupported(None, f"{account.vendor} (account {account.name}) has no rule for {event.type}") from None


def _account_name(event: InboundEvent, policy: PlanningPolicy, binding: Binding | None = None) -> str | None:
    """As the event says; said by nobody, it stays where the subject is bound, and new subjects go to the default."""
    bound = binding.account if binding is not None and binding.held else None
    return getattr(event.data, "account", None) or bound or policy.topic(event.topic).account


def _account(event: InboundEvent, policy: PlanningPolicy, binding: Binding | None = None) -> Account:
    name = _account_name(event, policy, binding)
    if name is None:
        raise incomplete("account", f"the event names no account and {event.topic} has no default account")
    if name not in policy.accounts:
        raise incomplete("account", "the event's account is not among the configured `accounts`")
    return policy.accounts[name]
