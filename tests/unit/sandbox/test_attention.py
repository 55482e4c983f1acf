"""The sandbox knows when it was not looking."""

import asyncio

import pytest

from service.sandbox.attention import AFTERMATH_SECONDS, LEAST_SECONDS, TICK_SECONDS, Attention


async def test_what_comes_after_a_stall_may_have_come_at_its_beginning() -> None:
    now = 100.0
    attention = Attention(lambda: now)
    attention.start()

    assert attention.unseen(now + TICK_SECONDS + LEAST_SECONDS / 2) == 0.0
    assert attention.unseen(now + 0.03) == pytest.approx(0.03 - TICK_SECONDS)


async def test_what_is_read_a_few_turns_after_a_stall_may_have_come_during_it() -> None:
    now = 100.0
    attention = Attention(lambda: now)
    attention.start()
    now = 100.03
    attention.start()  # the tick comes before what lay at the socket has been parsed

    assert attention.unseen(now + 0.001) == pytest.approx(0.031 - TICK_SECONDS)
    assert attention.unseen(now + AFTERMATH_SECONDS + TICK_SECONDS / 8) == 0.0


async def test_every_turn_of_the_loop_begins_anew() -> None:
    now = 100.0
    attention = Attention(lambda: now)
    attention.start()
    now = 100.5
    give_up = asyncio.get_running_loop().time() + 5
    while attention.unseen(100.51) > 0.02:
        assert asyncio.get_running_loop().time() < give_up
        await asyncio.sleep(TICK_SECONDS)


def test_who_never_ticks_has_missed_nothing() -> None:
    assert Attention(lambda: 0.0).unseen(1e9) == 0.0
