"""What operators do beside replaying: each act once, with who, why and what; declined, it changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import pytest

from service.application.asking import Answer
from service.application.outbox_relay import OutboxRelay
from service.domain.command import CommandState, Lane, PlanState
from service.domain.holding import Scope
from service.domain.ledger_state import HoldKind
from service.domain.replaying import ERASED
from service.domain.settling_by_hand import Applied, NotApplied
from service.domain.value import replace
from tests.builders import HIRED, NOW, PURCHASED, make_account, make_inbound, make_intake_policy
from tests.fakes.kafka import FakePublisher
from tests.fakes.telemetry import RecordingTelemetry
from tests.front_desk import BAD_KEY, DONE, LOST, FrontDesk, asked, declined, done, hire

AGENT = "agent:workday/E1"
CREATE = "tencent_ccc.CreateExtension"
MENDED: Mapping[str, Any] = {
    "specversion": "1.0",
    "type": HIRED,
    "id": "hire-1",
    "source": "urn:hr",
    "data": {"agent_id": "E1", "name": "Li Na", "extension": "1001"},
}
BROKEN: Mapping[str, Any] = {**MENDED, "data": {"agent_id": "E1", "extension": "1001"}}


def mended(**changes: Any) -> bytes:
    return orjson.dumps({**MENDED, **changes})


async def in_doubt(front: FrontDesk) -> str:
    """A hire whose create is in doubt; its command."""
    await front.take(hire(1))
    await front.settle("hire-1", "extension", LOST)
    command = front.step("hire-1", "extension")
    assert command.state is CommandState.IN_DOUBT
    return command.id


async def applied_for(front: FrontDesk) -> str:
    """A number's application in doubt; its command."""
    await front.take(make_inbound(PURCHASED, "buy-1"))
    await front.settle("buy-1", "application", LOST)
    return front.step("buy-1", "application").id


async def sick(front: FrontDesk) -> str:
    """An account in quarantine; the hold's id."""
    await front.take(hire(1))
    await front.settle("hire-1", "extension", BAD_KEY)
    (hold,) = front.holds()
    return hold.id


async def letter(front: FrontDesk) -> str:
    """A hire without its name, dead-lettered from hr.events/0@17."""
    return await front.take_record(BROKEN)


# --- hold and release -------------------------------------------------------------------------------------------------


async def test_hold_stops_its_scope_and_says_who_why_and_what(front: FrontDesk) -> None:
    about = done(await front.desk.hold(asked(), Scope(account="acme_cn", operation=CREATE)))
    (hold,) = front.holds()
    assert (hold.id, hold.kind, hold.account, hold.operation) == (about["id"], HoldKind.HOLD, "acme_cn", CREATE)
    assert front.acts() == [("hold", "ann", f"account:acme_cn operation:{CREATE}", "because")]


async def test_hold_of_everything_is_declined(front: FrontDesk) -> None:
    before = front.snapshot()
    assert declined(await front.desk.hold(asked(key="k"), Scope()))[0] == "invalid"
    assert front.snapshot() == before


async def test_release_lets_go_and_says_who_and_why(front: FrontDesk) -> None:
    about = done(await front.desk.hold(asked(), Scope(account="acme_cn")))
    await front.clock.advance(60.0)
    done(await front.desk.release(asked("bob", "it is over"), about["id"]))
    (hold,) = front.holds()
    assert hold.released_at == NOW + 60
    assert front.acts("release") == [("release", "bob", "account:acme_cn", "it is over")]


async def test_releasing_twice_is_a_conflict(front: FrontDesk) -> None:
    about = done(await front.desk.hold(asked(), Scope(account="acme_cn")))
    done(await front.desk.release(asked(), about["id"]))
    before = front.snapshot()
    assert declined(await front.desk.release(asked(), about["id"])) == ("conflict", "it was released before")
    assert front.snapshot() == before


