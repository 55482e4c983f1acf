"""A ledger under test, and the words in which its suite speaks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from service.adapters.ledger_postgres.ledger import PostgresLedger
from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.application.inquiry import Inquiries
from service.application.ports import Claim, ClaimRoom, Ledger
from service.domain.command import Attempt, Command, CommandState, HistoryRow, Lane, Session
from service.domain.dead_letter import DeadLetter
from service.domain.desk import DeskChanges, DeskKeys
from service.domain.ledger_state import Act, Changes, Hold, HoldKind, Keys, Known, OutboxMessage
from service.domain.outcome import ErrorClass, Failure
from service.domain.replay import ItemState, Replay, ReplayItem, ReplayState
from tests.builders import CREATE, GROUP, NOW, make_plan
from tests.fakes.ledger import FakeLedger

APPLY = "tencent_ccc.CreateOwnNumberApply"


class DeskLedger(Ledger, Inquiries, Protocol):
    """A ledger as operators have it."""


class Bench(Protocol):
    """A ledger under test, and what tests do to it from the outside."""

    @property
    def ledger(self) -> DeskLedger:
        """The one in use now."""
        ...

    async def reopen(self) -> DeskLedger:
        """As after the end of the process; what was acknowledged is there."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class FakeBench:
    def __init__(self) -> None:
        self._fake = FakeLedger()

    @property
    def ledger(self) -> DeskLedger:
        return self._fake

    async def reopen(self) -> DeskLedger:
        self._fake = self._fake.reopen()
        return self._fake

    async def close(self) -> None:
        await self._fake.close()


class SqliteBench:
    def __init__(self, path: Path, ledger: SqliteLedger) -> None:
        self._path, self._sqlite = path, ledger

    @property
    def ledger(self) -> DeskLedger:
        return self._sqlite

    async def reopen(self) -> DeskLedger:
        await self._sqlite.close()
        self._sqlite = await SqliteLedger.open(self._path)
        return self._sqlite

    async def close(self) -> None:
        await self._sqlite.close()


class PostgresBench:
    def __init__(self, url: str, ledger: PostgresLedger) -> None:
        self._url, self._postgres = url, ledger

    @classmethod
    async def open(cls, url: str) -> PostgresBench:
        return cls(url, await open_postgres(url))

    @property
    def ledger(self) -> DeskLedger:
        return self._postgres

    async def reopen(self) -> DeskLedger:
        await self._postgres.close()
        self._postgres = await open_postgres(self._url)
        return self._postgres

    async def close(self) -> None:
        await self._postgres.close()


async def open_postgres(url: str, *, session_seconds: float = 60.0) -> PostgresLedger:
    """One process's ledger in a database that others may use as well."""
    return await PostgresLedger.open(url, session_seconds=session_seconds)


async def put(ledger: Ledger, **changes: Any) -> Changes:
    """Write without asking."""
    return await ledger.transact(Keys(), lambda _: Changes(**{name: tuple(rows) for name, rows in changes.items()}))


async def put_work(ledger: Ledger, *commands: Command) -> None:
    """Store commands with plans that fit them."""
    plans = {
        c.plan_id: make_plan(c.order.arrival, id=c.plan_id, subject=c.subject, order=c.order, account=c.account)
        for c in commands
    }
    await put(ledger, plans=plans.values(), commands=commands)


def make_hold(number: int = 1, **fields: Any) -> Hold:
    """A standing quarantine of everything; name its scope and probe."""
    defaults = {
        "id": f"hold-{number}",
        "kind": HoldKind.QUARANTINE,
        "reason": "credentials:AuthFailure",
        "actor": "cordboard",
        "created_at": NOW,
    }
    return Hold(**{**defaults, **fields})


async def known(ledger: Ledger, **keys: set[Any]) -> Known:
    """What the ledger loads for the keys."""
    seen: list[Known] = []

    def look(loaded: Known) -> Changes:
        seen.append(loaded)
        return Changes()

    wanted: dict[str, Any] = {name: frozenset(values) for name, values in keys.items()}
    await ledger.transact(Keys(**wanted), look)
    return seen[0]


