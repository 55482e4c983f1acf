"""What operators ask of the fake ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

from service.application.inquiry import MOST_ROWS, ActQuery, EventQuery, ItemStanding, LetterQuery, Tally
from service.domain.command import Command, Plan, PlanState
from service.domain.dead_letter import DeadLetter
from service.domain.desk import QuotaRate
from service.domain.ledger_state import Act, Hold, StoredEvent
from service.domain.outcome import Failure, Json
from service.domain.replay import ItemState, Replay
from service.domain.replaying import ERASED
from service.domain.value import replace
from tests.fakes.durable import Durable

T = TypeVar("T")
Query = EventQuery | LetterQuery | ActQuery


class Read(Protocol):
    """How a question is asked: as one transaction of its name."""

    async def __call__(self, name: str, work: Callable[[Durable], T], /) -> T: ...


class FakeInquiries:
    """The port `Inquiries` on dictionaries."""

    def __init__(self, durable: Durable, read: Read) -> None:
        self.durable = durable
        self._ask = read

    async def events(self, query: EventQuery) -> Sequence[StoredEvent]:
        """One page of events, newest first."""
        return await self._ask(
            "events",
            lambda kept: _page(
                [(e.arrival, e.received_at, e) for e in kept.events.values()], query, "id", "source", "subject", "type"
            ),
        )

    async def dead_letters(self, query: LetterQuery) -> Sequence[DeadLetter]:
        """One page of dead letters, newest first."""
        return await self._ask(
            "dead_letters",
            lambda kept: _page(
                [(n.seq, n.seen_at, n) for n in kept.dead_letters.values()], query, "topic", "reason", "state"
            ),
        )

    async def acts(self, query: ActQuery) -> Sequence[Act]:
        """One page of acts, newest first."""

        def work(kept: Durable) -> list[Act]:
            numbered = [replace(act, seq=seq) for seq, act in enumerate(kept.acts, start=1)]
            return _page([(act.seq, act.at, act) for act in numbered], query, "actor", "kind", "object")

        return await self._ask("acts", work)

    async def holds(self, *, standing: bool, limit: int = MOST_ROWS) -> Sequence[Hold]:
        """Holds that stand, the newest first, or those that were released, the last released first."""

        def work(kept: Durable) -> list[Hold]:
            chosen = [hold for hold in kept.holds.values() if (hold.released_at is None) is standing]
            return sorted(chosen, key=lambda h: (h.released_at or h.created_at, h.id), reverse=True)[:limit]

        return await self._ask("holds", work)

    async def rates(self) -> Sequence[QuotaRate]:
        """What persons have changed about quotas, by group and operation."""
        return await self._ask("rates", lambda kept: [rate for _, rate in sorted(kept.rates.items())])

    async def tallies(self) -> Sequence[Tally]:
        """How many commands and plans stand how, of all there are."""

        def work(kept: Durable) -> list[Tally]:
            alike: defaultdict[Tally, list[float | None]] = defaultdict(list)
            everything: list[Command | Plan] = [*kept.commands.values(), *kept.plans.values()]
            for row in everything:
                alike[_kind_of(row)].append(row.ended_at)
            return [_tallied(kind, ends) for kind, ends in alike.items()]

        return await self._ask("tallies", work)

    async def oldest(self) -> Mapping[tuple[str, str, str], float]:
        """When the oldest unfinished command of each account, lane and state was made."""

        def work(kept: Durable) -> dict[tuple[str, str, str], float]:
            found: dict[tuple[str, str, str], float] = {}
            for c in kept.commands.values():
                if not c.state.ended:
                    key = (c.account, c.lane.value, c.state.value)
                    found[key] = min(found.get(key, c.created_at), c.created_at)
            return found

        return await self._ask("oldest", work)

    async def told(self, message_ids: Collection[str]) -> Mapping[str, float | None]:
        """Of these messages those that the outbox still has, each with when it was acknowledged."""
        return await self._ask(
            "told", lambda kept: {name: kept.published.get(name) for name in message_ids if name in kept.outbox}
        )

    async def letter_bytes(self, message_id: str) -> tuple[bytes | None, bytes | None] | None:
        """Key and value of a dead letter's message while the outbox has it."""

        def work(kept: Durable) -> tuple[bytes | None, bytes | None] | None:
            message = kept.outbox.get(message_id)
            is_letter = message is not None and message.topic.startswith("dlq.")
            return (message.key, message.value) if message is not None and is_letter else None

        return await self._ask("letter_bytes", work)

    async def replays(self, *, unfinished: bool, limit: int = 50) -> Sequence[Replay]:
        """Replays, newest first; only those that run or are paused, or all."""

        def work(kept: Durable) -> list[Replay]:
            chosen = [replay for replay in kept.replays.values() if not (unfinished and replay.state.ended)]
            return sorted(chosen, key=lambda replay: (replay.created_at, replay.id), reverse=True)[:limit]

        return await self._ask("replays", work)

    async def replay(self, replay_id: str) -> Replay | None:
        """One replay."""
        return await self._ask("replay", lambda kept: kept.replays.get(replay_id))

    async def replay_items(
        self, replay_id: str, *, pending: bool = False, after: int = 0, limit: int = MOST_ROWS
    ) -> Sequence[ItemStanding]:
        """The plans of a replay behind number `after`, in their order; only those still to be begun, or all."""

        def work(kept: Durable) -> list[ItemStanding]:
            mine = [i for _, i in sorted(kept.items.items()) if i.replay_id == replay_id and i.number > after]
            chosen = [item for item in mine if not pending or item.state is ItemState.PENDING]
            return [ItemStanding(item=item, plan=kept.plans.get(item.plan_id)) for item in chosen[:limit]]

        return await self._ask("replay_items", work)

    async def begun(self, replay_id: str) -> int:
        """How many plans of a replay are no longer pending."""
        return await self._ask(
            "begun",
            lambda kept: sum(
                i.replay_id == replay_id and i.state is not ItemState.PENDING for i in kept.items.values()
            ),
        )

    async def forget(self, subject: str, act: Act) -> Mapping[str, int] | None:
        """Erase what is known of the person behind a subject, and keep the act; None while it has unfinished work."""
        return await self._ask("forget", lambda kept: _forget(kept, subject, act))


