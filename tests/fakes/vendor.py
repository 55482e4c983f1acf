"""A vendor that answers as scripted and keeps a journal, with operations to go with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from service.application.ports import Claim, HeldBackError, PresentRead, Send, VendorOperation
from service.domain.account import Account
from service.domain.outcome import (
    Answer,
    Call,
    ErrorClass,
    Failure,
    Json,
    Look,
    Move,
    Outcome,
    Reply,
    Result,
    Seen,
    Succeeded,
    WhenUnclear,
    held_back,
)
from tests.fakes.clock import VirtualClock

CREATE = "tencent_ccc.CreateExtension"
READ = "tencent_ccc.DescribeExtension"
LIST = "tencent_ccc.DescribeExtensions"
NUMBERS = "tencent_ccc.DescribeNumbers"

LOST = Failure(error_class=ErrorClass.AMBIGUOUS, code="ReadTimeout", message="no reply")
REFUSED = Failure(error_class=ErrorClass.PERMANENT, code="InvalidParameter", message="the vendor refuses it")
THROTTLED = Failure(error_class=ErrorClass.THROTTLED, code="RequestLimitExceeded", message="too fast")
BUSY = Failure(error_class=ErrorClass.RETRYABLE, code="InternalError", message="try again")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as it reached the vendor; `at` on the monotonic clock."""

    at: float
    call: Call


class FakeVendor:
    """The port `VendorClient`.

    Each call takes the next reply of its operation's script (an exception is raised, as a bug would be); without one
    `answer` decides. `on_arrival` runs as a request arrives. While `answering` is clear no reply goes out.
    """

    def __init__(
        self,
        *operations: VendorOperation,
        clock: VirtualClock,
        answer: Callable[[Call], Reply] | None = None,
        seconds: float = 0.0,
    ) -> None:
        self._operations = {operation.name: operation for operation in operations}
        self._clock = clock
        self._answer = answer or self._yes
        self._seconds = seconds
        self._ids = count(1)
        self._scripts: dict[str, list[Reply | Exception]] = {}
        self.journal: list[Arrival] = []
        self.on_arrival: Callable[[Call], None] = lambda call: None
        self.unprepared: Failure | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    @property
    def operations(self) -> Mapping[str, VendorOperation]:
        """The operations by name."""
        return self._operations

    def script(self, operation: str, *replies: Reply | Exception) -> None:
        """What the next calls of the operation are answered with."""
        self._scripts.setdefault(operation, []).extend(replies)

    def calls(self, operation: str) -> list[Call]:
        """The calls of one operation, in order of arrival."""
        return [arrival.call for arrival in self.journal if arrival.call.operation == operation]

    async def prepare(self) -> Failure | None:
        """Ready at once, unless the test says otherwise."""
        return self.unprepared

    async def exchange(self, call: Call, on_write: Callable[[], None] | None = None) -> Reply:
        """Journal, wait, reply."""
        try:
            if on_write is not None:
                on_write()
        except HeldBackError as held:
            return held_back(held)
        self.journal.append(Arrival(self._clock.monotonic(), call))
        self.on_arrival(call)
        await self.answering.wait()
        await self._clock.sleep(self._seconds)
        script = self._scripts.get(call.operation)
        reply = script.pop(0) if script else self._answer(call)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def close(self) -> None:
        """Nothing is open."""

    def _yes(self, call: Call) -> Reply:
        return Answer(body={}, request_id=f"req-{next(self._ids)}")


def create_if_absent(wanted: Mapping[str, Json], seen: Seen | None, ours: bool) -> Move:
    """Absent: create. Equal and ours: unchanged. Anything else: conflict."""
    if seen is None or seen.state is None:
        return Call(operation=CREATE, account="acme_cn", body=dict(wanted), creates=seen is not None)
    if ours and seen.state.get("name") == wanted.get("name"):
        return Succeeded(result=Result.UNCHANGED)
    return Failure(error_class=ErrorClass.CONFLICT, code="ExtensionTaken", message="another agent's")


def read_it(wanted: Mapping[str, Json], seen: Seen | None, ours: bool) -> Move:
    """A read: always call."""
    return Call(operation=READ, account="acme_cn", body=dict(wanted))


@dataclass
class FakeOperation:
    """The port `VendorOperation`, its rule given as a function; `bug` is raised by judge."""

    name: str = CREATE
    writes: bool = True
    when_unclear: WhenUnclear = WhenUnclear.READ_BACK
    present_read: PresentRead | None = None
    rule: Callable[[Mapping[str, Json], Seen | None, bool], Move] = create_if_absent
    bug: Exception | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:
        """As the rule says."""
        return self.rule(wanted, seen, ours)

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:
        """Done."""
        if self.bug is not None:
            raise self.bug
        return Succeeded(result=Result.DONE, facts=self.facts)


@dataclass
class FakeRead:
    """The port `PresentRead`: as many calls as `pages`; sees `present` by extension, absent if it is not there."""

    operation: str = LIST
    batch: int = 20
    pages: int = 1
    present: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    looks: list[int] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    bug: Exception | None = None

    async def look(self, account: Account, wanted: Sequence[Mapping[str, Json]], send: Send) -> Sequence[Look]:
        """One look for all."""
        self.looks.append(len(wanted))
        self.asked.append([str(one.get("extension")) for one in wanted])
        if self.bug is not None:
            raise self.bug
        for page in range(self.pages):
            reply = await send(Call(operation=self.operation, account=account.name, body={"page": page}))
            if isinstance(reply, Failure):
                return [reply] * len(wanted)
        return [Seen(self.present.get(str(one.get("extension")))) for one in wanted]


@dataclass
class FakePresentReader:
    """The port `PresentReader`: answers with the next of `looks`, the last of them for good."""

    looks: list[Look | Exception] = field(default_factory=lambda: [Seen(None)])
    asked: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    async def look(self, claim: Claim, read: PresentRead) -> Look:
        """What was scripted."""
        self.asked.append(claim.command.id)
        await self.open.wait()
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        return look
