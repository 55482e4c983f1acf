"""What follows from an outcome: the command's new state, its plan's next step or end, and who is told.

Pure decisions over a `Draft`; the settlement step and intake (for facts) store what they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from contracts.outbound import WaitingCause, WhoActs
from service.domain import announcements as tell
from service.domain.binding import BindingState
from service.domain.blueprint import FactKind, Step
from service.domain.command import Command, CommandState, Lane, Plan, PlanState, WaitCause
from service.domain.draft import Draft
from service.domain.ledger_state import Fact
from service.domain.order import has_begun, is_overtaken, stands_in_the_way
from service.domain.outcome import (
    ErrorClass,
    Failure,
    NotYet,
    Outcome,
    Result,
    StillUnknown,
    Succeeded,
    TooFresh,
    WhenUnclear,
)
from service.domain.quarantine import QuarantinePolicy, fall_sick, is_verdict, recover, standing, was_let_through
from service.domain.retry import RULES, GiveUp, RetryAt, RetryRule, after
from service.domain.value import Value, field, replace
from service.domain.wanted import given

OVERTAKEN: Final = "a later event was applied"

_NO_VERDICT: Final = frozenset({*RULES, ErrorClass.CREDENTIALS})  # says nothing about what is in doubt

_RESERVES_NOTHING: Final = frozenset({ErrorClass.CONFLICT, ErrorClass.INCOMPLETE})  # another's, or seen absent


class SettlingPolicy(Value, frozen=True, kw_only=True):
    """Times in seconds.

    `approval_poll_seconds`: how often an approval is looked for. `absent_gap_seconds`: how long after a first look
    that showed nothing a second one proves that what is in doubt was not done; at least the patience with a request
    and the vendor's read lag together. `first_look_seconds`: how long after a doubt the first look is made.
    `read_lag_seconds`: how long a vendor's reads may be behind what it did. `hired_to_ready_seconds`: within which an
    agent who was hired shall be ready; only measured by.
    """

    approval_poll_seconds: float = 300.0
    absent_gap_seconds: float = 40.0
    first_look_seconds: float = 0.5
    read_lag_seconds: float = 5.0
    hired_to_ready_seconds: float = 300.0
    quarantine: QuarantinePolicy = field(default_factory=QuarantinePolicy)
    retries: Mapping[ErrorClass, RetryRule] = field(default_factory=lambda: RULES)


class Settling(Value, frozen=True, kw_only=True):
    """One outcome to settle: `writes` says whether the operation changes anything, `sent` whether a call went out.

    `created` says that the call that went out was a create after a complete read showed nothing there,
    `when_unclear` how the operation settles a doubt. `chance` in [0, 1) spreads retries. `run` counts the account's
    commands that failed, this one included, since the vendor's last verdict, `claimed_at` is when the command was
    claimed (seconds since the epoch).
    """

    command: Command
    outcome: Outcome
    writes: bool
    sent: bool
    created: bool
    chance: float
    policy: SettlingPolicy
    when_unclear: WhenUnclear = WhenUnclear.WATCH  # the one that never sends again
    run: int = 0
    claimed_at: float = 0.0


def settle(draft: Draft, settling: Settling) -> None:
    """Settle a command's outcome in the draft."""
    command, outcome = settling.command, settling.outcome
    if is_verdict(outcome):
        _perhaps_recovered(draft, settling)
    elif _sickens(draft, settling):
        _wait_in_quarantine(draft, settling)
        return
    match outcome:
        case Succeeded():
            succeed(draft, command, outcome, writes=settling.writes, policy=settling.policy)
        case NotYet():
            _look_again(draft, command, settling.policy)
        case StillUnknown():
            _stay_in_doubt(draft, settling, outcome)
        case TooFresh(until):
            _look_when_fresh(draft, command, until)
        case Failure(error_class=ErrorClass.AMBIGUOUS) if settling.writes and settling.sent:
            doubt(draft, command, outcome, when_unclear=settling.when_unclear, policy=settling.policy)
        case Failure() if command.state is CommandState.IN_DOUBT and outcome.error_class in _NO_VERDICT:
            _stay_in_doubt(draft, settling, StillUnknown(absent=False))
        case Failure() if _still_doubtful(settling, outcome):
            doubt(draft, command, outcome, when_unclear=settling.when_unclear, policy=settling.policy)
        case Failure():
            _retry_or_fail(draft, settling, outcome)


