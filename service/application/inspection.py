"""Inspection: what is failing, why one thing is as it is, and when the backlog is empty.

Called by the HTTP API; reads snapshots of the ledger and changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from service.application.inquiry import EventQuery, Inquiries, Tally, changed_rates, look_up
from service.application.ports import Clock, CommandQuery, Ledger
from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.blueprint import Step
from service.domain.command import UNFINISHED, Command, CommandState, Lane, Plan, PlanState, WaitCause
from service.domain.explaining import Explanation, PlanTrace, Wait, overtaken_by, wait_of
from service.domain.forecast import longest, seconds_until_empty, usable_rate
from service.domain.idempotency_key import message_id, plan_id
from service.domain.ledger_state import Hold, Keys, StoredEvent
from service.domain.value import Value

MOST_PLANS: Final = 20
"""Plans of one explanation, newest first; what came earlier is only counted."""
MOST_STEPS: Final = 50
QUEUED: Final = frozenset({CommandState.PENDING.value, CommandState.IN_FLIGHT.value})
COMING: Final = frozenset(
    cause.value for cause in (WaitCause.EARLIER_STEP, WaitCause.EARLIER_WORK, WaitCause.RETRY, WaitCause.QUARANTINE)
)


class DeskLedger(Ledger, Inquiries, Protocol):
    """A ledger as the desk needs it."""


class FailureGroup(Value, frozen=True, kw_only=True):
    """What fails alike: how many, since when, and when last (seconds since the epoch)."""

    account: str
    operation: str
    error_class: str
    code: str
    number: int
    first_at: float | None
    last_at: float | None


class Queue(Value, frozen=True, kw_only=True):
    """One operation of one quota group: its backlog, and when each lane is empty (seconds from now).

    `rate` is what its quota is used at (requests/s), `quota` what it is. `held` commands are not counted in: a person
    or a sick account stops them. `not_due` wait for an approval, a date or a doubt.
    """

    quota_group: str
    accounts: tuple[str, ...]
    operation: str
    quota: float
    rate: float
    backlog: Mapping[Lane, int]
    empty_in: Mapping[Lane, float]
    held: int
    not_due: int


class Forecast(Value, frozen=True, kw_only=True):
    """All queues that hold work, and what `hires` more would add."""

    hires: int
    queues: tuple[Queue, ...]
    empty_in: float


class Inspection:
    """Answers questions about the ledger."""

    def __init__(self, *, ledger: DeskLedger, accounts: Mapping[str, Account], clock: Clock) -> None:
        """`accounts` as they are configured."""
        self._ledger = ledger
        self._accounts = accounts
        self._clock = clock

    async def failures(self) -> Sequence[FailureGroup]:
        """What has failed and was not replayed with success since, the most recent first.

        Plans that failed as they arrived have the operation `planning`.
        """
        groups: defaultdict[tuple[str, str, str, str], list[Tally]] = defaultdict(list)
        for tally in await self._ledger.tallies():
            failed = tally.state == "failed" and (tally.kind == "command" or tally.operation == "planning")
            if failed and tally.number > 0:
                groups[tally.account, tally.operation, tally.error_class, tally.code].append(tally)
        found = [_group(key, tallies) for key, tallies in groups.items()]
        return sorted(found, key=lambda group: (-(group.last_at or 0.0), group.operation, group.code))

    async def explain(self, about: str) -> Explanation | None:
        """Everything known about a command, plan, event, subject or resource; None if nothing is."""
        plans, events, bindings = await self._about(about)
        if not plans and not events and not bindings:
            return None
        newest = sorted(plans.values(), key=lambda plan: plan.order.rank, reverse=True)
        holds = await self._ledger.holds(standing=True)
        queues: dict[tuple[str, str], Queue] = {}
        if any(plan.state is PlanState.OPEN for plan in newest[:MOST_PLANS]):
            queues = {(q.quota_group, q.operation): q for q in (await self.forecast()).queues}
        traces = [await self._trace(plan, holds, queues) for plan in newest[:MOST_PLANS]]
        return Explanation(
            about=about,
            at=self._clock.now(),
            plans=tuple(traces),
            more=max(0, len(newest) - MOST_PLANS),
            events=tuple(events),
            bindings=tuple(bindings),
        )

    async def forecast(self, *, hires: int = 0, account: str | None = None) -> Forecast:
        """When the backlog is empty, given quotas, holds and so many more hires of an account (default: any one)."""
        tallies = [t for t in await self._ledger.tallies() if t.kind == "command"]
        holds = await self._ledger.holds(standing=True)
        rates = await changed_rates(self._ledger)
        rows = [*tallies, *_more_hires(hires, self._hiring_account(account))]
        keys: defaultdict[tuple[str, str], list[Tally]] = defaultdict(list)
        for tally in rows:
            if tally.account in self._accounts and tally.operation:
                keys[self._accounts[tally.account].group(), tally.operation].append(tally)
        queues = [self._queue(key, rows, holds, rates.get(key)) for key, rows in sorted(keys.items())]
        waiting = tuple(q for q in queues if q.backlog or q.held or q.not_due)
        empty_in = max((longest(queue.empty_in) for queue in waiting), default=0.0)
        return Forecast(hires=hires, queues=waiting, empty_in=empty_in)

    def _hiring_account(self, account: str | None) -> str | None:
        names = [name for name, known in sorted(self._accounts.items()) if known.vendor == HIRING_VENDOR]
        return account if account in names else next(iter(names), None)

    def _queue(
        self, key: tuple[str, str], tallies: Iterable[Tally], holds: Sequence[Hold], changed: float | None
    ) -> Queue:
        group, operation = key
        backlog: defaultdict[Lane, int] = defaultdict(int)
        held = not_due = 0
        accounts = set()
        for tally in tallies:
            accounts.add(tally.account)
            due = is_due(tally)
            if tally.state == CommandState.IN_DOUBT.value or (tally.state == "waiting" and not due):
                not_due += tally.number
            elif due and is_held(tally, holds):
                held += tally.number
            elif due:
                backlog[Lane(tally.lane)] += tally.number
        quota = changed or self._accounts[next(iter(sorted(accounts)))].rate(operation)
        rate = usable_rate(quota)
        return Queue(
            quota_group=group,
            accounts=tuple(sorted(accounts)),
            operation=operation,
            quota=quota,
            rate=rate,
            backlog=dict(backlog),
            empty_in=seconds_until_empty(backlog, rate),
            held=held,
            not_due=not_due,
        )

    async def _about(self, about: str) -> tuple[dict[str, Plan], list[StoredEvent], list[Binding]]:
        """Plans, events and bindings that a name stands for."""
        if about.startswith("cmd_"):
            story = await self._ledger.story(about)
            return ({} if story is None else {story.plan.id: story.plan}), [], []
        if about.startswith("plan_"):
            return _by_id(await self._ledger.plans(CommandQuery(plan_id=about, limit=1))), [], []
        found = await self._about_name(about) if ":" in about else None
        return found if found is not None and any(found) else await self._about_event(about)

    async def _about_event(self, event_id: str) -> tuple[dict[str, Plan], list[StoredEvent], list[Binding]]:
        """Events of this id, whoever sent them, and the plan of each, whatever subject it is about by now."""
        events = list(await self._ledger.events(EventQuery(id=event_id, limit=MOST_PLANS)))
        plans: dict[str, Plan] = {}
        for event in events:
            query = CommandQuery(plan_id=plan_id(event.source, event.id), limit=1)
            plans |= _by_id(await self._ledger.plans(query))
        return plans, events, []

    async def _about_name(self, name: str) -> tuple[dict[str, Plan], list[StoredEvent], list[Binding]]:
        """What a subject, or a resource, stands for."""
        plans = _by_id(await self._ledger.plans(CommandQuery(subject=name, limit=200)))
        commands = await self._ledger.commands(CommandQuery(resource=name, limit=200))
        for one in {command.plan_id for command in commands} - plans.keys():
            plans |= _by_id(await self._ledger.plans(CommandQuery(plan_id=one, limit=1)))
        known = await look_up(self._ledger, Keys(subjects=frozenset({name}), resources=frozenset({name})))
        return plans, list(await self._ledger.events(EventQuery(subject=name, limit=MOST_PLANS))), list(known.bindings)

    async def _trace(self, plan: Plan, holds: Sequence[Hold], queues: Mapping[tuple[str, str], Queue]) -> PlanTrace:
        commands = await self._ledger.commands(CommandQuery(plan_id=plan.id, limit=MOST_STEPS))
        steps = sorted(commands, key=lambda command: command.step_no)
        stories = [story for c in steps if (story := await self._ledger.story(c.id)) is not None]
        others = await self._beside(plan, steps)
        sources = await self._ledger.events(EventQuery(id=plan.event_id, source=plan.event_source, limit=1))
        return PlanTrace(
            plan=plan,
            event=next(iter(sources), None),
            steps=tuple(stories),
            wait=self._wait(plan, steps, others, holds, queues),
            overtaken_by=overtaken_by(plan, others),
            told=await self._told(plan, steps),
        )

    async def _beside(self, plan: Plan, steps: Sequence[Command]) -> list[Plan]:
        """Other plans of the subject, and open ones on the same resources."""
        others = _by_id(await self._ledger.plans(CommandQuery(subject=plan.subject, limit=200)))
        for resource in {step.resource for step in steps}:
            on_it = await self._ledger.commands(CommandQuery(resource=resource, states=UNFINISHED, limit=200))
            for one in {command.plan_id for command in on_it} - others.keys():
                others |= _by_id(await self._ledger.plans(CommandQuery(plan_id=one, limit=1)))
        others.pop(plan.id, None)
        return list(others.values())

    def _wait(
        self,
        plan: Plan,
        steps: Sequence[Command],
        others: Sequence[Plan],
        holds: Sequence[Hold],
        queues: Mapping[tuple[str, str], Queue],
    ) -> Wait | None:
        current = next((step for step in steps if not step.state.ended), None)
        if plan.state is not PlanState.OPEN or current is None:
            return None
        queue = queues.get((current.quota_group, current.operation))
        seconds = None if queue is None else queue.empty_in.get(current.lane)
        return wait_of(plan, current, others=others, holds=holds, now=self._clock.now(), at_most=seconds)

    async def _told(self, plan: Plan, steps: Sequence[Command]) -> tuple[tuple[str, str, float | None], ...]:
        """The ends that were told of the plan: type, message id, and when Kafka acknowledged it."""
        kinds = {
            message_id(about, epoch, kind): kind
            for epoch in range(plan.epoch + 1)
            for about, kind in _possible_ends(plan, steps)
        }
        acknowledged = await self._ledger.told(list(kinds))
        told = ((kinds[one], one, at) for one, at in acknowledged.items())
        return tuple(sorted(told, key=lambda one: (one[2] is None, one[2] or 0.0, one[0])))


HIRING_VENDOR: Final = "tencent_ccc"
HIRE: Final = {Step.EXTENSION: "tencent_ccc.CreateExtension", Step.REGISTRATION: "tencent_ccc.DescribeExtension"}


def is_due(tally: Tally) -> bool:
    """Whether such commands go on by themselves, now or once what stands before them is done."""
    return tally.state in QUEUED or tally.cause in COMING


def _by_id(plans: Iterable[Plan]) -> dict[str, Plan]:
    return {plan.id: plan for plan in plans}


def _group(key: tuple[str, str, str, str], tallies: Sequence[Tally]) -> FailureGroup:
    account, operation, error_class, code = key
    return FailureGroup(
        account=account,
        operation=operation,
        error_class=error_class,
        code=code,
        number=sum(tally.number for tally in tallies),
        first_at=min((t.first_at for t in tallies if t.first_at is not None), default=None),
        last_at=max((t.last_at for t in tallies if t.last_at is not None), default=None),
    )


def is_held(tally: Tally, holds: Iterable[Hold]) -> bool:
    """True if a hold or quarantine stops all of these; one on a single subject or resource stops none of them."""
    return any(
        hold.subject is None
        and hold.resource is None
        and hold.account in {None, tally.account}
        and hold.operation in {None, tally.operation}
        for hold in holds
    )


def _more_hires(hires: int, account: str | None) -> list[Tally]:
    if hires <= 0 or account is None:
        return []
    return [
        Tally(
            kind="command",
            account=account,
            operation=operation,
            lane=Lane.LIVE.value,
            state=CommandState.PENDING.value,
            cause="",
            error_class="",
            code="",
            number=hires,
        )
        for operation in HIRE.values()
    ]


def _possible_ends(plan: Plan, steps: Sequence[Command]) -> Iterable[tuple[str, str]]:
    for step in steps:
        for state in (state for state in CommandState if state.ended):
            yield step.id, f"provisioning.command.{state.value}.v1"
    for kind in ("completed", "failed", "waiting"):
        yield plan.id, f"provisioning.plan.{kind}.v1"
