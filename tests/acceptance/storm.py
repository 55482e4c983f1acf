"""Load for the storms: many resources, each wanted differently again and again, and the faults that meet it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from service.entrypoints.demo_day import DayRecord
from tests.acceptance.events import event, raw

APP, APP_KEY = "1400000000", "FAKE-app-key"
QUOTA = 200
QUOTAS = {"tencent_ccc": {"default": QUOTA}, "huawei_aicc": {"default": QUOTA}}
LENGTHS = (2, 3, 5, 6)
"""Events of a resource, in turn: four on average."""

SETTINGS: Mapping[str, Any] = {
    "kafka": {"session_timeout_ms": 1500},
    "timing": {"approval_poll_seconds": 1.0, "connect_seconds": 0.5, "read_seconds": 2.0, "read_lag_seconds": 0.5},
    "retries": {"retryable": {"cap_seconds": 2.0, "attempts": 100}},
    "quarantine": {"probe_seconds": 1.0, "longest_probe_seconds": 2.0},
    "accounts": {"acme_cn": {"quotas": {"default": QUOTA}}, "acme_hw": {"quotas": {"default": QUOTA}}},
}
"""Fast, so that a storm of a few minutes has hundreds of retries, looks and approvals in it."""

SESSION_SECONDS = 2.0
"""So short that every storm over a fleet has takeovers in it."""

FAULTS: Sequence[Mapping[str, Any]] = (
    {"kind": "latency", "seconds": [0.0, 0.3]},
    {"kind": "reply_lost_after", "probability": 0.05},
    {"kind": "dberror_before", "probability": 0.025},
    {"kind": "dberror_after", "probability": 0.025},
    {"kind": "http_before", "probability": 0.01},
    {"kind": "http_after", "probability": 0.01},
)


@dataclass(frozen=True, kw_only=True)
class Stated:
    """One event and what shall stand at the vendor after it."""

    event_id: str
    record: DayRecord
    state: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Everything that is wanted of one resource, in the order in which it is to become true."""

    resource: str
    key: str
    """As the sandbox's journal names it."""
    wanted: tuple[Stated, ...]
    by_revision: bool
    """Its events carry revisions; then they may be produced in another order."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is produced, in this order, and what it means."""

    records: Sequence[DayRecord]
    chains: Mapping[str, Chain]
    malformed: int

    @property
    def events(self) -> int:
        """Valid events, each counted once however often it is delivered."""
        return sum(len(chain.wanted) for chain in self.chains.values())

    def waves(self, count: int) -> list[Sequence[DayRecord]]:
        """The records in so many parts, in order."""
        size = -(-len(self.records) // count)
        return [self.records[at : at + size] for at in range(0, len(self.records), size)]


def fleet_settings(session_seconds: float) -> dict[str, Any]:
    """As `SETTINGS`, for replicas that share a ledger."""
    return {**SETTINGS, "timing": {**SETTINGS["timing"], "session_seconds": session_seconds}}


def sandbox_settings(seed: int) -> dict[str, Any]:
    """A vendor that counts to 200 a second and breaks its word, reproducibly."""
    return {"quotas": QUOTAS, "approval_seconds": 1.0, "seed": seed, "faults": list(FAULTS)}


def make_load(events: int, *, seed: int, prefix: str = "", repeated: float = 0.05, misfits: float = 0.02) -> Load:
    """About `events` valid events over a quarter as many resources.

    `repeated` is the share of records delivered twice, `misfits` that of records nobody can read between them. One
    chain in ten of those that carry revisions arrives with two neighbours swapped.
    """
    chance = random.Random(seed)  # noqa: S311 - reproducible, not cryptography
    chains = list(_chains(events, prefix))
    placed: list[tuple[float, DayRecord]] = []
    for chain in chains:
        moments = sorted(chance.random() for _ in chain.wanted)
        records = [stated.record for stated in chain.wanted]
        if chain.by_revision and len(records) >= 3 and chance.random() < 0.1:
            records[-1], records[-2] = records[-2], records[-1]
        for moment, record in zip(moments, records, strict=True):
            placed.append((moment, record))
            if chance.random() < repeated:
                placed.append((chance.uniform(moment, 1.0), replace(record, what="repeated")))
    malformed = round(events * misfits)
    placed += [(chance.random(), raw(b'{"specversion": "1.0", "id": "bad-%d", ' % n)) for n in range(malformed)]
    records = [record for _, record in sorted(placed, key=lambda item: item[0])]
    return Load(records=records, chains={chain.resource: chain for chain in chains}, malformed=malformed)


def _chains(events: int, prefix: str) -> Iterator[Chain]:
    """Two extensions, a number and a route in turn; half wanted A, B, A, …, half ever anew."""
    n = 0
    while events > 0:
        length = min(events, LENGTHS[n // 4 % len(LENGTHS)])
        make = (_extension, _number, _extension, _route)[n % 4]
        yield make(n, length, prefix)
        events -= length
        n += 1


def _turn(n: int, step: int) -> int:
    """Which state is wanted: back and forth, or a new one each time."""
    return step % 2 if n // 4 % 2 == 0 else step


def _extension(n: int, length: int, prefix: str) -> Chain:
    agent, extension = f"{prefix}A{n}", str(20_000 + n)
    stated = []
    for step in range(length):
        turn = _turn(n, step)
        state = {"name": f"Agent {n} as {turn}", "skill_group_ids": [turn + 1, turn + 2]}
        data = {"agent_id": agent, "revision": step + 1, **state}
        kind = "hr.agent.changed.v1"
        if step == 0:
            kind = "hr.agent.hired.v1"
            data |= {"email": f"{agent}@acme.example".lower(), "extension": extension}
        stated.append(_stated(kind, f"{agent}-{step}", data, agent, state))
    resource = f"extension:acme_cn/{extension}"
    return Chain(resource=resource, key=f"extension:{APP}/{extension}", wanted=tuple(stated), by_revision=True)


def _number(n: int, length: int, prefix: str) -> Chain:
    number = f"+8610{82_000_000 + n}"
    stated = []
    for step in range(length):
        state = {"url": f"https://calls.acme.example/{n}/{_turn(n, step)}"}
        kind = "crm.number.purchased.v1" if step == 0 else "crm.number.routed.v1"
        data = {"number": number, "callback_url": state["url"]} | ({"max_concurrent_calls": 10} if step == 0 else {})
        stated.append(_stated(kind, f"{prefix}N{n}-{step}", data, number, state))
    stored = f"0086010{82_000_000 + n}"
    return Chain(
        resource=f"number:acme_cn/{number}", key=f"number:{APP}/{stored}", wanted=tuple(stated), by_revision=False
    )


def _route(n: int, length: int, prefix: str) -> Chain:
    code = str(95_000 + n)
    stated = []
    for step in range(length):
        turn = _turn(n, step)
        state = {"devicetype": 3, "deviceId": 700 + turn} if turn % 2 else {"devicetype": 1, "deviceId": 20 + turn}
        target = {"ivr": 700 + turn} if turn % 2 else {"skill_queue": 20 + turn}
        data = {"account": "acme_hw", "access_code": code, "ext_code": "1", "route": target}
        kind = "crm.number.purchased.v1" if step == 0 else "crm.number.routed.v1"
        stated.append(_stated(kind, f"{prefix}R{n}-{step}", data, code, state))
    return Chain(
        resource=f"route:acme_hw/{code}/1", key=f"route:{APP_KEY}/{code}/1", wanted=tuple(stated), by_revision=False
    )


def _stated(kind: str, event_id: str, data: Mapping[str, Any], key: str, state: Mapping[str, Any]) -> Stated:
    return Stated(event_id=event_id, record=event(kind, event_id, dict(data), key=key), state=state)
