"""A vendor whose certificate does not verify is told nothing: not one byte of a request, signed or not, goes out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from service.domain.advice import advise
from service.domain.outcome import ErrorClass, Failure
from service.vendors.http_exchange import ExchangeLimits, HttpExchange, HttpReply
from tests.authority import Authority

LIMITS = ExchangeLimits(connect_seconds=2, read_seconds=2)
BODY = b'{"FAKE-secret-body": 1}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Impostor:
    """Keeps every byte that comes through TLS, and answers."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(4096):
            self.heard.append(chunk)
            if BODY in b"".join(self.heard):
                writer.write(REPLY)
        writer.close()


Start = Callable[[tuple[Path, Path]], Awaitable[Impostor]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    servers: list[asyncio.Server] = []

    async def begin(certificate: tuple[Path, Path]) -> Impostor:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*certificate)
        impostor = Impostor()
        servers.append(await asyncio.start_server(impostor.serve, "127.0.0.1", 0, ssl=tls))
        impostor.port = servers[-1].sockets[0].getsockname()[1]
        return impostor

    yield begin
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def post(impostor: Impostor, *, ca_file: Path | None, host: str = "127.0.0.1") -> HttpReply | Failure:
    """As a room posts, in a session of its own."""
    async with aiohttp.ClientSession() as session:
        exchange = HttpExchange(session, LIMITS, None if ca_file is None else str(ca_file))
        headers = {"Authorization": "FAKE-signature"}
        return await exchange.post(f"https://{host}:{impostor.port}/", headers=headers, body=BODY)


def is_refused(found: HttpReply | Failure, impostor: Impostor, why: str) -> None:
    assert isinstance(found, Failure)
    assert (found.error_class, found.code) == (ErrorClass.RETRYABLE, "CertificateRefused"), (
        "not sent, so never in doubt"
    )
    assert why in found.message
    assert "ca_file" in advise(found).text
    assert impostor.heard == []


async def test_one_that_an_unknown_authority_signed_is_refused(start: Start, authority: Authority) -> None:
    impostor = await start(authority.certificate("vendor", "127.0.0.1"))
    is_refused(await post(impostor, ca_file=None), impostor, "an authority that nobody here trusts")


async def test_one_that_is_signed_by_itself_is_refused(start: Start, authority: Authority, tmp_path: Path) -> None:
    impostor = await start(authority.by_itself("vendor", "127.0.0.1"))
    is_refused(await post(impostor, ca_file=None), impostor, "signed by itself")
    other = Authority(_folder(tmp_path))
    is_refused(await post(impostor, ca_file=other.ca_file), impostor, "signed by itself")


async def test_one_of_another_host_is_refused(start: Start, authority: Authority) -> None:
    impostor = await start(authority.certificate("vendor", "elsewhere.example"))
    found = await post(impostor, ca_file=authority.ca_file, host="localhost")
    is_refused(found, impostor, "for another host")
    is_refused(await post(impostor, ca_file=authority.ca_file), impostor, "for another address")


async def test_one_whose_time_is_over_is_refused(start: Start, authority: Authority) -> None:
    impostor = await start(authority.certificate("vendor", "127.0.0.1", ended=True))
    is_refused(await post(impostor, ca_file=authority.ca_file), impostor, "expired")


async def test_an_accounts_own_authority_is_trusted_by_it_alone(start: Start, authority: Authority) -> None:
    vendor = await start(authority.certificate("vendor", "127.0.0.1"))
    assert isinstance(await post(vendor, ca_file=authority.ca_file), HttpReply)
    is_refused(await post(Impostor(port=vendor.port), ca_file=None), Impostor(), "nobody here trusts")


def _folder(parent: Path) -> Path:
    folder = parent / "other"
    folder.mkdir()
    return folder
