"""The ledger's note of a dead letter, and what became of it."""

from __future__ import annotations

from enum import StrEnum

from service.domain.value import Value

LetterPlace = tuple[str, int, int]  # topic, partition, offset


class LetterState(StrEnum):
    """A dead letter is open until a person sends it again, corrected, or sets it aside."""

    OPEN = "open"
    RESUBMITTED = "resubmitted"
    DISCARDED = "discarded"


class DeadLetter(Value, frozen=True, kw_only=True):
    """The ledger's note of a record that can't become an event; the bytes travel through the outbox only.

    `seq` is the ledger's own count of them, newest highest.
    """

    topic: str
    partition: int
    offset: int
    reason: str
    field: str | None
    message: str
    size: int
    digest: str
    seen_at: float
    state: LetterState = LetterState.OPEN
    closed_at: float | None = None
    seq: int = 0

    @property
    def place(self) -> LetterPlace:
        """Where in Kafka the record stood."""
        return (self.topic, self.partition, self.offset)

    @property
    def id(self) -> str:
        """What it is called: `topic:partition:offset`."""
        return f"{self.topic}:{self.partition}:{self.offset}"


def place_of(letter_id: str) -> LetterPlace | None:
    """The place that an id names; None if it is none."""
    topic, _, rest = letter_id.partition(":")
    partition, _, offset = rest.partition(":")
    numbers = (partition, offset)
    if not topic or not all(n.isascii() and n.isdigit() and len(n) <= 18 for n in numbers):
        return None
    return (topic, int(partition), int(offset))
