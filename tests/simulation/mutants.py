"""Planted bugs: each breaks one named seam of the real code, so that the explorer can prove that it sees it (E2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from unittest.mock import patch

from service.adapters import quota_slots
from service.application import settlement, takeover
from service.application.execution import Execution
from service.application.intake import Intake
from service.application.outbox_relay import OutboxRelay
from service.application.ports import Granted
from service.application.settlement import Settlement
from service.domain import order, settling, starting, superseding, taking_in
from service.domain.command import CommandState, WaitCause
from service.domain.draft import Draft
from service.domain.idempotency_key import command_id, plan_id
from service.domain.ledger_state import Changes
from service.domain.outcome import Failure, Seen, WhenUnclear
from service.domain.value import replace
from service.vendors.huawei_aicc.create_called_route import CreateCalledRoute
from service.vendors.tencent_ccc.create_extension import CreateExtension
from service.vendors.tencent_ccc.create_own_number_apply import CreateOwnNumberApply
from tests.fakes.ledger import FakeLedger
from tests.simulation import process
from tests.simulation.explorer import Report, run

MOST_SEEDS: Final = 2_000
"""Within so many schedules every bug has to be seen: the rarest shows in one of two hundred."""

Seam = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug: what it does, and the seams it changes."""

    what: str
    seams: Callable[[], list[Seam]]


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Run with the bug in place."""
    patches = [patch.object(owner, seam, bug) for owner, seam, bug in MUTANTS[name].seams()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


def hunt(name: str, seeds: Iterable[int]) -> Report | None:
    """The first schedule that the bug breaks; that they are whole without it is a test of its own."""
    with planted(name):
        return next((report for report in run(seeds) if report.violations), None)


def row(name: str, report: Report | None) -> str:
    """A line of the table: the bug, the seed that shows it first, the oracles that saw it there."""
    if report is None:
        return f"{name:28} not seen in {MOST_SEEDS} schedules"
    oracles = "".join(sorted({violation.oracle for violation in report.violations}))
    return f"{name:28} {report.seed:4} {oracles:5} {report.violations[0].what[:90]}"


# ---------------------------------------------------------------------- before the send


def _mark_dropped() -> list[Seam]:
    async def mark(self: Any, claim: Any, call: Any, slot: Any) -> Any:
        return claim

    return [(Settlement, "mark", mark)]


def _look_away(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _mark_not_durable() -> list[Seam]:
    real = Settlement.mark

    async def mark(self: Any, claim: Any, call: Any, slot: Any) -> Any:
        task = asyncio.ensure_future(real(self, claim, call, slot))
        task.add_done_callback(_look_away)
        command = claim.command
        begun = replace(command, state=CommandState.IN_FLIGHT, attempts=command.attempts + 1)
        return replace(claim, command=begun)

    return [(Settlement, "mark", mark)]


def _sent_without_read() -> list[Seam]:
    def blind(real: Any) -> Any:
        return lambda self, wanted, seen, *, ours: real(self, wanted, Seen(None), ours=ours)

    return [(room, "decide", blind(room.decide)) for room in (CreateExtension, CreateCalledRoute)]


def _everything_is_ours() -> list[Seam]:
    def decide(self: Any, run: Any, operation: Any, seen: Any) -> Any:
        return operation.decide(run.claim.command.wanted, seen, ours=True)

    return [(Execution, "_decide", decide)]


def _slots_forgotten() -> list[Seam]:
    """The slots that were dealt die with the process."""

    async def reserve_slots(self: Any, group: str, operation: str, **asked: Any) -> Granted:
        own = self.__dict__.setdefault("_own_slots", {})
        count_, spacing, not_before = asked["count"], asked["spacing"], asked["not_before"]

        def work() -> Granted:
            first = max(own.get((group, operation), not_before), not_before)
            own[group, operation] = first + count_ * spacing
            return Granted(first=first)

        granted: Granted = await self._transaction("reserve_slots", work)
        return granted

    return [(FakeLedger, "reserve_slots", reserve_slots)]


def _slots_not_waited_for() -> list[Seam]:
    async def ready(self: Any, slot: Any) -> bool:
        return True

    return [(quota_slots.SlotQuota, "ready", ready)]


# ---------------------------------------------------------------------- ownership and order


def _claimed_twice() -> list[Seam]:
    real = FakeLedger._put_command

    def put(self: Any, command: Any) -> Any:
        claimed = command.owner is not None and command.state is not CommandState.IN_FLIGHT
        real(self, replace(command, owner=None) if claimed else command)
        return command

    return [(FakeLedger, "_put_command", put)]


def _owner_not_checked() -> list[Seam]:
    return [(Settlement, "_is_ours", lambda self, command, claim: True)]


def _lost_claims_kept() -> list[Seam]:
    """Found by the explorer, and mended: what a claim took whose reply was lost is run by nobody."""

    async def release_others(self: Any, session: Any, command_ids: Any) -> int:
        return 0

    return [(FakeLedger, "release_others", release_others)]


def _claims_of_the_dead_kept() -> list[Seam]:
    real = FakeLedger.open_session

    async def open_session(self: Any, owner: str, now: float) -> Any:
        kept = self._unfinished
        self._unfinished = {}
        try:
            return await real(self, owner, now)
        finally:
            self._unfinished = kept

    return [(FakeLedger, "open_session", open_session)]


def _parked_in_the_way() -> list[Seam]:
    """What waits behind work that was handed back stands in that work's way: found by the explorer, and mended."""
    return [(FakeLedger, "_parked", lambda self, plan_id: False)]


