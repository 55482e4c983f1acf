"""Events as HR and CRM write them, one line each in a test."""

from typing import Any

import orjson

from service.entrypoints.demo_day import DayRecord, Headers


def hired(n: int | str, *, event_id: str = "", **data: Any) -> DayRecord:
    """Agent `A<n>` was hired and shall have the extension `n`, unless `data` says otherwise."""
    known = {"agent_id": f"A{n}", "name": f"Agent {n}", "email": f"a{n}@acme.example", "extension": str(n)}
    return event("hr.agent.hired.v1", event_id or f"hire-{n}", known | data, key=f"A{n}")


def purchased(number: str, *, event_id: str = "", **data: Any) -> DayRecord:
    """The number was purchased at the default account."""
    return event(
        "crm.number.purchased.v1",
        event_id or f"number-{number}",
        {"number": number, "max_concurrent_calls": 10} | data,
        key=number,
    )


def event(kind: str, event_id: str, data: Any, *, key: str = "key") -> DayRecord:
    """A structured CloudEvent of any type."""
    document = {"specversion": "1.0", "id": event_id, "source": source(kind), "type": kind, "data": data}
    return raw(orjson.dumps(document), topic=topic_of(kind), key=key.encode(), what=event_id)


def binary(kind: str, event_id: str | None, data: Any, *, key: str = "key", more: Headers = ()) -> DayRecord:
    """A CloudEvent of any type in Kafka's binary mode; without an id if that is None."""
    headers: Headers = (
        ("ce_specversion", b"1.0"),
        ("ce_source", source(kind).encode()),
        ("ce_type", kind.encode()),
        ("content-type", b"application/json"),
        *more,
    )
    if event_id is not None:
        headers = (("ce_id", event_id.encode()), *headers)
    return raw(orjson.dumps(data), topic=topic_of(kind), key=key.encode(), headers=headers, what=event_id or "no id")


def raw(
    value: bytes | None, *, topic: str = "hr.events", key: bytes = b"key", headers: Headers = (), what: str = "raw"
) -> DayRecord:
    """Any bytes at all."""
    return DayRecord(topic=topic, key=key, value=value, headers=headers, what=what)


def topic_of(kind: str) -> str:
    """The topic on which a type arrives."""
    return "crm.events" if kind.startswith("crm.") else "hr.events"


def source(kind: str) -> str:
    """The CloudEvents source that writes a type."""
    return "/crm" if kind.startswith("crm.") else "/hr"
