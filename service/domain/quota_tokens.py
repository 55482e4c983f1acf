"""Sharing one quota between processes: as many tokens as a window may hold sends, each used once in any window.

Whoever holds a token for a while may use it again and again, a window after each use. However late a send is, no
window can hold more sends than there are tokens, and that needs nothing but each holder's own clock. A token changes
hands when its holder returns it and says when it was used, or when the time it was lent for is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from service.domain.value import Value, replace

LEASE_SECONDS: Final = 2.0
"""How long a token is lent: so long it lies idle when its holder has died."""
ASK_SECONDS: Final = 1.5
"""How long an ask counts: who has not asked since has no share."""


class Token(Value, frozen=True, kw_only=True):
    """One of a quota's tokens. Times are of the ledger's clock: free from `free_at` on, lent to `owner` up to `until`.

    `free_at` of a token that is lent is of when it was lent; its holder knows better.
    """

    number: int
    free_at: float
    owner: int | None = None
    until: float = 0.0


class Ask(Value, frozen=True, kw_only=True):
    """How many tokens a process could use at once, and when it said so."""

    owner: int
    wanted: int
    at: float


class Counter(Value, frozen=True, kw_only=True):
    """What is shared: every token, and who has asked for some."""

    tokens: tuple[Token, ...] = ()
    asks: tuple[Ask, ...] = ()

    def of(self, owner: int) -> tuple[Token, ...]:
        """The tokens lent to one process."""
        return tuple(token for token in self.tokens if token.owner == owner)


class Wish(Value, frozen=True, kw_only=True):
    """One process's call: how many it could use, and which it returns, each with when it is free again."""

    owner: int
    wanted: int
    returned: Mapping[int, float]


def cold(most: int, window: float, now: float) -> tuple[Token, ...]:
    """Tokens of a quota that nobody has used yet: free one after another, from a window on."""
    return tuple(Token(number=n, free_at=now + window * (1 + n / most)) for n in range(most))


def lend(counter: Counter, wish: Wish, *, gap: float, now: float) -> tuple[Counter, int]:
    """Take back what is returned or overdue, and lend up to the fair share; the counter then, and that share.

    A holder of more than its share has to return the rest. `gap` is how long after its last possible use an overdue
    token may be used by another.
    """
    tokens = [_taken_back(token, wish, gap, now) for token in counter.tokens]
    asks = tuple(ask for ask in counter.asks if ask.owner != wish.owner and ask.at > now - ASK_SECONDS)
    if wish.wanted > 0:
        asks += (Ask(owner=wish.owner, wanted=wish.wanted, at=now),)
    share = fair_share(asks, len(tokens)).get(wish.owner, 0)
    mine = sum(token.owner == wish.owner for token in tokens)
    free = sorted((token.free_at, token.number) for token in tokens if token.owner is None)
    lent = {number for _, number in free[: max(0, share - mine)]}
    until = now + LEASE_SECONDS
    tokens = [
        replace(token, owner=wish.owner, until=until) if token.number in lent or token.owner == wish.owner else token
        for token in tokens
    ]
    return Counter(tokens=tuple(tokens), asks=asks), share


def _taken_back(token: Token, wish: Wish, gap: float, now: float) -> Token:
    if token.owner == wish.owner and token.number in wish.returned:
        return replace(token, owner=None, free_at=wish.returned[token.number])
    if token.owner is not None and token.until <= now:
        return replace(token, owner=None, free_at=max(token.free_at, token.until + gap))
    return token


def fair_share(asks: Sequence[Ask], most: int) -> dict[int, int]:
    """How many of the tokens each may hold: all alike, nobody more than wanted, none left over while any is wanted."""
    shares: dict[int, int] = {}
    left = most
    waiting = sorted(asks, key=lambda ask: (ask.wanted, ask.owner))
    for nth, ask in enumerate(waiting):
        shares[ask.owner] = min(ask.wanted, left // (len(waiting) - nth))
        left -= shares[ask.owner]
    return shares
