"""A realistic mixed day of HR and CRM events, made from a seed: what the demo feeds and the acceptance tests check."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

Headers = tuple[tuple[str, bytes], ...]

FIRST_NAMES: Final = ("Wei", "Fang", "Min", "Jing", "Lei", "Tao", "Na", "Qiang", "Yan", "Jun")
LAST_NAMES: Final = ("Chen", "Li", "Wang", "Zhang", "Liu", "Yang", "Huang", "Zhao", "Wu", "Zhou")
HR, CRM = "hr.events", "crm.events"


@dataclass(frozen=True, slots=True, kw_only=True)
class DayShape:
    """How many of what. `repeated` is the share of good records delivered twice, `second_ids` that of hires told
    again under another id; `foreign` counts records of other systems between ours.
    """

    hires: int = 40
    second_ids: int = 3
    tccc_numbers: int = 8
    outbound_numbers: int = 2
    refused_numbers: int = 1
    aicc_routes: int = 6
    incomplete: int = 1
    malformed: int = 3
    foreign: int = 5
    repeated: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRecord:
    """One record to produce. `what` says which kind it is: hired, purchased, approved, malformed, foreign, …"""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers
    what: str


def mixed_day(shape: DayShape, seed: int = 1) -> list[DayRecord]:
    """The day's records in the order they are produced; the same seed gives the same day.

    A record delivered twice comes again later, byte for byte; an event told under a second id comes after the
    first. Accounts: `acme_cn` (TCCC) is the default of both topics, `acme_hw` (AICC) is named.
    """
    chance = random.Random(seed)  # noqa: S311 - a reproducible day, not cryptography
    records = [*_hires(shape, chance), *_numbers(shape), *_routes(shape), *_misfits(shape)]
    chance.shuffle(records)
    ours = [record for record in records if record.what not in {"malformed", "foreign"}]
    again = [(record, "repeated") for record in chance.sample(ours, round(len(ours) * shape.repeated))]
    hires = [record for record in records if record.what == "hired"]
    again += [(_under_second_id(record, n), "second_id") for n, record in enumerate(hires[: shape.second_ids])]
    for record, what in again:
        original = next(n for n, known in enumerate(records) if known.key == record.key and known.what != what)
        later = chance.randint(original + 1, len(records))
        records.insert(later, _relabelled(record, what))
    return records


def _hires(shape: DayShape, chance: random.Random) -> Iterator[DayRecord]:
    for n in range(shape.hires):
        first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
        agent = f"A{1000 + n}"
        data = {
            "agent_id": agent,
            "name": f"{first} {last}",
            "email": f"{first}.{last}.{n}@acme.example".lower(),
            "extension": str(10_000 + n),
            "skill_group_ids": sorted(chance.sample(range(1, 9), chance.randint(1, 3))),
            "department": "service",
        }
        yield _event(HR, "hr.agent.hired.v1", f"hire-{n}", agent, data, binary=n % 3 == 0, what="hired")
    for n in range(shape.incomplete):
        agent = f"N{n}"
        data = {"agent_id": agent, "name": "No Extension"}
        yield _event(HR, "hr.agent.hired.v1", f"incomplete-{n}", agent, data, binary=False, what="incomplete")


def _numbers(shape: DayShape) -> Iterator[DayRecord]:
    total = shape.tccc_numbers + shape.outbound_numbers + shape.refused_numbers
    for n in range(total):
        number = f"+8610{82_340_000 + n}"
        outbound = shape.tccc_numbers <= n < shape.tccc_numbers + shape.outbound_numbers
        data: dict[str, Any] = {"number": number, "max_concurrent_calls": 10}
        if outbound:
            data["call_type"] = "outbound"
        what = "refused" if n >= shape.tccc_numbers + shape.outbound_numbers else "purchased"
        yield _event(CRM, "crm.number.purchased.v1", f"number-{n}", number, data, binary=n % 2 == 0, what=what)


def _routes(shape: DayShape) -> Iterator[DayRecord]:
    for n in range(shape.aicc_routes):
        code = f"95{500 + n}"
        target = {"ivr": 700 + n} if n % 4 == 3 else {"skill_queue": 20 + n}
        data = {"account": "acme_hw", "access_code": code, "ext_code": str(n % 10), "route": target}
        yield _event(CRM, "crm.number.purchased.v1", f"route-{n}", code, data, binary=n % 2 == 1, what="routed")


def _misfits(shape: DayShape) -> Iterator[DayRecord]:
    for n in range(shape.malformed):
        yield DayRecord(
            topic=HR if n % 2 else CRM,
            key=f"bad-{n}".encode(),
            value=_MALFORMED[n % len(_MALFORMED)](n),
            headers=(),
            what="malformed",
        )
    for n in range(shape.foreign):
        yield _event(HR, "hr.payroll.closed.v1", f"payroll-{n}", f"P{n}", {"month": n}, binary=False, what="foreign")


def _broken_json(n: int) -> bytes:
    return b'{"specversion": "1.0", "id": "bad-%d", ' % n


def _missing_name(n: int) -> bytes:
    return _structured("hr.agent.hired.v1", f"bad-{n}", {"agent_id": f"B{n}"})


def _unknown_version(n: int) -> bytes:
    return _structured("hr.agent.hired.v9", f"bad-{n}", {"agent_id": f"B{n}", "name": "Later"})


def _xml(n: int) -> bytes:
    return b"<hired><agent>%d</agent></hired>" % n


_MALFORMED: Final[tuple[Callable[[int], bytes], ...]] = (_broken_json, _missing_name, _unknown_version, _xml)


def _event(
    topic: str, kind: str, event_id: str, key: str, data: dict[str, Any], *, binary: bool, what: str
) -> DayRecord:
    headers: Headers = ()
    if binary:
        value = orjson.dumps(data)
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", event_id.encode()),
            ("ce_source", _source(kind).encode()),
            ("ce_type", kind.encode()),
            ("content-type", b"application/json"),
        )
    else:
        value = _structured(kind, event_id, data)
    return DayRecord(topic=topic, key=key.encode(), value=value, headers=headers, what=what)


def number_verdict(kind: str, number: str, apply_id: int | None, n: int) -> DayRecord:
    """What CRM says when the vendor's review is over: `approved` or `refused`."""
    data: dict[str, Any] = {"number": number}
    if apply_id is not None:
        data["apply_id"] = apply_id
    return _event(CRM, f"crm.number.{kind}.v1", f"{kind}-{n}", number, data, binary=False, what=kind)


def _structured(kind: str, event_id: str, data: dict[str, Any]) -> bytes:
    return orjson.dumps({"specversion": "1.0", "id": event_id, "source": _source(kind), "type": kind, "data": data})


def _source(kind: str) -> str:
    return "/hr" if kind.startswith("hr.") else "/crm"


def _under_second_id(record: DayRecord, n: int) -> DayRecord:
    """The same hire under another id: other work, which finds nothing left to do."""
    if record.headers:
        headers = tuple((name, b"again-%d" % n if name == "ce_id" else value) for name, value in record.headers)
        return DayRecord(topic=record.topic, key=record.key, value=record.value, headers=headers, what="second_id")
    document = orjson.loads(record.value or b"{}")
    value = orjson.dumps(document | {"id": f"again-{n}"})
    return DayRecord(topic=record.topic, key=record.key, value=value, headers=(), what="second_id")


def _relabelled(record: DayRecord, what: str) -> DayRecord:
    return DayRecord(topic=record.topic, key=record.key, value=record.value, headers=record.headers, what=what)
