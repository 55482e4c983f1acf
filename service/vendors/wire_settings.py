"""Setting types that every room's account model shares: base URLs, and secrets given as a value or in a file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from yarl import URL

MAX_SECRET_BYTES = 64 * 1024


def is_loopback(host: str) -> bool:
    """True for `localhost` and the addresses of 127.0.0.0/8 and ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked_base_url(text: str) -> str:
    """Give `scheme://host[:port]` back; the messages never repeat the value, which may hold a password."""
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("not a URL") from None
    if url.scheme not in {"https", "http"} or not url.host:
        raise ValueError("must be https://host")
    if url.scheme == "http" and not is_loopback(url.host):
        raise ValueError("must be https; plain http is for loopback only")
    if url.user is not None or url.password is not None:
        raise ValueError("must not carry a user or password")
    if url.path not in {"", "/"} or url.query_string or url.fragment:
        raise ValueError("must end after the host and port")
    return str(url.origin())


BaseUrl = Annotated[str, AfterValidator(_checked_base_url)]
"""`https://host[:port]`, or `http://` on loopback; nothing after it."""


def _read_secret(value: object) -> object:
    """The file's content without the newline at its end, masked; its path and content never reach a message."""
    if isinstance(value, SecretStr):
        return value
    try:
        content = Path(str(value)).read_bytes()
        secret = content.decode().strip()
    except (OSError, ValueError):
        raise ValueError("the file can't be read as text") from None
    if not secret or len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"the file must hold 1 to {MAX_SECRET_BYTES} bytes")
    return SecretStr(secret)


SecretFile = Annotated[SecretStr, BeforeValidator(_read_secret)]
"""Configured as a path; holds the file's content, read once at validation."""


def value_or_file(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Give the secret `x` from itself or from its neighbour `x_file`; None when neither is given.

    Meant for a field validator; `x_file` must be declared before `x`. Raises ValueError when both are given.
    """
    given = value if value is not None and value.get_secret_value() else None
    filed = info.data.get(f"{info.field_name}_file")
    if given is not None and filed is not None:
        raise ValueError(f"give {info.field_name} or {info.field_name}_file, not both")
    return given or filed


def needed_value_or_file(value: SecretStr, info: ValidationInfo) -> SecretStr:
    """As `value_or_file`, but one of the two is needed; a file that could not be read has had its own message."""
    secret = value_or_file(value, info)
    if secret is not None:
        return secret
    if f"{info.field_name}_file" in info.data:
        raise ValueError(f"{info.field_name} or {info.field_name}_file is needed")
    return value
