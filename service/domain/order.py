"""The order key: which of two pieces of work for one subject or resource goes first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from service.domain.binding import Binding
from service.domain.command import Command, OrderKey, Plan

ROOM: Final = 1 << 16  # microseconds kept between neighbours by revision, so that one in between finds its place


def order_key(
    *,
    source: str,
    revision: int | None,
    arrived_at: float,
    effective_at: float | None,
    arrival: int,
    ahead: Iterable[Plan],
) -> OrderKey:
    """Place new work among the unfinished plans `ahead` of its subject.

    By effective time if that lay in the future on arrival, else by arrival; but between those of the same source
    with a lower and those with a higher revision (only if neither was future-dated).
    """
    if effective_at is not None and effective_at > arrived_at:
        at = round(effective_at * 1_000_000)
    else:
        others = [plan.order for plan in ahead if plan.effective_at is None]
        # a clock that stepped back puts nobody before those who came earlier
        arrived = max([round(arrived_at * 1_000_000), *(order.at for order in others)])
        at = arrived if revision is None else _place(revision, arrived, [o for o in others if o.source == source])
    return OrderKey(source=source, revision=revision, at=at, arrival=arrival)


def _place(revision: int, arrived: int, siblings: Sequence[OrderKey]) -> int:
    """After every lower or equal revision, before every higher one; equal times are told apart by arrival."""
    lower = [order.at for order in siblings if order.revision is not None and order.revision <= revision]
    higher = [order.at for order in siblings if order.revision is not None and order.revision > revision]
    if not higher:
        return max([arrived, *(at + ROOM for at in lower)])
    ceiling = min(higher)
    floor = max((at for at in lower if at < ceiling), default=ceiling - 2 * ROOM)
    return (floor + ceiling) // 2


def stands_in_the_way(plan: Plan, commands: Iterable[Command], of: Plan, now: float) -> bool:
    """True if the unfinished `plan` must end before `of` may begin (they share a subject or a resource).

    Work that has begun always does; other work if it comes earlier and is effective by now.
    """
    if has_begun(commands):
        return True
    not_yet = plan.effective_at is not None and plan.effective_at > now
    return plan.order.rank < of.order.rank and not not_yet


def has_begun(commands: Iterable[Command]) -> bool:
    """True if one of a plan's commands was claimed or sent."""
    return any(command.owner is not None or command.attempts > 0 for command in commands)


def is_overtaken(plan: Plan, binding: Binding | None) -> bool:
    """True if a higher revision of the plan's source was applied before it began: it may have no effect any more.

    Future-dated work is ordered by its effective time, so no revision overtakes it. What is replayed gave way when it
    failed: whatever was applied since and comes later in the order has overtaken it.
    """
    if binding is None:
        return False
    if plan.epoch > 0 and binding.applied_at is not None and binding.applied_at > plan.order.at:
        return True
    if plan.order.revision is None or plan.effective_at is not None:
        return False
    return binding.revisions.get(plan.order.source, plan.order.revision) > plan.order.revision
