"""The sick links of the storms do what their names say: a storm over a link that is well proves nothing."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.acceptance.toxics import Link


@asynccontextmanager
async def _echo() -> AsyncIterator[Link]:
    """A link to a server that says everything again and closes after its caller."""

    async def say_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1000):
            writer.write(chunk)
        writer.close()

    async with (
        await asyncio.start_server(say_again, "127.0.0.1", 0) as server,
        Link(server.sockets[0].getsockname()[1]) as link,
        asyncio.timeout(10),
    ):
        yield link


async def test_link_that_is_well_passes_everything_on_and_the_end_too() -> None:
    async with _echo() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read(-1) == b"hello"
        assert link.struck == 0
        writer.close()


async def test_slow_link_passes_a_kilobyte_a_second() -> None:
    async with _echo() as link:
        link.toxic = "slow"
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        begun = time.monotonic()
        writer.write(b"x" * 500)
        assert await reader.readexactly(500) == b"x" * 500
        assert time.monotonic() - begun >= 0.4
        writer.close()


async def test_link_that_resets_cuts_connections_that_stand() -> None:
    async with _echo() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        link.toxic = "reset"
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()


async def test_half_open_link_swallows_both_ways_says_nothing_and_never_recovers() -> None:
    async with _echo() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        link.toxic = "half open"
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        link.toxic = "none"
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        assert link.struck == 2
        writer.close()


async def test_link_with_latency_passes_the_same_bytes_later() -> None:
    async with _echo() as link:
        link.toxic = "latency"
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert link.struck == 2, "once on each way"
        writer.close()