def _later_step_first() -> list[Seam]:
    runnable = starting.Standing(CommandState.PENDING, None, 0.0)
    real = FakeLedger._stands_in_the_way

    def stands(self: Any, b: Any, c: Any, *rest: Any) -> bool:
        return bool(b.plan_id != c.plan_id and real(self, b, c, *rest))

    return [(starting, "AFTER_EARLIER_STEP", runnable), (FakeLedger, "_stands_in_the_way", stands)]


def _nobody_is_blocked() -> list[Seam]:
    """Work begins beside earlier work of its subject that is not being sent just now."""

    def stands(self: Any, b: Any, c: Any, *rest: Any) -> bool:
        return bool(b.id != c.id and b.plan_id == c.plan_id and b.step_no < c.step_no)

    return [(starting, "is_blocked", lambda *asked: False), (FakeLedger, "_stands_in_the_way", stands)]


def _revisions_not_ordered() -> list[Seam]:
    return [
        (order, "_place", lambda revision, arrived, siblings: arrived),
        (taking_in, "is_overtaken", lambda *asked: False),
        (settling, "is_overtaken", lambda *asked: False),
    ]


def _stale_work_done() -> list[Seam]:
    return [(taking_in, "is_overtaken", lambda *a: False), (settling, "is_overtaken", lambda *a: False)]


def _successors_not_woken() -> list[Seam]:
    return [(settling, "wake_successors", lambda draft, ended: None)]


def _latest_superseded() -> list[Seam]:
    """The later event ends the work that is being sent, too."""

    def supersede(draft: Any, by: Any, steps: Any, resource: Any) -> None:
        for plan in draft.open_plans(by.subject, ()):
            commands = draft.steps_of(plan.id)
            if all(c.state in {CommandState.PENDING, CommandState.WAITING, CommandState.IN_DOUBT} for c in commands):
                superseding._end(draft, plan, commands, by)

    return [(taking_in, "supersede", supersede)]


# ---------------------------------------------------------------------- after the send


def _outcome_lost() -> list[Seam]:
    real = Settlement.settle

    async def settle(self: Any, claim: Any, outcome: Any, **how: Any) -> None:
        if not isinstance(outcome, Failure):
            await real(self, claim, outcome, **how)

    return [(Settlement, "settle", settle)]


def _outcome_not_insisted_on() -> list[Seam]:
    async def insist(write: Any, **around: Any) -> Any:
        try:
            return await write()
        except Exception:  # noqa: BLE001 - that is the bug
            return Changes()

    return [(settlement, "insist", insist)]


def _takeover_skipped() -> list[Seam]:
    async def take_over(**around: Any) -> int:
        return 0

    return [(process, "take_over", take_over)]


def _takeover_calls_it_pending() -> list[Seam]:
    """What was left in flight is simply sent again."""

    def again(draft: Any, command: Any, failure: Any, **how: Any) -> None:
        draft.move(command, CommandState.WAITING, why="again", cause=WaitCause.RETRY, due_at=draft.now)

    return [(takeover, "doubt", again)]


def _doubt_sent_again() -> list[Seam]:
    return [(Execution, "_stays_unknown", lambda self, command, operation, seen: False)]


