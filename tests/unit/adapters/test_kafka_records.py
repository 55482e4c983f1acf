"""Record batches are read whatever their headers are called; what is really broken is still said to be."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords

from service.adapters.kafka_records import ForgivingRecords, read_any_header_name
from tests.kafka.batches import Written, make_batch

GOOD: list[Written] = [(b"1", ((b"name", b"a"), ("\u00e4".encode(), None))), (b"2", ())]
BAD: list[Written] = [(b"3", ()), (b"4", ((b"\xff\xfename", b"b"), (b"name", b"c"))), (b"5", ())]


def read(content: bytes, *, strictly: bool = False) -> list[tuple[int, Any, Any]]:
    records, found = (MemoryRecords if strictly else ForgivingRecords)(content), []
    assert records.size_in_bytes() == len(content)
    while records.has_next():
        batch: Any = records.next_batch()
        assert batch.validate_crc()
        assert not batch.is_control_batch
        found += [(record.offset, record.value, tuple(record.headers)) for record in batch]
    return found


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_text_is_read_as_aiokafka_reads_it(*, compressed: bool) -> None:
    content = make_batch(GOOD, compressed=compressed) * 3

    assert read(content) == read(content, strictly=True)
    assert len(read(content)) == 6


@pytest.mark.parametrize("compressed", [False, True])
def test_a_name_that_is_no_text_is_read_with_signs_that_say_so(*, compressed: bool) -> None:
    content = make_batch(GOOD) + make_batch(BAD, compressed=compressed) + make_batch(GOOD)

    found = read(content)

    assert [value for _, value, _ in found] == [b"1", b"2", b"3", b"4", b"5", b"1", b"2"]
    assert found[3] == (1, b"4", (("\ufffd\ufffdname", b"b"), ("name", b"c")))


def test_aiokafka_itself_still_fails_on_it() -> None:
    """When it no longer does, `kafka_records` can go."""
    with pytest.raises(UnicodeDecodeError):
        read(make_batch(BAD), strictly=True)


def test_a_broken_batch_is_still_refused() -> None:
    content = bytearray(make_batch(GOOD))
    content[57:61] = (9).to_bytes(4)  # more records than there are
    batch = ForgivingRecords(bytes(content)).next_batch()

    with pytest.raises(CorruptRecordException):
        list(batch)


def test_consumers_read_so_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "MemoryRecords", MemoryRecords)

    read_any_header_name()

    assert fetcher.MemoryRecords is ForgivingRecords  # type: ignore[attr-defined]
