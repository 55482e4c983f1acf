import re

from hypothesis import given
from hypothesis import strategies as st

from service.domain.idempotency_key import command_id, fact_id, message_id, plan_id

WORK = {
    "source": "urn:hr",
    "event_id": "hire-1",
    "step": "extension",
    "account": "acme_cn",
    "operation": "tencent_ccc.CreateExtension",
    "resource": "extension:acme_cn/1001",
}
PARTS = st.tuples(st.text(max_size=6), st.text(max_size=6))


def test_ids_never_change() -> None:
    assert plan_id("urn:hr", "hire-1") == "plan_s4evmaz4ddl6fexvnerxspzw4k"
    assert command_id(**WORK) == "cmd_dmfddjyihflx3vfvsoxk5vpmsu"
    assert message_id("plan_x", 0, "provisioning.plan.completed.v1") == "msg_4mmoyjy7uepzt6frwbaar3wp4g"
    assert fact_id("urn:crm", "ok-1") == "fact_ajtvf37wzrgrunvmthwqgat5dj"


def test_every_part_of_the_work_makes_another_key() -> None:
    others = {command_id(**{**WORK, name: value + "x"}) for name, value in WORK.items()}
    assert len(others | {command_id(**WORK)}) == len(WORK) + 1


@given(PARTS, PARTS)
def test_events_have_one_plan_each_wherever_their_parts_are_cut(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (plan_id(*one) == plan_id(*other)) is (one == other)


@given(PARTS)
def test_ids_are_short_plain_words_that_say_what_they_name(parts: tuple[str, str]) -> None:
    assert re.fullmatch(r"plan_[a-z2-7]{26}", plan_id(*parts))
    assert re.fullmatch(r"fact_[a-z2-7]{26}", fact_id(*parts))


def test_message_ids_differ_by_epoch_type_and_occurrence() -> None:
    ids = {message_id("p", 0, "a"), message_id("p", 1, "a"), message_id("p", 0, "b"), message_id("p", 0, "a", "2")}
    assert len(ids) == 4
