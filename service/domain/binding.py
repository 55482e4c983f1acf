"""Bindings: which resource a subject has, and whether the resource is ours."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from service.domain.outcome import Json
from service.domain.value import Value, field


class BindingState(StrEnum):
    """Reserved by a plan, live with an applied state, or released (kept as a record)."""

    RESERVED = "reserved"
    LIVE = "live"
    RELEASED = "released"


class Binding(Value, frozen=True, kw_only=True):
    """One subject's hold on one resource.

    `applied` is the last state known to stand at the vendor, `revisions` the highest applied revision per
    event source, `create_sent` that one of the subject's creates was marked as sent after a complete read
    showed the resource absent.
    """

    subject: str
    resource: str
    account: str
    generation: int
    state: BindingState
    plan_id: str
    applied: Mapping[str, Json] | None = None
    applied_at: int | None = None  # order rank (`OrderKey.at`) of what was applied last
    revisions: Mapping[str, int] = field(default_factory=dict)
    create_sent: bool = False
    updated_at: float = 0.0

    @property
    def held(self) -> bool:
        """True while the binding stands in the way of another subject."""
        return self.state is not BindingState.RELEASED

    @property
    def ours(self) -> bool:
        """A mere reservation is not ownership; an applied state, or our own create on its way, is."""
        return self.applied is not None or self.create_sent
