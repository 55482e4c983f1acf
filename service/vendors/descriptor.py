"""What a vendor's room shows to the outside: one `Vendor` value, listed in the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from service.application.ports import Clock, Credentials, VendorClient
from service.domain.account import Account
from service.vendors.http_exchange import ExchangeLimits

DEFAULT_LIMITS = ExchangeLimits()

OnSecret = Callable[[str], None]


def ignore_secret(secret: str) -> None:
    """The `on_secret` of who keeps no log."""


class OpenVendor(Protocol):
    """How the composition root opens one account's line to its vendor."""

    def __call__(
        self,
        account: Account,
        session: aiohttp.ClientSession,
        clock: Clock,
        credentials: Credentials,
        *,
        limits: ExchangeLimits = DEFAULT_LIMITS,
        on_secret: OnSecret = ignore_secret,
    ) -> VendorClient:
        """Make the client; sends nothing yet. The session stays the caller's to close.

        `on_secret` is told every secret that the room fetches for itself (a token), before it is used, so that it
        can be kept out of log lines.

        Raises TypeError when the account is not of the vendor's own model.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor as the rest of Cordboard knows it.

    `name` is what an account writes as `vendor:`, `account_model` what its settings are validated with.
    `operations` are the commands' operations, `calls` every request the room sends under a quota, both as
    `vendor.Operation`. `looks` says which call reads the present before an operation's first send.
    """

    name: str
    account_model: type[Account]
    operations: tuple[str, ...]
    calls: tuple[str, ...]
    looks: Mapping[str, str]
    open: OpenVendor
