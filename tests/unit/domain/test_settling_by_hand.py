"""A person's word on what is in doubt: done as they say, or sent again as if it had not been."""

import pytest

from service.domain.command import CommandState, Lane, PlanState
from service.domain.draft import Draft
from service.domain.ledger_state import Keys
from service.domain.settling_by_hand import Applied, NotApplied, Word, settle_by_hand
from tests.builders import APPROVED, HIRED, NUMBER, PURCHASED, make_inbound
from tests.unit.domain.world import LOST, World, done


def say(world: World, event_id: str, step: str, word: Word) -> None:
    command = world.step(event_id, step)
    keys = Keys(
        plans=frozenset({command.plan_id}),
        subjects=frozenset({command.subject}),
        resources=frozenset({command.resource}),
    )
    draft = Draft(world.load(keys), world.now)
    settle_by_hand(draft, command, word, world.policy.settling, actor="ann", reason="seen in the console")
    world.write(draft.changes())


def doubtful_application() -> World:
    world = World()
    world.take(make_inbound(PURCHASED, "buy-1"))
    world.run("buy-1", "application", LOST)
    assert world.step("buy-1", "application").state is CommandState.IN_DOUBT
    return world


def test_applied_goes_on_with_what_the_vendor_gave() -> None:
    world = doubtful_application()
    say(world, "buy-1", "application", Applied(apply_id="77"))
    application = world.step("buy-1", "application")
    assert (application.state, application.result) == (CommandState.SUCCEEDED, "done")
    assert application.facts == {"number": NUMBER, "apply_id": "77"}
    assert world.step("buy-1", "approval").state is CommandState.WAITING
    world.take(make_inbound(APPROVED, "yes-1", data={"apply_id": 77}))
    assert world.step("buy-1", "approval").state is CommandState.SUCCEEDED


def test_not_applied_is_sent_again_in_the_lane_of_live_work() -> None:
    world = doubtful_application()
    say(world, "buy-1", "application", NotApplied())
    application = world.step("buy-1", "application")
    assert (application.state, application.lane, application.owner) == (CommandState.PENDING, Lane.LIVE, None)
    assert (application.failure, application.retries, application.due_at) == (None, 0, world.now)
    world.run("buy-1", "application", done(number=NUMBER, apply_id="78"))
    assert world.plan("buy-1").state is PlanState.OPEN


def test_applied_without_what_the_vendor_gave_is_done_all_the_same() -> None:
    world = doubtful_application()
    say(world, "buy-1", "application", Applied())
    assert world.step("buy-1", "application").facts == {"number": NUMBER}


def test_create_that_was_not_applied_proves_no_ownership() -> None:
    world = World()
    world.take(make_inbound(HIRED, "hire-1"))
    world.run("hire-1", "extension", LOST, created=True)
    before = world.binding("agent:workday/E1")
    assert before is not None
    assert before.ours
    say(world, "hire-1", "extension", NotApplied())
    after = world.binding("agent:workday/E1")
    assert after is not None
    assert not after.ours


@pytest.mark.parametrize(("word", "outcome"), [(Applied(), "applied"), (NotApplied(), "not_applied")])
def test_word_is_written_down_with_who_and_why(word: Word, outcome: str) -> None:
    world = doubtful_application()
    say(world, "buy-1", "application", word)
    (act,) = world.acts
    assert (act.kind, act.actor, act.reason) == ("settle", "ann", "seen in the console")
    assert act.detail["outcome"] == outcome
    assert [row.actor for row in world.history if row.cause.startswith("settled by an operator")] == ["ann"]
