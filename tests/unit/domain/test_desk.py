"""What acts need of the ledger, of one and of several together."""

from service.domain.dead_letter import DeadLetter
from service.domain.desk import NO_DESK_KEYS, DeskKeys, DeskKnown, GivenAnswer, all_keys

LETTER = DeadLetter(
    topic="hr.events",
    partition=0,
    offset=17,
    reason="not_json",
    field=None,
    message="",
    size=1,
    digest="d",
    seen_at=0.0,
)
ANSWER = GivenAnswer(key="ann/k1", digest="d", status=200, document={"id": "x"}, given_at=0.0)


def test_keys_of_several_acts_are_all_of_them() -> None:
    one = DeskKeys(answers=frozenset({"ann/k1"}), holds=frozenset({"hold_1"}))
    other = DeskKeys(answers=frozenset({"bob/k1"}), letters=frozenset({LETTER.place}))
    assert all_keys([one, NO_DESK_KEYS, other]) == DeskKeys(
        answers=frozenset({"ann/k1", "bob/k1"}), holds=frozenset({"hold_1"}), letters=frozenset({LETTER.place})
    )


def test_no_keys_stay_none() -> None:
    assert all_keys([]) is NO_DESK_KEYS
    assert all_keys([NO_DESK_KEYS, NO_DESK_KEYS]) is NO_DESK_KEYS


def test_what_nobody_else_may_act_on_has_names_that_never_meet() -> None:
    keys = DeskKeys(
        answers=frozenset({"x"}), replays=frozenset({"x"}), holds=frozenset({"x"}), letters=frozenset({("x", 0, 1)})
    )
    assert keys.names() == {"answer:x", "replay:x", "hold:x", "letter:x:0:1"}


def test_each_act_is_given_its_own_part() -> None:
    known = DeskKnown(answers={"ann/k1": ANSWER}, letters={LETTER.place: LETTER})
    assert known.part(DeskKeys(answers=frozenset({"ann/k1", "ann/k2"}))) == DeskKnown(answers={"ann/k1": ANSWER})
    assert known.part(NO_DESK_KEYS) == DeskKnown()
