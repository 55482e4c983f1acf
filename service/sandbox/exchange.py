"""The words that the reception and the two vendors share: what arrived, the call it makes, its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.sandbox.arrival import Arrival
from service.sandbox.faults import Draw, FaultRule


class RefusedError(Exception):
    """The vendor says no. ``code`` is the vendor's error code; ``status`` the HTTP status it comes with."""

    def __init__(self, code: str, message: str, *, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A request as it came over the wire; header names are matched without regard to case by the mapping itself."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    arrival: Arrival
    wall: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a request did to the vendor's state."""

    kind: str
    changed: bool = True


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back, and what was done. ``result`` is ``ok``, a vendor code, or ``HTTP <status>``."""

    status: int
    body: bytes
    result: str
    effect: Effect | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request after the vendor's door: who calls what, or why it was refused there."""

    vendor: str
    request_id: str
    action: str | None = None
    account: str | None = None
    site: str | None = None
    app: str | None = None
    natural_key: str | None = None
    signature: str = "none"
    params: Mapping[str, Any] = field(default_factory=dict)
    wanted: Mapping[str, Any] | None = None
    presented: str = ""
    """The token the call came with (Huawei)."""
    refusal: Answer | None = None


class Vendor(Protocol):
    """What the reception needs of a vendor. All synchronous: a state change and its entry are never parted."""

    def name_action(self, arrived: Arrived) -> str:
        """The operation the request claims to be."""
        ...

    def open(self, arrived: Arrived, *, clock_offset: float) -> Call:
        """Authenticate and read; a call that is refused here carries its answer."""
        ...

    def perform(self, call: Call, draw: Draw) -> Answer:
        """Validate and carry out, under the faults that shape the result."""
        ...

    def throttled(self, call: Call, code: str | None = None) -> Answer:
        """The answer to a request over the quota."""
        ...

    def spoiled(self, call: Call, rule: FaultRule) -> Answer:
        """The answer that a fault puts in place of the right one."""
        ...
