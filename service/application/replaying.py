"""Replaying: failed plans are chosen, previewed, and begun again one batch after another, at the pace asked for.

Walk: operator → *replaying* → ledger → execution. The API previews, makes, pauses and cancels; the worker's loop
begins. Promises that nothing is begun that a preview would refuse as things stand then, that a replay survives its
process, and that two of the same selection begin every plan once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, Literal

import orjson

from service.application.asking import Answer, Asked, Decide, Declined, Done, Place, Trouble, answered, do, write_down
from service.application.inquiry import Inquiries, ItemStanding, changed_rates, look_up
from service.application.inspection import DeskLedger
from service.application.ports import Clock, CommandQuery
from service.application.rounds import UNWATCHED, Pulse, Stopping, keep_going
from service.application.telemetry import Telemetry
from service.domain.account import Account
from service.domain.command import Lane, Plan, PlanState
from service.domain.desk import DeskChanges, DeskKeys
from service.domain.draft import Draft
from service.domain.forecast import sure_rate, usable_rate
from service.domain.idempotency_key import act_id
from service.domain.ledger_state import Changes, Keys, Known, StoredEvent
from service.domain.outcome import Json
from service.domain.planning import PlanningPolicy
from service.domain.replay import ItemOutcome, ItemState, Replay, ReplayItem, ReplayState, outcome_of
from service.domain.replaying import SENTENCES, Eligible, Refused, Verdict, Why, is_parked, judge, start, subjects_of
from service.domain.value import Value, field, replace

PLANNING: Final = "planning"
"""What failures are called that have no operation: their plans failed as they arrived."""
MOST_ITEMS: Final = 20_000
"""Plans of one replay: chosen in one transaction."""
PAGE: Final = 1000
BATCH: Final = 25  # plans judged, or begun, in one transaction: others wait for it
SAMPLE: Final = 10
LOOK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.05  # after a batch: others' transactions come first


class Selection(Value, frozen=True, kw_only=True):
    """What to replay: plans or commands by id, or all failed plans that match; nothing given is refused.

    Chosen by a filter, what failed again although it was replayed stays apart unless `again`.
    """

    ids: tuple[str, ...] = ()
    account: str | None = None
    operation: str | None = None
    subject: str | None = None
    error_class: str | None = None
    code: str | None = None
    since: float | None = None
    until: float | None = None
    again: bool = False

    @property
    def by_filter(self) -> bool:
        """True if at least one filter is given."""
        named = (self.account, self.operation, self.subject, self.error_class, self.code, self.since, self.until)
        return any(one is not None for one in named)

    def told(self) -> dict[str, Json]:
        """As it is kept: what was given; of many ids how many."""
        given = {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name)}
        if self.ids:
            given["ids"] = list(self.ids[:SAMPLE])
            given["number_of_ids"] = len(self.ids)
        return given


class Sample(Value, frozen=True, kw_only=True):
    """One of a preview's plans: what would happen to it, and why."""

    id: str
    subject: str
    eligible: bool
    why: Why | None
    sentence: str


class Preview(Value, frozen=True, kw_only=True):
    """What a replay would do now. `calls` by operation; seconds at best (an idle quota), and at worst (a busy one).

    `refused` says how many for which reason; `parked` failed again before and were left out.
    """

    size: int
    eligible: int
    refused: Mapping[Why, int]
    parked: int
    calls: Mapping[str, int]
    seconds_at_best: float
    seconds_at_worst: float
    samples: tuple[Sample, ...]


class Progress(Value, frozen=True, kw_only=True):
    """How a replay stands: how many of its plans stand how, and of what was refused why."""

    replay: Replay
    outcomes: Mapping[ItemOutcome, int]
    refused: Mapping[str, int] = field(default_factory=dict)


_GONE: Final = Refused(why=Why.UNKNOWN)


class _Chosen(Value, frozen=True):
    plans: tuple[Plan, ...]
    unknown: tuple[str, ...]
    parked: int