def _perhaps_recovered(draft: Draft, settling: Settling) -> None:
    command = settling.command
    hold = standing(draft, command)
    if hold is not None and was_let_through(hold, command, settling.claimed_at):
        recover(draft, hold, command)


def _sickens(draft: Draft, settling: Settling) -> bool:
    """True if the account is sick, so that the command waits for it instead of failing or counting its tries.

    A call that may have been applied is a doubt all the same.
    """
    command, failure = settling.command, settling.outcome
    if not isinstance(failure, Failure):
        return False
    hold = standing(draft, command)
    ran = settling.run >= settling.policy.quarantine.run
    if hold is None and (failure.error_class is ErrorClass.CREDENTIALS or ran):
        hold = fall_sick(draft, command, failure)
    unclear = failure.error_class is ErrorClass.AMBIGUOUS and settling.writes and settling.sent
    return hold is not None and not unclear


def _wait_in_quarantine(draft: Draft, settling: Settling) -> None:
    """Wait for the account; the command that met it looks from time to time whether it has recovered."""
    command, failure = settling.command, settling.outcome
    hold = standing(draft, command)
    assert hold is not None, "it has just been found"  # noqa: S101
    assert isinstance(failure, Failure), "nothing else sickens"  # noqa: S101
    probing = hold.probe == command.id or was_let_through(hold, command, settling.claimed_at)
    if probing and hold.probe != command.id:
        draft.put_hold(replace(hold, probe=command.id))
    due_at = draft.now + (settling.policy.quarantine.pause(command.retries) if probing else 0.0)
    waiting = command
    if command.state is not CommandState.IN_DOUBT:
        why = f"{failure.error_class}:{failure.code}"
        waiting = draft.move(command, CommandState.WAITING, why=why, cause=WaitCause.QUARANTINE, due_at=due_at)
    retries = command.retries + 1 if probing else command.retries
    draft.put_command(replace(waiting, owner=None, due_at=due_at, retries=retries, failure=failure))
    tell_waiting(draft, draft.plan(command.plan_id), "quarantine", expected_at=None)
    _forget_create(draft, settling)


def succeed(
    draft: Draft,
    command: Command,
    outcome: Succeeded,
    *,
    writes: bool,
    policy: SettlingPolicy,
    actor: str = "cordboard",
    why: str | None = None,
) -> None:
    """The wanted state stands: remember it, tell it, go on with the plan."""
    done = draft.move(command, CommandState.SUCCEEDED, why=why or outcome.result, actor=actor)
    done = draft.put_command(replace(done, result=outcome.result, facts=dict(outcome.facts), failure=None))
    if writes:
        _remember_applied(draft, done)
    elif done.step == Step.APPROVAL:
        _date_binding(draft, done)
    plan = draft.plan(done.plan_id)
    if outcome.sealed is not None:
        draft.tell(tell.credential_sealed(plan, done, outcome.sealed, draft.now))
    draft.tell(tell.command_ended(plan, done, draft.now, request_id=outcome.request_id))
    following = next((c for c in draft.steps_of(plan.id) if c.step_no > done.step_no and not c.state.ended), None)
    if following is None:
        complete_plan(draft, plan)
    else:
        _begin_step(draft, plan, following, after=done, policy=policy)


