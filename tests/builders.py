"""Values for tests: each builder makes a complete, plausible one; name only what the test is about."""

from __future__ import annotations

import json
from typing import Any, Final

from contracts.inbound import INBOUND
from service.domain.account import Account, NumberDefaults
from service.domain.binding import Binding, BindingState
from service.domain.command import Command, CommandState, Lane, OrderKey, Plan, PlanState
from service.domain.ledger_state import StoredEvent
from service.domain.planning import PlanningPolicy, TopicDefaults
from service.domain.record_reading import InboundEvent, Record, Understood, event_digest
from service.domain.settling import SettlingPolicy
from service.domain.taking_in import IntakePolicy, ReadRecord

NOW = 1_800_000_000.0  # the tests' own present, seconds since the epoch
GROUP = "tencent_ccc-0000000001"
CREATE = "tencent_ccc.CreateExtension"


def make_order(arrival: int = 1, **fields: Any) -> OrderKey:
    """The order key of the event that came as number `arrival`, one second after the one before it."""
    defaults = {"source": "urn:hr", "revision": None, "at": int(NOW * 1e6) + arrival * 1_000_000, "arrival": arrival}
    return OrderKey(**{**defaults, **fields})


def make_event(number: int = 1, **fields: Any) -> StoredEvent:
    """A hire of agent `number`; its arrival is left for the ledger to assign."""
    defaults = {
        "source": "urn:hr",
        "id": f"event-{number}",
        "type": "hr.agent.hired.v1",
        "digest": f"digest-{number}",
        "subject": f"agent:realm/{number}",
        "topic": "hr.events",
        "partition": 0,
        "offset": number,
        "received_at": NOW,
        "data": {"agent_id": str(number), "extension": str(1000 + number)},
    }
    return StoredEvent(**{**defaults, **fields})


def make_plan(number: int = 1, **fields: Any) -> Plan:
    """The open plan of agent `number`'s hire."""
    defaults = {
        "id": f"plan-{number:06d}",
        "epoch": 0,
        "state": PlanState.OPEN,
        "event_source": "urn:hr",
        "event_id": f"event-{number}",
        "event_type": "hr.agent.hired.v1",
        "event_time": "2027-01-15T08:00:00Z",
        "event_key": str(number).encode(),
        "event_subject": None,
        "topic": "hr.events",
        "partition": 0,
        "offset": number,
        "correlation_id": f"event-{number}",
        "traceparent": None,
        "subject": f"agent:realm/{number}",
        "account": "acme_cn",
        "order": make_order(number),
        "effective_at": None,
        "created_at": NOW,
    }
    return Plan(**{**defaults, **fields})


def make_command(plan: Plan | None = None, step_no: int = 0, **fields: Any) -> Command:
    """A due command that creates an extension: step `step_no` of `plan`, or of the plan `make_plan()` makes."""
    plan = plan or make_plan()
    account = fields.get("account", plan.account or "acme_cn")
    extension = str(1000 + plan.order.arrival)
    defaults = {
        "id": f"{plan.id}-{step_no}",
        "plan_id": plan.id,
        "epoch": plan.epoch,
        "step": "extension",
        "step_no": step_no,
        "account": account,
        "operation": CREATE,
        "quota_group": GROUP,
        "subject": plan.subject,
        "resource": f"extension:{account}/{extension}",
        "wanted": {"extension": extension, "name": "Agent"},
        "lane": Lane.LIVE,
        "state": CommandState.PENDING,
        "order": plan.order,
        "created_at": plan.created_at,
        "effective_at": plan.effective_at,
        "due_at": plan.created_at,
    }
    return Command(**{**defaults, **fields})


def make_binding(plan: Plan | None = None, **fields: Any) -> Binding:
    """The reservation of the extension that `make_command` makes for the same plan."""
    plan = plan or make_plan()
    account = plan.account or "acme_cn"
    defaults = {
        "subject": plan.subject,
        "resource": f"extension:{account}/{1000 + plan.order.arrival}",
        "account": account,
        "generation": 1,
        "state": BindingState.RESERVED,
        "plan_id": plan.id,
        "updated_at": NOW,
    }
    return Binding(**{**defaults, **fields})


