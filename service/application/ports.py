"""What the steps need from the outside, as Protocols; adapters and vendors' rooms fulfil them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from service.domain.account import Account
from service.domain.binding import Binding
from service.domain.command import Command, Lane, Plan, Session
from service.domain.explaining import CommandStory as CommandStory  # noqa: PLC0414 - part of the port's language
from service.domain.ledger_state import Changes, Keys, Known, OutboxMessage
from service.domain.outcome import Call, Failure, Json, Look, Move, Outcome, Reply, Seen, WhenUnclear
from service.domain.record_reading import Record
from service.domain.retention import Erasable, TopicKeeping
from service.domain.value import Value


class Clock(Protocol):
    """Time comes in here and nowhere else."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Give way for that long; zero or less gives way once."""
        ...


class Randomness(Protocol):
    """Chance comes in here and nowhere else."""

    def fraction(self) -> float:
        """A number in [0, 1)."""
        ...


class EventSource(Protocol):
    """Where records come from (Kafka); they are bytes and stay unread."""

    async def fetch(self) -> Sequence[Record]:
        """The next records in their partitions' order; may be empty after a short wait.

        Whoever calls again only late, as the ledger is slow, keeps its place in the group, and memory stays bounded.
        Raises UnavailableError while the broker can't be reached.
        """
        ...

    def taken(self, records: Sequence[Record]) -> None:
        """These are durable in the ledger; their offsets may be committed in the background.

        Those of a partition that was taken away since they were fetched are not: it may be another's by now.
        """
        ...

    def give_back(self, records: Sequence[Record]) -> None:
        """These, the last fetched of their partitions, are not taken: they come again, now or after a pause."""
        ...

    def pause(self, topic: str) -> None:
        """Fetch nothing of the topic, also after its partitions moved, until it is resumed."""
        ...

    def resume(self, topic: str) -> None:
        """Fetch the topic again."""
        ...


class TopicTimes(Protocol):
    """Who knows how long the topics that are read keep their records (Kafka)."""

    async def keeping(self) -> Sequence[TopicKeeping]:
        """Each topic's time, as it is set now. Raises UnavailableError."""
        ...


class UnavailableError(Exception):
    """Something outside is away; try again. `part` names it for `/readyz`: kafka, ledger, publisher."""

    def __init__(self, part: str, reason: str) -> None:
        """Keep the part beside the message."""
        super().__init__(f"{part}: {reason}")
        self.part = part


class SessionEndedError(UnavailableError):
    """Another process has ended this session: what it had claimed is no longer its own. A new one may be opened."""

    def __init__(self, session: Session) -> None:
        """Say which."""
        super().__init__("ledger", f"session {session.fence} of {session.owner} has ended")


class LostClaimError(Exception):
    """The command is no longer this session's: nothing may be sent for it."""


class HeldBackError(Exception):
    """A request must not leave, although everything was ready: its slot or our session is over."""


class PublishRefusedError(Exception):
    """The broker will never take this message (too large, not allowed); `message_id` says which."""

    def __init__(self, message_id: str, reason: str) -> None:
        """Keep which message it was."""
        super().__init__(reason)
        self.message_id = message_id


class Publisher(Protocol):
    """Where messages go (Kafka), acknowledged by all replicas."""

    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[str]:
        """Send in order; the ids the broker acknowledged. Stops at the first that was not.

        Raises UnavailableError when nothing could be sent, PublishRefusedError for a message that never will be.
        """
        ...


class ClaimRoom(Value, frozen=True, kw_only=True):
    """How many more commands of one operation and lane the caller can take now."""

    quota_group: str
    operation: str
    lane: Lane
    room: int


class Claim(Value, frozen=True, kw_only=True):
    """A command this process now owns, with its plan and its subject's binding; `at` is when it was claimed."""

    command: Command
    plan: Plan
    binding: Binding | None
    at: float = 0.0


class CommandQuery(Value, frozen=True, kw_only=True):
    """Filters of a listing; empty means any. `after` is the last id of the page before.

    `code` may end in `*`. `since` and `until` (seconds since the epoch, the second exclusive) are about when it ended,
    or, unfinished, when it was made. Of plans, `operation` is that of the step that failed.
    """

    states: tuple[str, ...] = ()
    operation: str | None = None
    account: str | None = None
    subject: str | None = None
    resource: str | None = None
    plan_id: str | None = None
    error_class: str | None = None
    code: str | None = None
    since: float | None = None
    until: float | None = None
    after: str | None = None
    limit: int = 50


