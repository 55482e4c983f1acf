"""Setting types that every room's account model shares: URLs, files, and secrets given as a value or in a file."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo
from yarl import URL

from service.vendors.file_secret import FileSecret


def is_loopback(host: str) -> bool:
    """True for `localhost` and the addresses of 127.0.0.0/8 and ::1."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _safe_url(text: str) -> URL:
    """The messages never repeat the value, which may hold a password."""
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
    return url


def _checked_url(text: str) -> str:
    return str(_safe_url(text))


def _checked_base_url(text: str) -> str:
    """Give `scheme://host[:port]` back."""
    url = _safe_url(text)
    if url.path not in {"", "/"} or url.query_string or url.fragment:
        raise ValueError("must end after the host and port")
    return str(url.origin())


HttpsUrl = Annotated[str, AfterValidator(_checked_url)]
"""`https://…`, or `http://` on loopback."""

BaseUrl = Annotated[str, AfterValidator(_checked_base_url)]
"""`https://host[:port]`, or `http://` on loopback; nothing after it."""


def _there(path: str) -> str:
    try:
        found = Path(path).is_file()
    except OSError:  # a name that is too long, a folder that is closed to us
        found = False
    if not found:
        raise ValueError("no such file")
    return path


FilePath = Annotated[str, AfterValidator(_there)]
"""The path of a file that is there."""


def _certificates(path: str) -> str:
    try:
        ssl.create_default_context(cafile=_there(path))
    except OSError:  # an SSLError is one
        raise ValueError("the file holds no certificates in PEM") from None
    return path


CaFile = Annotated[str, AfterValidator(_certificates)]
"""The path of a file with certificates of authorities."""

CA_FILE: Final = "PEM file of the authorities trusted for the vendor's certificate, instead of the system's"


def _secret_in_file(value: object) -> object:
    """Neither path nor content reaches a message."""
    return value if isinstance(value, SecretStr) else FileSecret(Path(str(value)))


SecretFile = Annotated[SecretStr, BeforeValidator(_secret_in_file)]
"""Configured as a path; holds what the file holds, read anew whenever it is used."""

KEY_IDS: Final = ("secret_id",)
"""Names of keys rather than keys: hidden in logs, but they may stand among other settings."""


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
