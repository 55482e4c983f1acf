"""Values for tests: each builder makes a complete, plausible one; name only what the test is about."""

from __future__ import annotations

from typing import Any

from service.domain.binding import Binding, BindingState
from service.domain.command import Command, CommandState, Lane, OrderKey, Plan, PlanState
from service.domain.ledger_state import StoredEvent

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
