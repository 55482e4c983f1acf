"""The credentials port's only adapter for now: fetched passwords are dropped at once."""

from __future__ import annotations

from service.domain.account import Account


class NoCredentials:
    """Drops what it is given."""

    async def deliver(self, account: Account, resource: str, secret: str) -> str:  # noqa: ARG002 - dropped on purpose
        """Drop the password; always `none`."""
        return "none"
