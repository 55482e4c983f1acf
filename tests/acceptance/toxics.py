"""A sick link: a TCP proxy in this process that delays, starves, cuts, swallows or closes late what goes through."""

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Literal, Self

Toxic = Literal["none", "latency", "slow", "reset", "half open", "slow close"]
TOXICS: tuple[Toxic, ...] = ("latency", "slow", "reset", "half open", "slow close")

CHUNK = 16 * 1024
LATENCY_SECONDS = (0.0, 1.5)
"""Of each chunk, so that a request arrives before who sent it has lost patience."""
BYTES_PER_SECOND = 1000
PORTION_SECONDS = 0.1
LIVES_SECONDS = (0.0, 1.0)
"""How long a connection stands before it is reset."""
CLOSE_SECONDS = 5.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: a close is an RST."""


@dataclass
class Link:
    """A way to one port of this machine: `async with Link(port) as link`, then connect to `link.port`.

    `toxic` may be set at any time, and strikes connections that stand as well. A connection that was half open never
    recovers: what it swallowed is gone. `struck` counts the chunks and connections that a toxic met.
    """

    target: int
    chance: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - no secret
    port: int = 0
    toxic: Toxic = "none"
    struck: int = 0
    _server: asyncio.Server | None = None
    _passages: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._enter, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "the link is open"
        self._server.close()
        for passage in self._passages:
            passage.cancel()
        await asyncio.gather(*self._passages, return_exceptions=True)

    def meets(self) -> None:
        """A toxic has met something."""
        self.struck += 1

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "called as a task"
        self._passages.add(task)
        try:
            await self._pass(reader, writer)
        except asyncio.CancelledError:
            return  # the link is closed
        finally:
            self._passages.discard(task)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to the end of both directions."""
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return  # nobody listens there: whoever came is cut off
        passage = _Passage(self, writer, far_writer)
        try:
            async with asyncio.TaskGroup() as both:
                cutting = both.create_task(passage.cut())
                there = both.create_task(passage.carry(reader, far_writer))
                back = both.create_task(passage.carry(far_reader, writer))
                await asyncio.wait({there, back})
                cutting.cancel()
        finally:
            far_writer.transport.abort()


@dataclass
class _Passage:
    """A connection through a link, both directions of it."""

    link: Link
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    is_dead: bool = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bring what comes in one direction to its end, and then the end itself."""
        try:
            while chunk := await reader.read(CHUNK):
                await self._bring(chunk, writer)
            await self._end(writer)
        except OSError:  # one side was cut off: so is the other, if anything still goes through
            if not self.is_dead:
                writer.transport.abort()

    async def cut(self) -> None:
        """Reset the connection a moment after its link has taken to that."""
        while True:
            await asyncio.sleep(self.link.chance.uniform(*LIVES_SECONDS))
            if self.link.toxic == "reset":
                self.link.meets()
                _reset(self.near)
                _reset(self.far)
                return

    async def _bring(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        toxic = self.link.toxic
        if toxic == "half open":
            self.is_dead = True
        if self.is_dead:
            self.link.meets()
            return
        if toxic == "latency":
            self.link.meets()
            await asyncio.sleep(self.link.chance.uniform(*LATENCY_SECONDS))
        if toxic == "slow":
            self.link.meets()
            await self._trickle(chunk, writer)
            return
        writer.write(chunk)
        await writer.drain()

    async def _trickle(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        portion = round(BYTES_PER_SECOND * PORTION_SECONDS)
        for at in range(0, len(chunk), portion):
            writer.write(chunk[at : at + portion])
            await writer.drain()
            await asyncio.sleep(PORTION_SECONDS)

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        """One side has closed: the other learns it, late, or never."""
        if self.link.toxic == "half open":
            self.is_dead = True
        if self.is_dead:
            return
        if self.link.toxic == "slow close":
            self.link.meets()
            await asyncio.sleep(CLOSE_SECONDS)
        if writer.can_write_eof():
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
