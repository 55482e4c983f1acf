"""What consumer and producer share: where the brokers are, how they are spoken to, and why they can't be."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr

from service.adapters.kafka_tls import RenewedContext, TlsFiles
from service.adapters.kafka_tokens import NoTokenError, Tokens, read_verdicts
from service.application.ports import UnavailableError
from service.application.telemetry import Telemetry

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

LOOK_SECONDS: Final = 5.0  # to find out why nobody is reached
PASSWORD_SECONDS: Final = 1.0
NO_TLS_FILES: Final = TlsFiles()
UNREACHED: Final = (KafkaError, OSError, ValueError)
"""What aiokafka raises on connecting: an SSLError and a TimeoutError are OSErrors, a ValueError is SCRAM's."""


class RefusedError(UnavailableError):
    """A broker is there, and it or we refuse to go on: TLS does not verify, or nobody is known by what we show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """Broker addresses (`host:port`, comma-separated), and TLS and SASL where they are used.

    Secrets are asked for when they are needed, so that those in files may be rotated. `tokens` are OAUTHBEARER's.
    """

    bootstrap_servers: str
    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: Mechanism = "PLAIN"
    username: str | None = None
    password: SecretStr | None = None
    tokens: Tokens | None = None
    tls: TlsFiles = NO_TLS_FILES

    def client_arguments(self, part: str, telemetry: Telemetry | None = None) -> dict[str, Any]:
        """The keyword arguments of aiokafka's clients; `telemetry` is told when TLS files can't be used any more.

        Raises RefusedError of the part when they can't be used to begin with.
        """

        def tell(reason: str) -> None:
            if telemetry is not None:
                telemetry.log("warning", "files for TLS can't be used; those before stay in force", reason=reason)

        try:
            security = self._security(tell)
        except OSError as trouble:
            raise RefusedError(part, f"the files for TLS can't be used: {type(trouble).__name__}") from trouble
        return {"bootstrap_servers": self.bootstrap_servers, "client_id": "cordboard", **security}

    def _security(self, on_tls_trouble: Callable[[str], None]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.mechanism
            arguments["sasl_oauth_token_provider"] = self.tokens
            read_verdicts()
            if self.password is not None:
                arguments["sasl_plain_username"] = self.username
                arguments["sasl_plain_password"] = self.password.get_secret_value()
        if self.protocol.endswith("SSL"):
            arguments["ssl_context"] = RenewedContext.of(self.tls, on_tls_trouble)
        return arguments

    async def keep_password(self, client: AIOKafkaClient) -> None:
        """Let the client's next connection show the password as it is then, until cancelled.

        aiokafka 0.14 takes the password once, as text; its connections are made with what its client holds.
        """
        while self.password is not None:
            client._sasl_plain_password = self.password.get_secret_value()  # noqa: SLF001 - there is no other way
            await asyncio.sleep(PASSWORD_SECONDS)

    async def unreachable(self, part: str, trouble: BaseException, doing: str = "") -> UnavailableError:
        """Why a client gets nowhere, in words: it tells no more than that it failed, so look anew.

        RefusedError if somebody is there and either side refuses the other. What is said names no secret.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                for host, port, _ in collect_hosts(self.bootstrap_servers, randomize=False):
                    if (found := await self._reason(part, host, port)) is not None:
                        return found
        return UnavailableError(part, f"{type(trouble).__name__} {doing}".rstrip())

    async def _reason(self, part: str, host: str, port: int) -> UnavailableError | None:
        """What one broker has to do with it, as far as that can be said."""
        try:
            await self._look(host, port)
        except UNREACHED as trouble:
            if (refusal := _tls_refusal(trouble.__cause__ or trouble) or self._sasl_refusal(trouble)) is not None:
                return RefusedError(part, f"{host}:{port}: {refusal}")
            if (guess := self._guess(trouble)) is not None:
                return UnavailableError(part, f"{host}:{port}: {guess}")
        return None

    async def _look(self, host: str, port: int) -> None:
        """Connect, and ask one thing: a token that was refused shows only then (aiokafka overlooks it)."""
        connection: AIOKafkaConnection = await create_conn(host, port, **self._security(lambda _: None))
        try:
            await connection.send(MetadataRequest([]))
        except KafkaError as lost:
            if self.mechanism == "OAUTHBEARER" and self.protocol.startswith("SASL"):
                raise SaslAuthenticationFailed("the token") from lost
            raise
        finally:
            await connection.close()

    def _sasl_refusal(self, trouble: BaseException) -> str | None:
        match trouble:
            case SaslAuthenticationFailed():
                what = "the token" if self.mechanism == "OAUTHBEARER" else "user or password"
                return f"the broker refuses {what} (SASL {self.mechanism})"
            case UnsupportedSaslMechanismError():
                return f"the broker does not offer SASL {self.mechanism} here"
            case ValueError() if self.mechanism.startswith("SCRAM"):
                return "whoever answers does not show that it knows the password, as a broker would"
        return None

    def _guess(self, trouble: BaseException) -> str | None:
        """What else may be of help; None where the trouble's name says as much."""
        match trouble:
            case NoTokenError():
                return str(trouble.args[0])
            case KafkaConnectionError() | ConnectionResetError():
                return f"the broker ends the connection: it stops, or its listener does not speak {self.protocol}"
        return None


def _tls_refusal(trouble: BaseException) -> str | None:
    match trouble:
        case ssl.SSLCertVerificationError():
            return f"the broker's certificate does not verify: {trouble.verify_message}"
        case ssl.SSLError() if "CERTIFICATE" in (trouble.reason or ""):
            return f"the broker does not accept our certificate, or that we show none ({trouble.reason})"
        case ssl.SSLError():
            return f"the TLS handshake failed: {trouble.reason}"
    return None


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