HIRED: Final = "hr.agent.hired.v1"
CHANGED: Final = "hr.agent.changed.v1"
PURCHASED: Final = "crm.number.purchased.v1"
APPROVED: Final = "crm.number.approved.v1"
REFUSED: Final = "crm.number.refused.v1"
ROUTED: Final = "crm.number.routed.v1"
NUMBER: Final = "+862150001234"  # make_inbound's, in E.164

_DATA: Final[dict[str, dict[str, Any]]] = {
    HIRED: {"agent_id": "E1", "name": "Li Na", "email": "li.na@example.com", "extension": "1001"},
    CHANGED: {"agent_id": "E1"},
    PURCHASED: {"number": NUMBER, "callback_url": "https://pbx.example.com/in"},
    ROUTED: {"number": NUMBER, "callback_url": "https://pbx.example.com/night"},
    APPROVED: {"number": NUMBER},
    REFUSED: {"number": NUMBER},
}


def make_inbound(event_type: str = HIRED, event_id: str = "hire-1", *, data: Any = None, **fields: Any) -> InboundEvent:
    """An event as it was read; `data` is laid over what the type's event usually says, `...` takes a field out."""
    given = {**_DATA[event_type], **(data or {})}
    model = INBOUND[event_type].model_validate_json(json.dumps({k: v for k, v in given.items() if v is not ...}))
    about_agent = event_type.startswith("hr.")
    defaults = {
        "id": event_id,
        "source": "urn:hr" if about_agent else "urn:crm",
        "type": event_type,
        "data": model,
        "topic": "hr.events" if about_agent else "crm.events",
        "partition": 0,
        "offset": 7,
        "subject_hint": None,
        "time": None,
        "correlationid": None,
        "traceparent": None,
        "sequence": None,
        "digest": event_digest(event_type, model),
        "key": b"E1",
    }
    return InboundEvent(**{**defaults, **fields})


def make_record(**fields: Any) -> Record:
    """A Kafka record whose bytes nobody reads."""
    defaults = {
        "topic": "hr.events",
        "partition": 0,
        "offset": 7,
        "key": b"E1",
        "value": b"{}",
        "headers": (),
        "timestamp_ms": int(NOW * 1000),
    }
    return Record(**{**defaults, **fields})


def make_read(event: InboundEvent) -> ReadRecord:
    """The event with a record that it might have been read from."""
    place = {"topic": event.topic, "partition": event.partition, "offset": event.offset, "key": event.key}
    return ReadRecord(make_record(**place), Understood(event))


def make_account(**fields: Any) -> Account:
    """A TCCC account whose settings complete every number event."""
    numbers = NumberDefaults(sip_trunk_id=11, call_type="both", max_concurrent_calls=10, max_calls_per_second=2)
    return Account(**{"name": "acme_cn", "vendor": "tencent_ccc", "numbers": numbers, **fields})


def make_planning_policy(*accounts: Account) -> PlanningPolicy:
    """Two TCCC accounts and an AICC one unless named otherwise; events of both topics mean `acme_cn` by default."""
    known = accounts or (
        make_account(),
        make_account(name="acme_sg", country="SG", time_zone="Asia/Singapore"),
        Account(name="acme_hw", vendor="huawei_aicc"),
    )
    return PlanningPolicy(
        accounts={account.name: account for account in known},
        defaults={
            "hr.events": TopicDefaults(account="acme_cn", realm="workday"),
            "crm.events": TopicDefaults(account="acme_cn"),
        },
    )


def make_intake_policy(*accounts: Account) -> IntakePolicy:
    """`make_planning_policy` with the usual times."""
    return IntakePolicy(planning=make_planning_policy(*accounts), settling=SettlingPolicy())