def matches(code: str, wanted: str) -> bool:
    """True if a code is the wanted one, or begins as it does up to its `*`."""
    return code.startswith(wanted[:-1]) if wanted.endswith("*") else code == wanted


def _page(rows: Iterable[tuple[int, float, T]], query: Query, *names: str) -> list[T]:
    """Rows with their cursor and their time, newest first."""
    wanted = {name: getattr(query, name) for name in names}
    found = [
        (cursor, row)
        for cursor, at, row in rows
        if (query.before is None or cursor < query.before)
        and (query.since is None or at >= query.since)
        and (query.until is None or at < query.until)
        and all(value is None or getattr(row, name) == value for name, value in wanted.items())
    ]
    return [row for _, row in sorted(found, key=lambda one: one[0], reverse=True)][: query.limit]


def _kind_of(row: Command | Plan) -> Tally:
    """What a row is counted as."""
    failure: Failure | None = row.failure if row.state == "failed" else None
    error_class, code = ("", "") if failure is None else (str(failure.error_class), failure.code)
    if isinstance(row, Command):
        lane, cause = str(row.lane), row.cause or ""
        return _tally("command", row.account, row.operation, lane, row.state, cause, error_class, code)
    operation = "planning" if row.state is PlanState.FAILED and not row.planned else ""
    return _tally("plan", row.account or "", operation, "", row.state, "", error_class, code)


def _tally(kind: Literal["command", "plan"], *names: str) -> Tally:
    account, operation, lane, state, cause, error_class, code = map(str, names)
    return Tally(
        kind=kind,
        account=account,
        operation=operation,
        lane=lane,
        state=state,
        cause=cause,
        error_class=error_class,
        code=code,
        number=0,
    )


def _tallied(kind: Tally, ends: Sequence[float | None]) -> Tally:
    times = [at for at in ends if at is not None] if kind.state == "failed" else []
    return replace(kind, number=len(ends), first_at=min(times, default=None), last_at=max(times, default=None))


def _forget(kept: Durable, subject: str, act: Act) -> dict[str, int] | None:
    if any(plan.subject == subject and plan.state is PlanState.OPEN for plan in kept.plans.values()):
        return None
    key = subject.partition("/")[2].encode() if subject.startswith("agent:") else None
    events = {k: replace(e, data={}) for k, e in kept.events.items() if e.subject == subject and e.data}
    mine = [(name, c, _without(c.wanted)) for name, c in kept.commands.items() if c.subject == subject]
    commands = {name: replace(c, wanted=left) for name, c, left in mine if left != c.wanted}
    bound = [(k, b, _without(b.applied)) for k, b in kept.bindings.items() if b.subject == subject and b.applied]
    bindings = {k: replace(b, applied=left) for k, b, left in bound if left != b.applied}
    letters = {
        name: replace(m, value=None)
        for name, m in kept.outbox.items()
        if m.topic.startswith("dlq.") and m.value is not None and name in kept.published
        if key is not None and m.key == key
    }
    kept.events |= events
    kept.commands |= commands
    kept.bindings |= bindings
    kept.outbox |= letters
    kept.acts.append(act)
    return {
        "events": len(events),
        "commands": len(commands),
        "bindings": len(bindings),
        "dead_letters": len(letters),
    }


def _without(state: Mapping[str, Json] | None) -> dict[str, Json]:
    """A wanted or applied state without name and address."""
    left: dict[str, Any] = dict(state or {})
    left |= {"name": ERASED} if left.get("name") is not None else {}
    left |= {"email": None} if left.get("email") is not None else {}
    left |= {"last": _without(left["last"])} if left.get("last") is not None else {}
    return left
