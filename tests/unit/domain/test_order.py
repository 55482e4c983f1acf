from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.command import OrderKey, Plan
from service.domain.order import is_overtaken, order_key, stands_in_the_way
from tests.builders import NOW, make_binding, make_command, make_order, make_plan


def placed(ahead: list[Plan], revision: int | None = None, *, source: str = "urn:hr", **fields: Any) -> Plan:
    """The plan of an event that comes now, behind or between those that are there."""
    arrival = len(ahead) + 1
    given_ = {"arrived_at": NOW, "effective_at": None, **fields}
    order = order_key(source=source, revision=revision, arrival=arrival, ahead=ahead, **given_)
    future = given_["effective_at"]
    effective = future if future is not None and future > given_["arrived_at"] else None
    return make_plan(arrival, order=order, effective_at=effective)


def in_order(plans: list[Plan]) -> list[Plan]:
    return sorted(plans, key=lambda plan: plan.order.rank)


def all_placed(revisions: list[int | None], source: str = "urn:hr") -> list[Plan]:
    plans: list[Plan] = []
    for revision in revisions:
        plans.append(placed(plans, revision, source=source))
    return plans


@given(st.lists(st.integers(-5, 50), max_size=10))
def test_events_of_one_source_go_by_revision_however_they_arrive(revisions: list[int]) -> None:
    ordered = in_order(all_placed(list(revisions)))
    assert [plan.order.revision for plan in ordered] == sorted(revisions)


@given(st.lists(st.integers(0, 3), max_size=10))
def test_equal_revisions_go_by_arrival(revisions: list[int]) -> None:
    for revision in set(revisions):
        same = [p.order.arrival for p in in_order(all_placed(list(revisions))) if p.order.revision == revision]
        assert same == sorted(same)


@pytest.mark.parametrize("arrivals", [[5, 7, 6], [10, 5, 7, 6], [3, 2, 1], [1, 2, 3]])
def test_revision_between_two_others_finds_its_place(arrivals: list[int]) -> None:
    assert [p.order.revision for p in in_order(all_placed(list(arrivals)))] == sorted(arrivals)


@given(st.lists(st.floats(-100, 100), max_size=8))
def test_events_without_revision_go_by_arrival_even_if_the_clock_steps_back(steps: list[float]) -> None:
    plans: list[Plan] = []
    for step in steps:
        plans.append(placed(plans, arrived_at=NOW + step))
    assert in_order(plans) == plans


def test_later_revision_goes_after_an_earlier_one_even_if_the_clock_steps_back() -> None:
    first = placed([], 1)
    assert in_order([first, placed([first], 2, arrived_at=NOW - 60)])[0] is first


def test_revisions_of_two_sources_are_not_compared() -> None:
    first = placed([], 9, source="urn:hr")
    second = placed([first], 1, source="urn:other")
    assert in_order([first, second]) == [first, second]


def test_future_dated_event_is_placed_at_its_effective_time() -> None:
    key = order_key(source="s", revision=1, arrived_at=NOW, effective_at=NOW + 60, arrival=1, ahead=[])
    assert key == OrderKey(source="s", revision=1, at=round((NOW + 60) * 1e6), arrival=1)


def test_future_dated_event_is_not_ordered_by_revision() -> None:
    future = placed([], 9, effective_at=NOW + 60)
    assert placed([future], 1).order.at == round(NOW * 1e6)
    assert placed([placed([], 9)], 1, effective_at=NOW + 60).order.at == round((NOW + 60) * 1e6)


def test_effective_time_in_the_past_counts_as_arrival() -> None:
    assert placed([], effective_at=NOW - 60).order.at == round(NOW * 1e6)


@pytest.mark.parametrize(
    ("ahead", "stands"),
    [
        ({"order": make_order(1)}, True),
        ({"order": make_order(3)}, False),
        ({"order": make_order(1), "effective_at": NOW + 60}, False),
        ({"order": make_order(1), "effective_at": NOW - 60}, True),
    ],
)
def test_unfinished_work_stands_in_the_way_if_it_is_earlier_and_effective(ahead: dict[str, Any], stands: bool) -> None:
    first, second = make_plan(1, **ahead), make_plan(2)
    assert stands_in_the_way(first, [make_command(first)], second, NOW) is stands


@pytest.mark.parametrize("begun", [{"owner": 1}, {"attempts": 1}])
def test_work_that_has_begun_stands_in_the_way_of_earlier_work(begun: dict[str, Any]) -> None:
    first, second = make_plan(1), make_plan(2)
    assert stands_in_the_way(second, [make_command(second, **begun)], first, NOW)


@pytest.mark.parametrize(
    ("revision", "applied", "effective_at", "overtaken"),
    [(4, 5, None, True), (5, 5, None, False), (6, 5, None, False), (None, 5, None, False), (4, 5, NOW, False)],
)
def test_work_is_overtaken_by_a_higher_revision_that_was_applied(
    revision: int | None, applied: int, effective_at: float | None, overtaken: bool
) -> None:
    plan = make_plan(order=make_order(revision=revision), effective_at=effective_at)
    assert is_overtaken(plan, make_binding(revisions={"urn:hr": applied})) is overtaken
    assert not is_overtaken(plan, make_binding(revisions={"urn:other": applied}))
    assert not is_overtaken(plan, None)
