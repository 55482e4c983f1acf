"""Record batches as they are, also where a header's name is no text.

A broker takes any bytes as the name of a header. aiokafka 0.14 reads names as UTF-8 or raises out of the poll, again
at every poll, and loses what the same poll had taken from other partitions. So whoever may write a topic could stop
it, and have other topics' records passed over. Here such a name is read with U+FFFD for what is no text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

LENGTH: Final = struct.Struct(">8xi4xb")
"""How many bytes follow a batch's first twelve, and its format (kafka.apache.org/documentation/#recordbatch)."""
HEADERS_SINCE: Final = 2


def read_any_header_name() -> None:
    """Have this process's consumers read batches so; to be called before one is made. Once is enough."""
    fetcher.MemoryRecords = ForgivingRecords  # type: ignore[attr-defined]  # what it uses of one is here


class ForgivingRecords:
    """The batches of one fetched partition, in their order: as `aiokafka.record.MemoryRecords`."""

    def __init__(self, content: bytes) -> None:
        """Read nothing yet."""
        self._content = memoryview(content)
        self._batches = MemoryRecords(content)
        self._place = 0

    def size_in_bytes(self) -> int:
        """Of all that was fetched."""
        return self._batches.size_in_bytes()

    def has_next(self) -> bool:
        """Whether a whole batch is left."""
        return self._batches.has_next()

    def next_batch(self) -> Any:
        """The next batch; None after the last. Raises CorruptRecordException."""
        batch = self._batches.next_batch()
        if batch is None:
            return None
        begins = self._place
        length, batch_format = LENGTH.unpack_from(self._content, begins)
        self._place += 12 + length
        return batch if batch_format < HEADERS_SINCE else _Batch(batch, self._content[begins : self._place])


class _Batch:
    """One batch; all but its records is told by aiokafka's own."""

    def __init__(self, batch: Any, content: memoryview) -> None:
        self._batch = batch
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except (UnicodeDecodeError, CorruptRecordException):
            return iter(_forgiving(self._content))


def _forgiving(content: memoryview) -> list[Any]:
    """The records of a batch that could not be read strictly. Raises CorruptRecordException if it really can't be."""
    batch: Any = _DefaultRecordBatchPy(content)
    batch._maybe_uncompress()  # noqa: SLF001 - the reader in plain Python has no other seam
    batch._buffer = _ForgivingText(batch._buffer)  # noqa: SLF001 - as above
    return list(batch)


class _ForgivingText(bytearray):
    """Bytes whose parts become text whatever they are."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _ForgivingText(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)