async def test_release_of_what_is_no_hold_is_not_found(front: FrontDesk) -> None:
    assert declined(await front.desk.release(asked(key="k"), "hold_x"))[0] == "not_found"
    assert front.ledger.durable.answers == {}


async def test_release_of_a_quarantine_is_told_as_recovered(front: FrontDesk, telemetry: RecordingTelemetry) -> None:
    hold_id = await sick(front)
    done(await front.desk.release(asked(), hold_id))
    (told,) = front.told("account.recovered")
    assert (told["data"]["account"], told["data"]["vendor"]) == ("acme_cn", "tencent_ccc")
    assert front.acts("release") == [("release", "ann", "account:acme_cn", "because")]


async def test_release_of_a_hold_is_not_told_as_recovered(front: FrontDesk) -> None:
    about = done(await front.desk.hold(asked(), Scope(account="acme_cn")))
    done(await front.desk.release(asked(), about["id"]))
    assert front.told("account.recovered") == []


async def test_quarantine_of_an_account_that_is_configured_no_more_can_be_released(front: FrontDesk) -> None:
    hold_id = await sick(front)
    front.policy = make_intake_policy(make_account(name="other"))
    done(await front.desk.release(asked(), hold_id))
    assert [hold.released_at for hold in front.holds()] == [front.clock.now()]


# --- settle -----------------------------------------------------------------------------------------------------------


async def test_applied_goes_on_with_the_plan(front: FrontDesk) -> None:
    command_id = await in_doubt(front)
    done(await front.desk.settle(asked(), command_id, Applied()))
    assert front.states("hire-1") == ["succeeded", "pending"]
    assert front.acts() == [("settle", "ann", "extension:acme_cn/1001", "because")]
    assert front.ledger.durable.history[-2].actor == "ann"


async def test_applied_with_an_apply_id_is_told_with_it(front: FrontDesk) -> None:
    command_id = await applied_for(front)
    done(await front.desk.settle(asked(), command_id, Applied(apply_id="4711")))
    await front.complete("buy-1")
    (completed,) = front.told("plan.completed")
    assert completed["data"]["number"]["apply_id"] == 4711
    assert front.ledger.durable.acts[-1].detail["apply_id"] == "4711"


async def test_not_applied_is_sent_again(front: FrontDesk) -> None:
    command_id = await applied_for(front)
    done(await front.desk.settle(asked(), command_id, NotApplied()))
    command = front.step("buy-1", "application")
    assert (command.state, command.lane, command.due_at) == (CommandState.PENDING, Lane.LIVE, front.clock.now())


@pytest.mark.parametrize("state", ["pending", "succeeded"])
async def test_what_is_not_in_doubt_can_not_be_settled(front: FrontDesk, state: str) -> None:
    await front.take(hire(1))
    if state == "succeeded":
        await front.settle("hire-1", "extension", DONE)
    command_id, before = front.step("hire-1", "extension").id, front.snapshot()
    refused = declined(await front.desk.settle(asked(key="k"), command_id, Applied()))
    assert refused == ("conflict", f"it is not in doubt: it is {state}")
    assert front.snapshot() == before


async def test_settling_twice_is_a_conflict(front: FrontDesk) -> None:
    command_id = await in_doubt(front)
    done(await front.desk.settle(asked(), command_id, Applied()))
    assert declined(await front.desk.settle(asked("bob"), command_id, NotApplied()))[0] == "conflict"
    assert len(front.acts("settle")) == 1


async def test_command_that_nobody_knows_can_not_be_settled(front: FrontDesk) -> None:
    assert declined(await front.desk.settle(asked(), "cmd_x", Applied()))[0] == "not_found"


# --- quotas -----------------------------------------------------------------------------------------------------------


