"""Reading the present: what stands at the vendor now, asked for many commands in one call.

Execution reaches it as a port. While a read waits for its slot, further commands join it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from service.application.ports import Claim, Clock, PresentRead, Quota, Slot, UnavailableError, VendorClient
from service.application.telemetry import Telemetry
from service.application.tracing import Tracer, of_call
from service.domain.account import Account
from service.domain.command import Lane
from service.domain.outcome import Call, ErrorClass, Failure, Look, Reply, verdict_of
from service.domain.value import Value

_URGENCY = list(Lane)


class _Ask(Value, frozen=True):
    claim: Claim
    answer: asyncio.Future[Look]


@dataclass(slots=True)
class _Queue:
    """Who waits for one read of one account; `hurry` is set when somebody more urgent than `lane` joins."""

    asks: list[_Ask] = field(default_factory=list)
    lane: Lane = Lane.SWEEP
    hurry: asyncio.Event = field(default_factory=asyncio.Event)

    def join(self, ask: _Ask) -> None:
        self.asks.append(ask)
        if _urgency(ask) < _URGENCY.index(self.lane):
            self.hurry.set()

    def lead(self) -> tuple[Lane, float]:
        """The lane of the most urgent, and since when the longest of all has waited."""
        self.hurry.clear()
        self.lane = min((ask.claim.command.lane for ask in self.asks), key=_URGENCY.index)
        return self.lane, min(ask.claim.command.created_at for ask in self.asks)

    def take(self, most: int) -> list[_Ask]:
        """Those who go first, most urgent first; who has left is forgotten."""
        self.asks = sorted((ask for ask in self.asks if not ask.answer.done()), key=_urgency)
        taken, self.asks = self.asks[:most], self.asks[most:]
        return taken

    def take_all(self) -> list[_Ask]:
        return self.take(len(self.asks))


class BatchingPresentReader:
    """Collects reads of one account and operation until a slot comes, then serves them together."""

    def __init__(
        self,
        *,
        quota: Quota,
        accounts: Mapping[str, Account],
        clients: Mapping[str, VendorClient],
        clock: Clock,
        telemetry: Telemetry,
        tracer: Tracer | None = None,
    ) -> None:
        """Everything it needs, as ports; without a tracer there are no traces."""
        self._tracer = tracer
        self._quota = quota
        self._accounts = accounts
        self._clients = clients
        self._clock = clock
        self._telemetry = telemetry
        self._queues: dict[tuple[str, str], _Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, claim: Claim, read: PresentRead) -> Look:
        """What stands at the vendor now for the claim's command."""
        key = (claim.command.account, read.operation)
        ask = _Ask(claim, asyncio.get_running_loop().create_future())
        if key in self._queues:
            self._queues[key].join(ask)
        else:
            self._queues[key] = _Queue([ask])
            self._spawn(self._collect(key, read))
        return await ask.answer

    async def close(self) -> None:
        """Stop reading; those who wait are cancelled."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, key: tuple[str, str], read: PresentRead) -> None:
        """Serve everybody who waits for this read, a slot a batch. Nobody is left without an answer."""
        queue = self._queues[key]
        try:
            await self._serve(self._accounts[key[0]], read, queue)
        except UnavailableError as away:  # no slot without the ledger: those who asked try again later
            _refuse(queue.take_all(), away)
        except Exception as bug:  # noqa: BLE001 - handed to those who asked, whose command then says so
            self._answer_bug(queue.take_all(), bug, read)
        finally:
            del self._queues[key]
            _cancel(queue.asks)  # none, unless the reader was closed

    async def _serve(self, account: Account, read: PresentRead, queue: _Queue) -> None:
        while queue.asks:
            trouble = await self._clients[account.name].prepare()
            if trouble is not None:
                asks = queue.take_all()
                _answer(asks, [trouble] * len(asks))
                return
            slot = await self._slot(account, read, queue)
            batch = queue.take(read.batch)
            if batch:
                self._spawn(self._read(account, read, batch, slot, queue.lane))

    async def _slot(self, account: Account, read: PresentRead, queue: _Queue) -> Slot:
        """A slot in the lane of the most urgent who waits; asked for anew when somebody more urgent joins."""
        while True:
            lane, since = queue.lead()
            asked = asyncio.ensure_future(self._quota.reserve(account, read.operation, lane, since=since))
            hurry = asyncio.ensure_future(queue.hurry.wait())
            try:
                await asyncio.wait({asked, hurry}, return_when=asyncio.FIRST_COMPLETED)
                if asked.done():
                    return asked.result()
            finally:
                asked.cancel()
                hurry.cancel()

    async def _read(self, account: Account, read: PresentRead, batch: Sequence[_Ask], slot: Slot, lane: Lane) -> None:
        first: list[Slot] = [slot]

        async def send(call: Call) -> Reply:
            slot_now = first.pop() if first else None
            return await self._send(account, call, slot_now, lane=lane, asks=batch)

        try:
            _answer(batch, await read.look(account, [ask.claim.command.wanted for ask in batch], send))
        except UnavailableError as away:  # no slot for a further page
            _refuse(batch, away)
        except Exception as bug:  # noqa: BLE001 - handed to those who asked, whose command then says so
            self._answer_bug(batch, bug, read)
        finally:
            _cancel(batch)  # nobody, unless the reader was closed

    def _answer_bug(self, asks: Sequence[_Ask], bug: Exception, read: PresentRead) -> None:
        self._telemetry.log("error", "a read failed unexpectedly", operation=read.operation, exc_info=bug)
        _answer(asks, [_bug(bug)] * len(asks))

    async def _send(
        self, account: Account, call: Call, slot: Slot | None, *, lane: Lane, asks: Sequence[_Ask]
    ) -> Reply:
        since = self._clock.now()
        called, whose = call.operation, account.name
        while slot is None or not await self._quota.ready(slot):
            if slot is not None:
                self._telemetry.count("slots_given_up_total", operation=called, account=whose)
            slot = await self._quota.reserve(account, call.operation, lane, since=since)
        begun = self._clock.monotonic()
        taken = slot
        reply = await self._clients[account.name].exchange(call, lambda: self._quota.sent(taken))
        seconds = self._clock.monotonic() - begun
        outcome = verdict_of(reply)
        self._telemetry.count("vendor_requests_total", operation=called, account=whose, lane=lane, outcome=outcome)
        self._telemetry.observe("vendor_request_seconds", seconds, operation=called, account=whose)
        if isinstance(reply, Failure) and reply.error_class is ErrorClass.THROTTLED:
            self._quota.throttled(account, call.operation)
        if self._tracer is not None:
            self._trace(self._tracer, asks, call, reply, seconds=seconds)
        return reply

    def _trace(self, tracer: Tracer, asks: Sequence[_Ask], call: Call, reply: Reply, *, seconds: float) -> None:
        """One request, in the trace of each command that it served."""
        ended = self._clock.now()
        begun = ended - seconds
        for ask in asks:
            command = ask.claim.command
            waited = command.quota_seconds + command.vendor_seconds
            tracer.record(
                "vendor call",
                parent=command.traceparent,
                begun=begun,
                ended=ended,
                **of_call(command, call, reply),
                queue_seconds=max(0.0, ask.claim.at - command.created_at - waited),
                quota_seconds=max(0.0, begun - ask.claim.at),
                shared_by=len(asks),
            )


def _urgency(ask: _Ask) -> int:
    return _URGENCY.index(ask.claim.command.lane)


def _refuse(asks: Sequence[_Ask], away: UnavailableError) -> None:
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(away)


def _cancel(asks: Sequence[_Ask]) -> None:
    for ask in asks:
        ask.answer.cancel()


def _answer(asks: Sequence[_Ask], looks: Sequence[Look]) -> None:
    for ask, seen in zip(asks, looks, strict=True):
        if not ask.answer.done():
            ask.answer.set_result(seen)


def _bug(bug: Exception) -> Failure:
    code = f"bug:{type(bug).__name__}"
    return Failure(error_class=ErrorClass.RETRYABLE, code=code, message="reading the present failed inside Cordboard")
