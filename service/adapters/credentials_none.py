"""The credentials port of accounts that deliver no passwords: what was fetched is dropped at once."""

from __future__ import annotations


class NoCredentials:
    """Drops what it is given."""

    async def seal(self, *, subject: str, account: str, extension: str, password: str) -> None:
        """Drop the password."""
