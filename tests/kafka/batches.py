"""Record batches as no client of ours would write them, byte by byte, and a producer that sends them all the same."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

AT_MS: Final = 1_700_000_000_000
GZIP: Final = 1

Written = tuple[bytes, Sequence[tuple[bytes, bytes | None]]]
"""A record's value and headers; a header's name may be any bytes."""


def make_batch(records: Sequence[Written], *, compressed: bool = False) -> bytes:
    """A batch of format 2 (kafka.apache.org/documentation/#recordbatch), sealed with its checksum."""
    content = b"".join(_record(number, *record) for number, record in enumerate(records))
    content = gzip.compress(content) if compressed else content
    last, count = len(records) - 1, len(records)
    sealed = struct.pack(">hiqqqhii", GZIP if compressed else 0, last, AT_MS, AT_MS, -1, -1, -1, count) + content
    beside = struct.pack(">ibI", -1, 2, calc_crc32c(sealed))
    return struct.pack(">qi", 0, len(beside) + len(sealed)) + beside + sealed


def _record(number: int, value: bytes, headers: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    named = b"".join(_sized(name) + _sized(content) for name, content in headers)
    return _sized(b"\0" + _whole(0) + _whole(number) + _sized(None) + _sized(value) + _whole(len(headers)) + named)


def _sized(content: bytes | None) -> bytes:
    return _whole(-1) if content is None else _whole(len(content)) + content


def _whole(number: int) -> bytes:
    """A number as a varint in zigzag."""
    rest, digits = number << 1 ^ number >> 63, bytearray()
    while rest > 0x7F:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*digits, rest])


async def write_batch(bootstrap_servers: str, topic: str, partition: int, batch: bytes) -> None:
    """Have the broker take a batch as it stands; returns when it has, and raises what it answers instead."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    try:
        given: Any = producer.create_batch()
        given.append(timestamp=None, key=None, value=b"", headers=[])
        given.close()

        def build() -> bytearray:
            given._buffer = bytearray(batch)
            return bytearray(batch)

        given._build = build
        await (await producer.send_batch(given, topic, partition=partition))
    finally:
        await producer.stop()
