"""The order key: which of two pieces of work for one subject or resource goes first."""

from __future__ import annotations

from collections.abc import Iterable

from service.domain.command import Command, OrderKey, Plan


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

    By effective time if that lay in the future on arrival, else by arrival; but before every unfinished plan
    of the same source with a higher revision (only if neither was future-dated).
    """
    future = effective_at is not None and effective_at > arrived_at
    at = round((effective_at if future and effective_at is not None else arrived_at) * 1_000_000)
    if revision is not None and not future:
        overtaken = [
            plan.order.at
            for plan in ahead
            if plan.order.source == source
            and plan.order.revision is not None
            and plan.order.revision > revision
            and plan.effective_at is None
        ]
        at = min([at, *(later - 1 for later in overtaken)])
    return OrderKey(source=source, revision=revision, at=at, arrival=arrival)


def stands_in_the_way(plan: Plan, commands: Iterable[Command], of: Plan, now: float) -> bool:
    """True if the unfinished `plan` must end before `of` may begin (they share a subject or a resource).

    Work that has begun always does; other work if it comes earlier and is effective by now.
    """
    begun = any(command.owner is not None or command.attempts > 0 for command in commands)
    if begun:
        return True
    not_yet = plan.effective_at is not None and plan.effective_at > now
    return plan.order.rank < of.order.rank and not not_yet
