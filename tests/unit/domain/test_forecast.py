"""When lanes are empty: they share a rate by their weights, and lend what they leave."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.domain.command import Lane
from service.domain.forecast import longest, seconds_until_empty, sure_rate, usable_rate
from service.domain.quota import SHARES

LANES = some.dictionaries(some.sampled_from(Lane), some.integers(min_value=0, max_value=10_000))


def test_margin_of_a_quota_is_not_used() -> None:
    assert usable_rate(20.0) == pytest.approx(20 / 1.015)
    assert usable_rate(0.5) == pytest.approx(0.5 / 1.015)


def test_part_of_a_request_in_a_second_is_not_used() -> None:
    assert usable_rate(2.5) == usable_rate(2.0)


def test_lane_alone_has_it_all() -> None:
    assert seconds_until_empty({Lane.SWEEP: 50}, 10.0) == {Lane.SWEEP: 5.0}


def test_lanes_that_wait_share_by_their_weights() -> None:
    found = seconds_until_empty({Lane.LIVE: 160, Lane.REPLAY: 10}, 17.0)
    assert found == {Lane.LIVE: pytest.approx(10.0), Lane.REPLAY: pytest.approx(10.0)}


def test_whoever_is_done_leaves_its_share_to_the_others() -> None:
    found = seconds_until_empty({Lane.LIVE: 16, Lane.REPLAY: 18}, 17.0)
    assert found[Lane.LIVE] == pytest.approx(1.0)
    assert found[Lane.REPLAY] == pytest.approx(2.0)


def test_nothing_waits_where_nothing_is() -> None:
    assert seconds_until_empty({Lane.LIVE: 0}, 1.0) == {}
    assert longest({}) == 0.0


def test_sure_rates_of_all_lanes_are_the_whole() -> None:
    assert sum(sure_rate(20.0, lane) for lane in SHARES) == pytest.approx(20.0)
    assert sure_rate(20.0, Lane.REPLAY) == pytest.approx(1.0)


@given(LANES, some.floats(min_value=0.01, max_value=1000))
def test_last_lane_is_empty_when_all_calls_are_sent(backlog: dict[Lane, int], rate: float) -> None:
    found = seconds_until_empty(backlog, rate)
    assert found.keys() == {lane for lane, number in backlog.items() if number > 0}
    assert longest(found) == pytest.approx(sum(backlog.values()) / rate, rel=1e-6)


@given(LANES, some.floats(min_value=0.01, max_value=1000))
def test_no_lane_is_slower_than_its_sure_rate(backlog: dict[Lane, int], rate: float) -> None:
    for lane, seconds in seconds_until_empty(backlog, rate).items():
        sure = backlog[lane] / sure_rate(rate, lane)
        assert seconds < sure or math.isclose(seconds, sure, rel_tol=1e-6)
