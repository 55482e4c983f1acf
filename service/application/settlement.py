"""Settlement: the durable "about to send" before a call, and the one durable write after it.

Walk: execution → *settlement* → ledger and outbox. Execution reaches it as a port.
"""

from __future__ import annotations

from collections.abc import Callable

from service.application.ends import count_ends, tell_quarantines
from service.application.ports import Claim, Clock, Ledger, LostClaimError, Randomness, SentTimes, Slot
from service.application.rounds import insist
from service.application.telemetry import Telemetry
from service.application.tracing import Tracer, of_command, trace_id_of
from service.domain.advice import advise
from service.domain.command import Attempt, Command, CommandState
from service.domain.draft import Draft
from service.domain.ledger_state import Changes, Keys, Known
from service.domain.outcome import HELD_BACK, Call, Failure, NotYet, Outcome, WhenUnclear
from service.domain.quarantine import SICK, is_verdict
from service.domain.settling import Settling, SettlingPolicy, settle
from service.domain.value import replace


class Settlement:
    """Writes marks and outcomes of what a session has claimed: a mark only while it stands."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        randomness: Randomness,
        telemetry: Telemetry,
        policy: SettlingPolicy,
        tracer: Tracer | None = None,
    ) -> None:
        """Everything it needs, as ports; without a tracer there are no traces."""
        self._tracer = tracer
        self._ledger = ledger
        self._clock = clock
        self._randomness = randomness
        self._telemetry = telemetry
        self._policy = policy
        self._failing: dict[str, set[str]] = {}

    async def mark(self, claim: Claim, call: Call, slot: Slot) -> Claim:
        """Write that the call is about to be sent; the claim as it now stands.

        Raises LostClaimError if the command is no longer ours, UnavailableError if the ledger can't be written: then
        nothing may be sent.
        """
        now = self._clock.now()
        marked: list[Claim] = []

        def decide(known: Known) -> Changes:
            draft = Draft(known, now)
            marked[:] = [self._mark(draft, claim, call, slot)]
            return draft.changes()

        await self._ledger.transact(replace(_keys(claim), session=claim.command.owner), decide)
        return marked[0]

    async def settle(
        self,
        claim: Claim,
        outcome: Outcome,
        *,
        sent: SentTimes | None,
        writes: bool,
        when_unclear: WhenUnclear = WhenUnclear.WATCH,
    ) -> None:
        """Write what the outcome means. Insists until the ledger takes it; an outcome for lost work is dropped."""
        now, chance = self._clock.now(), self._randomness.fraction()
        run = self._count_run(claim.command, outcome)

        def decide(known: Known) -> Changes:
            draft = Draft(known, now)
            command = draft.command(claim.command.id)
            if command is None or not self._is_ours(command, claim):
                return Changes()
            command = _counted(command, sent, now)
            draft.put_command(command)
            if sent is not None:
                draft.put_attempt(_attempt(command, sent, outcome, now))
            settling = Settling(
                command=command,
                outcome=outcome,
                writes=writes,
                when_unclear=when_unclear,
                sent=sent is not None,
                created=sent is not None and sent.creates,
                chance=chance,
                policy=self._policy,
                run=run,
                claimed_at=claim.at,
            )
            settle(draft, settling)
            return draft.changes()

        begun = self._clock.monotonic()
        changes = await self._insist(_keys(claim), decide)
        took = self._clock.monotonic() - begun
        self._telemetry.observe("stage_seconds", took, operation=claim.command.operation, stage="settlement")
        command = next((c for c in changes.commands if c.id == claim.command.id), None)
        self._tell(claim, command, changes, outcome, sent)
        if self._tracer is not None:
            self._trace(self._tracer, claim, command, outcome, took)

    def _count_run(self, command: Command, outcome: Outcome) -> int:
        """How many of the account's commands have failed since its last verdict; our own parts don't count.

        Each counts once however often it fails: one thing that the vendor can't do says nothing about the account.
        """
        failing = self._failing.setdefault(command.account, set())
        if is_verdict(outcome):
            failing.clear()
        elif isinstance(outcome, Failure) and outcome.error_class in SICK and not _is_ours(outcome):
            failing.add(command.id)
        return len(failing)

    async def _insist(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        return await insist(
            lambda: self._ledger.transact(keys, decide),
            name="settlement",
            clock=self._clock,
            telemetry=self._telemetry,
        )

    def _is_ours(self, command: Command, claim: Claim) -> bool:
        """Whether the command still stands under this very claim."""
        mine = claim.command
        return (command.owner, command.claims, command.epoch) == (mine.owner, mine.claims, mine.epoch)

    def _mark(self, draft: Draft, claim: Claim, call: Call, slot: Slot) -> Claim:
        command = draft.command(claim.command.id)
        if command is None or not self._is_ours(command, claim):
            raise LostClaimError(claim.command.id)
        sending = draft.move(command, CommandState.IN_FLIGHT, why=f"sending {call.operation}")
        sending = draft.put_command(
            replace(
                sending,
                attempts=command.attempts + 1,
                first_at=command.first_at if command.first_at is not None else draft.now,
                last_at=draft.now,
            )
        )
        draft.put_attempt(
            Attempt(
                command_id=sending.id,
                epoch=sending.epoch,
                number=sending.attempts,
                call=call.operation,
                slot_at=slot.at,
                marked_at=draft.now,
            )
        )
        binding = draft.binding_of(command.subject)
        if call.creates and binding is not None and not binding.create_sent:
            binding = draft.put_binding(replace(binding, create_sent=True))
        return replace(claim, command=sending, binding=binding)

    def _tell(
        self, claim: Claim, command: Command | None, changes: Changes, outcome: Outcome, sent: SentTimes | None
    ) -> None:
        """Count and say what was decided; `command` as it was settled, None if it was no longer ours."""
        if command is None:
            self._telemetry.count("outcomes_dropped_total", operation=claim.command.operation)
            self._telemetry.log("warning", "an outcome came for lost work", **_identity(claim.command, claim))
            return
        failure = outcome if isinstance(outcome, Failure) else None
        count_ends(self._telemetry, changes, objective=self._policy.hired_to_ready_seconds)
        tell_quarantines(self._telemetry, changes, "" if failure is None else advise(failure).text)
        self._telemetry.log(
            "warning" if failure is not None else "info",
            f"command {command.state}",
            **_identity(command, claim),
            call=None if sent is None else sent.call,
            result=command.result,
            waits_for=command.cause,
            due_at=command.due_at,
            error_class=None if failure is None else failure.error_class,
            code=None if failure is None else failure.code,
            message=None if failure is None else failure.message,
            vendor_request_id=getattr(outcome, "request_id", None),
            quota_seconds=None if sent is None else round(sent.quota_seconds, 4),
            vendor_seconds=None if sent is None else round(sent.vendor_seconds, 4),
        )

    def _trace(self, tracer: Tracer, claim: Claim, command: Command | None, outcome: Outcome, took: float) -> None:
        ended = self._clock.now()
        settled = claim.command if command is None else command
        tracer.record(
            "settlement",
            parent=settled.traceparent,
            begun=ended - took,
            ended=ended,
            **of_command(settled),
            outcome="dropped" if command is None else command.state,
            error_class=outcome.error_class if isinstance(outcome, Failure) else None,
            vendor_request_id=getattr(outcome, "request_id", None),
        )


def _is_ours(failure: Failure) -> bool:
    """True for what our own side caused: a part of it was away, kept the call back, or has a fault."""
    return failure.code.endswith("_away") or failure.code == HELD_BACK or failure.code.startswith("bug:")


def _keys(claim: Claim) -> Keys:
    return Keys(
        plans=frozenset({claim.plan.id}),
        subjects=frozenset({claim.command.subject}),
        resources=frozenset({claim.command.resource}),
        accounts=frozenset({claim.command.account}),
    )


def _counted(command: Command, sent: SentTimes | None, now: float) -> Command:
    """The command with what its last attempt cost; a read's attempt is counted here, a write's at its mark."""
    quota, vendor = command.quota_seconds, command.vendor_seconds
    if sent is not None:
        quota, vendor = quota + sent.quota_seconds, vendor + sent.vendor_seconds
        if command.state is not CommandState.IN_FLIGHT:
            command = _unmarked(command, now - sent.vendor_seconds)
    return replace(
        command,
        quota_seconds=quota,
        vendor_seconds=vendor,
        queue_seconds=max(0.0, now - command.created_at - quota - vendor),
    )


def _unmarked(command: Command, sent_at: float) -> Command:
    """A read's attempt, counted when it is over: it began when its call went out."""
    first = sent_at if command.first_at is None else command.first_at
    return replace(command, attempts=command.attempts + 1, first_at=first, last_at=sent_at)


def _attempt(command: Command, sent: SentTimes, outcome: Outcome, now: float) -> Attempt:
    word: str
    code: str | None
    match outcome:
        case Failure():
            word, code = outcome.error_class.value, outcome.code
        case NotYet():
            word, code = "not_yet", None
        case _:
            word, code = "succeeded", None
    return Attempt(
        command_id=command.id,
        epoch=command.epoch,
        number=command.attempts,
        call=sent.call,
        slot_at=sent.slot_at,
        marked_at=command.last_at if command.last_at is not None else now,
        ended_at=now,
        outcome=word,
        code=code,
        request_id=getattr(outcome, "request_id", None),
    )


def _identity(command: Command, claim: Claim) -> dict[str, object]:
    return {
        "event_id": claim.plan.event_id,
        "trace_id": trace_id_of(command.traceparent),
        "plan_id": command.plan_id,
        "command_id": command.id,
        "attempt": command.attempts,
        "operation": command.operation,
        "account": command.account,
        "resource": command.resource,
    }
