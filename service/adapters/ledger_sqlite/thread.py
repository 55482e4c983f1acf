"""The one thread that owns the SQLite connection: takes what waits, runs it, commits once for all of it."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from service.adapters.ledger_sqlite.state import Decision, transact
from service.application.ports import UnavailableError
from service.domain.ledger_state import Changes

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

MOST_JOBS = 256  # per commit: bounds how long the first one waits for the last
BUSY_JOBS = 4  # after a commit that served so many there is more to come
GATHER_SECONDS = 0.006  # and it is waited for so long: half as many commits cost less than they save
OUR_MISTAKES = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_TOOBIG})


@dataclass(slots=True, eq=False)
class _Job:
    work: Work[Any] | Decision
    touches: Callable[[Any], Iterable[str]]
    done: asyncio.Future[Any]
    lasting: bool = True
    result: Any = None
    error: Exception | None = None


def translated(error: Exception) -> Exception:
    """What a caller of the port gets to see.

    A broken rule of the schema is a ValueError, trouble with the file UnavailableError; the rest is a bug, as is.
    """
    if isinstance(error, sqlite3.IntegrityError):
        refused = ValueError(f"the ledger refuses this change: {error}")
        refused.__cause__ = error
        return refused
    if isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 1) & 0xFF not in OUR_MISTAKES:
        away = UnavailableError("ledger", str(error))
        away.__cause__ = error
        return away
    if isinstance(error, StopIteration):  # the one exception a future will not carry
        return RuntimeError(f"a decision ended in {error!r}")
    return error


def nothing_touched(_result: object) -> Iterable[str]:
    """For jobs that nobody waits to hear of."""
    return ()


class LedgerThread:
    """Group commit: one transaction serves all jobs waiting at that moment.

    A job that fails is undone alone; when the commit fails, all of its jobs do. A caller that stops waiting
    changes nothing about its job. `touched` is called on the event loop with the topics of committed jobs.
    """

    def __init__(self, connection: sqlite3.Connection, touched: Callable[[Iterable[str]], None]) -> None:
        """Start the thread; the connection is its own from here on."""
        self._connection = connection
        self._touched = touched
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed: asyncio.Future[None] | None = None
        self._not_before = -math.inf
        self._flushes = True  # as the file was opened
        self._thread = threading.Thread(target=self._live, name="ledger", daemon=True)
        self._thread.start()

    async def run(
        self, work: Work[T], touches: Callable[[T], Iterable[str]] = nothing_touched, *, lasting: bool = True
    ) -> T:
        """Do `work` in a transaction; its result, once it is on disk.

        What is not `lasting` is only with the system by then: a machine that loses its power may lose it, before and
        without anything that was written later.
        """
        result: T = await self._run(work, touches, lasting=lasting)
        return result

    async def _run(
        self, work: Work[Any] | Decision, touches: Callable[[Any], Iterable[str]], *, lasting: bool = True
    ) -> Any:
        if self._closed is not None:
            raise UnavailableError("ledger", "closed")
        job = _Job(work=work, touches=touches, done=self._loop.create_future(), lasting=lasting)
        self._jobs.put(job)
        return await job.done

    async def decide(self, decision: Decision, touches: Callable[[Changes], Iterable[str]]) -> Changes:
        """Decide in a transaction, beside all others that wait; the changes, once they are on disk."""
        changes: Changes = await self._run(decision, touches)
        return changes

    async def close(self) -> None:
        """Finish what waits, fold the log into the file, close it. Safe to call twice."""
        if self._closed is None:
            self._closed = self._loop.create_future()
            self._jobs.put(None)
        await asyncio.shield(self._closed)
        self._thread.join()

    def _live(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = self._waiting()
            if jobs:
                self._commit(jobs)
                self._call(self._resolve, jobs)
                if len(jobs) >= BUSY_JOBS:
                    self._not_before = time.monotonic() + GATHER_SECONDS
        self._fold()
        self._call(self._ended)

    def _waiting(self) -> tuple[list[_Job], bool]:
        """Block for one job, then take what else is there; False when the end was asked for."""
        jobs: list[_Job] = []
        item = self._jobs.get()
        time.sleep(max(0.0, self._not_before - time.monotonic()))
        while item is not None:
            jobs.append(item)
            if len(jobs) == MOST_JOBS:
                return jobs, True
            try:
                item = self._jobs.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _commit(self, jobs: list[_Job]) -> None:
        """Together if nothing goes wrong in any of them, else each by itself.

        Savepoints come only with trouble: under one SQLite looks, after every statement, through a list of all pages
        changed since it began, and a batch of 500 events took six times as long.
        """
        try:
            self._flush_or_not(any(job.lasting for job in jobs))
            self._connection.execute("BEGIN IMMEDIATE")
            if not self._together(jobs):
                self._connection.execute("ROLLBACK")
                self._connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    self._attempt(job)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  the thread must live on; every waiting caller gets the error
            self._undo(jobs, translated(error))

    def _flush_or_not(self, lasting: bool) -> None:  # noqa: FBT001 - its name asks
        """Let the next commit wait for the disk, or not."""
        if lasting is not self._flushes:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            self._flushes = lasting

    def _together(self, jobs: list[_Job]) -> bool:
        """Run all jobs; False if what was written must be undone. Raises only when the whole transaction is lost."""
        try:
            self._run_all(jobs)
        except Exception:
            if not self._connection.in_transaction:  # SQLite rolled everything back: disk full, I/O error
                raise
            return False
        return True

    def _run_all(self, jobs: list[_Job]) -> None:
        """Run them in their order, decisions that follow one another as one."""
        for decides, run in groupby(jobs, key=lambda job: isinstance(job.work, Decision)):
            if decides:
                self._decide(list(run))
                continue
            for job in run:
                job.result = job.work(self._connection)  # type: ignore[operator]  # no decision

    def _decide(self, jobs: list[_Job]) -> None:
        """Run decisions together; what one of them raises is its own caller's."""
        decisions = [job.work for job in jobs if isinstance(job.work, Decision)]
        transact(self._connection, decisions)
        for job, decision in zip(jobs, decisions, strict=True):
            job.result, job.error = decision.changes, decision.error and translated(decision.error)

    def _attempt(self, job: _Job) -> None:
        """Run one job inside its savepoint; raises only when the whole transaction is lost."""
        connection = self._connection
        connection.execute("SAVEPOINT job")
        job.result = job.error = None
        try:
            self._run_all([job])
        except Exception as error:
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO job")
            job.error = translated(error)
        connection.execute("RELEASE job")

    def _undo(self, jobs: list[_Job], error: Exception) -> None:
        with suppress(sqlite3.Error):  # nothing more can be done here; the next BEGIN says so again
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        reason = error if isinstance(error, UnavailableError) else UnavailableError("ledger", f"commit failed: {error}")
        for job in jobs:
            job.error = job.error or UnavailableError(reason.part, str(reason).removeprefix(f"{reason.part}: "))
            job.error.__cause__ = job.error.__cause__ or error

    def _fold(self) -> None:
        with suppress(sqlite3.Error):  # else the log stays beside the file and is read at the next opening
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is gone and so is everybody who waited
            self._loop.call_soon_threadsafe(function, *arguments)

    def _resolve(self, jobs: list[_Job]) -> None:
        topics: set[str] = set()
        for job in jobs:
            if job.error is None:
                topics.update(job.touches(job.result))
            if job.done.done():
                continue  # its caller was cancelled
            if job.error is None:
                job.done.set_result(job.result)
            else:
                job.done.set_exception(job.error)
        self._touched(topics)

    def _ended(self) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
