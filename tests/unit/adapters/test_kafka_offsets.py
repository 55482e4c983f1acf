"""Which offsets are committed, and what of a batch may be gone back to, when partitions come and go."""

from aiokafka import TopicPartition

from service.adapters.kafka_offsets import Offsets
from service.domain.record_reading import Record

HERE, THERE = TopicPartition("hr.events", 0), TopicPartition("hr.events", 1)


def record(partition: TopicPartition, offset: int) -> Record:
    return Record(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        key=None,
        value=None,
        headers=(),
        timestamp_ms=0,
    )


def test_offset_behind_the_last_durable_record_of_each_partition_is_due() -> None:
    offsets = Offsets()
    offsets.taken([record(HERE, 4), record(HERE, 5), record(THERE, 0)])
    assert offsets.due() == {HERE: 6, THERE: 1}


def test_what_is_committed_is_due_no_more_unless_more_was_taken_meanwhile() -> None:
    offsets = Offsets()
    offsets.taken([record(HERE, 4), record(THERE, 0)])
    committing = offsets.due()
    offsets.taken([record(HERE, 5)])
    offsets.settled(committing)
    assert offsets.due() == {HERE: 6}


def test_what_was_durable_before_its_partition_goes_is_due_until_it_is_gone() -> None:
    offsets = Offsets()
    offsets.taken([record(HERE, 4)])
    offsets.going([HERE])
    assert offsets.due() == {HERE: 5}
    offsets.gone([HERE])
    assert offsets.due() == {}


def test_what_becomes_durable_after_its_partition_went_is_never_due() -> None:
    offsets = Offsets()
    offsets.fetched()
    offsets.going([HERE])
    offsets.gone([HERE])
    offsets.taken([record(HERE, 4), record(THERE, 7)])
    assert offsets.due() == {THERE: 8}


def test_partition_that_came_back_is_due_again_with_the_next_batch() -> None:
    offsets = Offsets()
    offsets.going([HERE])
    offsets.gone([HERE])
    offsets.fetched()
    offsets.taken([record(HERE, 2)])
    assert offsets.due() == {HERE: 3}


def test_first_of_the_records_of_each_partition_is_gone_back_to_unless_it_went() -> None:
    offsets = Offsets()
    batch = [record(HERE, 8), record(HERE, 7), record(THERE, 3)]
    assert offsets.first(batch) == {HERE: 7, THERE: 3}
    offsets.going([THERE])
    assert offsets.first(batch) == {HERE: 7}
