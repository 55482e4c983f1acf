"""Callback URLs: which of them a vendor may be told to ask on a call in. Pure reading; no name is ever looked up.

Cordboard does not fetch them, the vendor does, from a network of its own. So the check keeps events from pointing the
vendor at what is private to somebody; it can't know what a public name resolves to when the vendor asks.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from pydantic_core import Url

PRIVATE_NAMES: Final = frozenset(
    {"corp", "home", "home.arpa", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private", "svc"}
)
"""Names that mean something else in every network, and all names below them."""
METADATA_HOSTS: Final = frozenset(
    {
        "100.100.100.200",
        "168.63.129.16",
        "169.254.0.23",
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "fd00:ec2::254",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.tencentyun.com",
    }
)
"""Where clouds hand machines their keys; never allowed."""

_PUBLIC_V6: Final = ip_network("2000::/3")
_HOLDING_V4: Final = tuple(
    ip_network(text)
    for text in (
        "::/96",
        "::ffff:0:0/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
    )
)
_ODD: Final = re.compile(r"[\s\x00-\x20\x7f\\]")
_NO_URL: Final = "is no URL that every reader takes for the same"
_NO_MACHINE: Final = "its host is no address of a machine"
_PRIVATE: Final = "its host is private; numbers.allow_private_callbacks allows it"


def objection(url: str, *, allow_private: bool = False) -> str | None:
    """Why a vendor may not be told to ask this URL, in words that show nothing of it; None: it may.

    `allow_private` allows hosts of one network alone: private, loopback and link-local addresses, internal names.
    """
    if not url.startswith("https://"):
        return "must begin with https://"
    authority = re.split(r"[/?#]", url.removeprefix("https://"), maxsplit=1)[0]
    if "@" in authority:
        return "must not carry a user or password"
    if not authority or "%" in authority or _ODD.search(url):
        return _NO_URL
    try:
        parsed = Url(url)  # as browsers read (WHATWG): 0x7f.1, 2130706433 and full-width digits become 127.0.0.1
    except ValueError:
        return _NO_URL
    if parsed.host is None or parsed.port == 0:
        return _NO_URL
    return _objection_to(parsed.host, authority, allow_private=allow_private)


def _objection_to(host: str, authority: str, *, allow_private: bool) -> str | None:
    name = host.strip("[]").removesuffix(".")
    if name in METADATA_HOSTS:
        return "its host hands out a cloud's keys"
    try:
        address = ip_address(name)
    except ValueError:
        return _objection_to_name(name, allow_private=allow_private)
    if isinstance(address, IPv4Address) and re.sub(r":\d*$", "", authority) != name:
        return "its host is an address in disguise: write it as four decimal numbers"
    return _objection_to_address(address, allow_private=allow_private)


def _objection_to_name(name: str, *, allow_private: bool) -> str | None:
    labels = name.split(".")
    if not all(labels):
        return _NO_URL
    within = {".".join(labels[nth:]) for nth in range(len(labels))}
    return _PRIVATE if not allow_private and (len(labels) == 1 or within & PRIVATE_NAMES) else None


def _objection_to_address(address: IPv4Address | IPv6Address, *, allow_private: bool) -> str | None:
    if address.is_unspecified or address.is_multicast:
        return _NO_MACHINE
    if address.is_loopback:
        return None if allow_private else _PRIVATE
    if any(address in network for network in _HOLDING_V4):  # an IPv4 address is in none of them
        return "its host is an address in disguise: write the IPv4 address that it holds"
    if address.is_reserved:
        return _NO_MACHINE
    is_public = address.is_global and (isinstance(address, IPv4Address) or address in _PUBLIC_V6)
    return None if is_public or allow_private else _PRIVATE
