"""The table of transport troubles, against aiohttp's own exception tree; the wire itself is tried in integration."""

import ssl

import aiohttp
import pytest
from aiohttp.client import IDEMPOTENT_METHODS
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from service.domain.outcome import ErrorClass
from service.vendors.http_exchange import HttpReply, transport_failure

KEY = ConnectionKey("vendor.example.com", 443, True, True, None, None, None)
INFO = aiohttp.RequestInfo(URL("https://vendor.example.com/"), "POST", {}, URL("https://vendor.example.com/"))  # type: ignore[arg-type]

NOT_SENT: list[tuple[aiohttp.ClientError | TimeoutError, str]] = [
    (aiohttp.ConnectionTimeoutError("x"), "ConnectTimeout"),
    (aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "name")), "DnsFailure"),
    (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")), "ConnectRefused"),
    (aiohttp.ClientConnectorError(KEY, OSError(113, "no route")), "ConnectFailed"),
    (aiohttp.ClientConnectorError(KEY, ConnectionResetError(104, "during the handshake")), "ConnectFailed"),
    (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake")), "TlsFailure"),
    (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "expired")), "CertificateRefused"),
]
PERHAPS_SENT: list[tuple[aiohttp.ClientError | TimeoutError, str]] = [
    (aiohttp.SocketTimeoutError("x"), "ReadTimeout"),
    (aiohttp.ServerTimeoutError("x"), "ReadTimeout"),
    (TimeoutError(), "ReadTimeout"),
    (aiohttp.ServerDisconnectedError(), "Disconnected"),
    (aiohttp.ClientOSError(104, "reset"), "Disconnected"),
    (aiohttp.ClientConnectionResetError("closing transport"), "Disconnected"),
    (aiohttp.ClientConnectionError("lost"), "Disconnected"),
    (aiohttp.ClientPayloadError("short"), "Truncated"),
    (aiohttp.ClientResponseError(INFO, (), status=400, message="bad"), "NotHttp"),
    (aiohttp.ClientError("anything else"), "Disconnected"),
]


@pytest.mark.parametrize(("trouble", "code"), NOT_SENT)
def test_trouble_before_the_first_byte_is_retryable(trouble: aiohttp.ClientError | TimeoutError, code: str) -> None:
    failure = transport_failure(trouble)
    assert (failure.error_class, failure.code) == (ErrorClass.RETRYABLE, code)


@pytest.mark.parametrize(("trouble", "code"), PERHAPS_SENT)
def test_any_later_trouble_is_ambiguous(trouble: aiohttp.ClientError | TimeoutError, code: str) -> None:
    failure = transport_failure(trouble)
    assert (failure.error_class, failure.code) == (ErrorClass.AMBIGUOUS, code)


@pytest.mark.parametrize(("trouble", "code"), NOT_SENT + PERHAPS_SENT)
def test_words_are_our_own(trouble: aiohttp.ClientError | TimeoutError, code: str) -> None:
    assert "vendor.example.com" not in transport_failure(trouble).message


def test_aiohttp_repeats_no_post_by_itself() -> None:
    assert "POST" not in IDEMPOTENT_METHODS


def test_reply_shows_no_body() -> None:
    assert "FAKEsecret" not in repr(HttpReply(status=200, content_type="application/json", body=b"FAKEsecret"))
