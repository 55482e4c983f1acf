"""Spans: a closed catalogue of what a trace shows, each with its meaning and attributes, and the port that takes them.

A trace is one event's way. Its context is text (`traceparent`), stored with plan and command, so it survives whatever
happens to a process. Attributes are closed sets, small numbers and surrogate ids; never names, addresses, keys of
records or subjects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypedDict, Unpack

from service.domain.command import Command
from service.domain.outcome import Call, Failure, Reply, verdict_of
from service.domain.value import Value

SpanName = Literal["intake", "vendor call", "settlement", "takeover", "publish"]


class CommandAttributes(TypedDict, total=False):
    """What every span about a command says of it."""

    operation: str
    account: str | None
    plan_id: str | None
    command_id: str
    epoch: int
    lane: str
    attempt: int


class CallAttributes(CommandAttributes, total=False):
    """What a span of a request says of the request, and of the command that it served."""

    outcome: str
    error_class: str | None
    vendor_request_id: str | None


class SpanAttributes(CallAttributes, total=False):
    """All that a span may say; what is None is left out."""

    topic: str
    partition: int
    queue_seconds: float
    quota_seconds: float
    shared_by: int


class SpanEntry(Value, frozen=True, kw_only=True):
    """One entry of the catalogue. Only a span that `begins` a trace may be without a parent."""

    kind: Literal["consumer", "client", "internal", "producer"]
    meaning: str
    attributes: tuple[str, ...]
    begins: bool = False


OF_A_COMMAND: Final = ("operation", "account", "plan_id", "command_id", "epoch", "lane", "attempt")

SPANS: Final[Mapping[SpanName, SpanEntry]] = {
    "intake": SpanEntry(
        kind="consumer",
        meaning="An event is decided on and stored; its context is kept with the plan. Child of the producer's span.",
        attributes=("topic", "partition", "outcome", "error_class", "plan_id", "account"),
        begins=True,
    ),
    "vendor call": SpanEntry(
        kind="client",
        meaning="A request, from being sent to its reply. One that serves several commands is in the trace of each.",
        attributes=(
            *OF_A_COMMAND,
            "outcome",
            "error_class",
            "vendor_request_id",
            "queue_seconds",
            "quota_seconds",
            "shared_by",
        ),
    ),
    "settlement": SpanEntry(
        kind="internal",
        meaning="What a command's try came to is stored, with the messages that tell it.",
        attributes=(*OF_A_COMMAND, "outcome", "error_class", "vendor_request_id"),
    ),
    "takeover": SpanEntry(
        kind="internal",
        meaning="A command left in flight by a process that ended: from its mark until another put it in doubt.",
        attributes=(*OF_A_COMMAND, "outcome"),
    ),
    "publish": SpanEntry(
        kind="producer",
        meaning="A result event goes to Kafka, until it is acknowledged; its context is the message's `traceparent`.",
        attributes=("topic", "outcome"),
    ),
}

ATTRIBUTES: Final[Mapping[str, str]] = {
    "account": "a configured account",
    "attempt": "which try of the command in its epoch; of a read of the present, how many were sent before",
    "command_id": "our id of the command",
    "epoch": "0, and one more for each replay",
    "error_class": "one of the nine classes of failures, where it failed; the span's status is then an error",
    "lane": "live, settle, replay, sweep",
    "operation": "an operation of a vendor, as vendor.Operation",
    "outcome": "how it came out: of `intake` planned, fact, delivered_before, id_reused or a class of failures, of "
    "`vendor call` succeeded or that class, of `settlement` and `takeover` the command's state, of `publish` "
    "acknowledged; lost where something was away, and it is tried again",
    "partition": "a partition of an in-topic",
    "plan_id": "our id of the plan",
    "queue_seconds": "the command's time until the call, without quota and vendor",
    "quota_seconds": "time it waited for its slot",
    "shared_by": "how many commands the request served",
    "topic": "a configured topic",
    "vendor_request_id": "the vendor's id of the request",
}
"""What each attribute holds; exported as `cordboard.<name>`."""


def of_command(command: Command) -> CommandAttributes:
    """The command's own, as it stands."""
    return {
        "operation": command.operation,
        "account": command.account,
        "plan_id": command.plan_id,
        "command_id": command.id,
        "epoch": command.epoch,
        "lane": command.lane,
        "attempt": command.attempts,
    }


def of_call(command: Command, call: Call, reply: Reply) -> CallAttributes:
    """A request that was made for the command, and what came of it."""
    return {
        **of_command(command),
        "operation": call.operation,
        "outcome": verdict_of(reply),
        "error_class": reply.error_class if isinstance(reply, Failure) else None,
        "vendor_request_id": reply.request_id,
    }


class Span(Protocol):
    """A span that has begun."""

    @property
    def traceparent(self) -> str:
        """Its context, to be handed on."""
        ...

    def end(self, at: float, **attributes: Unpack[SpanAttributes]) -> None:
        """It ended then (seconds since the epoch). One that is never ended was never there."""
        ...


class Tracer(Protocol):
    """Takes spans; whoever has none makes none. Never raises, never waits. Times are seconds since the epoch."""

    def begin(self, name: SpanName, *, parent: str | None, at: float) -> Span | None:
        """Begin a span under a `traceparent`; None where nothing is recorded: not sampled, or no trace to belong to."""
        ...

    def record(
        self, name: SpanName, *, parent: str | None, begun: float, ended: float, **attributes: Unpack[SpanAttributes]
    ) -> None:
        """A span that is over already."""
        ...


def trace_id_of(traceparent: str | None) -> str | None:
    """The id of the trace that a `traceparent` belongs to, as log lines name it; None for none."""
    return None if traceparent is None else traceparent[3:35]
