import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.dead_letter import DeadLetterReason
from service.domain.binding import BindingState
from service.domain.command import CommandState, PlanState, WaitCause
from service.domain.ledger_state import Known
from service.domain.record_reading import Defect, InboundEvent
from service.domain.taking_in import ReadRecord, keys_of, take_in
from tests.builders import (
    APPROVED,
    CHANGED,
    HIRED,
    NOW,
    NUMBER,
    PURCHASED,
    REFUSED,
    ROUTED,
    make_inbound,
    make_intake_policy,
    make_read,
    make_record,
)
from tests.unit.domain.world import DOWN, LOST, TAKEN, WRONG, World, done

ROUTE: dict[str, Any] = {
    "number": ...,
    "callback_url": ...,
    "account": "acme_hw",
    "access_code": "1000",
    "route": {"ivr": 7},
}
LATER = "2027-01-15T08:01:00Z"  # a minute after NOW


def hire(event_id: str = "hire-1", **how: Any) -> InboundEvent:
    fields = {name: how.pop(name) for name in ("sequence", "source", "key", "traceparent") if name in how}
    return make_inbound(HIRED, event_id, data=how, **fields)


def buy(event_id: str = "buy-1", **data: Any) -> InboundEvent:
    return make_inbound(PURCHASED, event_id, data=data)


def spoilt(reason: DeadLetterReason = DeadLetterReason.NOT_JSON, **fields: Any) -> ReadRecord:
    return ReadRecord(make_record(**fields), Defect(reason=reason, field=None, message="it is spoilt"))


# --- one event --------------------------------------------------------------------------------------------------------


def test_hire_becomes_a_plan_with_its_first_step_due_and_the_extension_reserved() -> None:
    world = World()
    world.take(hire())
    first, second = world.steps("hire-1")
    assert (first.state, first.due_at, first.cause) == (CommandState.PENDING, NOW, None)
    assert (second.state, second.due_at, second.cause) == (CommandState.WAITING, None, WaitCause.EARLIER_STEP)
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert (binding.resource, binding.state, binding.plan_id) == (
        "extension:acme_cn/1001",
        BindingState.RESERVED,
        first.plan_id,
    )
    assert not binding.ours
    assert world.told() == []


