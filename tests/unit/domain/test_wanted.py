from service.domain.wanted import ExtensionLast, ExtensionWanted, given


def test_what_completes_a_create_is_not_asked_for() -> None:
    last = ExtensionLast(name="Li Na", skill_group_ids=(5,))
    wanted = ExtensionWanted(extension="1001", email="li.na@example.com", last=last)
    assert given(wanted.model_dump(mode="json")) == {"extension": "1001", "email": "li.na@example.com"}
