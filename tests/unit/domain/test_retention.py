"""Retention's rules: identities outlive the topics."""

from __future__ import annotations

import math

import pytest

from service.domain.retention import (
    DAY,
    FINISHED,
    Erasable,
    RetentionPolicy,
    TopicKeeping,
    in_days,
    objections,
)

POLICY = RetentionPolicy(finished=90 * DAY, identity=400 * DAY)


def keeping(seconds: float | None, topic: str = "hr.events") -> TopicKeeping:
    return TopicKeeping(topic=topic, seconds=seconds, reason="" if seconds is not None else "TopicAuthorizationFailed")


@pytest.mark.parametrize("seconds", [0.0, 14 * DAY, 400 * DAY])
def test_topic_that_keeps_its_records_no_longer_than_identities_are_kept_is_no_objection(seconds: float) -> None:
    assert objections([keeping(seconds)], POLICY) == ()


def test_topic_that_outlasts_identities_is_an_objection_that_says_what_to_do() -> None:
    (found,) = objections([keeping(14 * DAY, "crm.events"), keeping(400 * DAY + 1)], POLICY)

    assert (found.topic, found.certain) == ("hr.events", True)
    assert found.found == "hr.events keeps its records for up to 400.0 days, identities are kept for 400 days"
    assert "retention.identity_days" in found.advice
    assert "retention.ms" in found.advice


def test_topic_that_keeps_its_records_for_ever_is_an_objection() -> None:
    (found,) = objections([keeping(math.inf)], POLICY)

    assert "for ever" in found.found
    assert found.certain


def test_topic_of_which_nobody_can_tell_is_an_objection_for_it_could_keep_for_ever() -> None:
    (found,) = objections([keeping(None)], POLICY)

    assert not found.certain
    assert "TopicAuthorizationFailed" in found.found
    assert "DescribeConfigs" in found.advice


def test_everything_but_identities_goes_by_the_shorter_time_and_plans_go_before_what_hangs_on_them() -> None:
    assert set(FINISHED) == set(Erasable) - {Erasable.IDENTITIES}
    assert FINISHED.index(Erasable.PLANS) < FINISHED.index(Erasable.EVENTS)
    assert FINISHED.index(Erasable.PLANS) < FINISHED.index(Erasable.FACTS)


def test_times_are_told_in_days() -> None:
    assert [in_days(seconds) for seconds in (math.inf, 1.5 * DAY)] == ["for ever", "for up to 1.5 days"]
