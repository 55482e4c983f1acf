"""At most the quota in any second, by arrival."""

from hypothesis import given
from hypothesis import strategies as st

from service.sandbox.arrival import Arrival
from service.sandbox.quota_window import QuotaBook, QuotaWindow


def test_arrival_exactly_one_second_later_is_in_another_window() -> None:
    window = QuotaWindow()
    assert [window.admit(Arrival(t), 2) for t in (10.0, 10.5, 10.999, 11.0, 11.25, 11.5)] == [
        True,
        True,
        False,
        True,
        False,
        True,
    ]


def test_refused_arrivals_use_nothing_up() -> None:
    window = QuotaWindow()
    assert [window.admit(Arrival(5.0 + i / 10), 1) for i in range(11)] == [True, *[False] * 9, True]


@given(
    st.lists(st.floats(min_value=0, max_value=8), min_size=1, max_size=60),
    st.integers(min_value=1, max_value=5),
)
def test_no_window_of_accepted_arrivals_is_ever_over_the_quota(times: list[float], quota: int) -> None:
    window = QuotaWindow()
    accepted = sorted(t for t in times if window.admit(Arrival(t), quota))
    for i in range(len(accepted) - quota):
        assert accepted[i + quota] - accepted[i] >= 1.0


@given(st.lists(st.floats(min_value=0, max_value=8), max_size=60), st.integers(min_value=1, max_value=5))
def test_arrivals_in_order_are_accepted_exactly_while_the_last_second_has_room(times: list[float], quota: int) -> None:
    window = QuotaWindow()
    accepted: list[float] = []
    for arrival in sorted(times):
        room = sum(arrival - earlier < 1.0 for earlier in accepted) < quota
        assert window.admit(Arrival(arrival), quota) is room
        if room:
            accepted.append(arrival)


def test_window_forgets_what_is_long_over() -> None:
    window = QuotaWindow()
    for second in range(5000):
        assert window.admit(Arrival(float(second)), 1)
    assert len(window._accepted) < 100


def test_quotas_are_kept_apart_by_account_and_operation() -> None:
    book = QuotaBook({"tencent_ccc": {"default": 1, "CreateExtension": 2}})
    assert book.quota("huawei_aicc", "createCalledRoute") == 5
    assert [book.admit("tencent_ccc", "a", "CreateExtension", arrival=Arrival(1.0)) for _ in range(3)] == [
        True,
        True,
        False,
    ]
    assert book.admit("tencent_ccc", "b", "CreateExtension", arrival=Arrival(1.0))
    assert book.admit("tencent_ccc", "a", "DescribeExtension", arrival=Arrival(1.0))
    book.change({"tencent_ccc": {"CreateExtension": 3}})
    assert book.admit("tencent_ccc", "a", "CreateExtension", arrival=Arrival(1.0))


def test_what_may_have_been_seen_late_is_held_against_nobody() -> None:
    window = QuotaWindow()
    assert window.admit(Arrival(10.022, unseen=0.022), 1)
    assert window.admit(Arrival(11.01), 1)
    assert not window.admit(Arrival(11.99), 1)
