"""Names that are the same every time: of plans, commands and messages, hashed from what they are about."""

from __future__ import annotations

import base64
import hashlib


def _digest(parts: tuple[str, ...]) -> str:
    """26 lower-case base32 characters (130 bits) over the parts, each preceded by its length."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return base64.b32encode(hashlib.sha256(joined.encode()).digest()[:20]).decode().lower()[:26]


def plan_id(source: str, event_id: str) -> str:
    """The plan of an event."""
    return "plan_" + _digest((source, event_id))


def command_id(*, source: str, event_id: str, step: str, account: str, operation: str, resource: str) -> str:
    """The idempotency key of a command: which work it is, never what it wants."""
    return "cmd_" + _digest((source, event_id, step, account, operation, resource))


def message_id(about: str, epoch: int, kind: str, occurrence: str = "") -> str:
    """The id of a message about a plan, a command, an account or a record."""
    return "msg_" + _digest((about, str(epoch), kind, occurrence))


def quarantine_id(account: str, operation: str | None, since: float) -> str:
    """The id of one quarantine of an account, or of one operation of it."""
    return "quarantine_" + _digest((account, operation or "", repr(since)))


def act_id(kind: str, actor: str, at: float, about: str) -> str:
    """The id of what an operator's act made: a hold, a replay."""
    return f"{kind}_" + _digest((actor, repr(at), about))


def fact_id(source: str, event_id: str) -> str:
    """The id of a fact that an event carried."""
    return "fact_" + _digest((source, event_id))
