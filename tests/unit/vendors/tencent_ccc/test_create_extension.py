from collections.abc import Mapping
from typing import Any

import pytest

from service.domain.outcome import Call, ErrorClass, Failure, Result, Seen, Succeeded
from service.vendors.tencent_ccc.create_extension import MODIFY, NAME, CreateExtension
from service.vendors.tencent_ccc.extensions_read import ExtensionsRead
from tests.unit.vendors.doubles import tencent_account

APP = 1400000000
WANTED = {"extension": "1001", "name": "Li Wei", "email": "li@example.com", "skill_group_ids": [2, 1]}
EQUAL = {
    "extension": "1001",
    "full_extension": "1001@1400000000.tccc.qcloud.com",
    "name": "Li Wei",
    "email": "li@example.com",
    "skill_group_ids": ["1", "2"],
}
FACTS = {"extension": "1001", "full_extension": "1001@1400000000.tccc.qcloud.com"}


def operation() -> CreateExtension:
    return CreateExtension(tencent_account(), ExtensionsRead())


def modify(**fields: Any) -> Call:
    return Call(operation=MODIFY, account="acme_cn", body={"SdkAppId": APP, "ExtensionId": "1001", **fields})


def test_absent_extension_is_created_with_all_given_fields() -> None:
    move = operation().decide(WANTED, Seen(None), ours=False)
    assert move == Call(
        operation=NAME,
        account="acme_cn",
        creates=True,
        body={
            "SdkAppId": APP,
            "ExtensionId": "1001",
            "ExtensionName": "Li Wei",
            "SkillGroupIds": [2, 1],
            "Relation": "li@example.com",
        },
    )


@pytest.mark.parametrize("groups", [None, [], ()])
@pytest.mark.parametrize("email", [None, "", " "])
def test_fields_that_are_empty_or_not_given_are_never_sent(groups: Any, email: str | None) -> None:
    wanted = {"extension": "1001", "name": "Li", "email": email, "skill_group_ids": groups}
    move = operation().decide(wanted, Seen(None), ours=False)
    assert isinstance(move, Call)
    assert move.body == {"SdkAppId": APP, "ExtensionId": "1001", "ExtensionName": "Li"}


LAST = {"name": "Li Wei", "email": "li@example.com", "skill_group_ids": [2, 1]}


@pytest.mark.parametrize("last", [None, {}, {"email": "li@example.com"}])
def test_create_without_a_name_known_to_anybody_is_incomplete(last: Any) -> None:
    move = operation().decide({"extension": "1001", "skill_group_ids": [3], "last": last}, Seen(None), ours=True)
    assert isinstance(move, Failure)
    assert (move.error_class, move.code, move.field) == (ErrorClass.INCOMPLETE, "missing:name", "name")


@pytest.mark.parametrize(
    ("given", "created"),
    [
        ({}, {"ExtensionName": "Li Wei", "SkillGroupIds": [2, 1], "Relation": "li@example.com"}),
        ({"name": "Wei Li"}, {"ExtensionName": "Wei Li", "SkillGroupIds": [2, 1], "Relation": "li@example.com"}),
        (
            {"email": "wei@example.com", "skill_group_ids": [3]},
            {"ExtensionName": "Li Wei", "SkillGroupIds": [3], "Relation": "wei@example.com"},
        ),
    ],
)
def test_create_is_completed_with_what_was_applied_last(given: dict[str, Any], created: dict[str, Any]) -> None:
    move = operation().decide({"extension": "1001", **given, "last": LAST}, Seen(None), ours=True)
    assert isinstance(move, Call)
    assert (move.operation, move.creates) == (NAME, True)
    assert move.body == {"SdkAppId": APP, "ExtensionId": "1001", **created}