def doubt(
    draft: Draft, command: Command, failure: Failure, *, when_unclear: WhenUnclear, policy: SettlingPolicy
) -> None:
    """The vendor may or may not have done it: say so, and nothing is sent until it is settled.

    What sets a value and is applied again is bounded in count like any retry; each further doubt waits longer.
    """
    watched = when_unclear is WhenUnclear.WATCH
    before = command.failure
    doubts = command.retries + 1 if before is not None and before.error_class is ErrorClass.AMBIGUOUS else 0
    rule = policy.retries[ErrorClass.AMBIGUOUS]
    if when_unclear is WhenUnclear.APPLY_AGAIN and doubts > rule.attempts:
        fail(draft, command, replace(failure, error_class=ErrorClass.AMBIGUOUS))
        return
    growing = min(rule.cap, policy.first_look_seconds * 2.0 ** min(doubts, 30))
    wait = policy.approval_poll_seconds if watched else growing
    doubted = draft.move(
        command, CommandState.IN_DOUBT, why=f"{failure.error_class}:{failure.code}", due_at=draft.now + wait
    )
    lane = Lane.SWEEP if watched else Lane.SETTLE
    doubted = draft.put_command(replace(doubted, failure=failure, lane=lane, absent_at=None, retries=doubts))
    plan = draft.plan(command.plan_id)
    draft.tell(tell.command_in_doubt(plan, doubted, draft.now, who_acts="operator" if watched else "cordboard"))
    tell_waiting(draft, plan, "in_doubt", expected_at=None, who_acts="operator" if watched else None)
    for kept in draft.facts_for(command.subject):
        if apply_fact(draft, kept, policy):
            return


def _look_when_fresh(draft: Draft, command: Command, until: float) -> None:
    """Wait for the vendor's reads to catch up with our own work; this is no failure and counts no try."""
    waiting = command
    if command.state is not CommandState.IN_DOUBT:
        why = "the vendor's reads are behind our own work"
        waiting = draft.move(command, CommandState.WAITING, why=why, cause=WaitCause.RETRY, due_at=until)
    draft.put_command(replace(waiting, owner=None, due_at=until))


def _still_doubtful(settling: Settling, failure: Failure) -> bool:
    """A repeat of what sets a value was turned away: what the first one left behind is as unknown as before."""
    before = settling.command.failure
    return (
        settling.when_unclear is WhenUnclear.APPLY_AGAIN
        and settling.command.state is CommandState.IN_FLIGHT
        and before is not None
        and before.error_class is ErrorClass.AMBIGUOUS
        and failure.error_class in RULES
    )


def _stay_in_doubt(draft: Draft, settling: Settling, look: StillUnknown) -> None:
    """Look again later: a gap after the first absence, else after a growing pause."""
    command, policy = settling.command, settling.policy
    absent_at = command.absent_at
    if look.absent and absent_at is None:
        absent_at = draft.now
    if settling.when_unclear is WhenUnclear.WATCH:
        due_at = draft.now + policy.approval_poll_seconds
    elif look.absent:
        due_at = draft.now + max(look.seconds, policy.first_look_seconds)
    else:  # half as long again as the doubt is old, at most a minute or so: looks cost the quota
        age = draft.now - command.last_at if command.last_at is not None else 0.0
        longest = policy.retries[ErrorClass.AMBIGUOUS].cap
        due_at = draft.now + min(longest, max(policy.first_look_seconds, age * (0.25 + settling.chance / 2)))
    draft.put_command(replace(command, owner=None, due_at=due_at, absent_at=absent_at))


def fail(draft: Draft, command: Command, failure: Failure) -> None:
    """The command has failed for good: so has its plan, and its later steps are cancelled."""
    failed = draft.move(command, CommandState.FAILED, why=f"{failure.error_class}:{failure.code}")
    failed = draft.put_command(replace(failed, failure=failure))
    plan = draft.plan(command.plan_id)
    draft.tell(tell.command_ended(plan, failed, draft.now))
    for later in draft.steps_of(plan.id):
        if not later.state.ended:
            cancelled = draft.move(later, CommandState.CANCELLED, why=f"earlier step {failed.step} failed")
            draft.tell(tell.command_ended(plan, cancelled, draft.now, because_step=failed.step))
    ended = draft.put_plan(replace(plan, state=PlanState.FAILED, ended_at=draft.now, failure=failure))
    draft.tell(tell.plan_failed(ended, draft.steps_of(plan.id), draft.now))
    wake_successors(draft, ended)


