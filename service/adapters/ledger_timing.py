"""How long each call of a ledger takes, from the caller's side: waiting for others and for the disk included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from time import monotonic
from typing import Any, Final, TypeVar

from service.application.telemetry import Telemetry

T = TypeVar("T")

TIMED: Final = (
    "open_session",
    "keep_session",
    "transact",
    "claim",
    "release",
    "orphans",
    "reserve_slots",
    "lend_tokens",
    "unpublished",
    "mark_published",
    "commands",
    "plans",
    "story",
    "erase",
    "events",
    "tallies",
    "oldest",
    "replay_items",
)
"""Methods of the ledgers that are measured, as the label `statement`; a ledger need not have all of them."""


def timing(ledger: T, telemetry: Telemetry) -> T:
    """The same ledger, its calls measured from now on."""
    for name in TIMED:
        if hasattr(ledger, name):
            setattr(ledger, name, _timed(getattr(ledger, name), name, telemetry))
    return ledger


def _timed(method: Callable[..., Awaitable[Any]], name: str, telemetry: Telemetry) -> Callable[..., Awaitable[Any]]:
    @wraps(method)
    async def timed(*given: Any, **named: Any) -> Any:
        begun = monotonic()
        try:
            return await method(*given, **named)
        finally:
            telemetry.observe("ledger_seconds", monotonic() - begun, statement=name)

    return timed
