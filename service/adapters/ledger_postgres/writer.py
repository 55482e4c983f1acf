"""Group commit: the transactions that wait at one moment are decided one after another and written as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from service.adapters.ledger_postgres import state
from service.adapters.ledger_postgres.connection import Database, Transaction
from service.adapters.ledger_sql.grouping import Parts, accounts_of, names_in, names_of, union
from service.application.ports import LostClaimError, UnavailableError
from service.domain.ledger_state import Changes, Keys, Known

MOST_JOBS: Final = 256  # per commit: bounds how long the first one waits for the last
LARGE: Final = 32  # keys; a decision about more is made in a thread, beside the loop


@dataclass(slots=True, eq=False)
class _Job:
    keys: Keys
    decide: Callable[[Known], Changes]
    done: asyncio.Future[Changes]
    names: set[str] = field(default_factory=set)  # to be locked
    changes: Changes | None = None
    error: Exception | None = None

    def begin(self) -> None:
        """Forget what an earlier try came to."""
        self.changes = self.error = None


class _NeedsMoreError(Exception):
    """What was loaded reaches beyond what was locked: lock that as well, and look again."""


class Writer:
    """Runs jobs of `transact`, all that wait in one transaction. `committed` hears of each job's changes.

    A job that fails is left out alone; jobs that would touch the same rows go one transaction after the other.
    A caller that stops waiting changes nothing about its job.
    """

    def __init__(self, database: Database, *, owner: Callable[[], int | None], committed: Callable[[Changes], None]):
        """`owner` tells the session that publishes what is written."""
        self._database = database
        self._owner = owner
        self._committed = committed
        self._jobs: deque[_Job] = deque()
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        """The changes as they were written, arrivals assigned, once they are on disk."""
        if self._closed:
            raise UnavailableError("ledger", "closed")
        job = _Job(keys, decide, asyncio.get_running_loop().create_future(), names_of(keys))
        self._jobs.append(job)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._live())
        return await asyncio.shield(job.done)

    async def close(self) -> None:
        """Finish what waits."""
        self._closed = True
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    async def _live(self) -> None:
        while self._jobs:
            jobs = [self._jobs.popleft() for _ in range(min(MOST_JOBS, len(self._jobs)))]
            try:
                await self._commit(jobs)
            except Exception as bug:  # noqa: BLE001 - handed to those who wait: nobody is left without an answer
                for job in jobs:
                    _fail(job, bug)

    async def _commit(self, jobs: Sequence[_Job]) -> None:
        try:
            await self._transaction(jobs)
        except UnavailableError as away:
            for job in jobs:
                _fail(job, UnavailableError(away.part, str(away).removeprefix(f"{away.part}: ")))
        except Exception as trouble:  # noqa: BLE001 - handed to the one whose it is, once it is known
            if len(jobs) == 1:
                _fail(jobs[0], trouble)
                return
            for job in jobs:  # one of them the schema refuses
                await self._commit([job])
        else:
            self._resolve(jobs)

    async def _transaction(self, jobs: Sequence[_Job]) -> None:
        while True:
            try:
                names = set[str]().union(*(job.names for job in jobs))
                await self._database.transaction(lambda transaction: self._work(transaction, jobs), names)
                return
            except _NeedsMoreError:
                continue  # the jobs know by now what else to lock

    async def _work(self, transaction: Transaction, jobs: Sequence[_Job]) -> None:
        """Load, decide each job, write all; what a job can't do in this transaction is left for the next."""
        asked = [job.keys.session for job in jobs if job.keys.session is not None]
        fences, found = await state.load(transaction, union(job.keys for job in jobs), asked)
        loaded = Parts(found)
        taken: set[str] = set()
        for job in jobs:
            job.begin()
            if job.keys.session is not None and job.keys.session not in fences:
                job.error = LostClaimError(f"session {job.keys.session} has ended")
                continue
            await self._decide(job, loaded, taken)
        decided = [job.changes for job in jobs if job.changes is not None]
        if decided:
            await state.write(transaction.connection, decided, self._owner())

    async def _decide(self, job: _Job, loaded: Parts, taken: set[str]) -> None:
        """Decide one job, unless an earlier one of this transaction has changed what it is about."""
        known = loaded.known(job.keys)
        touches = job.names | names_in(known)
        if touches - job.names:
            job.names = touches
            raise _NeedsMoreError
        accounts = accounts_of(job.keys)
        if taken & (touches | accounts):
            return
        try:
            large = len(touches) > LARGE
            changes = await asyncio.to_thread(job.decide, known) if large else job.decide(known)
        except Exception as error:  # noqa: BLE001 - whatever a decision raises is its caller's
            # the one exception that a future will not carry
            job.error = RuntimeError(f"a decision ended in {error!r}") if isinstance(error, StopIteration) else error
            return
        if changes.holds and not accounts <= job.names:
            job.names = touches | accounts  # two processes must not quarantine one account beside each other
            raise _NeedsMoreError
        job.changes = changes.numbered(loaded.next_arrival)
        taken |= touches | (accounts if changes.holds else set())

    def _resolve(self, jobs: Sequence[_Job]) -> None:
        waiting: list[_Job] = []
        for job in jobs:
            if job.error is not None:
                _fail(job, job.error)
            elif job.changes is None:
                waiting.append(job)
            else:
                self._committed(job.changes)
                if not job.done.done():
                    job.done.set_result(job.changes)
        self._jobs.extendleft(reversed(waiting))


def _fail(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
        job.done.exception()  # its caller may have gone
