"""Beginnings: counters that stand at zero before anything is counted, so that the first of its kind is an increase.

Prometheus sees a series rise only between two looks at it; one that begins at 1 has risen by nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

from service.application.ends import WHOLE_ACCOUNT
from service.application.telemetry import CATALOGUE, Counter, Telemetry
from service.domain.account import Account
from service.domain.command import CommandState, Lane

Series = tuple[Counter, Mapping[str, str]]

OF_CLOSED_LISTS: Final[tuple[Counter, ...]] = (
    "publish_failures_total",
    "operator_acts_total",
    "replayed_plans_total",
    "erased_rows_total",
)
OF_TOPICS: Final[tuple[Counter, ...]] = ("records_total", "dead_letters_total", "topic_pauses_total")


def begin_at_zero(
    telemetry: Telemetry,
    *,
    accounts: Mapping[str, Account],
    operations: Mapping[str, Sequence[str]],
    calls: Mapping[str, Sequence[str]],
    topics: Sequence[str],
) -> None:
    """Show what alerts and dashboards look for. By vendor: its commands' `operations`, and all its `calls`."""
    for account in accounts.values():
        for metric, labels in _of_account(account.name, operations[account.vendor], calls[account.vendor]):
            telemetry.count(metric, 0, **labels)
    for metric, labels in _of_process(topics):
        telemetry.count(metric, 0, **labels)


def _of_account(account: str, operations: Sequence[str], calls: Sequence[str]) -> Iterator[Series]:
    mine = [account]
    yield from _every("hires_total", account=mine)
    yield from _every("plans_ended_total", account=mine)
    yield from _every("quarantines_total", account=mine, operation=[WHOLE_ACCOUNT])
    yield from _every("commands_ended_total", account=mine, operation=operations)
    yield from _every("vendor_requests_total", account=mine, operation=calls, lane=[Lane.LIVE])
    yield from _every("throttled_total", account=mine, operation=calls)
    yield from _every("foreign_spending_total", account=mine, operation=calls)


def _of_process(topics: Sequence[str]) -> Iterator[Series]:
    for metric in OF_CLOSED_LISTS:
        yield from _every(metric)
    for metric in OF_TOPICS:
        yield from _every(metric, topic=topics)


def _every(metric: Counter, **known: Sequence[str]) -> Iterator[Series]:
    """A series for each combination of its labels' closed lists, and of what is `known` of the others."""
    entry = CATALOGUE[metric]
    values = [known.get(label) or entry.allowed(label) or () for label in entry.labels]
    for chosen in product(*values):
        labels = dict(zip(entry.labels, chosen, strict=True))
        if _can_be(labels):
            yield metric, labels


def _can_be(labels: Mapping[str, str]) -> bool:
    """Of ends: failures have a class, commands that succeeded a result, and no others."""
    if "error_class" in labels and bool(labels["error_class"]) != (labels["state"] == CommandState.FAILED):
        return False
    return "result" not in labels or bool(labels["result"]) == (labels["state"] == CommandState.SUCCEEDED)
