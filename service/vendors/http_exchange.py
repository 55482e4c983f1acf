"""One POST to a vendor and what became of it, as a value: the thin exchange that every room shares.

aiohttp 3.14 repeats a request by itself only for the methods of `aiohttp.client.IDEMPOTENT_METHODS`, and POST is
none of them: one call here is at most one request on the wire.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from service.application.ports import HeldBackError
from service.domain.outcome import ErrorClass, Failure, held_back

_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeLimits:
    """Patience and size of one exchange.

    `connect_seconds` covers the wait for a free connection, the name's resolution, TCP and TLS; `read_seconds` is the
    longest silence after that. The whole exchange, a trickling reply included, ends after the sum of both. A reply
    above `max_reply_bytes` is not read further.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    max_reply_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole HTTP reply of any status; the body stays out of the repr, for it may hold a secret."""

    status: int
    content_type: str
    body: bytes

    def __repr__(self) -> str:
        return f"HttpReply(status={self.status}, content_type={self.content_type!r}, {len(self.body)} bytes)"


class HttpExchange:
    """POSTs over one shared session; never raises for what a network or a peer does."""

    def __init__(self, session: aiohttp.ClientSession, limits: ExchangeLimits, ca_file: str | None = None) -> None:
        """Keep the session (owned and closed by the caller) and turn the limits into aiohttp's.

        Certificates and host names are always verified: by the authorities in `ca_file`, else by the system's.
        """
        self._session = session
        self._tls = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._limits = limits
        self._timeout = aiohttp.ClientTimeout(
            total=limits.connect_seconds + limits.read_seconds,
            connect=limits.connect_seconds,
            sock_read=limits.read_seconds,
        )

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, on_write: Callable[[], None] | None = None
    ) -> HttpReply | Failure:
        """Send exactly these bytes once, without following redirects.

        `on_write` is called directly before the request is written (the session needs `telling_before_writing` for
        that). HeldBackError from it keeps the request back: a RETRYABLE failure.
        A failure before the first byte could leave is RETRYABLE; any later one is AMBIGUOUS, for the peer may have
        read the request. Compressed replies are not asked for, so that the size limit holds on the wire.
        """
        try:
            async with self._session.post(
                url,
                data=body,
                headers={**headers, "Accept-Encoding": "identity"},
                allow_redirects=False,
                timeout=self._timeout,
                ssl=self._tls,
                trace_request_ctx=on_write,
            ) as response:
                return await self._read(response)
        except (aiohttp.ClientError, TimeoutError) as trouble:
            if isinstance(trouble.__cause__, HeldBackError):
                return held_back(trouble.__cause__)
            return transport_failure(trouble)

    async def _read(self, response: aiohttp.ClientResponse) -> HttpReply | Failure:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(_CHUNK):
            size += len(chunk)
            if size > self._limits.max_reply_bytes:
                response.close()
                return _ambiguous("TooLarge", "the reply was larger than allowed and was not read to its end")
            chunks.append(chunk)
        return HttpReply(status=response.status, content_type=response.content_type, body=b"".join(chunks))


def telling_before_writing() -> aiohttp.TraceConfig:
    """What a session needs so that `HttpExchange.post` can tell that a request is about to be written.

    aiohttp 3.14 keeps the headers back and writes them with the body, in a task of its own: this signal is sent right
    before both go to the socket, and what it raises keeps both back.
    """

    async def tell(_: aiohttp.ClientSession, context: object, __: aiohttp.TraceRequestChunkSentParams) -> None:
        on_write = getattr(context, "trace_request_ctx", None)
        if on_write is not None:
            on_write()

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(tell)
    return trace


def transport_failure(trouble: aiohttp.ClientError | TimeoutError) -> Failure:
    """Class and code of what aiohttp 3.14 raises; see `TROUBLES`."""
    refused = isinstance(trouble, aiohttp.ClientConnectorError) and isinstance(trouble.os_error, ConnectionRefusedError)
    if refused:
        return Failure(
            error_class=ErrorClass.RETRYABLE, code="ConnectRefused", message="the vendor's host refused the connection"
        )
    if isinstance(trouble, aiohttp.ClientConnectorCertificateError):
        return _untrusted(trouble.certificate_error)
    return next(
        Failure(error_class=error_class, code=code, message=message)
        for kind, error_class, code, message in TROUBLES
        if isinstance(trouble, kind)
    )


def _untrusted(error: Exception) -> Failure:
    """Nothing was sent: the handshake comes before the first byte of a request."""
    why = WRONG_CERTIFICATES.get(getattr(error, "verify_code", None), "it does not verify")
    return Failure(
        error_class=ErrorClass.RETRYABLE,
        code="CertificateRefused",
        message=f"the certificate that was shown is not the vendor's: {why}",
    )


WRONG_CERTIFICATES: Mapping[int | None, str] = {
    10: "it has expired",
    18: "it is signed by itself",
    19: "an authority that nobody here trusts signed it",
    20: "an authority that nobody here trusts signed it",
    62: "it is for another host",
    64: "it is for another address",
}
"""By OpenSSL's X509_V_ERR_… (openssl/x509_vfy.h); its own words name hosts."""


TROUBLES: tuple[tuple[type[Exception], ErrorClass, str, str], ...] = (
    (aiohttp.ConnectionTimeoutError, ErrorClass.RETRYABLE, "ConnectTimeout", "no connection to the vendor in time"),
    (aiohttp.ClientConnectorDNSError, ErrorClass.RETRYABLE, "DnsFailure", "the vendor's host name is not resolved"),
    (aiohttp.ClientSSLError, ErrorClass.RETRYABLE, "TlsFailure", "the TLS handshake with the vendor failed"),
    (aiohttp.ClientConnectorError, ErrorClass.RETRYABLE, "ConnectFailed", "no connection to the vendor could be made"),
    (TimeoutError, ErrorClass.AMBIGUOUS, "ReadTimeout", "the vendor did not answer in time"),
    (aiohttp.ClientPayloadError, ErrorClass.AMBIGUOUS, "Truncated", "the reply ended before it was whole"),
    (aiohttp.ClientResponseError, ErrorClass.AMBIGUOUS, "NotHttp", "the answer was not readable as HTTP"),
    (aiohttp.ClientError, ErrorClass.AMBIGUOUS, "Disconnected", "the connection was lost before an answer was in"),
)
"""First match from the top. The connector raises the first four only while it makes a connection, before any byte of
the request. ServerDisconnectedError, in the last, may also mean that a kept connection was closed before our bytes
arrived, but nothing tells the two apart. A plain TimeoutError is the total, which outlasts the connect timeout: the
request was on its way."""


def _ambiguous(code: str, message: str) -> Failure:
    return Failure(error_class=ErrorClass.AMBIGUOUS, code=code, message=message)
