"""The thin exchange against servers that misbehave in every way a socket allows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from service.application.ports import HeldBackError
from service.domain.outcome import ErrorClass, Failure
from service.vendors.http_exchange import ExchangeLimits, HttpExchange, HttpReply, telling_before_writing

LIMITS = ExchangeLimits(connect_seconds=0.5, read_seconds=0.5, max_reply_bytes=1000)
BODY = b'{"a":1}'
DEADLINE = 10.0

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Misbehaving:
    """A server that reads requests whole, keeps them, and then behaves as told."""

    behave: Behave
    requests: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self.behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, as most of these tests want
        finally:
            writer.close()

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        request = head + await reader.readexactly(int(length.partition(b":")[2]))
        self.requests.append(request)
        self.arrived.set()
        return request


def answering(*parts: bytes, then: Callable[[asyncio.StreamWriter], None] | None = None) -> Callable[..., Behave]:
    """Read each request, write the parts; then close, or do what `then` says."""

    def bind(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            for part in parts:
                writer.write(part)
                await writer.drain()
            if then is not None:
                then(writer)

        return behave

    return bind


def http(body: bytes, *, status: str = "200 OK", length: int | None = None, extra: bytes = b"") -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {size}\r\n"
    return head.encode() + extra + b"\r\n" + body


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Callable[[Misbehaving], Behave]], Awaitable[Misbehaving]]]:
    servers: list[tuple[asyncio.Server, Misbehaving]] = []

    async def begin(bind: Callable[[Misbehaving], Behave]) -> Misbehaving:
        held = Misbehaving(behave=_unset)
        held.behave = bind(held)
        server = await asyncio.start_server(held.serve, "127.0.0.1", 0)
        held.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        servers.append((server, held))
        return held

    yield begin
    for server, held in servers:
        held.released.set()
        server.close()
        await server.wait_closed()


async def _unset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise AssertionError("bound before the server starts")


Start = Callable[[Callable[[Misbehaving], Behave]], Awaitable[Misbehaving]]


async def post(session: aiohttp.ClientSession, url: str, body: bytes = BODY) -> HttpReply | Failure:
    async with asyncio.timeout(DEADLINE):
        return await HttpExchange(session, LIMITS).post(url, headers={"Content-Type": "application/json"}, body=body)


def told(result: HttpReply | Failure) -> tuple[ErrorClass, str]:
    assert isinstance(result, Failure)
    return result.error_class, result.code


async def test_whole_reply_comes_back_as_it_is(session: aiohttp.ClientSession, start: Start) -> None:
    server = await start(answering(http(b'{"ok": true}', status="500 Oops")))
    assert await post(session, server.url) == HttpReply(
        status=500, content_type="application/json", body=b'{"ok": true}'
    )
    assert server.requests[0].endswith(BODY)
    assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_html_with_200_is_a_reply_like_any_other(session: aiohttp.ClientSession, start: Start) -> None:
    server = await start(
        answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")
    )
    assert await post(session, server.url) == HttpReply(status=200, content_type="text/html", body=b"<html></html>")


async def test_redirect_is_not_followed(session: aiohttp.ClientSession, start: Start) -> None:
    elsewhere = await start(answering(http(b"{}")))
    server = await start(answering(http(b"", status="307 Elsewhere", extra=f"Location: {elsewhere.url}\r\n".encode())))
    result = await post(session, server.url)
    assert isinstance(result, HttpReply)
    assert (result.status, elsewhere.requests) == (307, [])


async def test_refused_connection_was_not_sent(session: aiohttp.ClientSession) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening
        result = await post(session, f"http://127.0.0.1:{held.getsockname()[1]}/")
    assert told(result) == (ErrorClass.RETRYABLE, "ConnectRefused")


class Resolver(AbstractResolver):
    """Fails, or never answers."""

    def __init__(self, error: OSError | None) -> None:
        self.error = error

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        if self.error is not None:
            raise self.error
        await asyncio.get_running_loop().create_future()
        raise AssertionError("never resolved")

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("error", "code"), [(socket.gaierror(-2, "Name or service not known"), "DnsFailure"), (None, "ConnectTimeout")]
)
async def test_name_that_does_not_resolve_was_not_sent(error: OSError | None, code: str) -> None:
    connector = aiohttp.TCPConnector(resolver=Resolver(error))
    async with aiohttp.ClientSession(connector=connector) as session:
        assert told(await post(session, "http://vendor.invalid/")) == (ErrorClass.RETRYABLE, code)


async def test_failed_tls_handshake_was_not_sent(session: aiohttp.ClientSession, start: Start) -> None:
    def plain(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()

        return behave

    server = await start(plain)
    result = await post(session, server.url.replace("http:", "https:"))
    assert told(result) == (ErrorClass.RETRYABLE, "TlsFailure")


async def test_free_connection_that_never_comes_was_not_sent(start: Start) -> None:
    def hanging(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            await server.released.wait()

        return behave

    server = await start(hanging)
    patient = ExchangeLimits(connect_seconds=0.2, read_seconds=DEADLINE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        first = asyncio.create_task(HttpExchange(session, patient).post(server.url, headers={}, body=BODY))
        async with asyncio.timeout(DEADLINE):
            await server.arrived.wait()
        second = await HttpExchange(session, patient).post(server.url, headers={}, body=BODY)
        assert told(second) == (ErrorClass.RETRYABLE, "ConnectTimeout")
        assert len(server.requests) == 1
        server.released.set()
        assert told(await first) == (ErrorClass.AMBIGUOUS, "Disconnected")


async def test_connection_reset_before_reading_is_unclear(session: aiohttp.ClientSession, start: Start) -> None:
    def resetting(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            reset(writer)

        return behave

    server = await start(resetting)
    assert told(await post(session, server.url, b"x" * 900_000)) == (ErrorClass.AMBIGUOUS, "Disconnected")


@pytest.mark.parametrize("then", [reset, None], ids=["reset", "closed"])
async def test_connection_lost_after_reading_is_unclear_and_not_repeated(
    session: aiohttp.ClientSession, start: Start, then: Callable[[asyncio.StreamWriter], None] | None
) -> None:
    server = await start(answering(then=then))
    assert told(await post(session, server.url)) == (ErrorClass.AMBIGUOUS, "Disconnected")
    assert len(server.requests) == 1


async def test_kept_connection_that_dies_on_the_next_request_is_unclear_and_not_repeated(
    session: aiohttp.ClientSession, start: Start
) -> None:
    def once(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            writer.write(http(b"{}"))
            await writer.drain()
            await server.read_request(reader)

        return behave

    server = await start(once)
    assert isinstance(await post(session, server.url), HttpReply)
    assert told(await post(session, server.url)) == (ErrorClass.AMBIGUOUS, "Disconnected")
    assert len(server.requests) == 2


async def test_silence_is_unclear(session: aiohttp.ClientSession, start: Start) -> None:
    def silent(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            await server.released.wait()

        return behave

    server = await start(silent)
    assert told(await post(session, server.url)) == (ErrorClass.AMBIGUOUS, "ReadTimeout")


async def test_reply_that_trickles_without_end_is_given_up(session: aiohttp.ClientSession, start: Start) -> None:
    def trickling(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            writer.write(http(b"", length=900))
            for _ in range(900):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

        return behave

    server = await start(trickling)
    assert told(await post(session, server.url)) == (ErrorClass.AMBIGUOUS, "ReadTimeout")


@pytest.mark.parametrize("then", [reset, None], ids=["reset", "closed"])
async def test_reply_cut_short_is_unclear(
    session: aiohttp.ClientSession, start: Start, then: Callable[[asyncio.StreamWriter], None] | None
) -> None:
    server = await start(answering(http(b'{"Response"', length=500), then=then))
    error_class, code = told(await post(session, server.url))
    assert error_class is ErrorClass.AMBIGUOUS
    assert code in {"Truncated", "Disconnected"}


@pytest.mark.parametrize(
    "reply",
    [
        http(b"x" * 1001),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n" + b"200\r\n",
    ],
    ids=["announced", "chunked"],
)
async def test_reply_over_the_limit_is_not_read_on(session: aiohttp.ClientSession, start: Start, reply: bytes) -> None:
    tail = b"x" * 512 + b"\r\n0\r\n\r\n" if b"chunked" in reply else b""
    server = await start(answering(reply, tail))
    assert told(await post(session, server.url)) == (ErrorClass.AMBIGUOUS, "TooLarge")


async def test_answer_that_is_not_http_is_unclear(session: aiohttp.ClientSession, start: Start) -> None:
    server = await start(answering(b"220 mail.example.com ESMTP\r\n\r\n"))
    assert told(await post(session, server.url)) == (ErrorClass.AMBIGUOUS, "NotHttp")


async def test_writing_the_request_is_told_before_the_reply_and_a_request_that_never_left_is_not(
    start: Callable[[Callable[[Misbehaving], Behave]], Awaitable[Misbehaving]],
) -> None:
    def silent(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await server.read_request(reader)
            await server.released.wait()
            writer.write(http(b"{}"))
            await writer.drain()

        return behave

    server = await start(silent)
    sent = asyncio.Event()
    async with aiohttp.ClientSession(trace_configs=[telling_before_writing()]) as session:
        exchange = HttpExchange(session, ExchangeLimits(connect_seconds=1.0, read_seconds=5.0))
        posting = asyncio.ensure_future(exchange.post(server.url, headers={}, body=BODY, on_write=sent.set))
        async with asyncio.timeout(DEADLINE):
            await sent.wait()
        assert not posting.done()
        server.released.set()
        assert isinstance(await posting, HttpReply)

        never = asyncio.Event()
        gone = "http://127.0.0.1:1/"
        assert isinstance(await exchange.post(gone, headers={}, body=BODY, on_write=never.set), Failure)
        assert not never.is_set()


async def test_request_that_is_held_back_leaves_no_byte(start: Start) -> None:
    heard: list[bytes] = []

    def listening(server: Misbehaving) -> Behave:
        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            server.arrived.set()

        return behave

    def hold_back() -> None:
        raise HeldBackError("the slot is over")

    server = await start(listening)
    async with aiohttp.ClientSession(trace_configs=[telling_before_writing()]) as session:
        exchange = HttpExchange(session, LIMITS)
        reply = await exchange.post(server.url, headers={}, body=BODY, on_write=hold_back)
    async with asyncio.timeout(DEADLINE):
        await server.arrived.wait()

    assert reply == Failure(error_class=ErrorClass.RETRYABLE, code="held_back", message="not sent: the slot is over")
    assert heard == [b""]