def complete_plan(draft: Draft, plan: Plan) -> None:
    """Every step has ended and none failed."""
    ended = draft.put_plan(replace(plan, state=PlanState.COMPLETED, ended_at=draft.now))
    draft.tell(tell.plan_completed(ended, draft.steps_of(plan.id), draft.now))
    wake_successors(draft, ended)


def end_stale(draft: Draft, plan: Plan) -> None:
    """A later event was applied before the plan began: what it has left to do ends without effect.

    What a replay still fetches for who asked is fetched: no later event makes that pointless.
    """
    left = [step for step in draft.steps_of(plan.id) if not step.state.ended]
    wanted = [step for step in left if plan.epoch > 0 and step.step == Step.REGISTRATION]
    for step in left:
        if step not in wanted:
            stale = draft.move(step, CommandState.STALE, why=OVERTAKEN)
            draft.tell(tell.command_ended(plan, stale, draft.now))
    draft.release_reservation(plan)
    if not wanted:
        complete_plan(draft, draft.plan(plan.id))
    elif wanted[0].state is not CommandState.PENDING:
        draft.move(wanted[0], CommandState.PENDING, why="what came before it is stale", due_at=draft.now)


def wake_successors(draft: Draft, ended: Plan) -> None:
    """Let those begin that waited behind a plan which has ended, in their order."""
    resources = {c.resource for c in draft.steps_of(ended.id)}
    for plan in draft.open_plans(ended.subject, resources):
        first = next((c for c in draft.steps_of(plan.id) if not c.state.ended), None)
        if first is None or first.cause is not WaitCause.EARLIER_WORK:
            continue
        if not is_blocked(draft, plan, {first.resource}):
            begin_plan(draft, plan, first)


def is_blocked(draft: Draft, plan: Plan, resources: set[str]) -> bool:
    """True while another open plan of the subject or of the resources must end first."""
    others = (p for p in draft.open_plans(plan.subject, resources) if p.id != plan.id)
    return any(stands_in_the_way(other, draft.steps_of(other.id), plan, draft.now) for other in others)


def begin_plan(draft: Draft, plan: Plan, first: Command) -> None:
    """Make a plan's first command runnable, at its effective date if that is to come, unless it is stale by now."""
    if is_overtaken(plan, draft.binding_of(plan.subject)):
        end_stale(draft, plan)
        return
    if plan.effective_at is not None and plan.effective_at > draft.now:
        draft.move(
            first,
            CommandState.WAITING,
            why="effective date to come",
            cause=WaitCause.EFFECTIVE_DATE,
            due_at=plan.effective_at,
        )
        tell_waiting(draft, plan, "effective_date", expected_at=plan.effective_at)
        return
    draft.move(first, CommandState.PENDING, why="earlier work ended", due_at=draft.now)


def tell_waiting(
    draft: Draft, plan: Plan, cause: WaitingCause, *, expected_at: float | None, who_acts: WhoActs | None = None
) -> None:
    """Publish `plan.waiting`, once in a plan's epoch; whoever waits behind the plan waits for the same from now on.

    `who_acts` says who ends the wait, where that is not who usually ends one of its cause.
    """
    plan = draft.plan(plan.id)
    if not plan.waiting_told:
        draft.put_plan(replace(plan, waiting_told=True))
        steps = draft.steps_of(plan.id)
        told = tell.plan_waiting(plan, steps, cause, since=draft.now, expected_at=expected_at, who_acts=who_acts)
        draft.tell(told)
    if cause != "earlier_work":
        _tell_those_behind(draft, plan)


