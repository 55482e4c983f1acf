from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.command import Lane
from service.domain.quota import NO_PASSES, SHARES, next_lane, spacing, window

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
