"""Retention: what is erased when its time is over, and when an event's identity may be.

An event is known again by its identity alone once it is erased. So identities outlive the topics that events are read
from: a record that a topic still holds must find its identity here, or it would be worked a second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from service.domain.value import Value

DAY: Final = 86_400.0  # seconds
HISTORY_OF_A_PLAN: Final = 10
"""Rows of history erased at once for each plan that may go: a plan that waited for long for its approval has thousands,
and goes piece by piece."""
ITEMS_OF_A_REPLAY: Final = 10
"""Rows of its plans erased at once for each replay that may go: it may have chosen thousands of them."""


class Erasable(StrEnum):
    """What is erased, each by its own rule."""

    PLANS = "plans"  # ended, with their commands, attempts and history
    EVENTS = "events"  # whose plan is gone; their identities stay
    FACTS = "facts"  # whose command is gone, or that nothing unfinished of their subject could take
    MESSAGES = "messages"  # published
    DEAD_LETTERS = "dead_letters"  # the notes
    HOLDS = "holds"  # released
    SESSIONS = "sessions"  # ended
    REPLAYS = "replays"  # ended, with their items
    ANSWERS = "answers"  # given under a key
    IDENTITIES = "identities"  # whose event is gone; never the newest, by which arrivals are counted


FINISHED: Final = tuple(kind for kind in Erasable if kind is not Erasable.IDENTITIES)
"""In an order in which what goes first lets go of what comes after it."""


class RetentionPolicy(Value, frozen=True, kw_only=True):
    """Times in seconds. `finished`: since an end, of all that is `FINISHED`; `identity`: since an event came."""

    finished: float = 90 * DAY
    identity: float = 400 * DAY


class TopicKeeping(Value, frozen=True, kw_only=True):
    """How long a topic keeps a record at most, in seconds (infinite: for ever); None, and why, if nobody can tell."""

    topic: str
    seconds: float | None
    reason: str = ""


class Objection(Value, frozen=True, kw_only=True):
    """Why no identity may be erased, and what to do. Not `certain`: it may be well, but nobody can tell."""

    topic: str
    found: str
    advice: str
    certain: bool


def objections(topics: Sequence[TopicKeeping], policy: RetentionPolicy) -> tuple[Objection, ...]:
    """What speaks against erasing identities: topics that may hand out a record whose identity is gone."""
    return tuple(_objections(topics, policy))


def _objections(topics: Sequence[TopicKeeping], policy: RetentionPolicy) -> Iterator[Objection]:
    for topic in topics:
        if topic.seconds is None:
            yield Objection(
                topic=topic.topic,
                found=f"nobody can tell how long {topic.topic} keeps its records: {topic.reason}",
                advice="let this user describe the topic's settings (DescribeConfigs)",
                certain=False,
            )
        elif topic.seconds > policy.identity:
            yield Objection(
                topic=topic.topic,
                found=f"{topic.topic} keeps its records {in_days(topic.seconds)}, identities are kept for "
                f"{policy.identity / DAY:g} days",
                advice="raise retention.identity_days, or lower the topic's retention.ms (and segment.ms, by which a "
                "record may outlast it) under cleanup.policy=delete",
                certain=True,
            )


def in_days(seconds: float) -> str:
    """How long a topic keeps its records, in words."""
    return "for ever" if math.isinf(seconds) else f"for up to {seconds / DAY:.1f} days"