@pytest.mark.parametrize("last", [None, LAST])
@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"name": "Wei Li"}, {"ExtensionName": "Wei Li"}),
        ({"email": "wei@example.com"}, {"Relation": "wei@example.com"}),
        ({"skill_group_ids": [3]}, {"SkillGroupIds": [3]}),
    ],
)
def test_change_modifies_given_fields_only_whatever_else_has_drifted(
    given: dict[str, Any], changed: dict[str, Any], last: Any
) -> None:
    drifted = {**EQUAL, "name": "Drifted", "email": "drifted@example.com", "skill_group_ids": ["9"]}
    move = operation().decide({"extension": "1001", **given, "last": last}, Seen(drifted), ours=True)
    assert move == modify(**changed)


def test_change_that_gives_nothing_leaves_what_stands() -> None:
    move = operation().decide({"extension": "1001", "last": LAST}, Seen({**EQUAL, "name": "Drifted"}), ours=True)
    assert move == Succeeded(result=Result.UNCHANGED, facts=FACTS)


def test_what_was_applied_last_is_no_proof_of_whose_it_is() -> None:
    move = operation().decide({"extension": "1001", "name": "Li Wei", "last": LAST}, Seen(EQUAL), ours=False)
    assert isinstance(move, Failure)
    assert move.error_class is ErrorClass.CONFLICT


def test_equal_and_ours_is_unchanged() -> None:
    assert operation().decide(WANTED, Seen(EQUAL), ours=True) == Succeeded(result=Result.UNCHANGED, facts=FACTS)


@pytest.mark.parametrize("email", ["li@example.com", " LI@Example.COM ", "li@example.com\n"])
def test_equal_and_related_to_this_agent_is_adopted(email: str) -> None:
    move = operation().decide(WANTED, Seen({**EQUAL, "email": email}), ours=False)
    assert move == Succeeded(result=Result.ADOPTED, facts=FACTS)


@pytest.mark.parametrize("wanted_email", ["li@example.com", None, "", "  "])
@pytest.mark.parametrize("standing_email", ["other@example.com", "", "   "])
def test_extension_of_another_is_a_conflict_even_if_equal(wanted_email: str | None, standing_email: str) -> None:
    wanted = {**WANTED, "email": wanted_email}
    move = operation().decide(wanted, Seen({**EQUAL, "email": standing_email}), ours=False)
    assert isinstance(move, Failure)
    assert (move.error_class, move.code) == (ErrorClass.CONFLICT, "ExtensionTaken")


@pytest.mark.parametrize(
    ("standing", "ours", "changed"),
    [
        ({"name": "Old"}, True, {"ExtensionName": "Li Wei"}),
        ({"name": "Old"}, False, {"ExtensionName": "Li Wei"}),
        ({"email": "old@example.com"}, True, {"Relation": "li@example.com"}),
        ({"email": ""}, True, {"Relation": "li@example.com"}),
        ({"skill_group_ids": ["1", "3"]}, True, {"SkillGroupIds": [2, 1]}),
        ({"skill_group_ids": []}, False, {"SkillGroupIds": [2, 1]}),
        ({"name": "Old", "skill_group_ids": []}, True, {"ExtensionName": "Li Wei", "SkillGroupIds": [2, 1]}),
    ],
)
def test_only_differing_fields_are_modified(
    standing: Mapping[str, Any], ours: bool, changed: Mapping[str, Any]
) -> None:
    assert operation().decide(WANTED, Seen({**EQUAL, **standing}), ours=ours) == modify(**changed)


@pytest.mark.parametrize("email", [None, "", "  "])
def test_fields_that_are_not_given_are_not_compared(email: str | None) -> None:
    wanted: dict[str, Any] = {"extension": "1001", "name": "Li Wei", "email": email, "skill_group_ids": []}
    move = operation().decide(wanted, Seen({**EQUAL, "email": "x@example.com"}), ours=True)
    assert move == Succeeded(result=Result.UNCHANGED, facts=FACTS)


async def test_positive_answer_is_done() -> None:
    outcome = await operation().judge(WANTED, {}, modify())
    assert outcome == Succeeded(result=Result.DONE, facts={"extension": "1001"})


def test_deciding_without_a_read_is_a_bug() -> None:
    with pytest.raises(ValueError, match="read of the present"):
        operation().decide(WANTED, None, ours=True)
