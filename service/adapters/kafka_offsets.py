"""Which offsets a member of the group may commit: behind what is durable, while it has what it fetched.

A partition that was taken away is read again from its committed offset by whoever gets it, this member too. What is
still held of it may be stored, for it is known by its digest when it comes again, but is no longer committed: that
would set back who reads it now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiokafka import TopicPartition

from service.domain.record_reading import Record


class Offsets:
    """The offsets behind what is durable, and the partitions that went while a batch of theirs was held."""

    def __init__(self) -> None:
        """Nothing is durable yet."""
        self._durable: dict[TopicPartition, int] = {}
        self._gone: set[TopicPartition] = set()

    def fetched(self) -> None:
        """A batch was fetched from what the member has now; the one before it is done with."""
        self._gone.clear()

    def taken(self, records: Iterable[Record]) -> None:
        """These of the batch are durable."""
        for record in records:
            partition = place(record)
            if partition not in self._gone:
                self._durable[partition] = max(record.offset + 1, self._durable.get(partition, 0))

    def first(self, records: Sequence[Record]) -> Mapping[TopicPartition, int]:
        """The first of these in each partition; none of one that is gone, for it begins anew anyhow."""
        first: dict[TopicPartition, int] = {}
        for record in records:
            partition = place(record)
            if partition not in self._gone:
                first[partition] = min(record.offset, first.get(partition, record.offset))
        return first

    def going(self, partitions: Iterable[TopicPartition]) -> None:
        """These are being taken away: what becomes durable of them from now on is not committed."""
        self._gone.update(partitions)

    def gone(self, partitions: Iterable[TopicPartition]) -> None:
        """They have been: what could not be committed of them stays so."""
        for partition in partitions:
            self._durable.pop(partition, None)

    def due(self) -> dict[TopicPartition, int]:
        """What to commit."""
        return dict(self._durable)

    def settled(self, offsets: Mapping[TopicPartition, int]) -> None:
        """These are committed, or can't be any more."""
        for partition, offset in offsets.items():
            if self._durable.get(partition) == offset:
                del self._durable[partition]


def place(record: Record) -> TopicPartition:
    """Where a record stands."""
    return TopicPartition(record.topic, record.partition)
