"""Hides a fetched password from log lines before anybody else gets to see it."""

from __future__ import annotations

from collections.abc import Callable

from service.application.ports import Credentials
from service.domain.account import Account


class HiddenCredentials:
    """Passes on what it is given to the credentials port behind it."""

    def __init__(self, behind: Credentials, hide: Callable[[str], None]) -> None:
        """`hide` makes a value unreadable wherever it would be written."""
        self._behind = behind
        self._hide = hide

    async def deliver(self, account: Account, resource: str, secret: str) -> str:
        """Hide the password, then deliver it; what the port behind says."""
        self._hide(secret)
        return await self._behind.deliver(account, resource, secret)