def test_command_carries_what_execution_needs() -> None:
    world = World()
    world.take(hire(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    command, plan = world.step("hire-1", "extension"), world.plan("hire-1")
    assert (command.operation, command.account, command.lane) == ("tencent_ccc.CreateExtension", "acme_cn", "live")
    assert command.quota_group == world.policy.planning.accounts["acme_cn"].group()
    assert command.wanted["name"] == "Li Na"
    assert command.traceparent == plan.traceparent is not None
    assert (plan.correlation_id, plan.offset, plan.event_key) == ("hire-1", 7, b"E1")


EVENTS = st.lists(
    st.sampled_from(
        [
            hire("hire-1"),
            hire("hire-2", agent_id="E2", extension="1002"),
            hire("hire-3", agent_id="E3"),
            hire("hire-4"),
            hire("hire-1", name="Other"),
            hire("hire-5", extension=...),
            hire("hire-6", sequence=3),
            hire("hire-7", sequence=2),
            make_inbound(CHANGED, "change-1", data={"name": "Li Na-Wang"}),
            make_inbound(CHANGED, "change-2", data={"email": "li.na-wang@example.com", "extension": "1001"}),
            make_inbound(CHANGED, "change-3", data={"skill_group_ids": [5], "effective_at": LATER}),
            make_inbound(CHANGED, "change-4", data={"agent_id": "E3"}),
            make_inbound(ROUTED, "routed-1"),
            make_inbound(ROUTED, "routed-2", data={**ROUTE, "effective_at": LATER}),
            buy("buy-1"),
            buy("buy-2"),
            make_inbound(PURCHASED, "buy-3", data=ROUTE),
            make_inbound(APPROVED, "ok-1"),
            make_inbound(REFUSED, "no-1", data={"apply_id": 5}),
        ]
    ),
    max_size=12,
)


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_redelivery_changes_nothing(first: list[InboundEvent], second: list[InboundEvent]) -> None:
    world = World()
    world.take(*first)
    world.take(*second)
    before = world.snapshot()
    world.take(*first)
    world.take(*second)
    world.take(*[event for event in first for _ in range(2)])
    assert world.snapshot() == before


@settings(deadline=None)
@given(EVENTS, st.integers(1, 4))
def test_batches_make_no_difference(events: list[InboundEvent], size: int) -> None:
    together, apart = World(), World()
    together.take(*events)
    for start in range(0, len(events), size):
        apart.take(*events[start : start + size])
    assert together.snapshot() == apart.snapshot()


def test_same_event_twice_in_a_batch_gives_one_set_of_commands() -> None:
    world = World()
    world.take(hire(), hire())
    assert len(world.plans) == 1
    assert len(world.commands) == len(world.history) == 2


def test_two_events_that_ask_for_the_same_are_two_pieces_of_work() -> None:
    world = World()
    world.take(hire("hire-1"), hire("hire-2"))
    assert len(world.commands) == 4
    assert world.step("hire-2", "extension").cause is WaitCause.EARLIER_WORK


def test_same_id_from_another_source_is_another_event() -> None:
    world = World()
    world.take(hire(), hire(source="urn:other"))
    assert len(world.plans) == 2


# --- reservations -----------------------------------------------------------------------------------------------------


def test_second_subject_claiming_a_resource_fails_conflict() -> None:
    world = World()
    world.take(hire("hire-1"), hire("hire-2", agent_id="E2"))
    assert world.plan("hire-2").state is PlanState.FAILED
    assert world.steps("hire-2") == []
    (failed,) = world.told("plan.failed")
    assert (failed["data"]["failure"]["error_class"], failed["causationid"]) == ("conflict", "hire-2")
    assert world.binding("agent:workday/E2") is None


def test_event_without_extension_sees_what_the_one_before_it_in_the_batch_reserved() -> None:
    world = World()
    world.take(hire("hire-1"), hire("hire-2", extension=...))
    assert world.step("hire-2", "extension").wanted["extension"] == "1001"


def test_event_naming_another_extension_than_the_one_reserved_before_it_is_unsupported() -> None:
    world = World()
    world.take(hire("hire-1"), hire("hire-2", extension="1002"))
    (failed,) = world.told("plan.failed")
    assert (failed["data"]["failure"]["error_class"], failed["data"]["failure"]["field"]) == (
        "unsupported",
        "extension",
    )


@pytest.mark.parametrize(
    ("outcome", "created", "state"),
    [
        (WRONG, True, BindingState.RELEASED),  # refused after a read showed nothing there: known absent
        (TAKEN, False, BindingState.RELEASED),  # another's
        (WRONG, False, BindingState.RESERVED),  # what stands there was not learnt
        (LOST, True, BindingState.RESERVED),
    ],
)
def test_reservation_ends_with_the_resource_known_absent_or_anothers(
    outcome: Any, created: bool, state: BindingState
) -> None:
    world = World()
    world.take(hire())
    world.run("hire-1", "extension", outcome, sent=created, created=created)
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert binding.state is state


def test_freed_extension_can_be_had_by_another_agent_and_gets_a_new_generation_for_the_first() -> None:
    world = World()
    world.take(hire("hire-1"))
    world.run("hire-1", "extension", TAKEN, sent=False)
    world.take(hire("hire-2", extension="1002"), hire("hire-3", agent_id="E3"))
    first, other = world.binding("agent:workday/E1"), world.binding("agent:workday/E3")
    assert first is not None
    assert other is not None
    assert (first.generation, first.resource, other.generation) == (2, "extension:acme_cn/1002", 1)


def test_failed_plans_reservation_passes_to_the_subjects_next_plan() -> None:
    world = World()
    world.take(hire("hire-1"), hire("hire-2"), hire("hire-3", agent_id="E3"))
    world.run("hire-1", "extension", WRONG, created=True)
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert (binding.state, binding.plan_id) == (BindingState.RESERVED, world.plan("hire-2").id)
    assert world.step("hire-2", "extension").state is CommandState.PENDING


def test_reservation_of_a_plan_that_failed_unknowing_ends_with_the_next_plan() -> None:
    world = World()
    world.take(hire("hire-1"))
    world.run("hire-1", "extension", WRONG, sent=False)
    world.take(hire("hire-2"))
    world.run("hire-2", "extension", WRONG, created=True)
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert binding.state is BindingState.RELEASED


# --- order ------------------------------------------------------------------------------------------------------------


def test_later_work_of_a_subject_waits_for_the_earlier() -> None:
    world = World()
    world.take(buy("buy-1"), buy("buy-2"))
    assert world.step("buy-2", "application").cause is WaitCause.EARLIER_WORK
    assert world.step("buy-2", "application").due_at is None


def test_others_run_beside_them() -> None:
    world = World()
    world.take(hire("hire-1"), hire("hire-2", agent_id="E2", extension="1002"), buy(), buy("buy-3", **ROUTE))
    first = [world.steps(event)[0].state for event in ("hire-1", "hire-2", "buy-1", "buy-3")]
    assert first == [CommandState.PENDING] * 4


def test_lower_revision_goes_first_unless_the_higher_has_begun() -> None:
    world = World()
    world.take(hire("new", sequence=2), hire("old", sequence=1))
    assert world.step("old", "extension").state is CommandState.PENDING
    assert world.plan("old").order.rank < world.plan("new").order.rank
    begun = World()
    begun.take(hire("new", sequence=2))
    begun.claim("new", "extension")
    begun.take(hire("old", sequence=1))
    assert begun.step("old", "extension").cause is WaitCause.EARLIER_WORK


def test_revision_that_comes_after_a_higher_one_was_applied_ends_stale_without_effect() -> None:
    world = World()
    world.take(hire("new", sequence=2))
    world.run("new", "extension", done(), created=True)
    world.take(hire("old", sequence=1, name="Old Name"))
    assert world.states("old") == ["stale", "stale"]
    assert world.plan("old").state is PlanState.COMPLETED
    assert world.kinds(about="old") == ["command.stale", "command.stale", "plan.completed"]
    (completed,) = world.told("plan.completed", about="old")
    assert completed["data"]["agent"] is None
    binding = world.binding("agent:workday/E1")
    assert binding is not None
    assert (binding.applied or {})["name"] == "Li Na"


def test_revision_that_waited_while_a_higher_one_was_applied_ends_stale() -> None:
    world = World()
    world.take(hire("new", sequence=2))
    claimed = world.claim("new", "extension")
    world.take(hire("old", sequence=1), hire("newest", sequence=3))
    world.settle(claimed, done(), created=True)
    world.run("new", "registration", done())
    assert world.states("old") == ["stale", "stale"]
    assert world.step("newest", "extension").state is CommandState.PENDING


def test_revision_after_a_higher_one_that_failed_goes_ahead() -> None:
    world = World()
    world.take(hire("new", sequence=2))
    world.run("new", "extension", WRONG, sent=False)
    world.take(hire("old", sequence=1))
    assert world.step("old", "extension").state is CommandState.PENDING


def test_same_revision_again_is_not_stale() -> None:
    world = World()
    world.take(hire("one", sequence=2))
    world.run("one", "extension", done(), created=True)
    world.run("one", "registration", done())
    world.take(hire("two", sequence=2), hire("three", sequence=1, source="urn:other"))
    assert world.states("two")[0] == "pending"
    assert world.states("three")[0] == "waiting"


def test_future_dated_revision_neither_is_overtaken_nor_overtakes() -> None:
    world = World()
    world.take(hire("future", sequence=9, effective_at=LATER))
    world.take(hire("now", sequence=1))
    assert world.states("now")[0] == "pending"
    world.run("now", "extension", done(), created=True)
    world.run("now", "registration", done())
    world.now += 60
    world.run("future", "extension", done(), created=True)
    world.run("future", "registration", done())
    world.take(hire("after", sequence=2))
    assert world.states("after")[0] == "pending"


def test_future_dated_work_waits_for_its_date_and_holds_nobody() -> None:
    world = World()
    world.take(hire("future", effective_at=LATER), hire("now"))
    future = world.step("future", "extension")
    assert (future.state, future.cause, future.due_at) == (
        CommandState.WAITING,
        WaitCause.EFFECTIVE_DATE,
        NOW + 60,
    )
    assert world.states("now")[0] == "pending"
    (waiting,) = world.told("plan.waiting")
    assert (waiting["causationid"], waiting["data"]["cause"]) == ("future", "effective_date")
    assert waiting["data"]["expected_at"] == LATER


def test_work_whose_date_has_come_holds_up_what_comes_later() -> None:
    world = World()
    world.take(hire("future", effective_at=LATER))
    world.now += 61
    world.take(hire("later"))
    assert world.step("later", "extension").cause is WaitCause.EARLIER_WORK


def test_waiting_behind_ordinary_work_is_not_told_even_if_future_work_is_there() -> None:
    world = World()
    world.take(hire("future", effective_at=LATER), hire("one"), hire("two"))
    assert world.told("plan.waiting", about="two") == []


# --- what can't be planned --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "error_class", "field"),
    [
        (hire(account="nobody"), "incomplete", "account"),
        (hire(extension=...), "incomplete", "extension"),
        (hire(email=None), "unsupported", "email"),
        (make_inbound(CHANGED, data={"name": "Li Na"}), "incomplete", "extension"),
        (make_inbound(CHANGED, data={"extension": "1001", "name": None}), "unsupported", "name"),
        (make_inbound(ROUTED, data={"callback_url": ...}), "incomplete", "callback_url"),
        (buy(number="none"), "incomplete", "number"),
        (buy(callback_url=...), "incomplete", "callback_url"),
        (buy(account="acme_hw"), "incomplete", "access_code"),
        (make_inbound(APPROVED, "ok-1", data={"number": "none"}), "incomplete", "number"),
    ],
)
def test_event_that_cannot_be_planned_is_a_failed_plan_that_names_the_field(
    event: InboundEvent, error_class: str, field: str
) -> None:
    world = World()
    changes = world.take(event)
    assert changes.dead_letters == ()
    (plan,) = world.plans.values()
    assert (plan.state, plan.ended_at) == (PlanState.FAILED, NOW)
    (failed,) = world.told("plan.failed")
    failure = failed["data"]["failure"]
    assert (failure["error_class"], failure["field"], failure["replay_can_help"]) == (error_class, field, True)
    assert not world.commands
    assert not world.bindings


# --- facts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event_type", [APPROVED, REFUSED])
def test_fact_without_a_wait_is_kept_with_its_subject_and_makes_no_plan(event_type: str) -> None:
    world = World()
    world.take(make_inbound(event_type, "fact-1", data={"apply_id": 5, "reason": "says Li Na"}))
    (fact,) = world.facts.values()
    assert (fact.subject, fact.apply_id, fact.taken_by, fact.reason) == (f"number:acme_cn/{NUMBER}", "5", None, None)
    assert not world.plans


# --- dead letters -----------------------------------------------------------------------------------------------------


def test_known_id_with_other_content_is_a_dead_letter_and_the_first_counts() -> None:
    world = World()
    for batch in ([hire(), hire(name="Other")], [hire(name="Third")]):
        changes = world.take(*batch)
        (letter,) = changes.dead_letters
        assert (letter.reason, letter.field) == ("id_reused", "id")
    assert world.step("hire-1", "extension").wanted["name"] == "Li Na"
    assert len(world.plans) == 1


def test_defect_is_a_dead_letter_byte_for_byte_and_the_stream_goes_on() -> None:
    world = World()
    changes = world.take(spoilt(value=b"\xff{", key=b"k", headers=(("x", b"1"), ("y", None))), hire())
    (letter,) = changes.outbox
    assert (letter.topic, letter.key, letter.value) == ("dlq.hr.events", b"k", b"\xff{")
    assert letter.headers[:2] == (("x", b"1"), ("y", None))
    assert len(world.plans) == 1


def test_record_that_is_too_large_keeps_its_bytes_and_is_noted_by_digest_and_size() -> None:
    value = b"x" * 1_048_577
    changes = World().take(spoilt(DeadLetterReason.TOO_LARGE, value=value))
    (message,), (letter,) = changes.outbox, changes.dead_letters
    assert message.value == value
    assert (letter.reason, letter.size, letter.digest) == (
        "too_large",
        len(value),
        hashlib.sha256(value).hexdigest(),
    )


def test_redelivered_defect_is_the_same_message() -> None:
    world = World()
    world.take(spoilt())
    world.take(spoilt())
    world.take(spoilt(offset=8))
    assert len(world.outbox) == 2


# --- what is loaded ---------------------------------------------------------------------------------------------------


def test_everything_a_batch_needs_is_named() -> None:
    change = make_inbound(CHANGED, "change-1", data={"agent_id": "E2"})
    events = [hire(), buy(number="021 5000 1234"), buy("bad", number="12"), change]
    keys = keys_of([*map(make_read, events), spoilt()], make_intake_policy())
    assert keys.events == {("urn:hr", "hire-1"), ("urn:hr", "change-1"), ("urn:crm", "buy-1"), ("urn:crm", "bad")}
    numbers = {f"number:acme_cn/{NUMBER}", "number:acme_cn/12"}
    assert keys.subjects == {"agent:workday/E1", "agent:workday/E2", *numbers}
    assert keys.resources == {"extension:acme_cn/1001", f"number:acme_cn/{NUMBER}"}


# --- personal data ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(EVENTS, st.sampled_from([done(), DOWN, LOST, WRONG, TAKEN]))
def test_no_out_message_carries_a_name_or_an_e_mail(events: list[InboundEvent], outcome: Any) -> None:
    world = World()
    world.take(*events)
    for command in list(world.commands.values()):
        if command.state is CommandState.PENDING:
            world.settle(command, outcome, created=True)
    told = json.dumps([dict(event) for event in world.told()]) + repr(list(world.outbox.values()))
    assert not any(word in told for word in ("Li Na", "li.na", "example.com"))


# --- many events ------------------------------------------------------------------------------------------------------


def test_time_to_decide_a_batch_grows_with_it_and_not_with_its_cube() -> None:
    hires = [hire(f"hire-{n}", agent_id=f"A{n}", extension=str(10_000 + n)) for n in range(600)]
    batch = [make_read(event) for event in hires]
    begun = time.process_time()
    changes = take_in(Known(), batch, make_intake_policy(), NOW)
    assert len(changes.plans) == 600
    assert time.process_time() - begun < 2.0, "a transaction that stands idle for five seconds is ended by PostgreSQL"
