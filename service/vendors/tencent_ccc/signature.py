"""TC3-HMAC-SHA256, the vendor's request signature, as a pure function of what is sent and when.

Source: tencentcloud.com/document/product/1078/38637 and cloud.tencent.com/document/api/213/30654, read 2026-08.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

ALGORITHM = "TC3-HMAC-SHA256"


def authorization(
    *, secret_id: str, secret_key: str, timestamp: int, headers: Mapping[str, str], body: bytes, service: str = "ccc"
) -> str:
    """Value of the `Authorization` header for a POST to `/`.

    `headers` are the headers to sign, at least `content-type` and `host`; `timestamp` is Unix seconds and also goes
    into `X-TC-Timestamp`; `body` is the very bytes that are sent.
    """
    date = _utc_date(timestamp)
    scope = f"{date}/{service}/tc3_request"
    text = string_to_sign(timestamp=timestamp, scope=scope, canonical=canonical_request(headers, body))
    signature = _hmac(_signing_key(secret_key, date, service), text).hex()
    return f"{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={_signed_names(headers)}, Signature={signature}"


def canonical_request(headers: Mapping[str, str], body: bytes) -> str:
    """The six parts, one per line; the header block ends in its own line break, hence the empty line."""
    lowered = {name.lower(): value.strip().lower() for name, value in headers.items()}
    block = "".join(f"{name}:{lowered[name]}\n" for name in sorted(lowered))
    return "\n".join(("POST", "/", "", block, _signed_names(headers), hashlib.sha256(body).hexdigest()))


def string_to_sign(*, timestamp: int, scope: str, canonical: str) -> str:
    """Algorithm, time, scope and the canonical request's digest, one per line."""
    return "\n".join((ALGORITHM, str(timestamp), scope, hashlib.sha256(canonical.encode()).hexdigest()))


@lru_cache(maxsize=64)
def _signing_key(secret_key: str, date: str, service: str) -> bytes:
    """The same for all requests of an account on a day."""
    return _hmac(_hmac(_hmac(f"TC3{secret_key}".encode(), date), service), "tc3_request")


def _signed_names(headers: Mapping[str, str]) -> str:
    return ";".join(sorted(name.lower() for name in headers))


def _utc_date(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