async def test_changed_quota_counts_for_the_whole_group(front: FrontDesk) -> None:
    front.policy = make_intake_policy(make_account(quota_group="shared"), make_account(name="b", quota_group="shared"))
    about = done(await front.desk.change_quota(asked(), "b", CREATE, 5.0))
    assert about["operation"] == CREATE
    (rate,) = await front.ledger.rates()
    assert (rate.quota_group, rate.rate, rate.actor, rate.reason, rate.changed_at) == (
        make_account(quota_group="shared").group(),
        5.0,
        "ann",
        "because",
        NOW,
    )
    assert front.acts() == [("quota", "ann", f"{rate.quota_group}/{CREATE}", "because")]
    assert front.ledger.durable.acts[0].detail == {"account": "b", "rate": 5.0}


async def test_quota_goes_back_to_what_is_configured(front: FrontDesk) -> None:
    done(await front.desk.change_quota(asked(), "acme_cn", CREATE, 5.0))
    done(await front.desk.change_quota(asked(), "acme_cn", CREATE, None))
    assert [rate.rate for rate in await front.ledger.rates()] == [None]
    assert len(front.acts("quota")) == 2


async def test_quota_of_an_account_that_is_not_configured_is_not_found(front: FrontDesk) -> None:
    before = front.snapshot()
    assert declined(await front.desk.change_quota(asked(key="k"), "nobody", CREATE, 5.0))[0] == "not_found"
    assert front.snapshot() == before


# --- dead letters -----------------------------------------------------------------------------------------------------


async def test_discarding_closes_the_letter_and_says_why(front: FrontDesk) -> None:
    letter_id = await letter(front)
    done(await front.desk.discard(asked(), letter_id))
    (closed,) = front.ledger.durable.dead_letters.values()
    assert (closed.state.value, closed.closed_at) == ("discarded", front.clock.now())
    assert front.acts() == [("discarded", "ann", "hr.events:0:17", "because")]


async def test_resubmitting_takes_the_mended_event_in_and_keeps_its_place_in_kafka(front: FrontDesk) -> None:
    letter_id = await letter(front)
    about = done(await front.desk.resubmit(asked(), letter_id, mended()))
    plan = front.plan("hire-1")
    assert about == {"id": letter_id, "plan_id": plan.id}
    assert (plan.topic, plan.partition, plan.offset, plan.event_key) == ("hr.events", 0, 17, b"E1")
    (event,) = front.ledger.durable.events.values()
    assert (event.topic, event.partition, event.offset) == ("hr.events", 0, 17)
    assert front.states("hire-1") == ["pending", "waiting"]
    (closed,) = front.ledger.durable.dead_letters.values()
    assert closed.state.value == "resubmitted"


async def test_the_edit_is_written_down_by_digests_alone(front: FrontDesk) -> None:
    letter_id = await letter(front)
    done(await front.desk.resubmit(asked(), letter_id, mended()))
    (act,) = front.ledger.durable.acts
    assert (act.kind, act.object) == ("resubmitted", letter_id)
    assert act.detail.keys() == {"reason", "field", "sha256", "sent_sha256"}
    assert act.detail["sha256"] != act.detail["sent_sha256"]
    assert "Li Na" not in str(act)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (orjson.dumps(BROKEN), "it still can't be read at `data.name`"),
        (b"{}", "it still can't be read"),
        (mended(type="urn:foreign"), "it is still no event of ours"),
        (b"", "it is still no event of ours"),
        (mended(data={**MENDED["data"], "name": "x" * 1_100_000}), "it still can't be read"),
    ],
)
async def test_what_is_still_wrong_is_declined_with_the_reason(front: FrontDesk, event: bytes, words: str) -> None:
    letter_id = await letter(front)
    before = front.snapshot()
    trouble, message = declined(await front.desk.resubmit(asked(key="k"), letter_id, event))
    assert trouble == "invalid"
    assert message.startswith(words)
    assert front.snapshot() == before


async def test_event_that_was_known_before_gives_no_second_plan(front: FrontDesk) -> None:
    letter_id = await letter(front)
    other = await front.take_record(BROKEN, offset=18)
    done(await front.desk.resubmit(asked(), letter_id, mended()))
    assert done(await front.desk.resubmit(asked(), other, mended())) == {"id": other, "plan_id": None}
    assert len(front.ledger.durable.plans) == 1
    assert {one.state.value for one in front.ledger.durable.dead_letters.values()} == {"resubmitted"}