class Replays:
    """Replays as the API knows them."""

    def __init__(
        self,
        *,
        ledger: DeskLedger,
        accounts: Mapping[str, Account],
        policy: PlanningPolicy,
        looks: Mapping[str, str],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """`looks` says which read comes before the first send of an operation."""
        self._ledger = ledger
        self._accounts = accounts
        self._policy = policy
        self._looks = looks
        self._clock = clock
        self._place = Place(ledger, clock, telemetry)

    async def preview(self, selection: Selection, *, rate: float | None = None) -> Preview | Declined:
        """What a replay of the selection would do; changes nothing."""
        chosen = await self._choose(selection)
        if isinstance(chosen, Declined):
            return chosen
        verdicts = await self._judged(chosen.plans)
        refused = Counter(v.why for v in verdicts.values() if isinstance(v, Refused))
        refused[Why.UNKNOWN] += len(chosen.unknown)
        eligible = [v for v in verdicts.values() if isinstance(v, Eligible)]
        calls = self._calls(eligible)
        best, worst = await self._seconds(calls, len(eligible), rate)
        unknown = [_sample(one, "", Refused(why=Why.UNKNOWN)) for one in chosen.unknown]
        judged = [_sample(plan.id, plan.subject, verdicts[plan.id]) for plan in chosen.plans]
        return Preview(
            size=len(chosen.plans) + len(chosen.unknown),
            eligible=len(eligible),
            refused={why: number for why, number in refused.items() if number},
            parked=chosen.parked,
            calls=_by_operation(calls),
            seconds_at_best=best,
            seconds_at_worst=worst,
            samples=tuple((judged + unknown)[:SAMPLE]),
        )

    async def make(
        self, asked: Asked, selection: Selection, *, rate: float | None = None, expected: int | None = None
    ) -> Answer:
        """Freeze the selection and let the workers begin it; `expected` is the size that the preview told."""
        given = await answered(self._ledger, asked, self._clock.now())
        return await self._made(asked, selection, rate, expected) if given is None else given

    async def _made(self, asked: Asked, selection: Selection, rate: float | None, expected: int | None) -> Answer:
        chosen = await self._choose(selection)
        if isinstance(chosen, Declined):
            return chosen
        size = len(chosen.plans)
        if expected is not None and expected != size + len(chosen.unknown):
            found = f"the selection has {size + len(chosen.unknown)} plans by now, not {expected}: preview it again"
            return Declined(Trouble.CONFLICT, found)
        if not chosen.plans:
            return Declined(Trouble.NOT_FOUND, "nothing that failed matches")
        now = self._clock.now()
        told = selection.told()
        digest = hashlib.sha256(orjson.dumps([told, *(plan.id for plan in chosen.plans)])).hexdigest()
        replay = Replay(
            id=act_id("replay", asked.actor, now, digest),
            state=ReplayState.RUNNING,
            actor=asked.actor,
            reason=asked.reason,
            selection=told,
            rate=rate,
            size=size,
            created_at=now,
            changed_at=now,
            paced_from=now,
        )
        items = tuple(
            ReplayItem(
                replay_id=replay.id, number=number, plan_id=plan.id, from_epoch=plan.epoch, state=ItemState.PENDING
            )
            for number, plan in enumerate(chosen.plans, start=1)
        )

        def decide(draft: Draft, _: Known) -> Answer:
            draft.put_desk(DeskChanges(replays=(replay,), items=items))
            detail = {"selection": told, "size": size, "rate": rate}
            write_down(draft, "replay", replay.id, asked, detail)
            return Done(about={"id": replay.id})

        return await self._do("replay", asked, replay.id, decide)

    async def change(self, asked: Asked, replay_id: str, to: Literal["pause", "resume", "cancel"]) -> Answer:
        """Pause, resume or cancel; what was begun goes on in any case."""
        begun = await self._ledger.begun(replay_id)

        def decide(draft: Draft, known: Known) -> Answer:
            replay = known.desk.replays.get(replay_id)
            if replay is None:
                return Declined(Trouble.NOT_FOUND, "no replay has this id")
            changed = _changed(replay, to, draft.now, begun)
            if changed is None:
                return Declined(Trouble.CONFLICT, f"a replay that is {replay.state.value} can't be asked to {to}")
            draft.put_desk(DeskChanges(replays=(changed,)))
            write_down(draft, f"replay_{to}", replay_id, asked, {"begun": begun})
            return Done(about={"id": replay_id})

        return await self._do(f"replay_{to}", asked, replay_id, decide)

    async def progress(self, replay_id: str) -> Progress | None:
        """How a replay stands; None if there is none of this id."""
        replay = await self._ledger.replay(replay_id)
        if replay is None:
            return None
        outcomes: Counter[ItemOutcome] = Counter()
        refused: Counter[str] = Counter()
        async for standing in _standings(self._ledger, replay_id):
            outcomes[outcome_of(standing.item, standing.plan, replay)] += 1
            if standing.item.state is ItemState.REFUSED:
                refused[standing.item.why or ""] += 1
        return Progress(replay=replay, outcomes=dict(outcomes), refused=dict(refused))

    async def _choose(self, selection: Selection) -> _Chosen | Declined:
        if selection.ids:
            return await self._by_id(selection.ids)
        if not selection.by_filter:
            return Declined(Trouble.INVALID, "name ids or at least one filter: everything at once is not replayed")
        plans, parked = await self._by_filter(selection)
        if len(plans) > MOST_ITEMS:
            return Declined(Trouble.INVALID, f"more than {MOST_ITEMS} plans match: narrow the filter")
        return _Chosen(_in_order(plans), (), parked)

    async def _by_id(self, ids: Sequence[str]) -> _Chosen | Declined:
        if len(ids) > PAGE:
            return Declined(Trouble.INVALID, f"at most {PAGE} ids at once: use a filter")
        plans: dict[str, Plan] = {}
        unknown: list[str] = []
        for one in dict.fromkeys(ids):
            plan = await self._plan_of(one)
            if plan is None:
                unknown.append(one)
            else:
                plans[plan.id] = plan
        return _Chosen(_in_order(plans.values()), tuple(unknown), 0)

    async def _plan_of(self, one: str) -> Plan | None:
        if one.startswith("cmd_"):
            story = await self._ledger.story(one)
            return None if story is None else story.plan
        return next(iter(await self._ledger.plans(CommandQuery(plan_id=one, limit=1))), None)

    async def _by_filter(self, selection: Selection) -> tuple[list[Plan], int]:
        """Failed plans that match, and how many of them were left out as they failed again."""
        plans: list[Plan] = []
        parked, after = 0, None
        unplanned = selection.operation == PLANNING
        while len(plans) <= MOST_ITEMS:
            query = CommandQuery(
                states=(PlanState.FAILED.value,),
                account=selection.account,
                operation=None if unplanned else selection.operation,
                subject=selection.subject,
                error_class=selection.error_class,
                code=selection.code,
                since=selection.since,
                until=selection.until,
                after=after,
                limit=PAGE,
            )
            page = await self._ledger.plans(query)
            matching = [plan for plan in page if not (unplanned and plan.planned)]
            parked += 0 if selection.again else sum(is_parked(plan) for plan in matching)
            plans += [plan for plan in matching if selection.again or not is_parked(plan)]
            if len(page) < PAGE:
                break
            after = page[-1].id
        return plans, parked

    async def _judged(self, plans: Sequence[Plan]) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for nth in range(0, len(plans), BATCH):
            batch = plans[nth : nth + BATCH]
            context = await _context(self._ledger, batch, self._policy)
            known = await look_up(self._ledger, context.keys)
            draft = Draft(known, self._clock.now())
            for plan_id in context.keys.plans:
                plan, event = known.plans.get(plan_id), context.events.get(plan_id)
                verdicts[plan_id] = _GONE if plan is None else judge(draft, plan, event, self._policy)
        return verdicts

    def _calls(self, eligible: Sequence[Eligible]) -> Counter[tuple[str, str]]:
        """How many calls by account and operation: each step's own, and the look before it."""
        calls: Counter[tuple[str, str]] = Counter()
        for verdict in eligible:
            for operation in verdict.operations:
                calls[verdict.account, operation] += 1
                look = self._looks.get(operation)
                if look is not None and look != operation:
                    calls[verdict.account, look] += 1
        return calls

    async def _seconds(
        self, calls: Mapping[tuple[str, str], int], eligible: int, rate: float | None
    ) -> tuple[float, float]:
        """How long it takes at best and at worst, by the quotas as they stand now; accounts of a group share one."""
        changed = await changed_rates(self._ledger)
        together: Counter[tuple[str, str]] = Counter()
        rates: dict[tuple[str, str], float] = {}
        for (account, operation), number in calls.items():
            key = (self._accounts[account].group(), operation)
            together[key] += number
            rates[key] = changed.get(key) or self._accounts[account].rate(operation)
        best = worst = 0.0 if rate is None else max(0, eligible - 1) / rate
        for key, number in together.items():
            usable = usable_rate(rates[key])
            best = max(best, number / usable)
            worst = max(worst, number / sure_rate(usable, Lane.REPLAY))
        return best, worst

    async def _do(self, kind: str, asked: Asked, replay_id: str, decide: Decide) -> Answer:
        return await do(kind, asked, Keys(desk=DeskKeys(replays=frozenset({replay_id}))), decide, at=self._place)


class ReplayRunner:
    """The worker's loop that begins what replays chose; several processes may run it beside each other."""

    def __init__(self, *, ledger: DeskLedger, policy: PlanningPolicy, clock: Clock, telemetry: Telemetry) -> None:
        """Everything it needs, as ports."""
        self._ledger = ledger
        self._policy = policy
        self._clock = clock
        self._telemetry = telemetry

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Begin until asked to stop."""
        await keep_going(
            self._round, name="replay", stopping=stopping, clock=self._clock, telemetry=self._telemetry, pulse=pulse
        )

    async def run_once(self) -> int:
        """One batch of each replay that runs; how many plans were begun or refused."""
        replays = await self._ledger.replays(unfinished=True)
        running = [replay for replay in replays if replay.state is ReplayState.RUNNING]
        return sum([await self._advance(replay) for replay in reversed(running)])

    async def _round(self) -> None:
        advanced = await self.run_once()
        await self._clock.sleep(PAUSE_SECONDS if advanced else LOOK_SECONDS)

    async def _advance(self, replay: Replay) -> int:
        room = await self._room(replay)
        if room <= 0:
            return 0
        standings = await self._ledger.replay_items(replay.id, pending=True, limit=room)
        if not standings:
            await self._finish(replay)
            return 0
        items = [standing.item for standing in standings]
        plans = {s.item.plan_id: s.plan for s in standings if s.plan is not None}
        context = await _context(self._ledger, list(plans.values()), self._policy)
        now = self._clock.now()
        fates: list[str] = []

        def decide(known: Known) -> Changes:
            draft = Draft(known, now)
            fates[:] = []
            current = known.desk.replays.get(replay.id)
            if current is None or current.state is not ReplayState.RUNNING:
                return Changes()
            for item in items:
                written = _begun(draft, item, known, context.events, self._policy, actor=replay.actor)
                draft.put_desk(DeskChanges(items=(written,)))
                fates.append(written.why or "begun")
            return draft.changes()

        await self._ledger.transact(replace(context.keys, desk=DeskKeys(replays=frozenset({replay.id}))), decide)
        self._tell(replay, fates)
        return len(fates)

    async def _room(self, replay: Replay) -> int:
        """How many plans may be begun now, at the pace that was asked for."""
        if replay.rate is None:
            return BATCH
        begun = await self._ledger.begun(replay.id) - replay.paced_begun
        due = 1 + int((self._clock.now() - replay.paced_from) * replay.rate)
        return min(BATCH, due - begun)

    async def _finish(self, replay: Replay) -> None:
        """Everything is begun: it is finished once nothing of it is under way any more."""
        outcomes: Counter[str] = Counter()
        async for standing in _standings(self._ledger, replay.id):
            outcome = outcome_of(standing.item, standing.plan, replay)
            if outcome is ItemOutcome.RUNNING:
                return
            outcomes[outcome.value] += 1
        now = self._clock.now()

        def decide(known: Known) -> Changes:
            current = known.desk.replays.get(replay.id)
            if current is None or current.state is not ReplayState.RUNNING:
                return Changes()
            done = replace(current, state=ReplayState.FINISHED, changed_at=now, ended_at=now, counts=dict(outcomes))
            return Changes(desk=(DeskChanges(replays=(done,)),))

        await self._ledger.transact(Keys(desk=DeskKeys(replays=frozenset({replay.id}))), decide)
        self._telemetry.log("info", "a replay is finished", replay=replay.id, **outcomes)

    def _tell(self, replay: Replay, fates: Sequence[str]) -> None:
        for fate, number in Counter(fates).items():
            self._telemetry.count("replayed_plans_total", number, outcome=fate)
        if fates:
            self._telemetry.log("info", "plans of a replay", replay=replay.id, **Counter(fates))


async def _standings(ledger: Inquiries, replay_id: str) -> AsyncIterator[ItemStanding]:
    """The plans of a replay in their order, read page by page."""
    after = 0
    while page := await ledger.replay_items(replay_id, after=after, limit=PAGE):
        for standing in page:
            yield standing
        after = page[-1].item.number


def _begun(
    draft: Draft,
    item: ReplayItem,
    known: Known,
    events: Mapping[str, StoredEvent],
    policy: PlanningPolicy,
    *,
    actor: str,
) -> ReplayItem:
    """Begin one plan unless it was begun since it was chosen, or is to be refused."""
    plan = known.plans.get(item.plan_id)
    if plan is None:
        verdict: Verdict = _GONE
    elif plan.epoch != item.from_epoch:
        verdict = Refused(why=Why.REPLAYED)
    else:
        verdict = start(draft, plan, events.get(plan.id), policy, actor=actor)
    if isinstance(verdict, Refused):
        return replace(item, state=ItemState.REFUSED, why=verdict.why.value, at=draft.now)
    return replace(item, state=ItemState.BEGUN, epoch=item.from_epoch + 1, at=draft.now)


def _changed(replay: Replay, to: str, now: float, begun: int) -> Replay | None:
    match to, replay.state:
        case "pause", ReplayState.RUNNING:
            return replace(replay, state=ReplayState.PAUSED, changed_at=now)
        case "resume", ReplayState.PAUSED:
            return replace(replay, state=ReplayState.RUNNING, changed_at=now, paced_from=now, paced_begun=begun)
        case "cancel", ReplayState.RUNNING | ReplayState.PAUSED:
            return replace(replay, state=ReplayState.CANCELLED, changed_at=now, ended_at=now)
        case _:
            return None


class _Context(Value, frozen=True):
    """What plans have to be judged by: the events of those that are planned anew, and what all of them are about."""

    events: Mapping[str, StoredEvent]
    keys: Keys


async def _context(ledger: DeskLedger, plans: Sequence[Plan], policy: PlanningPolicy) -> _Context:
    """Look up what must be known to judge these plans; an event that was erased is missing."""
    ids = frozenset(plan.id for plan in plans)
    unplanned = {(plan.event_source, plan.event_id): plan.id for plan in plans if not plan.planned}
    known = await look_up(ledger, Keys(plans=ids, desk=DeskKeys(contents=frozenset(unplanned))))
    events = {unplanned[key]: event for key, event in known.contents.items() if event.data}
    resources = {command.resource for command in known.commands}
    subjects: set[str] = set()
    for plan in plans:
        mine, theirs = subjects_of(plan, events.get(plan.id), policy)
        subjects |= mine
        resources |= theirs
    return _Context(events, Keys(plans=ids, subjects=frozenset(subjects), resources=frozenset(resources)))


def _by_operation(calls: Mapping[tuple[str, str], int]) -> dict[str, int]:
    together: Counter[str] = Counter()
    for (_, operation), number in sorted(calls.items()):
        together[operation] += number
    return dict(together)


def _in_order(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    return tuple(sorted(plans, key=lambda plan: (plan.order.rank, plan.id)))


def _sample(one: str, subject: str, verdict: Verdict) -> Sample:
    if isinstance(verdict, Eligible):
        return Sample(id=one, subject=subject, eligible=True, why=None, sentence=f"{len(verdict.operations)} steps run")
    return Sample(id=one, subject=subject, eligible=False, why=verdict.why, sentence=SENTENCES[verdict.why])