def is_behind_a_long_wait(draft: Draft, plan: Plan, resources: set[str]) -> bool:
    """True if earlier work waits for a person or the vendor; ordinary queueing is not worth telling."""
    others = (p for p in draft.open_plans(plan.subject, resources) if p.id != plan.id)
    return any(
        stands_in_the_way(other, steps, plan, draft.now)
        and any(c.state is CommandState.IN_DOUBT or c.cause is WaitCause.APPROVAL for c in steps)
        for other in others
        for steps in [draft.steps_of(other.id)]
    )


def _tell_those_behind(draft: Draft, ahead: Plan) -> None:
    steps = draft.steps_of(ahead.id)
    for plan in draft.open_plans(ahead.subject, {c.resource for c in steps}):
        behind = plan.id != ahead.id and not has_begun(draft.steps_of(plan.id))
        if behind and stands_in_the_way(ahead, steps, plan, draft.now):
            tell_waiting(draft, plan, "earlier_work", expected_at=None)


def apply_fact(draft: Draft, fact: Fact, policy: SettlingPolicy) -> bool:
    """Let a fact end the wait of its subject; False if there is none that it fits, and it is kept."""
    for plan in draft.open_plans(fact.subject, ()):
        steps = draft.steps_of(plan.id)
        approval = next((c for c in steps if c.step == Step.APPROVAL and not c.state.ended), None)
        application = next((c for c in steps if c.step == Step.APPLICATION), None)
        if approval is None or application is None or not _fits(fact, application):
            continue
        if application.state is CommandState.IN_DOUBT:
            facts = {"number": application.wanted.get("number"), "apply_id": fact.apply_id}
            outcome = Succeeded(result=Result.DONE, facts=facts)
            draft.put_fact(fact)  # waiting: the approval step takes it as it begins
            succeed(draft, application, outcome, writes=True, policy=policy)
            return True
        _end_wait(draft, approval, fact, policy)
        return True
    return False


def _fits(fact: Fact, application: Command) -> bool:
    """A fact fits a wait that has begun, or an application in doubt if it says which application it means."""
    if application.state is CommandState.IN_DOUBT:
        return fact.apply_id is not None
    if application.state is not CommandState.SUCCEEDED:
        return False
    ours = application.facts.get("apply_id")
    return fact.apply_id is None or ours is None or fact.apply_id == ours


def _end_wait(draft: Draft, approval: Command, fact: Fact, policy: SettlingPolicy) -> None:
    draft.put_fact(replace(fact, taken_by=approval.id))
    if fact.kind == FactKind.APPROVED:
        facts = {"number": approval.wanted.get("number"), "live_at": fact.received_at}
        succeed(draft, approval, Succeeded(result=Result.DONE, facts=facts), writes=False, policy=policy)
        return
    refused = Failure(
        error_class=ErrorClass.PERMANENT, code="refused", message="the vendor's review refused the number"
    )
    fail(draft, approval, refused)


def _begin_step(draft: Draft, plan: Plan, command: Command, *, after: Command, policy: SettlingPolicy) -> None:
    if command.step != Step.APPROVAL:
        draft.move(command, CommandState.PENDING, why=f"step {after.step} succeeded", due_at=draft.now)
        return
    if after.result != Result.ADOPTED:
        _begin_approval(draft, plan, command, policy)
        return
    # already live: one look settles it, and an approval that came early has nothing left to end
    for fact in draft.facts_for(plan.subject):
        if fact.kind == FactKind.APPROVED and _fits(fact, after):
            draft.put_fact(replace(fact, taken_by=command.id))
    draft.move(command, CommandState.PENDING, why="the number is live already", due_at=draft.now)


def _begin_approval(draft: Draft, plan: Plan, command: Command, policy: SettlingPolicy) -> None:
    waiting = draft.move(
        command,
        CommandState.WAITING,
        why="the vendor reviews the number",
        cause=WaitCause.APPROVAL,
        due_at=draft.now + policy.approval_poll_seconds,
    )
    waiting = draft.put_command(replace(waiting, lane=Lane.SWEEP))
    application = next(c for c in draft.steps_of(plan.id) if c.step == Step.APPLICATION)
    kept = next((f for f in draft.facts_for(plan.subject) if _fits(f, application)), None)
    if kept is None:
        tell_waiting(draft, plan, "approval", expected_at=None)
    else:
        _end_wait(draft, waiting, kept, policy)