def _absent_once() -> list[Seam]:
    return [(Execution, "_absent_for_long", lambda self, command: True)]


def _application_read_back() -> list[Seam]:
    return [(CreateOwnNumberApply, "when_unclear", WhenUnclear.READ_BACK)]


def _doubt_forgotten() -> list[Seam]:
    """An unclear answer to a write is tried again like any failure."""

    def doubt(draft: Any, command: Any, failure: Any, **how: Any) -> None:
        draft.move(command, CommandState.WAITING, why="again", cause=WaitCause.RETRY, due_at=draft.now)

    return [(settling, "doubt", doubt)]


def _applied_not_remembered() -> list[Seam]:
    return [(settling, "_remember_applied", _nothing)]


# ---------------------------------------------------------------------- intake


def _offset_let_go_early() -> list[Seam]:
    real = Intake._fetch

    async def fetch(self: Any) -> None:
        await real(self)
        if self._held:
            self._source.taken([record for record, _ in self._held])

    return [(Intake, "_fetch", fetch)]


def _plan_key_without_event() -> list[Seam]:
    real = plan_id
    return [(taking_in, "plan_id", lambda source, event_id: real(source, ""))]


def _key_without(*fields: str) -> Callable[[], list[Seam]]:
    def seams() -> list[Seam]:
        real = command_id
        return [(starting, "command_id", lambda **parts: real(**{**parts, **dict.fromkeys(fields, "")}))]

    return seams


def _nothing(*asked: Any) -> None:
    """Do nothing."""


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def _digest_not_compared() -> list[Seam]:
    real = Draft.digest_of
    return [(Draft, "digest_of", lambda self, event: _Anything() if real(self, event) is not None else None)]


def _delivered_again_taken_again() -> list[Seam]:
    return [(Draft, "digest_of", lambda self, event: None)]


def _dead_letter_not_written() -> list[Seam]:
    return [(taking_in, "_dead_letter", lambda draft, record, defect: None)]


def _told_nothing_of(prefix: str) -> Callable[[], list[Seam]]:
    def seams() -> list[Seam]:
        real = Draft.tell

        def tell(self: Any, message: Any) -> None:
            if not message.topic.startswith(prefix):
                real(self, message)

        return [(Draft, "tell", tell)]

    return seams


def _not_reserved() -> list[Seam]:
    return [(taking_in, "reserve", lambda draft, plan, **what: None)]


def _reservation_kept() -> list[Seam]:
    return [(Draft, "release_reservation", lambda self, plan: None)]


def _fact_dropped() -> list[Seam]:
    """A fact that finds no wait is forgotten."""
    real = Draft.put_fact

    def put_fact(self: Any, fact: Any) -> Any:
        return fact if fact.taken_by is None else real(self, fact)

    return [(Draft, "put_fact", put_fact)]


def _fact_without_effect() -> list[Seam]:
    return [(taking_in, "apply_fact", lambda draft, fact, policy: False)]


# ---------------------------------------------------------------------- telling


def _marked_before_acknowledged() -> list[Seam]:
    real = OutboxRelay._publish

    async def publish(self: Any, messages: Any) -> Any:
        await self._ledger.mark_published([message.id for message in messages], self._clock.now())
        return await real(self, messages)

    return [(OutboxRelay, "_publish", publish)]


def _acknowledged_in_part() -> list[Seam]:
    real = OutboxRelay._publish

    async def publish(self: Any, messages: Any) -> Any:
        return [message.id for message in messages] if await real(self, messages) else ()

    return [(OutboxRelay, "_publish", publish)]


def _end_told_twice() -> list[Seam]:
    real = Draft.tell
    occurrences = count()

    def tell(self: Any, message: Any) -> None:
        real(self, message)
        if b"plan.completed" in (message.value or b""):
            real(self, replace(message, id=f"{message.id}-{next(occurrences)}"))

    return [(Draft, "tell", tell)]


def _ids_by_chance() -> list[Seam]:
    """A message's id differs each time it is published."""
    occurrences = count()
    real = OutboxRelay._publish

    async def publish(self: Any, messages: Any) -> Any:
        ids = {f"{message.id}-{next(occurrences)}": message.id for message in messages}
        renamed = [replace(m, id=new) for m, new in zip(messages, ids, strict=True)]
        return [ids[new] for new in await real(self, renamed)]

    return [(OutboxRelay, "_publish", publish)]


