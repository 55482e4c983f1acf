"""Huawei's access tokens: issued for an app key, good for a while (tokenByAkSk, page cec_07_0002, read 2026-08)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

MAX_TOKEN_SECONDS = 3600
_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One token's owner and its end (monotonic seconds)."""

    app_key: str
    ends: float


class TokenBook:
    """Every token issued; expired ones stay known, so that a caller with one can still be named."""

    def __init__(self, *, seed: int, new_voids_old: bool) -> None:
        self._randomness = Random(f"{seed}/tokens")  # noqa: S311  # fake tokens must be reproducible
        self._new_voids_old = new_voids_old
        self._grants: dict[str, Grant] = {}

    @property
    def issued(self) -> list[str]:
        """Every token ever issued: what no sink may hold."""
        return list(self._grants)

    def issue(self, app_key: str, *, now: float, seconds: int) -> str:
        """A new token for ``seconds`` from ``now``."""
        if self._new_voids_old:
            self.expire_all(now, app_key=app_key)
        token = "FAKE-" + "".join(self._randomness.choices(_ALPHABET, k=40))
        self._grants[token] = Grant(app_key=app_key, ends=now + seconds)
        return token

    def owner(self, token: str) -> str | None:
        """The app key a token was issued for, expired or not."""
        grant = self._grants.get(token)
        return grant.app_key if grant is not None else None

    def good(self, token: str, now: float) -> bool:
        """Whether the token is known and not over."""
        grant = self._grants.get(token)
        return grant is not None and now < grant.ends

    def expire(self, token: str, now: float) -> None:
        """End one token."""
        grant = self._grants.get(token)
        if grant is not None:
            self._grants[token] = Grant(app_key=grant.app_key, ends=min(now, grant.ends))

    def expire_all(self, now: float, *, app_key: str | None = None) -> int:
        """End every token (of one app key); gives how many were still good."""
        ended = [t for t, g in self._grants.items() if g.ends > now and app_key in {None, g.app_key}]
        for token in ended:
            self.expire(token, now)
        return len(ended)
