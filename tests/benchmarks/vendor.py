"""A vendor that is fast and believes everything: TCCC's three calls about extensions, without a quota or a signature.

It is not the sandbox: it checks nothing, so that it is never what a contender waits for. `python -m
tests.benchmarks.vendor --port 8000 --delay 0.05` runs it; `GET /stats` tells what came, `POST /reset` forgets it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import time
from typing import Any

import orjson

SLOW_SECONDS = 5.0
_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class Book:
    """What the vendor holds, and what came when."""

    def __init__(self) -> None:
        self.extensions: dict[str, tuple[str, str]] = {}
        self.created_at: dict[str, float] = {}
        self.calls = dict.fromkeys(("CreateExtension", "DescribeExtension", "DescribeExtensions"), 0)
        self.first_at = self.last_at = 0.0
        self.again = 0

    def stats(self) -> dict[str, Any]:
        """Counts, and monotonic seconds; `created_at` by extension."""
        return {
            "calls": self.calls,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "again": self.again,
            "created_at": self.created_at,
        }

    def answer(self, action: str, params: dict[str, Any], now: float) -> dict[str, Any]:
        """The fields of the reply."""
        self.calls[action] += 1
        if action == "CreateExtension":
            extension = params["ExtensionId"]
            self.again += extension in self.extensions
            self.extensions[extension] = params.get("ExtensionName", ""), params.get("Relation", "")
            self.created_at.setdefault(extension, now)
            return {}
        if action == "DescribeExtension":
            return {
                "ExtensionId": params["ExtensionId"],
                "ExtensionDomain": "1400000000.tccc.qcloud.com",
                "Password": "FAKE-0123456789",
                "OutboundProxy": "sip.tccc.qcloud.com:5061",
                "Transport": "tls",
            }
        found = [(one, *self.extensions[one]) for one in params.get("ExtensionIds", ()) if one in self.extensions]
        rows = [{"ExtensionId": one, "ExtensionName": name, "Relation": relation} for one, name, relation in found]
        return {"Total": len(rows), "ExtensionList": rows}


class Connection(asyncio.Protocol):
    """One kept connection: requests one after another, each answered whole."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers go to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].split(b"\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head[1:])}
            whole = end + 4 + int(headers.get(b"content-length", 0))
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._answer(head[0], headers.get(b"x-tc-action", b"").decode(), body)

    def _answer(self, request_line: bytes, action: str, body: bytes) -> None:
        vendor, now = self._vendor, time.monotonic()
        if action:
            params = orjson.loads(body)
            fields = vendor.book.answer(action, params, now)
            vendor.book.first_at = vendor.book.first_at or now
            vendor.book.last_at = now
            fields["RequestId"] = f"{vendor.book.calls[action]:08x}-0000-4000-8000-000000000000"
            delay = SLOW_SECONDS if vendor.is_slow(action, params) else vendor.delay
            reply = orjson.dumps({"Response": fields})
        else:
            if request_line.startswith(b"POST /reset"):
                vendor.book = Book()
            delay, reply = 0.0, orjson.dumps(vendor.book.stats())
        if delay:
            asyncio.get_running_loop().call_later(delay, self._write, reply)
        else:
            self._write(reply)

    def _write(self, reply: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_JSON % (len(reply), reply))


class Vendor:
    """Its settings and its book."""

    def __init__(self, delay: float, slow_every: int, slow_from: int) -> None:
        self.delay, self._slow_every, self._slow_from = delay, slow_every, slow_from
        self.book = Book()

    def is_slow(self, action: str, params: dict[str, Any]) -> bool:
        """Whether this creation takes its time."""
        if not self._slow_every or action != "CreateExtension":
            return False
        number = int(params["ExtensionId"])
        return number >= self._slow_from and number % self._slow_every == 0

    async def serve(self, port: int) -> None:
        """Serve until SIGTERM."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        gc.disable()  # nothing here goes round in circles
        async with await loop.create_server(lambda: Connection(self), "127.0.0.1", port):
            await stop.wait()


def main() -> None:
    """Serve as asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.vendor", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--slow-every", type=int, default=0, help=f"every so manieth extension takes {SLOW_SECONDS} s")
    parser.add_argument("--slow-from", type=int, default=0, help="but for those below this number")
    asked = parser.parse_args()
    asyncio.run(Vendor(asked.delay, asked.slow_every, asked.slow_from).serve(asked.port))


if __name__ == "__main__":
    main()
