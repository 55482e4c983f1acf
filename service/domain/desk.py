"""What operators' acts need to know and change beside the work itself: replays, dead letters, quotas, and answers that
were given before. Parts of `Keys`, `Known` and `Changes`, empty for all that runs by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.domain.dead_letter import DeadLetter, LetterPlace
from service.domain.outcome import Json
from service.domain.replay import Replay, ReplayItem
from service.domain.value import Value, field


class GivenAnswer(Value, frozen=True, kw_only=True):
    """What an act was answered, kept under its caller's `Idempotency-Key`: asked again, it is answered so again.

    `key` is made of caller and their key, `digest` is that of the request; `document` holds no personal data.
    """

    key: str
    digest: str
    status: int
    document: Json
    given_at: float


class QuotaRate(Value, frozen=True, kw_only=True):
    """What a person changed about the quota of one operation of one quota group (requests/s; None: as configured)."""

    quota_group: str
    operation: str
    rate: float | None
    changed_at: float
    actor: str
    reason: str


class DeskKeys(Value, frozen=True, kw_only=True):
    """What to load for an act: answers by their keys, replays, holds (also released ones) and dead letters by theirs.

    `contents` are events whose data are needed; they come as `Known.contents`.
    """

    answers: frozenset[str] = frozenset()
    replays: frozenset[str] = frozenset()
    holds: frozenset[str] = frozenset()
    letters: frozenset[LetterPlace] = frozenset()
    contents: frozenset[tuple[str, str]] = frozenset()

    def names(self) -> set[str]:
        """What nobody else may act on meanwhile."""
        return {
            *(f"answer:{key}" for key in self.answers),
            *(f"replay:{one}" for one in self.replays),
            *(f"hold:{one}" for one in self.holds),
            *(f"letter:{topic}:{partition}:{offset}" for topic, partition, offset in self.letters),
        }


class DeskKnown(Value, frozen=True, kw_only=True):
    """What the ledger holds for some `DeskKeys`. `holds` are in `Known.holds`."""

    answers: Mapping[str, GivenAnswer] = field(default_factory=dict)
    replays: Mapping[str, Replay] = field(default_factory=dict)
    letters: Mapping[LetterPlace, DeadLetter] = field(default_factory=dict)

    def part(self, keys: DeskKeys) -> DeskKnown:
        """What one of several jobs asked for."""
        return DeskKnown(
            answers={key: self.answers[key] for key in keys.answers if key in self.answers},
            replays={one: self.replays[one] for one in keys.replays if one in self.replays},
            letters={place: self.letters[place] for place in keys.letters if place in self.letters},
        )


class DeskChanges(Value, frozen=True, kw_only=True):
    """What an act writes. A replay is replaced, an item written once after it was made, a letter only closed."""

    answers: tuple[GivenAnswer, ...] = ()
    replays: tuple[Replay, ...] = ()
    items: tuple[ReplayItem, ...] = ()
    letters: tuple[DeadLetter, ...] = ()
    rates: tuple[QuotaRate, ...] = ()


NO_DESK_KEYS = DeskKeys()


def all_keys(many: Iterable[DeskKeys]) -> DeskKeys:
    """The keys of several jobs together."""
    each = [keys for keys in many if keys is not NO_DESK_KEYS]
    if not each:
        return NO_DESK_KEYS
    return DeskKeys(
        answers=frozenset().union(*(keys.answers for keys in each)),
        replays=frozenset().union(*(keys.replays for keys in each)),
        holds=frozenset().union(*(keys.holds for keys in each)),
        letters=frozenset().union(*(keys.letters for keys in each)),
        contents=frozenset().union(*(keys.contents for keys in each)),
    )
