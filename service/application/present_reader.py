"""Reading the present: what stands at the vendor now, asked for many commands in one call.

Execution reaches it as a port. While a read waits for its slot, further commands join it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass

from service.application.ports import Claim, Clock, PresentRead, Quota, Slot, UnavailableError, VendorClient
from service.application.telemetry import Telemetry
from service.domain.account import Account
from service.domain.command import Lane
from service.domain.outcome import Answer, Call, ErrorClass, Failure, Look, Reply

_URGENCY = list(Lane)


@dataclass(frozen=True, slots=True)
class _Ask:
    claim: Claim
    answer: asyncio.Future[Look]


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
    ) -> None:
        """Everything it needs, as ports."""
        self._quota = quota
        self._accounts = accounts
        self._clients = clients
        self._clock = clock
        self._telemetry = telemetry
        self._waiting: dict[tuple[str, str], list[_Ask]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, claim: Claim, read: PresentRead) -> Look:
        """What stands at the vendor now for the claim's command."""
        key = (claim.command.account, read.operation)
        ask = _Ask(claim, asyncio.get_running_loop().create_future())
        waiting = self._waiting.setdefault(key, [])
        waiting.append(ask)
        if len(waiting) == 1:
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
        """Serve everybody who waits for this read, a slot a batch."""
        waiting = self._waiting[key]
        account = self._accounts[key[0]]
        try:
            while waiting:
                lane = min((ask.claim.command.lane for ask in waiting), key=_URGENCY.index)
                since = min(ask.claim.command.created_at for ask in waiting)
                trouble = await self._clients[account.name].prepare()
                if trouble is not None:
                    _answer(waiting, [trouble] * len(waiting))
                    waiting.clear()
                    return
                slot = await self._quota.reserve(account, read.operation, lane, since=since)
                batch = waiting[: read.batch]
                del waiting[: read.batch]
                batch = [ask for ask in batch if not ask.answer.done()]
                if batch:
                    self._spawn(self._read(account, read, batch, slot, lane))
        except UnavailableError as away:  # no slot without the ledger: those who asked try again later
            for ask in waiting:
                if not ask.answer.done():
                    ask.answer.set_exception(away)
            waiting.clear()
        finally:
            if not waiting:
                self._waiting.pop(key, None)

    async def _read(self, account: Account, read: PresentRead, batch: Sequence[_Ask], slot: Slot, lane: Lane) -> None:
        first: list[Slot] = [slot]

        async def send(call: Call) -> Reply:
            slot_now = first.pop() if first else None
            return await self._send(account, call, slot_now, lane)

        try:
            looks = await read.look(account, [ask.claim.command.wanted for ask in batch], send)
        except Exception as bug:  # noqa: BLE001 - handed to those who asked, whose command then says so
            looks = [_bug(bug)] * len(batch)
            self._telemetry.log("error", "a read failed unexpectedly", operation=read.operation, exc_info=bug)
        _answer(batch, looks)

    async def _send(self, account: Account, call: Call, slot: Slot | None, lane: Lane) -> Reply:
        since = self._clock.now()
        while slot is None or not await self._quota.ready(slot):
            slot = await self._quota.reserve(account, call.operation, lane, since=since)
        begun = self._clock.monotonic()
        reply = await self._clients[account.name].exchange(call)
        seconds = self._clock.monotonic() - begun
        outcome = "succeeded" if isinstance(reply, Answer) else reply.error_class.value
        self._telemetry.count("vendor_requests_total", operation=call.operation, lane=lane, outcome=outcome)
        self._telemetry.observe("vendor_request_seconds", seconds, operation=call.operation)
        return reply


def _answer(asks: Sequence[_Ask], looks: Sequence[Look]) -> None:
    for ask, seen in zip(asks, looks, strict=True):
        if not ask.answer.done():
            ask.answer.set_result(seen)


def _bug(bug: Exception) -> Failure:
    return Failure(
        error_class=ErrorClass.RETRYABLE, code=type(bug).__name__, message="reading the present failed inside Cordboard"
    )
