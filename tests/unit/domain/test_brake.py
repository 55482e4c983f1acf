"""The brake: a sudden share of bad records pauses, a few never do, and a probe decides what follows."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.brake import DEFAULT_BRAKE, PROBE_RECORDS, Brake, BrakePolicy


def after(records: Iterable[bool], brake: Brake | None = None, policy: BrakePolicy = DEFAULT_BRAKE) -> Brake:
    """The brake after these records (True: bad), or as it paused."""
    brake = brake or Brake()
    for bad in records:
        brake = brake.note(policy, bad=bad, now=100.0)
        if brake.paused:
            return brake
    return brake


def test_all_bad_from_the_start_pauses_at_the_fiftieth() -> None:
    assert not after([True] * 49).paused
    brake = after([True] * 200)
    assert (brake.seen, brake.bad, brake.resumes_at) == (50, 50, 160.0)


def test_bad_from_some_moment_on_pauses_at_the_sixty_first_of_the_window() -> None:
    assert not after([False] * 1000 + [True] * 60).paused
    brake = after([False] * 1000 + [True] * 61)
    assert brake.paused
    assert (brake.seen, brake.bad) == (200, 61)


@pytest.mark.parametrize("seed", range(20))
def test_two_percent_of_a_thousand_never_pause(seed: int) -> None:
    records = [True] * 20 + [False] * 980
    random.Random(seed).shuffle(records)  # noqa: S311 - a seed makes it the same every time
    assert not after(records).paused


def test_twenty_bad_ones_in_a_row_do_not_pause_a_stream_that_is_under_way() -> None:
    for good_before in range(50, 250):
        assert not after([False] * good_before + [True] * 20 + [False] * 200).paused


def test_share_that_is_only_reached_does_not_pause() -> None:
    assert not after([True] * 15 + [False] * 35).paused
    assert after([True] * 16 + [False] * 34).paused


@given(st.lists(st.booleans(), max_size=600), st.integers(1, 60), st.floats(0, 1))
def test_pause_is_what_a_count_over_the_window_says(records: list[bool], window: int, share: float) -> None:
    policy = BrakePolicy(window=window, least=min(window, 20), share=share, resume_seconds=5.0)
    brake = Brake()
    for nth, bad in enumerate(records, 1):
        brake = brake.note(policy, bad=bad, now=1.0)
        last = records[max(0, nth - window) : nth]
        assert (brake.seen, brake.bad) == (len(last), sum(last))
        assert brake.paused == (len(last) >= policy.least and sum(last) > share * len(last))
        if brake.paused:
            return


def test_share_of_one_never_pauses() -> None:
    assert not after([True] * 1000, policy=BrakePolicy(share=1.0)).paused


def test_probe_that_reads_well_ends_after_a_few_records_and_begins_a_new_window() -> None:
    probing = after([True] * 50).probe()
    assert not probing.paused
    assert after([False] * (PROBE_RECORDS - 1), probing).probing
    well = after([False] * PROBE_RECORDS, probing)
    assert not well.probing
    assert (well.seen, well.bad) == (PROBE_RECORDS, 0)
    assert not after([True] * 39, well).paused


def test_probe_that_reads_badly_pauses_again_at_its_fourth_bad_record() -> None:
    probing = after([True] * 50).probe()
    assert not after([True] * 3, probing).paused
    assert after([True] * 4, probing).resumes_at == 160.0


def test_probe_with_a_few_bad_records_passes() -> None:
    assert not after(([True] * 3 + [False] * 7), after([True] * 50).probe()).probing


def test_records_found_bad_later_pause_with_the_next_one() -> None:
    good = after([False] * 200)
    assert not good.found_bad(59).note(DEFAULT_BRAKE, bad=True, now=1.0).paused
    assert good.found_bad(61).note(DEFAULT_BRAKE, bad=True, now=1.0).paused
    assert good.found_bad(1000).bad == 200


@given(st.lists(st.booleans(), max_size=100), st.integers(0, 150))
def test_no_more_records_are_found_bad_than_were_noted_as_good(records: list[bool], count: int) -> None:
    brake = after(records, policy=BrakePolicy(share=1.0))
    assert brake.found_bad(count).bad == min(brake.bad + count, brake.seen)
