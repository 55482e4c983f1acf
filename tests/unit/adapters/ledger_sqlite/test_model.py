"""The SQLite ledger and the fake do the same, whatever is asked of them in whatever order."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.adapters.ledger_sqlite.ledger import SqliteLedger
from service.application.inquiry import Inquiries
from service.application.ports import ClaimRoom, CommandQuery, Ledger, SlotBook, UnavailableError
from service.domain.binding import BindingState
from service.domain.command import CommandState, Lane, PlanState, Session, WaitCause
from service.domain.ledger_state import Changes, Fact, Hold, HoldKind, Keys, Known, OutboxMessage
from service.domain.retention import Erasable
from service.domain.value import replace
from tests.builders import CREATE, GROUP, NOW, make_binding, make_command, make_event, make_order, make_plan
from tests.conformance.ledger.bench import make_failure
from tests.fakes.ledger import FakeLedger

SUBJECTS = ("agent:realm/1", "agent:realm/2", "agent:realm/3")
RESOURCES = ("extension:a/1", "extension:a/2")
TIMES = (None, NOW - 1, NOW, NOW + 1, NOW + 2)

numbers = st.integers(min_value=1, max_value=5)
subjects, resources, times = st.sampled_from(SUBJECTS), st.sampled_from(RESOURCES), st.sampled_from(TIMES)

commands = st.builds(
    lambda plan, step_no, at, **fields: make_command(
        make_plan(plan), step_no, order=make_order(plan, at=at), account=fields.pop("account"), **fields
    ),
    numbers,
    st.integers(0, 1),
    st.sampled_from((1, 2)),
    account=st.sampled_from(("a", "b")),
    subject=subjects,
    resource=resources,
    state=st.sampled_from((*CommandState, *[CommandState.PENDING] * 6)),
    due_at=st.sampled_from((NOW - 1, NOW, NOW + 1, None)),
    effective_at=times,
    owner=st.sampled_from((None, None, None, 1, 2)),
    attempts=st.sampled_from((0, 0, 1)),
    quota_group=st.sampled_from((GROUP, GROUP, GROUP, "former")),
    cause=st.sampled_from((None, WaitCause.RETRY)),
    failure=st.sampled_from((None, make_failure(), make_failure("Other"))),
    ended_at=st.sampled_from((None, NOW, NOW + 1)),
)
plans = st.builds(
    make_plan,
    numbers,
    state=st.sampled_from((PlanState.OPEN, PlanState.OPEN, PlanState.FAILED)),
    subject=subjects,
    ended_at=st.sampled_from((NOW, NOW + 1, None)),
    failure=st.sampled_from((None, make_failure())),
    planned=st.booleans(),
    account=st.sampled_from(("a", None)),
)
# a generation of a subject's binding never changes its resource
bindings = st.builds(
    lambda subject, generation, state: make_binding(
        subject=subject, generation=generation, state=state, resource=RESOURCES[(int(subject[-1]) + generation) % 2]
    ),
    subjects,
    st.integers(1, 3),
    st.sampled_from(BindingState),
)
facts = st.builds(
    Fact,
    id=st.sampled_from(("f1", "f2", "f3")),
    subject=subjects,
    kind=st.just("approved"),
    apply_id=st.none(),
    reason=st.none(),
    received_at=st.sampled_from((NOW, NOW + 1)),
    taken_by=st.sampled_from((None, "command")),
)
messages = st.builds(
    OutboxMessage,
    id=st.sampled_from(("m1", "m2", "m3", "m4")),
    topic=st.just("provisioning.results"),
    key=st.none(),
    value=st.just(b"{}"),
    headers=st.just(()),
    order_by=st.just("x"),
    created_at=st.just(NOW),
)
command_ids = st.builds(lambda plan, step_no: f"plan-{plan:06d}-{step_no}", numbers, st.integers(0, 1))
holds = st.builds(
    Hold,
    id=st.sampled_from(("h1", "h2", "h3")),
    kind=st.sampled_from((HoldKind.QUARANTINE, HoldKind.QUARANTINE, HoldKind.HOLD)),
    reason=st.just("sick"),
    actor=st.just("cordboard"),
    created_at=st.just(NOW),
    account=st.sampled_from(("a", "a", "b", None)),
    operation=st.sampled_from((None, None, CREATE, "tencent_ccc.Other")),
    subject=st.one_of(st.none(), st.none(), subjects),
    resource=st.one_of(st.none(), st.none(), resources),
    probe=st.one_of(command_ids, command_ids, st.just("unknown"), st.none()),
    released_at=st.sampled_from((None, None, None, NOW)),
)
changes = st.builds(
    lambda made, events, **rows: (Changes(**rows, events=tuple(map(make_event, events))), made),
    st.booleans(),
    st.lists(numbers, max_size=2, unique=True),
    plans=st.lists(plans, max_size=3, unique_by=lambda p: p.id).map(tuple),
    commands=st.lists(commands, max_size=4, unique_by=lambda c: c.id).map(tuple),
    bindings=st.lists(bindings, max_size=2, unique_by=lambda b: (b.subject, b.generation)).map(tuple),
    facts=st.lists(facts, max_size=2, unique_by=lambda f: f.id).map(tuple),
    holds=st.one_of(st.just(()), st.lists(holds, max_size=2, unique_by=lambda h: h.id).map(tuple)),
    outbox=st.lists(messages, max_size=2, unique_by=lambda m: m.id).map(tuple),
)
keys = st.builds(
    Keys,
    accounts=st.frozensets(st.sampled_from(("a", "b")), max_size=2),
    events=st.frozensets(numbers.map(lambda n: ("urn:hr", f"event-{n}")), max_size=2),
    subjects=st.frozensets(subjects, max_size=2),
    resources=st.frozensets(resources, max_size=2),
    plans=st.frozensets(numbers.map(lambda n: f"plan-{n:06d}"), max_size=2),
)

Operation = tuple[str, Any]
operations = st.lists(
    st.one_of(
        st.tuples(st.just("transact"), st.tuples(keys, changes)),
        st.tuples(st.just("transact"), st.tuples(keys, changes)),
        st.tuples(st.just("claim"), st.tuples(st.sampled_from((NOW, NOW + 1)), st.integers(1, 3))),
        st.tuples(st.just("release"), st.lists(numbers.map(lambda n: f"plan-{n:06d}-0"), max_size=2)),
        st.tuples(st.just("regroup"), st.dictionaries(st.sampled_from(("a", "b")), st.sampled_from((GROUP, "former")))),
        st.tuples(st.just("open_session"), st.none()),
        st.tuples(st.just("orphans"), st.none()),
        st.tuples(st.just("slots"), st.tuples(st.integers(1, 3), st.sampled_from((NOW, NOW + 30)))),
        st.tuples(st.just("published"), st.sampled_from(("m1", "m2", "m9"))),
        st.tuples(
            st.just("erase"), st.tuples(st.sampled_from(Erasable), st.sampled_from((NOW, NOW + 9)), st.booleans())
        ),
        st.tuples(
            st.just("erase"), st.tuples(st.sampled_from(Erasable), st.sampled_from((NOW, NOW + 9)), st.booleans())
        ),
        st.tuples(st.just("look"), st.sampled_from((*CommandState, None))),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=25,
)


class OwnLedger(Ledger, Inquiries, SlotBook, Protocol):
    """A ledger that one process has for itself."""


class Driver:
    """Does the operations to one ledger and says what came of each."""

    def __init__(self, ledger: OwnLedger, reopen: Callable[[], Awaitable[OwnLedger]]) -> None:
        self.ledger, self._reopen = ledger, reopen
        self._session = Session(1, "nobody")

    async def do(self, operation: Operation) -> object:
        name, argument = operation
        try:
            return await getattr(self, f"_{name}")(argument)
        except (ValueError, UnavailableError) as error:
            return type(error)

    async def _transact(self, argument: Any) -> object:
        keys, (change, with_plans) = argument
        if with_plans:  # most of the time the plans of the commands come along
            missing = {c.plan_id: make_plan(int(c.plan_id[-6:])) for c in change.commands}
            missing |= {plan.id: plan for plan in change.plans}
            change = replace(change, plans=tuple(missing.values()))
        seen: list[Known] = []

        def decide(known: Known) -> Changes:
            seen[:] = [known]  # a ledger may ask again
            decided: Changes = change
            return decided

        try:
            return [await self.ledger.transact(keys, decide), seen]
        except ValueError:
            return ["refused", seen]

    async def _claim(self, argument: Any) -> object:
        now, number = argument
        rooms = [
            ClaimRoom(quota_group=group, operation=CREATE, lane=Lane.LIVE, room=number) for group in (GROUP, "former")
        ]
        return list(await self.ledger.claim(self._session, now, rooms))

    async def _regroup(self, groups: dict[str, str]) -> int:
        return await self.ledger.regroup(groups)

    async def _release(self, argument: list[str]) -> None:
        await self.ledger.release(self._session, argument)

    async def _open_session(self, _: None) -> object:
        self._session = await self.ledger.open_session("me", NOW)
        return self._session

    async def _orphans(self, _: None) -> object:
        return list(await self.ledger.orphans(self._session))

    async def _slots(self, argument: Any) -> object:
        count, not_before = argument
        return await self.ledger.reserve_slots(GROUP, CREATE, count=count, spacing=0.5, not_before=not_before)

    async def _published(self, message_id: str) -> object:
        await self.ledger.mark_published([message_id], NOW)
        return [replace(m, seq=0) for m in await self.ledger.unpublished(10)]

    async def _erase(self, argument: Any) -> int:
        what, before, one = argument
        return await self.ledger.erase(what, before=before, limit=1 if one and what is Erasable.PLANS else 100)

    async def _look(self, state: CommandState | None) -> object:
        query = CommandQuery(states=() if state is None else (state,))
        found = list(await self.ledger.commands(query))
        stories = [await self.ledger.story(command.id) for command in found]
        # of what has failed and was started again SQLite remembers when it had
        tallies = {replace(tally, first_at=None, last_at=None) for tally in await self.ledger.tallies()}
        failed = list(await self.ledger.plans(CommandQuery(error_class="retryable", operation=CREATE, since=NOW)))
        return [
            found,
            stories,
            list(await self.ledger.plans(CommandQuery())),
            await self.ledger.oldest(),
            tallies,
            failed,
        ]

    async def _restart(self, _: None) -> object:
        self.ledger = await self._reopen()
        return await self._open_session(None)


async def compare(steps: list[Operation], path: Path) -> None:
    fake, sqlite = FakeLedger(), await SqliteLedger.open(path)

    async def reopen_fake() -> OwnLedger:
        nonlocal fake
        fake = fake.reopen()
        return fake

    async def reopen_sqlite() -> OwnLedger:
        nonlocal sqlite
        await sqlite.close()
        sqlite = await SqliteLedger.open(path)
        return sqlite

    one, other = Driver(fake, reopen_fake), Driver(sqlite, reopen_sqlite)
    try:
        for step in [("open_session", None), *steps, ("look", None)]:
            assert await one.do(step) == await other.do(step), step
    finally:
        await sqlite.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps=operations)
def test_sqlite_and_the_fake_agree_on_everything(steps: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(steps, Path(folder) / "ledger.db"))
