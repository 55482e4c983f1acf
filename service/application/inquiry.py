"""What operators ask of the ledger beside single commands and plans: the questions, and the port that answers them.

Answers are snapshots: nothing is locked, and what is asked next may stand elsewhere by then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from service.application.ports import Ledger
from service.domain.command import Plan
from service.domain.dead_letter import DeadLetter
from service.domain.desk import QuotaRate
from service.domain.ledger_state import Act, Changes, Hold, Keys, Known, StoredEvent
from service.domain.replay import Replay, ReplayItem
from service.domain.value import Value

MOST_ROWS = 1000
"""The most rows of one answer."""


class EventQuery(Value, frozen=True, kw_only=True):
    """Filters of the events the ledger still has; empty means any. Newest first; `before` is an arrival."""

    id: str | None = None
    source: str | None = None
    subject: str | None = None
    type: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 50


class LetterQuery(Value, frozen=True, kw_only=True):
    """Filters of dead letters; empty means any. Newest first; `before` is a letter's `seq`."""

    topic: str | None = None
    reason: str | None = None
    state: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 50


class ActQuery(Value, frozen=True, kw_only=True):
    """Filters of the record of acts; empty means any. Newest first; `before` is an act's `seq`."""

    actor: str | None = None
    kind: str | None = None
    object: str | None = None
    since: float | None = None
    until: float | None = None
    before: int | None = None
    limit: int = 50


class Tally(Value, frozen=True, kw_only=True):
    """How many commands, or plans, stand alike.

    Of plans only account, state, error class and code are told, and as `operation` `planning` for those that failed as
    they arrived. Of what has failed, class and code are told (else empty), and when the first and last of them did.
    """

    kind: Literal["command", "plan"]
    account: str
    operation: str
    lane: str
    state: str
    cause: str
    error_class: str
    code: str
    number: int
    first_at: float | None = None
    last_at: float | None = None


class ItemStanding(Value, frozen=True, kw_only=True):
    """One plan of a replay, with the plan as it is now (None: erased since)."""

    item: ReplayItem
    plan: Plan | None


class Inquiries(Protocol):
    """The ledger as operators ask it. Raises UnavailableError when it can't be reached.

    A ledger with one connection is held by none of these for more than 20 ms at a time, however much it has seen.
    """

    async def events(self, query: EventQuery) -> Sequence[StoredEvent]:
        """One page of events, newest first."""
        ...

    async def dead_letters(self, query: LetterQuery) -> Sequence[DeadLetter]:
        """One page of dead letters, newest first."""
        ...

    async def acts(self, query: ActQuery) -> Sequence[Act]:
        """One page of acts, newest first."""
        ...

    async def holds(self, *, standing: bool, limit: int = MOST_ROWS) -> Sequence[Hold]:
        """Holds and quarantines that stand, or those that were released; newest first."""
        ...

    async def rates(self) -> Sequence[QuotaRate]:
        """What persons have changed about quotas, by group and operation."""
        ...

    async def tallies(self) -> Sequence[Tally]:
        """How many commands and plans stand how: all unfinished and failed ones, and on SQLite the others as well."""
        ...

    async def oldest(self) -> Mapping[tuple[str, str, str], float]:
        """When the oldest unfinished command of each account, lane and state was made."""
        ...

    async def told(self, message_ids: Collection[str]) -> Mapping[str, float | None]:
        """Of these messages those that the outbox still has, each with when Kafka acknowledged it (None: not yet)."""
        ...

    async def letter_bytes(self, message_id: str) -> tuple[bytes | None, bytes | None] | None:
        """Key and value of a dead letter's message while the outbox has it."""
        ...

    async def replays(self, *, unfinished: bool, limit: int = 50) -> Sequence[Replay]:
        """Replays, newest first; only those that run or are paused, or all."""
        ...

    async def replay(self, replay_id: str) -> Replay | None:
        """One replay."""
        ...

    async def replay_items(
        self, replay_id: str, *, pending: bool = False, after: int = 0, limit: int = MOST_ROWS
    ) -> Sequence[ItemStanding]:
        """The plans of a replay behind number `after`, in their order; only those still to be begun, or all."""
        ...

    async def forget(self, subject: str, act: Act) -> Mapping[str, int] | None:
        """Erase what is known of the person behind a subject, and keep the act; how many rows of what were changed.

        Events lose their data; commands, bindings and dead letters' messages lose names and addresses. None, and
        nothing is erased, while the subject has unfinished work.
        """
        ...

    async def begun(self, replay_id: str) -> int:
        """How many plans of a replay are no longer pending."""
        ...


async def look_up(ledger: Ledger, keys: Keys) -> Known:
    """What the ledger knows under these keys; nothing is changed. Raises UnavailableError."""
    found: list[Known] = []

    def look(known: Known) -> Changes:
        found[:] = [known]
        return Changes()

    await ledger.transact(keys, look)
    return found[0]


async def changed_rates(ledger: Inquiries) -> dict[tuple[str, str], float]:
    """By quota group and operation the rates (requests/s) that persons gave instead of the configured ones."""
    return {(one.quota_group, one.operation): one.rate for one in await ledger.rates() if one.rate is not None}
