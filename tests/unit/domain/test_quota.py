from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.command import Lane
from service.domain.quota import (
    FULL_PACE,
    LEAST_SHARE,
    NO_PASSES,
    SHARES,
    Pace,
    look_back,
    next_lane,
    spacing,
    spent_by_others,
    window,
)

LANES = st.sets(st.sampled_from(list(Lane)), min_size=1)


def served(waiting: set[Lane], turns: int, passes: dict[Lane, float] | None = None) -> Counter[Lane]:
    counts: Counter[Lane] = Counter()
    held = passes or dict(NO_PASSES)
    for _ in range(turns):
        lane, after = next_lane(held, waiting)
        held = dict(after)
        counts[lane] += 1
    return counts


@given(LANES)
def test_waiting_lanes_get_their_shares_and_what_others_leave(waiting: set[Lane]) -> None:
    total = sum(SHARES[lane] for lane in waiting)
    counts = served(waiting, total * 10)
    assert all(abs(counts[lane] - SHARES[lane] * 10) <= 1 for lane in waiting)
    assert set(counts) == waiting


def test_lane_that_waits_alone_gets_everything() -> None:
    assert served({Lane.SWEEP}, 50) == {Lane.SWEEP: 50}


@given(LANES, st.integers(0, 500))
def test_idle_lane_saves_nothing_up(before: set[Lane], turns: int) -> None:
    passes = dict(NO_PASSES)
    for _ in range(turns):
        passes = dict(next_lane(passes, before)[1])
    counts = served(set(Lane), 100, passes)
    assert all(abs(counts[lane] - share) <= 1 + share * 0.2 for lane, share in SHARES.items() if lane not in before)
    assert counts[Lane.LIVE] >= 60


def test_lanes_that_are_level_go_by_urgency() -> None:
    assert next_lane(NO_PASSES, set(Lane))[0] is Lane.LIVE


def test_no_lane_waiting_is_an_error() -> None:
    with pytest.raises(ValueError, match="no lane"):
        next_lane(NO_PASSES, set())


@pytest.mark.parametrize(
    ("rate", "held"), [(20, (20, 1.0)), (1, (1, 1.0)), (0.5, (1, 2.0)), (2.5, (2, 1.0)), (0.1, (1, 10.0))]
)
def test_window_holds_whole_requests(rate: float, held: tuple[int, float]) -> None:
    assert window(rate) == held


@given(st.floats(0.05, 200), st.floats(0, 0.1))
def test_slots_spaced_apart_put_no_more_into_a_window_than_it_holds(rate: float, margin: float) -> None:
    most, seconds = window(rate)
    assert spacing(rate, margin) * most >= seconds * (1 + margin) * (1 - 1e-9)
    assert most / seconds <= rate * (1 + 1e-9)


def test_spacing_costs_a_whole_quota_no_more_than_its_margin() -> None:
    assert spacing(20, 0.02) == pytest.approx(0.051)


def test_throttling_halves_the_pace_at_once() -> None:
    assert FULL_PACE.share(100.0) == 1.0
    assert FULL_PACE.throttled(100.0).share(100.0) == 0.5


def test_calls_of_one_second_lower_the_pace_once() -> None:
    pace = FULL_PACE
    for nth in range(20):
        pace = pace.throttled(100.0 + nth * 0.049)
    assert pace.share(101.0) == pytest.approx(0.5, abs=0.02)
    assert pace.throttled(101.0).share(101.0) == pytest.approx(0.25, abs=0.01)


def test_pace_recovers_linearly_within_a_minute() -> None:
    pace = FULL_PACE.throttled(100.0)
    assert pace.share(115.0) == pytest.approx(0.75)
    assert pace.share(129.0) < 1.0
    assert pace.share(130.0) == 1.0
    floor = Pace(rate_share=LEAST_SHARE, changed_at=100.0)
    assert floor.share(156.0) < 1.0
    assert floor.share(160.0) == 1.0


def test_recovery_begins_with_the_last_throttled_call() -> None:
    pace = FULL_PACE.throttled(100.0).throttled(100.9)
    assert pace.share(100.9) == pytest.approx(0.5 + 0.9 / 60)
    assert pace.lowered_at == 100.0


@given(st.lists(st.floats(0, 5), max_size=200))
def test_pace_stays_between_its_floor_and_the_whole_quota(gaps: list[float]) -> None:
    pace, now = FULL_PACE, 0.0
    for gap in gaps:
        now += gap
        before = pace.share(now)
        pace = pace.throttled(now)
        assert LEAST_SHARE <= pace.share(now) <= before


def test_ceaseless_throttling_ends_at_the_floor() -> None:
    pace = FULL_PACE
    for second in range(60):
        pace = pace.throttled(second * 1.0)
    assert pace.share(59.0) == LEAST_SHARE


def evenly(rate: float, seconds: float, until: float) -> list[float]:
    """Moments of sends at that rate in the seconds before."""
    return [until - nth / rate for nth in range(int(seconds * rate), -1, -1)]


@pytest.mark.parametrize("rate", [0.1, 0.5, 1, 2, 2.5, 5, 20, 200])
def test_throttling_at_our_own_full_rate_may_be_our_own_doing(rate: float) -> None:
    sends = evenly(1 / spacing(rate, 0.02), look_back(rate), 1000.0)
    assert not spent_by_others(sends, 1000.0, rate)
    assert look_back(rate) >= window(rate)[1]


@pytest.mark.parametrize("rate", [0.1, 0.5, 1, 2, 2.5, 5, 20, 200])
def test_throttling_at_half_our_rate_is_somebody_elses(rate: float) -> None:
    sends = evenly(0.5 / spacing(rate, 0.02), look_back(rate), 1000.0)
    assert spent_by_others(sends, 1000.0, rate)


@pytest.mark.parametrize("rate", [0.5, 1, 5, 20])
def test_lone_call_that_is_throttled_is_somebody_elses_doing(rate: float) -> None:
    assert spent_by_others([999.9], 1000.0, rate)


def test_reply_that_comes_late_is_judged_by_the_window_of_its_call() -> None:
    sends = evenly(20, 1, 1000.0)
    assert not spent_by_others(sends, 1002.0, 20)
    assert spent_by_others(sends, 1010.0, 20)