def room(number: int = 10, **fields: Any) -> ClaimRoom:
    return ClaimRoom(**{"quota_group": GROUP, "operation": CREATE, "lane": Lane.LIVE, "room": number, **fields})


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.command.id for claim in claims]


async def claimed(ledger: Ledger, session: Session, *rooms: ClaimRoom, now: float = NOW) -> list[str]:
    return ids(await ledger.claim(session, now, rooms or (room(),)))


async def stored(ledger: Ledger, command_id: str) -> Command:
    story = await ledger.story(command_id)
    assert story is not None
    return story.command


def message(number: int, **fields: Any) -> OutboxMessage:
    defaults = {
        "id": f"message-{number}",
        "topic": "provisioning.results",
        "key": b"1",
        "value": b"{}",
        "headers": (("content-type", b"application/json"), ("odd", b"\xff\x00"), ("none", None)),
        "order_by": "agent:realm/1",
        "created_at": NOW,
    }
    return OutboxMessage(**{**defaults, **fields})


def moved(command: Command, after: CommandState, at: float = NOW) -> HistoryRow:
    return HistoryRow(
        command_id=command.id, epoch=0, at=at, before=command.state, after=after, cause="test", actor="test"
    )


def attempt(command: Command, number: int = 1, **fields: Any) -> Attempt:
    defaults = {"command_id": command.id, "epoch": 0, "number": number, "call": CREATE, "slot_at": NOW}
    return Attempt(**{**defaults, "marked_at": NOW, **fields})


def make_letter(offset: int = 1, **fields: Any) -> DeadLetter:
    """The note of a record that was no JSON."""
    defaults = {"topic": "hr.events", "partition": 0, "reason": "not_json", "field": None, "message": "not JSON"}
    return DeadLetter(**{**defaults, "offset": offset, "size": 3, "digest": "abc", "seen_at": NOW, **fields})


def make_replay(number: int = 1, **fields: Any) -> Replay:
    """One that runs."""
    defaults = {
        "id": f"replay-{number}",
        "state": ReplayState.RUNNING,
        "actor": "ann",
        "reason": "the vendor is back",
        "selection": {"code": "InternalError*"},
        "rate": None,
        "size": 3,
        "created_at": NOW + number,
        "changed_at": NOW + number,
        "paced_from": NOW + number,
    }
    return Replay(**{**defaults, **fields})


def make_item(number: int = 1, replay: int = 1, **fields: Any) -> ReplayItem:
    """A plan still to be begun."""
    defaults = {"replay_id": f"replay-{replay}", "number": number, "plan_id": f"plan-{number:06d}", "from_epoch": 0}
    return ReplayItem(**{**defaults, "state": ItemState.PENDING, **fields})


def make_failure(code: str = "InternalError.DBError", **fields: Any) -> Failure:
    return Failure(**{"error_class": ErrorClass.RETRYABLE, "code": code, "message": "no", **fields})


def make_act(number: int = 1, **fields: Any) -> Act:
    defaults = {"at": NOW + number, "actor": "ann", "kind": "hold", "object": f"hold-{number}", "reason": "asked to"}
    return Act(**{**defaults, **fields})


async def put_desk(ledger: Ledger, **changes: Any) -> None:
    """Write what acts write, without asking."""
    await put(ledger, desk=[DeskChanges(**{name: tuple(rows) for name, rows in changes.items()})])


async def on_desk(ledger: Ledger, **keys: set[Any]) -> Known:
    """What the ledger loads for the keys of an act."""
    seen: list[Known] = []

    def look(loaded: Known) -> Changes:
        seen.append(loaded)
        return Changes()

    wanted: dict[str, Any] = {name: frozenset(values) for name, values in keys.items()}
    await ledger.transact(Keys(desk=DeskKeys(**wanted)), look)
    return seen[0]
