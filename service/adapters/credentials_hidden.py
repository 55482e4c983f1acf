"""Hides a fetched password from log lines before anybody else gets to see it."""

from __future__ import annotations

from collections.abc import Callable

from service.application.ports import Credentials


class HiddenCredentials:
    """Passes on what it is given to the credentials port behind it."""

    def __init__(self, behind: Credentials, hide: Callable[[str], None]) -> None:
        """`hide` makes a value unreadable wherever it would be written."""
        self._behind = behind
        self._hide = hide

    async def seal(self, *, subject: str, account: str, extension: str, password: str) -> str | None:
        """Hide the password, then seal it; what the port behind says."""
        self._hide(password)
        return await self._behind.seal(subject=subject, account=account, extension=extension, password=password)