class Ledger(Protocol):
    """The durable queue. Every method is one transaction; it returns when that is on disk.

    Of `claim` that is not said: a machine or server that fails may lose one, which its mark or settlement then finds.
    Raises UnavailableError when the store can't be reached or written.
    """

    async def open_session(self, owner: str, now: float) -> Session:
        """Start this process's own session. It ends the owner's session before it, and those whose time is over.

        What an ended session had claimed and not marked is free again. A ledger that only one process can open ends
        every session that stood before.
        """
        ...

    async def keep_session(self, session: Session) -> int:
        """Prolong the session, and end those whose time is over; how many are open now, this one included.

        Raises SessionEndedError if another process has ended it.
        """
        ...

    async def end_session(self, session: Session, now: float) -> None:
        """End it in order: others need not wait until its time is over. Ending it twice changes nothing."""
        ...

    async def transact(self, keys: Keys, decide: Callable[[Known], Changes]) -> Changes:
        """Load, decide, write. `decide` is pure and may run in another thread; its exception undoes everything.

        Raises LostClaimError if the session that `keys` names has ended.
        """
        ...

    async def claim(self, session: Session, now: float, rooms: Sequence[ClaimRoom]) -> Sequence[Claim]:
        """Take due commands, oldest first, whose subject and resource have no earlier or running work.

        Raises SessionEndedError if the session has ended.
        """
        ...

    async def release(self, session: Session, command_ids: Sequence[str]) -> None:
        """Hand back claimed commands that were not marked."""
        ...

    async def release_others(self, session: Session, command_ids: Collection[str]) -> int:
        """Hand back all that this session claimed and did not mark, but for these; how many.

        For claims that succeeded although the caller was told that the ledger is away.
        """
        ...

    async def orphans(self, session: Session) -> Sequence[Command]:
        """Commands in flight that a session which has ended left behind."""
        ...

    async def regroup(self, groups: Mapping[str, str]) -> int:
        """Let unfinished commands of these accounts (name → quota group) pay to their account's present group.

        How many changed: a key was rotated, or `quota_group` set, while they waited.
        """
        ...

    async def unpublished(self, limit: int) -> Sequence[OutboxMessage]:
        """The oldest messages that Kafka has not acknowledged."""
        ...

    async def mark_published(self, ids: Sequence[str], at: float) -> None:
        """Kafka acknowledged these."""
        ...

    async def commands(self, query: CommandQuery) -> Sequence[Command]:
        """One page of commands, in the order of their ids."""
        ...

    async def plans(self, query: CommandQuery) -> Sequence[Plan]:
        """One page of plans, in the order of their ids; all filters but `resource` apply."""
        ...

    async def story(self, command_id: str) -> CommandStory | None:
        """One command with its plan, attempts and history."""
        ...

    async def erase(self, what: Erasable, *, before: float, limit: int) -> int:
        """Erase what has been over since `before` (seconds since the epoch), oldest first; how many rows went.

        At most `limit` of what is named, so that nobody waits long for the ledger; call again until it is 0. Nothing
        goes that is unfinished, held, waited for or unpublished. Several processes may call it beside each other.
        """
        ...

    def subscribe(self, topic: str) -> Callable[[], Awaitable[None]]:
        """A function that waits until the next commit that touched `commands` or `outbox`, or ~1 s."""
        ...


class Granted(Value, frozen=True, kw_only=True):
    """Slots that are ours now: the absolute time of the first (seconds since the epoch).

    `rate` (requests/s) is what a person has changed the quota to; None: it is as configured.
    """

    first: float
    rate: float | None = None


class SlotBook(Protocol):
    """What the quota of one process alone needs of its ledger."""

    async def reserve_slots(
        self, quota_group: str, operation: str, *, count: int, spacing: float, not_before: float
    ) -> Granted:
        """Take `count` slots `spacing` seconds apart, and learn the rate in force. Raises UnavailableError."""
        ...


class LentToken(Value, frozen=True, kw_only=True):
    """A token of a shared quota that is ours for `lasts` seconds more; one new to us is free in `free_in` seconds."""

    number: int
    free_in: float
    lasts: float


class Lent(Value, frozen=True, kw_only=True):
    """All tokens that are ours now; what exceeds `share` is to be returned. `rate` is the quota in force."""

    tokens: tuple[LentToken, ...]
    share: int
    rate: float


class TokenBook(Protocol):
    """What the quota of a fleet needs of its ledger."""

    async def lend_tokens(
        self,
        quota_group: str,
        operation: str,
        *,
        wanted: int,
        returned: Mapping[int, float],
        rate: float,
        gap: float,
    ) -> Lent:
        """Prolong our tokens, return some (number: free again in so many seconds), and take up to our fair share.

        `rate` (requests/s) is the configured quota, which a person may have changed since; an overdue token is lent
        anew `gap` windows after its time. Raises UnavailableError.
        """
        ...


Send = Callable[[Call], Awaitable[Reply]]  # waits for a slot of the call's operation, sends, never raises


