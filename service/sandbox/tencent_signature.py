"""Verification of TC3-HMAC-SHA256 over whatever headers a request signed ("Signature v3" page, read 2026-08)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

ALGORITHM = "TC3-HMAC-SHA256"
TOLERANCE_SECONDS = 300
_COMPULSORY = {"content-type", "host"}
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 Credential=(?P<secret_id>[^/\s,]+)/"
    r"(?P<date>\d{4}-\d\d-\d\d)/(?P<service>[a-z0-9]+)/tc3_request,\s*"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class SignatureRefusedError(Exception):
    """The signature does not hold; ``code`` is the vendor's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """The parts of an Authorization header."""

    secret_id: str
    date: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(value: str | None) -> Authorization:
    """Take an Authorization header apart.

    Raises:
        SignatureRefusedError: it is missing or not of the documented form.
    """
    found = _AUTHORIZATION.fullmatch(value.strip()) if value is not None else None
    if found is None:
        raise SignatureRefusedError(
            "AuthFailure.InvalidAuthorization", "The Authorization header is missing or malformed."
        )
    return Authorization(
        secret_id=found["secret_id"],
        date=found["date"],
        service=found["service"],
        signed_headers=tuple(found["signed"].split(";")),
        signature=found["signature"],
    )


def signature_of(
    authorization: Authorization, *, secret_key: str, timestamp: int, headers: Mapping[str, str], body: bytes
) -> str:
    """The signature (hex) that a POST to ``/`` must carry, over the headers the authorization names.

    Raises:
        SignatureRefusedError: a header that is said to be signed is not there.
    """
    lines = []
    for name in authorization.signed_headers:
        if name not in headers:
            raise SignatureRefusedError("AuthFailure.SignatureFailure", f"The signed header {name} is absent.")
        lines.append(f"{name}:{headers[name].strip().lower()}\n")
    canonical = "\n".join(
        ("POST", "/", "", "".join(lines), ";".join(authorization.signed_headers), hashlib.sha256(body).hexdigest())
    )
    scope = f"{authorization.date}/{authorization.service}/tc3_request"
    to_sign = "\n".join((ALGORITHM, str(timestamp), scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"TC3{secret_key}".encode()
    for part in (authorization.date, authorization.service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def verify(
    authorization: Authorization,
    *,
    secret_key: str,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    service: str = "ccc",
) -> None:
    """Check clock, scope, compulsory headers and signature. ``headers`` by lower-case name; ``now`` in Unix seconds.

    Raises:
        SignatureRefusedError: with the vendor's code.
    """
    timestamp = _timestamp(headers.get("x-tc-timestamp"))
    if abs(now - timestamp) > TOLERANCE_SECONDS:
        raise SignatureRefusedError("AuthFailure.SignatureExpire", "The timestamp is more than five minutes away.")
    if authorization.service != service:
        raise SignatureRefusedError("AuthFailure.SignatureFailure", f"The credential scope must name {service}.")
    if authorization.date != datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d"):
        raise SignatureRefusedError(
            "AuthFailure.SignatureFailure", "The credential date is not the timestamp's UTC date."
        )
    if not _COMPULSORY.issubset(authorization.signed_headers):
        raise SignatureRefusedError("AuthFailure.SignatureFailure", "content-type and host must be signed.")
    if list(authorization.signed_headers) != sorted(set(authorization.signed_headers)):
        raise SignatureRefusedError("AuthFailure.SignatureFailure", "Signed headers must be in order, each once.")
    expected = signature_of(authorization, secret_key=secret_key, timestamp=timestamp, headers=headers, body=body)
    if not hmac.compare_digest(expected, authorization.signature):
        raise SignatureRefusedError("AuthFailure.SignatureFailure", "The signature does not match.")


def _timestamp(value: str | None) -> int:
    if value is None:
        raise SignatureRefusedError("MissingParameter", "The header X-TC-Timestamp is missing.")
    if not re.fullmatch(r"\d{1,12}", value):
        raise SignatureRefusedError("InvalidParameter", "X-TC-Timestamp must be Unix seconds.")
    return int(value)