async def test_id_of_another_event_is_declined_and_leaves_the_letter_open(front: FrontDesk) -> None:
    letter_id = await letter(front)
    await front.take(hire(1, "hire-1", name="Somebody Else"))
    before = front.snapshot()
    trouble, message = declined(await front.desk.resubmit(asked(key="k"), letter_id, mended()))
    assert (trouble, message.startswith("it is refused: source and id were seen before")) == ("conflict", True)
    assert front.snapshot() == before


async def test_event_that_can_not_be_worked_is_taken_in_and_fails_like_any_other(front: FrontDesk) -> None:
    letter_id = await letter(front)
    data = {**MENDED["data"], "account": "nobody"}
    about = done(await front.desk.resubmit(asked(), letter_id, mended(data=data)))
    assert about["plan_id"] == front.plan("hire-1").id
    assert front.plan("hire-1").state is PlanState.FAILED
    assert len(front.told("plan.failed")) == 1


async def discard(front: FrontDesk, letter_id: str) -> Answer:
    return await front.desk.discard(asked(), letter_id)


async def resubmit(front: FrontDesk, letter_id: str) -> Answer:
    return await front.desk.resubmit(asked(), letter_id, mended())


Closing = Callable[[FrontDesk, str], Awaitable[Answer]]


@pytest.mark.parametrize("first", [discard, resubmit])
@pytest.mark.parametrize("second", [discard, resubmit])
async def test_letter_that_was_closed_before_is_a_conflict(front: FrontDesk, first: Closing, second: Closing) -> None:
    letter_id = await letter(front)
    done(await first(front, letter_id))
    before = front.snapshot()
    assert declined(await second(front, letter_id))[0] == "conflict"
    assert front.snapshot() == before


@pytest.mark.parametrize("letter_id", ["hr.events:0:99", "hr.events:0", "hr.events:0:x", "", ":0:1"])
@pytest.mark.parametrize("close", [discard, resubmit])
async def test_letter_that_nobody_knows_is_not_found(front: FrontDesk, close: Closing, letter_id: str) -> None:
    await letter(front)
    assert declined(await close(front, letter_id))[0] == "not_found"


async def test_letter_whose_bytes_are_gone_can_be_resubmitted_all_the_same(front: FrontDesk) -> None:
    letter_id = await letter(front)
    front.ledger.durable.outbox.clear()
    done(await front.desk.resubmit(asked(), letter_id, mended()))
    assert front.plan("hire-1").event_key is None


# --- forgetting and revealing -----------------------------------------------------------------------------------------


async def finished(front: FrontDesk) -> None:
    """A hire that is done, and told."""
    await front.take(hire(1, name="Li Na"))
    await front.complete("hire-1")
    relay = OutboxRelay(
        ledger=front.ledger, publisher=FakePublisher(), clock=front.clock, telemetry=RecordingTelemetry()
    )
    while await relay.run_once():
        pass


async def test_forgetting_erases_names_and_addresses_and_keeps_the_rest(front: FrontDesk) -> None:
    await finished(front)
    about = done(await front.desk.forget(asked(reason="ticket 81"), AGENT))
    assert about["erased"]["events"] == 1
    kept = front.ledger.durable
    assert "Li Na" not in str((kept.events, kept.commands, kept.bindings))
    assert "e1@example.com" not in str((kept.events, kept.commands, kept.bindings))
    assert front.step("hire-1", "extension").wanted["name"] == ERASED
    assert front.step("hire-1", "extension").resource == "extension:acme_cn/1001"
    assert front.acts() == [("forget", "ann", AGENT, "ticket 81")]


async def test_subject_with_unfinished_work_is_not_forgotten(front: FrontDesk) -> None:
    await front.take(hire(1))
    before = front.snapshot()
    assert declined(await front.desk.forget(asked(key="k"), AGENT))[0] == "conflict"
    assert front.snapshot() == before


