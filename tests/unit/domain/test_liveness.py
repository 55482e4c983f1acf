"""What counts as standing still, and all that does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from service.domain.liveness import Liveness, LivenessPolicy, PartitionStanding, SourceStanding

POLICY = LivenessPolicy(loop_seconds=60.0, stalled_seconds=120.0)
BEHIND = PartitionStanding(position=5, end=9)


@pytest.fixture
def liveness() -> Liveness:
    return Liveness(POLICY)


def standing(asked: int, **partitions: PartitionStanding) -> SourceStanding:
    return SourceStanding(asked=asked, partitions=partitions)


def names(liveness: Liveness, now: float) -> list[tuple[str, str]]:
    return [(found.kind, found.name) for found in liveness.standstills(now)]


def watch(liveness: Liveness, partitions: Mapping[str, PartitionStanding], *, until: float, begin: float = 0.0) -> None:
    """Look every five seconds while the loop asks between all looks."""
    now = begin
    while now <= until:
        liveness.stands(SourceStanding(asked=int(now) + 1, partitions=partitions), now)
        now += 5.0


# --- loops ----------------------------------------------------------------------------------------------------------


def test_loop_that_beats_lives_and_one_that_stopped_does_not(liveness: Liveness) -> None:
    liveness.beat("intake", 0.0)
    liveness.beat("relay", 50.0)
    assert names(liveness, 60.0) == []
    assert names(liveness, 60.1) == [("loop", "intake")]
    liveness.beat("intake", 61.0)
    assert names(liveness, 62.0) == []


def test_loop_that_never_began_or_ended_as_asked_is_not_missed(liveness: Liveness) -> None:
    assert names(liveness, 1e9) == []
    liveness.beat("intake", 0.0)
    liveness.rest("intake")
    assert names(liveness, 1e9) == []


# --- partitions -----------------------------------------------------------------------------------------------------


def test_partition_with_records_that_is_not_fetched_stands_still(liveness: Liveness) -> None:
    watch(liveness, {"t/0": BEHIND}, until=120.0)
    assert names(liveness, 120.0) == []
    watch(liveness, {"t/0": BEHIND}, begin=125.0, until=125.0)
    assert names(liveness, 125.0) == [("partition", "t/0")]
    (found,) = liveness.standstills(125.0)
    assert found.told(125.0) == "partition t/0 has records that are not fetched for 125 s"


def test_any_move_begins_anew(liveness: Liveness) -> None:
    watch(liveness, {"t/0": BEHIND}, until=115.0)
    watch(liveness, {"t/0": PartitionStanding(position=6, end=9)}, begin=120.0, until=235.0)
    assert names(liveness, 235.0) == []


def test_one_partition_may_stand_still_alone(liveness: Liveness) -> None:
    for nth in range(30):
        moving = PartitionStanding(position=nth, end=1000)
        liveness.stands(standing(nth + 1, still=BEHIND, moving=moving), nth * 5.0)
    assert names(liveness, 29 * 5.0) == [("partition", "still")]


def test_position_that_is_never_learnt_stands_still_if_there_are_records(liveness: Liveness) -> None:
    unknown, empty = PartitionStanding(position=None, end=3), PartitionStanding(position=None, end=0)
    watch(liveness, {"t/0": unknown, "t/1": empty}, until=130.0)
    assert names(liveness, 130.0) == [("partition", "t/0")]


@pytest.mark.parametrize(
    "partitions",
    [
        {},
        {"t/0": PartitionStanding(position=9, end=9)},
        {"t/0": PartitionStanding(position=5, end=9, paused=True)},
    ],
    ids=["without partitions", "nothing to fetch", "paused"],
)
def test_who_has_nothing_to_fetch_does_not_stand_still(
    liveness: Liveness, partitions: Mapping[str, PartitionStanding]
) -> None:
    watch(liveness, partitions, until=1_000.0)
    assert names(liveness, 1_000.0) == []


def test_pause_in_between_begins_anew(liveness: Liveness) -> None:
    watch(liveness, {"t/0": BEHIND}, until=100.0)
    watch(liveness, {"t/0": PartitionStanding(position=5, end=9, paused=True)}, begin=105.0, until=105.0)
    watch(liveness, {"t/0": BEHIND}, begin=110.0, until=225.0)
    assert names(liveness, 225.0) == []


def test_broker_that_does_not_answer_proves_nothing(liveness: Liveness) -> None:
    watch(liveness, {"t/0": BEHIND}, until=115.0)
    liveness.stands(None, 120.0)
    assert names(liveness, 1_000.0) == []
    watch(liveness, {"t/0": BEHIND}, begin=1_000.0, until=1_115.0)
    assert names(liveness, 1_115.0) == []


def test_member_that_does_not_ask_for_its_batch_waits_for_the_ledger_can_not_move(liveness: Liveness) -> None:
    for nth in range(100):
        liveness.stands(standing(7, p=BEHIND), nth * 5.0)
    assert names(liveness, 500.0) == []


def test_partition_that_went_to_another_member_is_not_missed(liveness: Liveness) -> None:
    watch(liveness, {"t/0": BEHIND}, until=130.0)
    liveness.stands(standing(999), 135.0)
    assert names(liveness, 135.0) == []


def test_what_nobody_looked_at_since_proves_nothing(liveness: Liveness) -> None:
    watch(liveness, {"t/0": BEHIND}, until=100.0)
    assert names(liveness, 1_000.0) == []