MUTANTS: Final[Mapping[str, Mutant]] = {
    "mark_dropped": Mutant("nothing is written before a send", _mark_dropped),
    "mark_not_durable": Mutant("the send does not wait for its mark", _mark_not_durable),
    "sent_without_read": Mutant("a create goes out without a look at what is there", _sent_without_read),
    "everything_is_ours": Mutant("another's resource is taken for ours", _everything_is_ours),
    "slots_forgotten": Mutant("dealt slots die with the process", _slots_forgotten),
    "slots_not_waited_for": Mutant("a request leaves before its slot", _slots_not_waited_for),
    "claimed_twice": Mutant("a claim leaves no trace in the ledger", _claimed_twice),
    "owner_not_checked": Mutant("an outcome is written for work that is no longer ours", _owner_not_checked),
    "lost_claims_kept": Mutant("what a failed claim took is never handed back", _lost_claims_kept),
    "claims_of_the_dead_kept": Mutant("a new session leaves the old one's claims", _claims_of_the_dead_kept),
    "nobody_is_blocked": Mutant("later work does not wait for earlier work", _nobody_is_blocked),
    "parked_in_the_way": Mutant("two plans wait for each other", _parked_in_the_way),
    "later_step_first": Mutant("a plan's steps begin together", _later_step_first),
    "revisions_not_ordered": Mutant("revisions order nothing", _revisions_not_ordered),
    "stale_work_done": Mutant("a revision that was overtaken is applied", _stale_work_done),
    "successors_not_woken": Mutant("who waits behind ended work is not woken", _successors_not_woken),
    "latest_superseded": Mutant("what is in doubt is superseded", _latest_superseded),
    "outcome_lost": Mutant("a failure is not written", _outcome_lost),
    "outcome_not_insisted_on": Mutant("an outcome is dropped when the ledger is away", _outcome_not_insisted_on),
    "takeover_skipped": Mutant("what a dead process left in flight stays so", _takeover_skipped),
    "takeover_sends_again": Mutant("what a dead process left in flight is sent again", _takeover_calls_it_pending),
    "doubt_sent_again": Mutant("what is in doubt is sent again without looking", _doubt_sent_again),
    "absent_once": Mutant("one look that shows nothing proves absence", _absent_once),
    "application_read_back": Mutant("an application is taken for what can be read back", _application_read_back),
    "doubt_forgotten": Mutant("an unclear answer is tried again", _doubt_forgotten),
    "applied_not_remembered": Mutant("what was applied is not remembered", _applied_not_remembered),
    "offset_let_go_early": Mutant("offsets are let go before the batch is stored", _offset_let_go_early),
    "plan_key_without_event": Mutant("the plan's key misses the event's id", _plan_key_without_event),
    "command_key_without_step": Mutant("the command's key misses the step", _key_without("step", "operation")),
    "command_key_without_event": Mutant("the command's key misses the event's id", _key_without("event_id")),
    "digest_not_compared": Mutant("an id used again with other content is let pass", _digest_not_compared),
    "delivered_again_taken_again": Mutant("a redelivered event is taken in again", _delivered_again_taken_again),
    "dead_letter_not_written": Mutant("a bad record leaves no dead letter", _dead_letter_not_written),
    "dead_letter_not_told": Mutant("a dead letter is noted and not published", _told_nothing_of("dlq.")),
    "failures_not_told": Mutant("failures are not published", _told_nothing_of("provisioning.failures")),
    "credentials_not_told": Mutant("sealed credentials are not published", _told_nothing_of("provisioning.cred")),
    "not_reserved": Mutant("intake reserves no resource", _not_reserved),
    "reservation_kept": Mutant("a reservation outlives its plan", _reservation_kept),
    "fact_dropped": Mutant("a fact that comes early is forgotten", _fact_dropped),
    "fact_without_effect": Mutant("a fact ends no wait", _fact_without_effect),
    "marked_before_acknowledged": Mutant("messages count as published before they are", _marked_before_acknowledged),
    "acknowledged_in_part": Mutant("a batch counts as published when its head was", _acknowledged_in_part),
    "end_told_twice": Mutant("a plan's end is told under two ids", _end_told_twice),
    "ids_by_chance": Mutant("a message's id differs at every try", _ids_by_chance),
}
"""Every planted bug by name."""
