"""What a dead letter is called."""

import pytest

from service.domain.dead_letter import DeadLetter, place_of


def test_id_of_a_letter_names_its_place() -> None:
    letter = DeadLetter(
        topic="hr.events",
        partition=3,
        offset=17,
        reason="not_json",
        field=None,
        message="",
        size=1,
        digest="d",
        seen_at=0.0,
    )
    assert letter.id == "hr.events:3:17"
    assert place_of(letter.id) == letter.place == ("hr.events", 3, 17)


NAMELESS = "|:|::|hr.events|hr.events:1|hr.events:1:|hr.events::1|:1:1|hr.events:-1:1|hr.events:1:1:1|hr.events:a:1"


@pytest.mark.parametrize("name", ["hr.events:1:٣", "hr.events: 1:1", "hr.events:1:" + "9" * 19, *NAMELESS.split("|")])
def test_what_names_no_place_is_none(name: str) -> None:
    assert place_of(name) is None
