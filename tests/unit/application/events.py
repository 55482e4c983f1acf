"""In-events as HR and CRM write them, and the policy that the tests' accounts are planned with."""

from __future__ import annotations

from typing import Any

from service.domain.planning import PlanningPolicy, TopicDefaults
from service.domain.settling import SettlingPolicy
from service.domain.taking_in import IntakePolicy
from tests.unit.vendors.doubles import huawei_account, tencent_account

NUMBERS = {
    "sip_trunk_id": 7,
    "call_type": "both",
    "max_concurrent_calls": 10,
    "max_calls_per_second": 2,
    "callback_url": "https://crm.example.com/call",
}
TENCENT = tencent_account(numbers=NUMBERS)
HUAWEI = huawei_account()
POLICY = IntakePolicy(
    planning=PlanningPolicy(
        accounts={"acme_cn": TENCENT, "acme_hw": HUAWEI},
        defaults={
            "hr.events": TopicDefaults(account="acme_cn", realm="workday"),
            "crm.events": TopicDefaults(account="acme_cn"),
        },
    ),
    settling=SettlingPolicy(),
)


def event(kind: str, event_id: str, **data: Any) -> dict[str, Any]:
    """A structured CloudEvent."""
    return {"specversion": "1.0", "type": kind, "id": event_id, "source": "urn:test", "data": data}


def hired(number: int = 1, *, event_id: str | None = None, **data: Any) -> dict[str, Any]:
    """Agent `number` is hired, with extension 1000 + `number`."""
    given = {"agent_id": f"E{number}", "name": "Ada Example", "email": f"e{number}@example.com"}
    return event(
        "hr.agent.hired.v1", event_id or f"hire-{number}", **{**given, "extension": str(1000 + number), **data}
    )


def purchased(number: str = "+8675512345678", *, event_id: str = "buy-1", **data: Any) -> dict[str, Any]:
    """A number is bought at TCCC."""
    return event("crm.number.purchased.v1", event_id, number=number, **data)


def approved(number: str = "+8675512345678", *, event_id: str = "ok-1", **data: Any) -> dict[str, Any]:
    """The vendor's review approved it."""
    return event("crm.number.approved.v1", event_id, number=number, **data)


def route_purchased(code: str = "4001", *, event_id: str = "route-1") -> dict[str, Any]:
    """An access code is bought at AICC, to be routed to a skill queue."""
    data = {"account": "acme_hw", "access_code": code, "media_type": 5, "route": {"skill_queue": 30}}
    return event("crm.number.purchased.v1", event_id, **data)
