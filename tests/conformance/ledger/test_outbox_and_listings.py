"""Every ledger: messages on their way out, pages and wake-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from service.application.ports import CommandQuery, Ledger, UnavailableError
from service.domain.command import CommandState, Plan, PlanState
from service.domain.value import replace
from tests.builders import NOW, make_command, make_plan
from tests.conformance.ledger.bench import (
    APPLY,
    Bench,
    message,
    put,
    put_work,
)


async def test_messages_come_oldest_first_until_they_are_published(ledger: Ledger) -> None:
    await put(ledger, outbox=[message(2), message(1)])
    await put(ledger, outbox=[message(3)])

    first = await ledger.unpublished(2)
    await ledger.mark_published(["message-2", "unknown"], NOW)
    left = await ledger.unpublished(10)

    assert [m.id for m in first] == ["message-2", "message-1"]
    assert [m.id for m in left] == ["message-1", "message-3"]
    assert left[0].seq < left[1].seq
    assert replace(left[0], seq=0) == message(1)


async def test_a_message_is_taken_once_even_after_it_was_published(ledger: Ledger) -> None:
    await put(ledger, outbox=[message(1), message(1)])
    assert len(await ledger.unpublished(10)) == 1
    await ledger.mark_published(["message-1"], NOW)

    await put(ledger, outbox=[message(1)])

    assert list(await ledger.unpublished(10)) == []


async def test_a_message_without_key_or_value_keeps_them_absent(ledger: Ledger) -> None:
    await put(ledger, outbox=[message(1, key=None, value=None, headers=())])

    [kept] = await ledger.unpublished(1)
    assert (kept.key, kept.value, kept.headers) == (None, None, ())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "1 2 3 4"),
        ({"limit": 2}, "1 2"),
        ({"limit": 2, "after": "plan-000002-0"}, "3 4"),
        ({"states": ("failed", "in_doubt")}, "2 3"),
        ({"operation": APPLY}, "3"),
        ({"account": "b"}, "4"),
        ({"subject": "agent:realm/2"}, "2"),
        ({"resource": "extension:acme_cn/1001"}, "1"),
        ({"plan_id": "plan-000002"}, "2"),
        ({"account": "acme_cn", "states": ("pending",)}, "1"),
    ],
)
async def test_commands_are_listed_by_id_and_filtered(ledger: Ledger, query: dict[str, Any], expected: str) -> None:
    await put_work(
        ledger,
        make_command(make_plan(4, account="b")),
        make_command(make_plan(3), operation=APPLY, state=CommandState.IN_DOUBT),
        make_command(make_plan(2), state=CommandState.FAILED),
        make_command(make_plan(1)),
    )

    found = await ledger.commands(CommandQuery(**query))

    assert [c.id for c in found] == [f"plan-00000{number}-0" for number in expected.split()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "1 2 3"),
        ({"limit": 1, "after": "plan-000001"}, "2"),
        ({"states": ("open",)}, "1 3"),
        ({"account": "b"}, "3"),
        ({"subject": "agent:realm/2"}, "2"),
        ({"plan_id": "plan-000001"}, "1"),
        ({"resource": "ignored"}, "1 2 3"),
    ],
)
async def test_plans_are_listed_by_id_and_filtered(ledger: Ledger, query: dict[str, Any], expected: str) -> None:
    plans: list[Plan] = [make_plan(3, account="b"), make_plan(2, state=PlanState.COMPLETED), make_plan(1)]
    await put(ledger, plans=plans)

    found = await ledger.plans(CommandQuery(**query))

    assert [p.id for p in found] == [f"plan-00000{number}" for number in expected.split()]


async def test_there_is_no_story_of_an_unknown_command(ledger: Ledger) -> None:
    assert await ledger.story("unknown") is None


async def returns_soon(wait: Callable[[], Any]) -> bool:
    """True if a subscriber's wait ends by a wake-up, not by its own time."""
    started = asyncio.get_running_loop().time()
    await wait()
    return asyncio.get_running_loop().time() - started < 0.8


async def test_a_wakeup_between_two_waits_is_not_missed(ledger: Ledger) -> None:
    commands, outbox = ledger.subscribe("commands"), ledger.subscribe("outbox")

    await put_work(ledger, make_command())

    assert await returns_soon(commands)
    await put(ledger, outbox=[message(1)])
    assert await returns_soon(outbox)
    with pytest.raises(TimeoutError):  # nothing more has touched it
        await asyncio.wait_for(commands(), 0.05)


async def test_a_commit_wakes_every_subscriber_that_waits(ledger: Ledger) -> None:
    waiting = [asyncio.create_task(returns_soon(ledger.subscribe("outbox"))) for _ in range(2)]
    await asyncio.sleep(0)

    await put(ledger, outbox=[message(1)])

    assert await asyncio.gather(*waiting) == [True, True]


async def test_only_known_topics_can_be_subscribed_to(ledger: Ledger) -> None:
    with pytest.raises(KeyError):
        ledger.subscribe("plans")


async def test_a_closed_ledger_says_that_it_is_away(bench: Bench) -> None:
    await bench.close()

    with pytest.raises(UnavailableError):
        await bench.ledger.unpublished(1)