def _look_again(draft: Draft, command: Command, policy: SettlingPolicy, failure: Failure | None = None) -> None:
    """The wait for an approval goes on, also after a look that failed: neither count nor age bounds it."""
    waiting = draft.move(
        command,
        CommandState.WAITING,
        why="not approved yet" if failure is None else f"{failure.error_class}:{failure.code}",
        cause=WaitCause.APPROVAL,
        due_at=draft.now + policy.approval_poll_seconds,
    )
    draft.put_command(replace(waiting, retries=0, failure=failure, lane=Lane.SWEEP))
    tell_waiting(draft, draft.plan(command.plan_id), "approval", expected_at=None)


def _retry_or_fail(draft: Draft, settling: Settling, failure: Failure) -> None:
    command = settling.command
    if command.cause is WaitCause.APPROVAL and failure.error_class in RULES:
        _look_again(draft, command, settling.policy, failure)
        return
    since = command.first_at if command.first_at is not None else draft.now
    last = command.failure
    repeats = last.repeats if last is not None and last.code == failure.code else 0
    verdict = after(
        failure,
        rules=settling.policy.retries,
        retries=command.retries,
        repeats=repeats,
        since=since,
        now=draft.now,
        chance=settling.chance,
    )
    match verdict:
        case RetryAt(due_at):
            waiting = draft.move(
                command,
                CommandState.WAITING,
                why=f"{failure.error_class}:{failure.code}",
                cause=WaitCause.RETRY,
                due_at=due_at,
            )
            failure = replace(failure, repeats=repeats + 1)
            lane = Lane.LIVE if command.lane is Lane.SETTLE else command.lane  # its doubt is over
            draft.put_command(replace(waiting, retries=command.retries + 1, failure=failure, lane=lane))
            _forget_create(draft, settling)
        case GiveUp(final) if command.step == Step.APPROVAL and final.error_class in RULES:
            _look_again(draft, command, settling.policy, final)
        case GiveUp(final) if _sickens(draft, replace(settling, outcome=final)):
            _wait_in_quarantine(draft, replace(settling, outcome=final))
        case GiveUp(final):
            _forget_create(draft, settling)
            fail(draft, command, final)
            if settling.created or final.error_class in _RESERVES_NOTHING:
                draft.release_reservation(draft.plan(command.plan_id))


def _forget_create(draft: Draft, settling: Settling) -> None:
    """A create that the vendor certainly did not do proves no ownership."""
    binding = draft.binding_of(settling.command.subject)
    if settling.created and binding is not None and binding.create_sent and binding.applied is None:
        draft.put_binding(replace(binding, create_sent=False))


def _date_binding(draft: Draft, command: Command) -> None:
    """The number went live now, as somebody said who need not have read it: until the vendor's reads show it, the next
    purchase must not take it for absent.
    """
    binding = draft.binding_of(command.subject)
    if binding is not None and binding.resource == command.resource:
        draft.put_binding(binding)


def _remember_applied(draft: Draft, command: Command) -> None:
    """The binding becomes live with what now stands at the vendor, and under which order."""
    binding = draft.binding_of(command.subject)
    if binding is None or binding.resource != command.resource:
        return
    revisions = dict(binding.revisions)
    if command.order.revision is not None and command.effective_at is None:  # future-dated: ordered by time alone
        highest = revisions.get(command.order.source, command.order.revision)
        revisions[command.order.source] = max(highest, command.order.revision)
    draft.put_binding(
        replace(
            binding,
            state=BindingState.LIVE,
            applied={**(binding.applied or {}), **given(command.wanted)},
            applied_at=max(command.order.at, binding.applied_at or command.order.at),
            revisions=revisions,
        )
    )
