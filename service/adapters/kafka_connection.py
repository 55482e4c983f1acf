"""What consumer and producer share: where the brokers are and how they are spoken to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from aiokafka.errors import KafkaError

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """Broker addresses (`host:port`, comma-separated), and TLS and SASL where they are used."""

    bootstrap_servers: str
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def client_arguments(self) -> dict[str, Any]:
        """The keyword arguments of aiokafka's clients."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.protocol,
            "client_id": "cordboard",
        }
        if self.protocol.startswith("SASL"):
            arguments |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        if self.protocol.endswith("SSL"):
            arguments["ssl_context"] = self._tls()
        return arguments

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


async def trouble_of(call: Coroutine[Any, Any, object], *, within: float) -> BaseException | None:
    """Run a client's call for at most `within` seconds; what went wrong, if anything did.

    Without a coordinator aiokafka 0.14 commits, stops and leaves for ever, and some of its calls end as cancelled
    when a task of its own was: neither may hold up or end whoever called.
    """
    task = asyncio.get_running_loop().create_task(call)
    try:
        await asyncio.wait({task}, timeout=within)
    finally:
        if not task.done():
            task.add_done_callback(_look_at)
            task.cancel()
    if not task.done():
        return TimeoutError()
    return KafkaError("cancelled inside the client") if task.cancelled() else task.exception()


def _look_at(task: asyncio.Task[object]) -> None:
    """What a call that was given up comes to interests nobody, but must have been looked at."""
    if not task.cancelled():
        task.exception()
