"""A replay: an operator's recorded wish to start failed plans again, with the fate of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from service.domain.command import Plan, PlanState
from service.domain.outcome import Json
from service.domain.value import Value, field


class ReplayState(StrEnum):
    """Where a replay stands; the last two are ends."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    FINISHED = "finished"

    @property
    def ended(self) -> bool:
        """True for the two ends."""
        return self in {ReplayState.CANCELLED, ReplayState.FINISHED}


class Replay(Value, frozen=True, kw_only=True):
    """One replay. What it starts was chosen when it was made; what came to fail since is not in it.

    `rate` bounds how many plans are begun a second (None: the quota alone does). Since `paced_from` (seconds since the
    epoch) so many more than `paced_begun` plans may have been begun. `counts` are filled in at its end.
    """

    id: str
    state: ReplayState
    actor: str
    reason: str
    selection: Mapping[str, Json]
    rate: float | None
    size: int
    created_at: float
    changed_at: float
    paced_from: float
    paced_begun: int = 0
    ended_at: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class ItemState(StrEnum):
    """What a replay did with one plan: nothing yet, opened its next epoch, or refused to."""

    PENDING = "pending"
    BEGUN = "begun"
    REFUSED = "refused"


class ReplayItem(Value, frozen=True, kw_only=True):
    """One plan of a replay, chosen while it stood in `from_epoch`; `epoch` is the one it was begun in.

    `why` says why it was refused. A row is written once more after it was made, and never again.
    """

    replay_id: str
    number: int
    plan_id: str
    from_epoch: int
    state: ItemState
    epoch: int | None = None
    why: str | None = None
    at: float | None = None


class ItemOutcome(StrEnum):
    """How one plan of a replay stands, for who watches."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED_AGAIN = "failed_again"
    REFUSED = "refused"
    NOT_BEGUN = "not_begun"


def outcome_of(item: ReplayItem, plan: Plan | None, replay: Replay) -> ItemOutcome:
    """How an item stands, by its plan as it is now (None: erased since)."""
    if item.state is ItemState.REFUSED:
        return ItemOutcome.REFUSED
    if item.state is ItemState.PENDING:
        return ItemOutcome.NOT_BEGUN if replay.state is ReplayState.CANCELLED else ItemOutcome.PENDING
    if plan is None or plan.epoch != item.epoch:
        return ItemOutcome.FAILED_AGAIN if plan is not None else ItemOutcome.SUCCEEDED
    match plan.state:
        case PlanState.OPEN:
            return ItemOutcome.RUNNING
        case PlanState.COMPLETED:
            return ItemOutcome.SUCCEEDED
        case PlanState.FAILED:
            return ItemOutcome.FAILED_AGAIN