async def test_subject_that_nobody_knows_can_not_be_forgotten(front: FrontDesk) -> None:
    assert declined(await front.desk.forget(asked(key="k"), "agent:workday/E9"))[0] == "not_found"
    assert (front.acts(), front.ledger.durable.answers) == ([], {})


async def test_subject_of_a_failed_event_alone_can_be_forgotten(front: FrontDesk) -> None:
    await front.take(hire(1, account="nobody"))
    subject = front.plan("hire-1").subject
    assert done(await front.desk.forget(asked(), subject))["erased"]["events"] == 1


async def test_forgetting_twice_under_one_key_is_answered_alike_and_written_down_once(front: FrontDesk) -> None:
    await finished(front)
    by = asked(key="k1", digest="d1")
    first = done(await front.desk.forget(by, AGENT))
    assert done(await front.desk.forget(by, AGENT)) == first
    assert len(front.acts("forget")) == 1
    assert declined(await front.desk.forget(replace(by, digest="d2"), "agent:workday/E2"))[0] == "conflict"


async def test_revealing_is_written_down(front: FrontDesk) -> None:
    await front.desk.reveal(asked(reason="personal=show"), AGENT)
    assert front.acts() == [("reveal", "ann", AGENT, "personal=show")]


async def test_revealing_twice_is_written_down_twice_even_under_one_key(front: FrontDesk) -> None:
    for _ in range(2):
        await front.desk.reveal(asked(key="k1"), AGENT)
    assert len(front.acts("reveal")) == 2


# --- once -------------------------------------------------------------------------------------------------------------


async def ask_hold(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    return lambda: front.desk.hold(asked(key="k1", digest="d1"), Scope(account="acme_cn"))


async def ask_release(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    hold_id = await sick(front)
    return lambda: front.desk.release(asked(key="k1", digest="d1"), hold_id)


async def ask_settle(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    command_id = await in_doubt(front)
    return lambda: front.desk.settle(asked(key="k1", digest="d1"), command_id, NotApplied())


async def ask_quota(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    return lambda: front.desk.change_quota(asked(key="k1", digest="d1"), "acme_cn", CREATE, 5.0)


async def ask_discard(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    letter_id = await letter(front)
    return lambda: front.desk.discard(asked(key="k1", digest="d1"), letter_id)


async def ask_resubmit(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    letter_id = await letter(front)
    return lambda: front.desk.resubmit(asked(key="k1", digest="d1"), letter_id, mended())


async def ask_forget(front: FrontDesk) -> Callable[[], Awaitable[Answer]]:
    await finished(front)
    return lambda: front.desk.forget(asked(key="k1", digest="d1"), AGENT)


Asking = Callable[[FrontDesk], Awaitable[Callable[[], Awaitable[Answer]]]]


@pytest.mark.parametrize(
    "asking", [ask_hold, ask_release, ask_settle, ask_quota, ask_discard, ask_resubmit, ask_forget]
)
async def test_every_act_is_done_counted_and_written_down_once_for_its_key(
    front: FrontDesk, telemetry: RecordingTelemetry, asking: Asking
) -> None:
    ask = await asking(front)
    acts = len(front.acts())
    first = done(await ask())
    await front.clock.advance(30.0)
    before = front.snapshot()
    assert done(await ask()) == first
    assert front.snapshot() == before
    assert len(front.acts()) == acts + 1
    assert telemetry.counted("operator_acts_total") == 1


async def test_no_act_holds_a_name_or_an_address(front: FrontDesk) -> None:
    letter_id = await letter(front)
    done(await front.desk.resubmit(asked(), letter_id, mended()))
    await front.complete("hire-1")
    done(await front.desk.hold(asked(), Scope(subject=AGENT)))
    done(await front.desk.forget(asked(), AGENT))
    assert "Li Na" not in str(front.ledger.durable.acts)
    assert "@example.com" not in str(front.ledger.durable.acts)
