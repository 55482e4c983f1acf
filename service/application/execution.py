"""Execution: due commands are claimed, the present is read, and what is missing is sent at its slot.

Walk: ledger → *execution* → vendor → settlement. Called by the worker; promises that nothing is sent before its
mark is durable, and never twice for one mark.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from service.application.ports import (
    Claim,
    ClaimRoom,
    Clock,
    HeldBackError,
    Ledger,
    LostClaimError,
    OwnSession,
    PresentReader,
    Quota,
    SentTimes,
    Settle,
    Slot,
    UnavailableError,
    VendorClient,
    VendorOperation,
)
from service.application.rounds import UNWATCHED, Pulse, Stopping, keep_going, rest
from service.application.telemetry import Telemetry
from service.application.tracing import Tracer, of_call
from service.domain.account import Account
from service.domain.command import Command, CommandState, Lane
from service.domain.outcome import (
    Answer,
    Call,
    ErrorClass,
    Failure,
    Outcome,
    Reply,
    Result,
    Seen,
    StillUnknown,
    Succeeded,
    TooFresh,
    WhenUnclear,
    verdict_of,
)
from service.domain.settling import SettlingPolicy
from service.domain.value import Value, replace

AHEAD_SECONDS: Final = 2.0  # how much work per operation is looked at before its slot comes
READ_ROOM: Final = 200  # commands that only read share calls, so many may wait at once
MOST_IN_FLIGHT: Final = 1000
BUSY_CLAIM: Final = 4  # commands: after a claim of so many there is more to come, and it is waited for


class _Pool(Value, frozen=True):
    """What shares a claim room: one operation of one quota group, in one lane."""

    quota_group: str
    operation: str
    lane: Lane


class Execution:
    """Runs claimed commands beside each other, one at a time per subject and resource (the ledger sees to that)."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        own: OwnSession,
        settlement: Settle,
        reader: PresentReader,
        quota: Quota,
        accounts: Mapping[str, Account],
        clients: Mapping[str, VendorClient],
        clock: Clock,
        telemetry: Telemetry,
        policy: SettlingPolicy,
        gather_seconds: float = 0.02,
        tracer: Tracer | None = None,
    ) -> None:
        """Everything it needs, as ports; without a tracer there are no traces.

        After a claim of many as much time passes as it is worth, at most `gather_seconds` for each process of a fleet:
        what ends meanwhile is followed by one claim, and by one read.
        """
        self._gather = gather_seconds
        self._tracer = tracer
        self._ledger = ledger
        self._own = own
        self._settlement = settlement
        self._reader = reader
        self._quota = quota
        self._accounts = accounts
        self._clients = clients
        self._clock = clock
        self._telemetry = telemetry
        self._policy = policy
        self._changed = ledger.subscribe("commands")
        self._rooms = _rooms(accounts, clients)
        self._unsent: Counter[_Pool] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sending: set[str] = set()
        self._unsure = False
        self._absent_since: dict[str, float] = {}  # monotonic seconds, by command
        self._done_at: dict[str, float] = {}  # monotonic seconds, by resource, ascending
        self._begun_at = clock.monotonic()

    async def run(self, stopping: Stopping, pulse: Pulse = UNWATCHED) -> None:
        """Execute until asked to stop."""
        await keep_going(
            self._round,
            name="execution",
            stopping=stopping,
            clock=self._clock,
            telemetry=self._telemetry,
            pulse=pulse,
        )

    async def run_once(self) -> int:
        """Claim what there is room for and start it; how many commands were claimed."""
        return await self._fill(self._free_rooms())

    async def _fill(self, rooms: Sequence[ClaimRoom]) -> int:
        if not rooms:
            return 0
        now = self._clock.now()
        claims = await self._claim(now, rooms)
        self._telemetry.health("ledger", ready=True)
        for claim in claims:
            self._start(replace(claim, at=now))
        return len(claims)

    async def _claim(self, now: float, rooms: Sequence[ClaimRoom]) -> Sequence[Claim]:
        """Claim; after a try of which nobody knows what came, what it may have claimed is handed back first."""
        if self._unsure:
            await self._ledger.release_others(self._own.current, list(self._tasks))
            self._unsure = False
        try:
            return await self._ledger.claim(self._own.current, now, rooms)
        except UnavailableError:
            self._unsure = True
            raise

    async def idle(self) -> None:
        """Return when everything that was started has been settled."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def drain(self, deadline_seconds: float) -> None:
        """Hand back what was not sent, and let calls in flight finish within the deadline."""
        unsent = [command_id for command_id in self._tasks if command_id not in self._sending]
        await _cancel([self._tasks[command_id] for command_id in unsent])
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=deadline_seconds)
        await _cancel(list(self._tasks.values()))
        try:
            await self._ledger.release(self._own.current, unsent)
        except UnavailableError as away:  # the end of this session hands them back as well
            self._telemetry.log("warning", "commands are handed back by the next start", reason=str(away))

    async def _round(self) -> None:
        begun, rooms = self._clock.monotonic(), self._free_rooms()
        claimed = await self._fill(rooms)
        if claimed >= BUSY_CLAIM:
            await rest(begun, most=self._gather * self._own.fleet, clock=self._clock)
        if claimed < min((room.room for room in rooms), default=1):  # no room was filled: nothing is left for it
            await self._changed()

    def _free_rooms(self) -> list[ClaimRoom]:
        if len(self._tasks) >= MOST_IN_FLIGHT:
            return []
        shares = {pool: math.ceil(room / self._own.fleet) for pool, room in self._rooms.items()}
        return [
            ClaimRoom(quota_group=pool.quota_group, operation=pool.operation, lane=pool.lane, room=free)
            for pool, share in shares.items()
            if (free := share - self._unsent[pool]) > share // 4
        ]

    def _start(self, claim: Claim) -> None:
        command = claim.command
        run = _Run(claim, _Pool(command.quota_group, command.operation, command.lane))
        self._unsent[run.pool] += 1
        task = asyncio.ensure_future(self._execute(run))
        self._tasks[command.id] = task
        task.add_done_callback(lambda done: self._forget(run, done))

    def _forget(self, run: _Run, task: asyncio.Task[None]) -> None:
        command_id = run.claim.command.id
        self._tasks.pop(command_id, None)
        self._sending.discard(command_id)
        self._leave_queue(run)
        bug = None if task.cancelled() else task.exception()
        if bug is not None:
            self._telemetry.count("loop_failures_total", loop="execution", part="bug")
            self._telemetry.log("error", "a command is left without an outcome", command_id=command_id, exc_info=bug)

    def _leave_queue(self, run: _Run) -> None:
        """The command no longer takes room before its send: somebody else may be claimed."""
        if run.queued:
            run.queued = False
            self._unsent[run.pool] -= 1

    async def _execute(self, run: _Run) -> None:
        """Run one command to its settlement. Trouble inside Cordboard must not leave it without one."""
        try:
            outcome = await self._perform(run)
        except LostClaimError:
            self._telemetry.log("warning", "a command is no longer ours", command_id=run.claim.command.id)
            return
        except Exception as trouble:  # noqa: BLE001 - trouble in one command ends as that command's failure, logged
            outcome = self._trouble(run, trouble)
        finally:
            self._leave_queue(run)
        await self._settle(run, outcome)

    def _trouble(self, run: _Run, trouble: Exception) -> Failure:
        """What an exception means: before the call went out, something away is waited for; the rest is a bug."""
        if isinstance(trouble, UnavailableError) and run.sent is None:
            return _away(trouble)  # the ledger could not take the mark, or give a slot
        self._telemetry.log(
            "error", "a command failed inside Cordboard", command_id=run.claim.command.id, exc_info=trouble
        )
        return _bug(trouble)

    async def _settle(self, run: _Run, outcome: Outcome) -> None:
        if run.sent is not None or isinstance(outcome, Succeeded):  # a look that failed changes nothing
            self._absent_since.pop(run.claim.command.id, None)
        if run.writes and isinstance(outcome, Succeeded):
            self._note_done(run.claim.command.resource)
        sent = run.sent or run.marked
        try:
            await self._settlement.settle(
                run.claim, outcome, sent=sent, writes=run.writes, when_unclear=run.when_unclear
            )
        except Exception as bug:  # noqa: BLE001 - what can't be written as it is, is a doubt or a retry, logged
            self._telemetry.log(
                "error", "an outcome could not be written", command_id=run.claim.command.id, exc_info=bug
            )
            await self._settlement.settle(
                run.claim, _bug(bug), sent=sent, writes=run.writes, when_unclear=run.when_unclear
            )

    async def _perform(self, run: _Run) -> Outcome:
        command, seen = run.claim.command, None
        operation = self._operation(command)
        if operation is None:
            return _not_configured(command)
        run.writes, run.when_unclear = operation.writes, operation.when_unclear
        fresh_in = self._seconds_until_fresh(run)  # as the look begins: its answer may come late and show the past
        fresh_at = self._clock.now() + fresh_in if fresh_in > 0 else None
        if operation.present_read is not None:
            look = await self._reader.look(run.claim, operation.present_read)
            if isinstance(look, Failure):
                return _not_applied(look)
            seen = look
        return await self._carry_out(run, operation, seen, fresh_at)

    async def _carry_out(
        self, run: _Run, operation: VendorOperation, seen: Seen | None, fresh_at: float | None
    ) -> Outcome:
        """Do what the present leaves to do, if the present can be believed."""
        command = run.claim.command
        in_doubt = command.state is CommandState.IN_DOUBT
        if in_doubt and self._stays_unknown(command, operation, seen):
            return StillUnknown(absent=seen is not None, seconds=self._seconds_until_absent(command))
        if seen is not None and fresh_at is not None and self._is_behind(run, operation, seen):
            return TooFresh(fresh_at)
        move = self._decide(run, operation, seen)
        if not isinstance(move, Call):
            return _as_found(command, move)
        if in_doubt and self._is_worn_out(command, operation):
            return _worn_out(command)
        return await self._send(run, operation, replace(move, subject=command.subject))

    def _stays_unknown(self, command: Command, operation: VendorOperation, seen: Seen | None) -> bool:
        """Nothing is there, which does not yet prove that it was not done; of what is only watched it never does."""
        match operation.when_unclear:
            case WhenUnclear.APPLY_AGAIN:
                return False
            case WhenUnclear.WATCH:
                return seen is None or seen.state is None
            case WhenUnclear.READ_BACK:
                return seen is None or (seen.state is None and not self._absent_for_long(command))

    def _absent_for_long(self, command: Command) -> bool:
        return self._seconds_until_absent(command) <= 0

    def _seconds_until_absent(self, command: Command) -> float:
        """Until a look that shows nothing proves that it was not done: a gap after the first one that showed nothing.

        By the wall clock, which the ledger remembers, and by ours, which nobody sets: a leap proves no absence.
        """
        gap, now = self._policy.absent_gap_seconds, self._clock.monotonic()
        seen_before = command.absent_at is not None  # by an earlier process, so before this one began
        first_here = self._absent_since.setdefault(command.id, self._begun_at if seen_before else now)
        by_wall = gap if command.absent_at is None else command.absent_at + gap - self._clock.now()
        return max(first_here + gap - now, min(gap, by_wall))

    def _is_behind(self, run: _Run, operation: VendorOperation, seen: Seen) -> bool:
        """Whether the read, so soon after our own work, does not show it: then it shows the past."""
        binding = run.claim.binding
        if binding is None or binding.applied is None or binding.resource != run.claim.command.resource:
            return False
        if not operation.writes:
            return False  # it waits for somebody else's doing
        if seen.state is None or operation.when_unclear is WhenUnclear.WATCH:
            return seen.state is None
        return not isinstance(operation.decide(binding.applied, seen, ours=True), Succeeded)

    def _is_worn_out(self, command: Command, operation: VendorOperation) -> bool:
        """Whether what is known not to be done was sent often enough, always without a clear answer."""
        most = self._policy.retries[ErrorClass.AMBIGUOUS].attempts
        return operation.when_unclear is WhenUnclear.READ_BACK and command.retries >= most

    def _seconds_until_fresh(self, run: _Run) -> float:
        """How long reads may still miss our last work on the resource: by the wall clock, and by ours since its end.

        What an earlier process did may have ended just before this one began.
        """
        lag, binding = self._policy.read_lag_seconds, run.claim.binding
        applied_at = binding.updated_at if binding is not None else 0.0
        done_at = self._done_at.get(run.claim.command.resource, self._begun_at)
        return min(lag, max(applied_at + lag - self._clock.now(), done_at + lag - self._clock.monotonic()))

    def _note_done(self, resource: str) -> None:
        now = self._clock.monotonic()
        self._done_at.pop(resource, None)
        self._done_at[resource] = now  # the last of them all
        oldest = now - self._policy.read_lag_seconds
        while len(self._done_at) > MOST_IN_FLIGHT and self._done_at[first := next(iter(self._done_at))] <= oldest:
            del self._done_at[first]
            self._begun_at = oldest

    def _operation(self, command: Command) -> VendorOperation | None:
        client = self._clients.get(command.account)
        return None if client is None else client.operations.get(command.operation)

    def _decide(self, run: _Run, operation: VendorOperation, seen: Seen | None) -> Call | Outcome:
        binding = run.claim.binding
        ours = binding is not None and binding.resource == run.claim.command.resource and binding.ours
        return operation.decide(run.claim.command.wanted, seen, ours=ours)

    async def _send(self, run: _Run, operation: VendorOperation, call: Call) -> Outcome:
        command = run.claim.command
        trouble = await self._clients[command.account].prepare()
        if trouble is not None:
            return _not_applied(trouble)
        slot, run.sent = await self._slot(run, operation, call)
        self._leave_queue(run)
        begun = self._clock.monotonic()
        reply = await self._clients[command.account].exchange(call, lambda: self._about_to_write(run, slot))
        run.sent = replace(run.sent, vendor_seconds=self._clock.monotonic() - begun)
        self._tell_call(command, call, reply, run.sent)
        if self._tracer is not None:
            self._trace_call(self._tracer, run, call, reply, run.sent)
        if isinstance(reply, Failure):
            if reply.error_class is ErrorClass.THROTTLED:
                self._quota.throttled(self._accounts[command.account], call.operation)
            return reply if operation.writes else _not_applied(reply)
        return _traced(await operation.judge(command.wanted, reply.body, call), reply.request_id)

    async def _slot(self, run: _Run, operation: VendorOperation, call: Call) -> tuple[Slot, SentTimes]:
        """Wait for a slot, mark, and wait for its moment; a slot whose mark came late is given up for another.

        The mark stands for that one too: it says that the call may leave at any time while the session does.
        """
        command = run.claim.command
        account = self._accounts[command.account]
        asked = self._clock.monotonic()
        while True:
            slot = await self._quota.reserve(account, call.operation, command.lane, since=command.created_at)
            waited = self._clock.monotonic() - asked
            sending = SentTimes(
                call=call.operation, slot_at=slot.at, quota_seconds=waited, vendor_seconds=0.0, creates=call.creates
            )
            self._sending.add(command.id)
            if operation.writes:
                if run.marked is None:
                    run.claim = await self._settlement.mark(run.claim, call, slot)
                run.marked = sending
            if await self._quota.ready(slot):
                return slot, sending
            self._telemetry.count("slots_given_up_total", operation=call.operation, account=account.name)

    def _about_to_write(self, run: _Run, slot: Slot) -> None:
        """The last moment: what is written from here on is sent. A frozen process wakes up at any line before.

        Its session may have been ended by another process, which then looks after what it had claimed, and a new one
        have been opened since.
        """
        if not self._own.holds() or self._own.current.fence != run.claim.command.owner:
            raise HeldBackError("the session's time is over, or nearly")
        self._quota.sent(slot)

    def _tell_call(self, command: Command, call: Call, reply: Answer | Failure, sent: SentTimes) -> None:
        outcome = verdict_of(reply)
        name, account, lane = call.operation, command.account, command.lane
        self._telemetry.count("vendor_requests_total", operation=name, account=account, lane=lane, outcome=outcome)
        self._telemetry.observe("vendor_request_seconds", sent.vendor_seconds, operation=name, account=account)
        self._telemetry.observe("quota_wait_seconds", sent.quota_seconds, operation=name, account=account, lane=lane)

    def _trace_call(self, tracer: Tracer, run: _Run, call: Call, reply: Reply, sent: SentTimes) -> None:
        command, ended = run.claim.command, self._clock.now()
        begun = ended - sent.vendor_seconds
        waited = command.quota_seconds + command.vendor_seconds + sent.quota_seconds
        made = of_call(command, call, reply)
        made["attempt"] = command.attempts if run.writes else command.attempts + 1  # a read's is counted when settled
        tracer.record(
            "vendor call",
            parent=command.traceparent,
            begun=begun,
            ended=ended,
            **made,
            queue_seconds=max(0.0, begun - command.created_at - waited),
            quota_seconds=sent.quota_seconds,
            shared_by=1,
        )


class _Run:
    """One command on its way: its claim as it now stands, and the call that went out."""

    def __init__(self, claim: Claim, pool: _Pool) -> None:
        self.claim = claim
        self.pool = pool
        self.queued = True
        self.writes = True  # until its operation says otherwise, as the next
        self.when_unclear = WhenUnclear.WATCH
        self.sent: SentTimes | None = None
        self.marked: SentTimes | None = None


def _rooms(accounts: Mapping[str, Account], clients: Mapping[str, VendorClient]) -> dict[_Pool, int]:
    """How many commands of each pool may be between claim and send."""
    rooms: dict[_Pool, int] = {}
    for name, client in clients.items():
        account = accounts[name]
        for operation in client.operations.values():
            ahead = max(4, math.ceil(account.rate(operation.name) * AHEAD_SECONDS))
            for lane in Lane:
                pool = _Pool(account.group(), operation.name, lane)
                rooms[pool] = ahead if operation.writes or operation.present_read is None else READ_ROOM
    return rooms


def _not_applied(failure: Failure) -> Failure:
    """An unclear reply to a read is no doubt: nothing can have been applied, so it is tried again."""
    if failure.error_class is not ErrorClass.AMBIGUOUS:
        return failure
    return replace(failure, error_class=ErrorClass.RETRYABLE)


def _worn_out(command: Command) -> Failure:
    code = "NoAnswer" if command.failure is None else command.failure.code
    return Failure(
        error_class=ErrorClass.PERMANENT,
        code=code,
        message="not done, and sent as often as allowed: the vendor never answered clearly",
    )


def _traced(outcome: Outcome, request_id: str | None) -> Outcome:
    """The outcome with the vendor's id of the request that led to it."""
    if isinstance(outcome, Succeeded | Failure) and outcome.request_id is None:
        return replace(outcome, request_id=request_id)
    return outcome


def _as_found(command: Command, outcome: Outcome) -> Outcome:
    """What is in doubt and found as wanted was done by us: the read only learnt of it."""
    if command.state is CommandState.IN_DOUBT and isinstance(outcome, Succeeded) and outcome.result is Result.UNCHANGED:
        return replace(outcome, result=Result.DONE)
    return outcome


def _not_configured(command: Command) -> Failure:
    """The account was taken out of the settings, or its vendor no longer has the operation, since it was planned."""
    return Failure(
        error_class=ErrorClass.INCOMPLETE,
        code="missing:account",
        message=f"no configured account {command.account} serves {command.operation}",
        field="account",
    )


def _away(away: UnavailableError) -> Failure:
    return Failure(
        error_class=ErrorClass.RETRYABLE, code=f"{away.part}_away", message=f"{away.part} was away before the send"
    )


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bug(bug: Exception) -> Failure:
    return Failure(
        error_class=ErrorClass.AMBIGUOUS, code=f"bug:{type(bug).__name__}", message="a fault inside Cordboard"
    )
