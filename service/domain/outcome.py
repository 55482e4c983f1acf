"""What a vendor call, and then a command, came to: values, matched exhaustively, never exceptions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from contracts.outbound import ErrorClass as ErrorClass  # noqa: PLC0414 - one list of classes, said here too
from service.domain.value import Value, field

Json = Any  # a JSON value; pydantic or orjson has checked it where it came in


class Result(StrEnum):
    """How a command succeeded."""

    DONE = "done"  # the vendor changed something, or a read gave what was asked
    UNCHANGED = "unchanged"  # it was already so, by our own hand
    ADOPTED = "adopted"  # it was already so, by somebody else's


class Failure(Value, frozen=True, kw_only=True):
    """Why something did not work, in words safe to publish: no secret, no personal data, no vendor free text.

    `code` is the vendor's own, verbatim (`InternalError.DBError`, `HTTP502`, `ConnectTimeout`).
    `retries` bounds how often this code is retried in a row when that is less than its class allows; afterwards it
    counts as `afterwards`. `repeats` is how often it has been: rooms leave it alone. `operation_only` marks refused
    credentials that lack a right for this operation: the account's others may go on.
    """

    error_class: ErrorClass
    code: str
    message: str
    request_id: str | None = None
    field: str | None = None
    retries: int | None = None
    afterwards: ErrorClass = ErrorClass.PERMANENT
    repeats: int = 0
    operation_only: bool = False


HELD_BACK: Final = "held_back"


def held_back(reason: BaseException) -> Failure:
    """What our own side kept from leaving at the last moment: no byte of it was written."""
    return Failure(error_class=ErrorClass.RETRYABLE, code=HELD_BACK, message=f"not sent: {reason}")


class Succeeded(Value, frozen=True, kw_only=True):
    """The wanted state stands. `facts` is what upstream may write back (extension, apply_id, …): never a secret.

    `sealed` is a credential that its receiver alone can open, to be told once; it is no fact.
    """

    result: Result
    facts: Mapping[str, Json] = field(default_factory=dict)
    request_id: str | None = None
    sealed: str | None = None


class NotYet(Value, frozen=True):
    """Looked, and what is waited for (an approval) has not come; look again later."""


class StillUnknown(Value, frozen=True, kw_only=True):
    """Looked at what is in doubt, and it stays so.

    `absent`: a complete read showed nothing there; `seconds` from now another one may prove that it was not done.
    """

    absent: bool
    seconds: float = 0.0


class TooFresh(Value, frozen=True):
    """A read that does not show yet what we did ourselves just now: look again at this time (seconds since 1970)."""

    until: float


Outcome = Succeeded | NotYet | StillUnknown | TooFresh | Failure


class WhenUnclear(StrEnum):
    """How an operation finds out what an unclear reply left behind."""

    READ_BACK = "read_back"  # look until it is there, or absent twice; only then send again
    APPLY_AGAIN = "apply_again"  # it sets a value: the same once more is harmless
    WATCH = "watch"  # it can neither be read back nor repeated: look slowly, or wait for a person


class Call(Value, frozen=True, kw_only=True):
    """One request to a vendor: the operation as `vendor.Operation`, and its typed body as JSON."""

    operation: str
    account: str
    body: Mapping[str, Json]
    creates: bool = False  # sent because a complete read showed the resource absent
    subject: str = ""  # whom the work is for; execution says it, no request carries it


Move = Call | Outcome


class Answer(Value, frozen=True, kw_only=True):
    """A vendor's positive reply: business fields and the vendor's request id."""

    body: Mapping[str, Json]
    request_id: str | None


Reply = Answer | Failure


def verdict_of(reply: Reply) -> str:
    """How a request came out, as figures and traces name it: succeeded, or the class of its failure."""
    return "succeeded" if isinstance(reply, Answer) else reply.error_class.value


class Seen(Value, frozen=True):
    """What a complete read showed: the resource's state in the room's own words, or None for absent."""

    state: Mapping[str, Json] | None


Look = Seen | Failure