class PresentRead(Protocol):
    """How a room reads the present for several commands of one account at once."""

    @property
    def operation(self) -> str:
        """The read as `vendor.Operation`; its quota pays."""
        ...

    @property
    def batch(self) -> int:
        """How many commands one read can serve."""
        ...

    async def look(self, account: Account, wanted: Sequence[Mapping[str, Json]], send: Send) -> Sequence[Look]:
        """For each wanted state what is there now: Seen, or the Failure that left it unknown."""
        ...


class VendorOperation(Protocol):
    """One operation of a vendor, with its rule of settlement."""

    @property
    def name(self) -> str:
        """As `vendor.Operation`."""
        ...

    @property
    def writes(self) -> bool:
        """False for a read: an unclear reply to it is simply tried again."""
        ...

    @property
    def when_unclear(self) -> WhenUnclear:
        """How it is found out what an unclear reply left behind; of a read, nothing ever is."""
        ...

    @property
    def present_read(self) -> PresentRead | None:
        """How to look before the first send; None where that can't or need not be done."""
        ...

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:
        """What to do given the present (None where there is no `present_read`): a call, or the outcome."""
        ...

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:
        """What a positive answer to `call` means for the command."""
        ...


class VendorClient(Protocol):
    """One account's line to its vendor."""

    @property
    def operations(self) -> Mapping[str, VendorOperation]:
        """The operations by name."""
        ...

    async def prepare(self) -> Failure | None:
        """Fetch what a request needs beforehand (a token), so that it leaves at its slot; the Failure if it can't."""
        ...

    async def exchange(self, call: Call, on_write: Callable[[], None] | None = None) -> Reply:
        """Sign, send, read and classify; an expected trouble is a Failure, never an exception.

        `on_write` is called directly before the request is written. HeldBackError from it keeps the request back: a
        RETRYABLE Failure then says so.
        """
        ...

    async def close(self) -> None:
        """Let go of what was opened."""
        ...


class Slot(Value, frozen=True, kw_only=True):
    """The right to send one request of an operation at a moment.

    `at` is seconds since the epoch, `due` the same moment on the monotonic clock.
    """

    quota_group: str
    operation: str
    at: float
    due: float


class Quota(Protocol):
    """Who may send when. Slots of an operation lie evenly apart and are never returned."""

    async def reserve(self, account: Account, operation: str, lane: Lane, *, since: float) -> Slot:
        """Wait in the lane (older `since` first) until a slot lies within the lead time; take it."""
        ...

    async def ready(self, slot: Slot) -> bool:
        """Wait for the slot's moment; True: send now. False: it has passed and is given up."""
        ...

    def sent(self, slot: Slot) -> None:
        """The slot's request is written now: this moment counts, not when it was let through.

        Raises HeldBackError if it came too late: then it must not be written.
        """
        ...

    def throttled(self, account: Account, operation: str) -> None:
        """The vendor answered a call of the operation with "too fast": its quota slows at once, and recovers slowly."""
        ...


class OwnSession(Protocol):
    """This process's session as it stands now."""

    @property
    def current(self) -> Session:
        """The session to claim under."""
        ...

    @property
    def fleet(self) -> int:
        """How many processes share the ledger, this one included, when it was last heard of."""
        ...

    def holds(self) -> bool:
        """Whether the session's time is certainly not over: nobody else can have taken what it claimed."""
        ...


class Credentials(Protocol):
    """Where a SIP password that an account's vendor handed out goes: no other part ever holds one."""

    async def seal(self, *, subject: str, account: str, extension: str, password: str) -> str | None:
        """The password as its receiver alone can read it, bound to whom and what it is for; None: it is dropped."""
        ...


class Settle(Protocol):
    """Execution's way to the settlement step: one durable write per outcome."""

    async def mark(self, claim: Claim, call: Call, slot: Slot) -> Claim:
        """Write the durable "about to send"; the claim with its command as it now stands."""
        ...

    async def settle(
        self,
        claim: Claim,
        outcome: Outcome,
        *,
        sent: SentTimes | None,
        writes: bool,
        when_unclear: WhenUnclear = WhenUnclear.WATCH,
    ) -> None:
        """Write the outcome, what follows from it, and the messages that tell it."""
        ...


class SentTimes(Value, frozen=True, kw_only=True):
    """What an attempt cost: the call's name, seconds waited for the slot and spent at the vendor.

    `creates`: the call was a create after a complete read showed nothing there.
    """

    call: str
    slot_at: float | None
    quota_seconds: float
    vendor_seconds: float
    creates: bool = False


class PresentReader(Protocol):
    """Execution's way to look at the present; batches what asks at the same time."""

    async def look(self, claim: Claim, read: PresentRead) -> Look:
        """What stands at the vendor now for the claim's command."""
        ...
