"""Replays from the preview to their end: what is chosen, at what pace it begins, and that nothing is begun twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

import pytest

from service.application.asking import Done
from service.application.ports import UnavailableError
from service.application.replaying import Preview, ReplayRunner, Replays, Selection
from service.application.rounds import Stopping
from service.domain.account import NumberDefaults
from service.domain.command import CommandState, Lane, PlanState
from service.domain.ledger_state import Changes, Keys
from service.domain.replay import ItemOutcome, ReplayState
from service.domain.replaying import Why
from service.domain.value import replace
from tests.builders import (
    CHANGED,
    NOW,
    PURCHASED,
    make_account,
    make_inbound,
    make_intake_policy,
    make_order,
    make_plan,
)
from tests.fakes.clock import VirtualClock
from tests.fakes.telemetry import RecordingTelemetry
from tests.front_desk import FULL, WRONG, FrontDesk, asked, declined, done, hire
from tests.unit.application.events import POLICY, hired
from tests.unit.application.house import CREATE, House

T = TypeVar("T")

LOOK = "tencent_ccc.DescribeExtensions"
FETCH = "tencent_ccc.DescribeExtension"
ALL_FULL = Selection(code=FULL.code)


async def preview(front: FrontDesk, selection: Selection, rate: float | None = None) -> Preview:
    found = await front.replays.preview(selection, rate=rate)
    assert isinstance(found, Preview)
    return found


async def make(front: FrontDesk, selection: Selection = ALL_FULL, rate: float | None = None) -> str:
    """Make a replay, of which nothing is begun yet; its id."""
    return str(done(await front.replays.make(asked(), selection, rate=rate))["id"])


async def begin_all(front: FrontDesk) -> None:
    while await front.runner.run_once():
        pass


async def outcomes(front: FrontDesk, replay_id: str) -> dict[str, int]:
    progress = await front.replays.progress(replay_id)
    assert progress is not None
    return {str(outcome): number for outcome, number in progress.outcomes.items() if number}


async def store_failed(front: FrontDesk, count: int) -> None:
    """So many failed plans of which nothing else is known, in the order of their numbers."""
    plans = tuple(
        make_plan(
            n,
            state=PlanState.FAILED,
            failure=FULL,
            ended_at=NOW,
            planned=False,
            order=make_order(n),
            id=f"plan_{n:06d}",
        )
        for n in range(1, count + 1)
    )
    await front.ledger.transact(Keys(), lambda _: Changes(plans=plans))


async def overtaken(front: FrontDesk) -> None:
    """A change of agent E9 that failed, and a later one that was applied."""
    await front.take(hire(9))
    await front.complete("hire-9")
    await front.take(make_inbound(CHANGED, "change-1", data={"agent_id": "E9", "name": "Old Name"}))
    await front.settle("change-1", "extension", FULL)
    await front.take(make_inbound(CHANGED, "change-2", data={"agent_id": "E9", "name": "New Name"}))
    await front.complete("change-2")


# --- what is chosen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("selection", [Selection(), Selection(again=True)])
async def test_everything_at_once_is_not_replayed(front: FrontDesk, selection: Selection) -> None:
    await front.fail(1)
    before = front.snapshot()
    assert declined(await front.replays.preview(selection))[0] == "invalid"
    assert declined(await front.replays.make(asked(key="k"), selection))[0] == "invalid"
    assert front.snapshot() == before


async def test_filter_takes_all_that_match_and_not_a_page_of_them(front: FrontDesk) -> None:
    await store_failed(front, 2500)
    assert (await preview(front, ALL_FULL)).size == 2500
    replay_id = await make(front)
    assert (front.replay_of(replay_id).size, len(front.ledger.durable.items)) == (2500, 2500)


async def test_more_than_one_replay_can_take_are_declined(front: FrontDesk) -> None:
    await store_failed(front, 20_001)
    assert declined(await front.replays.make(asked(), ALL_FULL))[0] == "invalid"
    assert front.ledger.durable.replays == {}


@pytest.mark.parametrize(
    "selection",
    [
        Selection(account="acme_cn", code="LimitExceeded*"),
        Selection(operation=CREATE, error_class="capacity"),
        Selection(subject="agent:workday/E2"),
        Selection(error_class="capacity"),
        Selection(until=NOW + 100, code=FULL.code),
    ],
)
async def test_every_filter_narrows_the_choice(front: FrontDesk, selection: Selection) -> None:
    await front.fail(2)
    await front.fail(3, failure=WRONG)
    await front.take(hire(4))
    found = await preview(front, selection)
    assert [sample.id for sample in found.samples] == [front.plan("hire-2").id]


async def test_planning_chooses_what_failed_as_it_arrived(front: FrontDesk) -> None:
    await front.fail(1)
    await front.take(hire(2, account="nobody"))
    found = await front.replays.preview(Selection(operation="planning"))
    assert isinstance(found, Preview)
    assert (found.size, found.refused) == (1, {Why.STILL_FAILING: 1})


async def test_times_are_those_of_the_failure(front: FrontDesk) -> None:
    await front.fail(1)
    since = front.clock.now()
    await front.fail(2)
    assert [one.id for one in (await preview(front, Selection(since=since))).samples] == [front.plan("hire-2").id]
    assert [one.id for one in (await preview(front, Selection(until=since))).samples] == [front.plan("hire-1").id]


async def test_ids_are_of_plans_or_commands_and_each_plan_is_taken_once(front: FrontDesk) -> None:
    (plan_id,) = await front.fail(1)
    command_id = front.step("hire-1", "registration").id
    found = await preview(front, Selection(ids=(plan_id, command_id, plan_id, "plan_x", "cmd_x")))
    assert (found.size, found.eligible, found.refused) == (3, 1, {Why.UNKNOWN: 2})


async def test_ids_choose_also_what_has_not_failed_and_say_why_it_is_refused(front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    await front.complete("hire-2")
    ids = (front.plan("hire-1").id, front.plan("hire-2").id)
    found = await preview(front, Selection(ids=ids))
    assert found.refused == {Why.RUNNING: 1, Why.SATISFIED: 1}


async def test_more_than_a_thousand_ids_are_declined(front: FrontDesk) -> None:
    ids = tuple(f"plan_{n}" for n in range(1001))
    assert declined(await front.replays.preview(Selection(ids=ids)))[0] == "invalid"


async def test_what_failed_again_stays_apart_from_a_filter_until_it_is_asked_for(front: FrontDesk) -> None:
    ids = await front.fail(1, 2)
    await front.replay(ids[0])
    await front.settle("hire-1", "extension", FULL)
    found = await preview(front, ALL_FULL)
    assert (found.size, found.parked) == (1, 1)
    again = await preview(front, replace(ALL_FULL, again=True))
    assert (again.size, again.parked) == (2, 0)
    assert (await preview(front, Selection(ids=(ids[0],)))).eligible == 1


# --- the preview ------------------------------------------------------------------------------------------------------


async def test_preview_changes_nothing(front: FrontDesk) -> None:
    await front.fail(1, 2)
    await overtaken(front)
    before = front.snapshot()
    await preview(front, replace(ALL_FULL, again=True), rate=1.0)
    assert front.snapshot() == before


async def test_preview_says_what_would_run_what_is_refused_and_why(front: FrontDesk) -> None:
    await front.fail(1, 2)
    await overtaken(front)
    found = await preview(front, ALL_FULL)
    assert (found.size, found.eligible, found.refused) == (3, 2, {Why.OVERTAKEN: 1})
    sentences = {sample.id: sample.sentence for sample in found.samples}
    assert sentences[front.plan("hire-1").id] == "2 steps run"
    assert "a later event" in sentences[front.plan("change-1").id]


async def test_preview_counts_each_steps_call_and_the_look_before_it(front: FrontDesk) -> None:
    await front.fail(1, 2, 3)
    assert (await preview(front, ALL_FULL)).calls == {CREATE: 3, FETCH: 3, LOOK: 3}


async def test_preview_adds_up_the_calls_of_several_accounts(front: FrontDesk) -> None:
    await front.fail(1)
    await front.fail(2, account="acme_sg")
    assert (await preview(front, ALL_FULL)).calls == {CREATE: 2, FETCH: 2, LOOK: 2}


async def test_preview_says_how_long_it_takes_on_an_idle_and_on_a_busy_quota(front: FrontDesk) -> None:
    await front.fail(*range(1, 41))
    found = await preview(front, ALL_FULL)
    assert found.seconds_at_best == pytest.approx(40 / 20 * 1.015)
    assert found.seconds_at_worst == pytest.approx(20 * found.seconds_at_best), "a twentieth is sure"


async def test_preview_goes_by_the_quota_as_it_is_now(front: FrontDesk) -> None:
    await front.fail(*range(1, 41))
    done(await front.desk.change_quota(asked(), "acme_cn", CREATE, 4.0))
    assert (await preview(front, ALL_FULL)).seconds_at_best == pytest.approx(40 / 4 * 1.015)
    done(await front.desk.change_quota(asked(), "acme_cn", CREATE, None))
    assert (await preview(front, ALL_FULL)).seconds_at_best == pytest.approx(40 / 20 * 1.015)


async def test_accounts_of_one_quota_group_share_its_time(front: FrontDesk) -> None:
    front.policy = make_intake_policy(
        make_account(quota_group="shared"), make_account(name="acme_b", quota_group="shared")
    )
    await front.fail(*range(1, 21))
    await front.fail(*range(21, 41), account="acme_b")
    assert (await preview(front, ALL_FULL)).seconds_at_best == pytest.approx(40 / 20 * 1.015)


async def test_a_slow_rate_is_what_a_preview_takes(front: FrontDesk) -> None:
    await front.fail(1, 2, 3)
    found = await preview(front, ALL_FULL, rate=0.5)
    assert found.seconds_at_best == found.seconds_at_worst == 4.0


async def test_preview_shows_ten_samples_in_the_order_of_their_rank(front: FrontDesk) -> None:
    ids = await front.fail(*range(1, 13))
    assert [sample.id for sample in (await preview(front, ALL_FULL)).samples] == ids[:10]


# --- making one -------------------------------------------------------------------------------------------------------


async def test_replay_is_written_down_with_who_why_and_what(front: FrontDesk) -> None:
    await front.fail(1, 2)
    replay_id = await make(front, rate=5.0)
    assert front.acts() == [("replay", "ann", replay_id, "because")]
    assert front.ledger.durable.acts[0].detail == {"selection": {"code": FULL.code}, "size": 2, "rate": 5.0}
    replay = front.replay_of(replay_id)
    assert (replay.state, replay.actor, replay.reason, replay.rate) == (ReplayState.RUNNING, "ann", "because", 5.0)


async def test_what_comes_to_fail_after_it_was_made_is_not_in_it(front: FrontDesk) -> None:
    await front.fail(1)
    replay_id = await make(front)
    await front.fail(2)
    await begin_all(front)
    assert front.items_of(replay_id) == [("hire-1", "begun", None)]
    assert front.begun() == ["hire-1"]


async def test_another_size_than_the_preview_told_is_declined(front: FrontDesk) -> None:
    await front.fail(1)
    told = (await preview(front, ALL_FULL)).size
    await front.fail(2)
    before = front.snapshot()
    trouble, message = declined(await front.replays.make(asked(key="k"), ALL_FULL, expected=told))
    assert (trouble, message) == ("conflict", "the selection has 2 plans by now, not 1: preview it again")
    assert front.snapshot() == before
    done(await front.replays.make(asked(), ALL_FULL, expected=2))


async def test_size_of_a_preview_counts_ids_that_nobody_knows(front: FrontDesk) -> None:
    (plan_id,) = await front.fail(1)
    selection = Selection(ids=(plan_id, "plan_x"))
    size = (await preview(front, selection)).size
    replay_id = done(await front.replays.make(asked(), selection, expected=size))["id"]
    assert front.replay_of(replay_id).size == 1


async def test_nothing_to_replay_is_not_found(front: FrontDesk) -> None:
    assert declined(await front.replays.make(asked(key="k"), ALL_FULL))[0] == "not_found"
    assert (front.acts(), front.ledger.durable.answers) == ([], {})


async def test_replay_asked_for_again_under_its_key_is_the_same_even_after_it_began(
    front: FrontDesk, telemetry: RecordingTelemetry
) -> None:
    await front.fail(1, 2)
    by = asked(key="k1", digest="d1")
    first = done(await front.replays.make(by, ALL_FULL, expected=2))
    await begin_all(front)
    await front.clock.advance(5.0)
    assert done(await front.replays.make(by, ALL_FULL, expected=2)) == first
    assert declined(await front.replays.make(replace(by, digest="d2"), ALL_FULL))[0] == "conflict"
    assert (len(front.ledger.durable.replays), len(front.acts("replay"))) == (1, 1)
    assert telemetry.counted("operator_acts_total", kind="replay") == 1


async def test_many_ids_are_written_down_by_their_number(front: FrontDesk) -> None:
    ids = await front.fail(*range(1, 13))
    replay_id = await make(front, Selection(ids=tuple(ids)))
    told = front.replay_of(replay_id).selection
    assert (told["ids"], told["number_of_ids"]) == (ids[:10], 12)


# --- beginning --------------------------------------------------------------------------------------------------------


async def test_plans_begin_in_the_order_of_their_rank(front: FrontDesk) -> None:
    ids = await front.fail(1, 2, 3, 4)
    replay_id = await make(front, Selection(ids=tuple(reversed(ids))), rate=1.0)
    for number in range(1, 5):
        assert await front.runner.run_once() == 1
        assert front.begun() == [f"hire-{n}" for n in range(1, number + 1)]
        await front.clock.advance(1.0)
    assert [event for event, _, _ in front.items_of(replay_id)] == ["hire-1", "hire-2", "hire-3", "hire-4"]


async def test_what_begins_runs_in_the_replay_lane(front: FrontDesk) -> None:
    await front.fail(1)
    await make(front)
    await begin_all(front)
    assert {step.lane for step in front.steps("hire-1")} == {Lane.REPLAY}
    assert front.states("hire-1") == ["pending", "waiting"]


async def test_without_a_rate_a_batch_begins_at_once_and_the_next_in_the_next_round(front: FrontDesk) -> None:
    await front.fail(*range(1, 31))
    await make(front)
    assert [await front.runner.run_once() for _ in range(3)] == [25, 5, 0]


@pytest.mark.parametrize(("rate", "seconds"), [(2.0, 3.0), (0.5, 12.0)])
async def test_no_more_begin_than_the_rate_allows(front: FrontDesk, rate: float, seconds: float) -> None:
    await front.fail(*range(1, 21))
    await make(front, rate=rate)
    for _ in range(int(seconds * 10)):
        await front.runner.run_once()
        await front.clock.advance(0.1)
    assert len(front.begun()) == 1 + int(rate * (seconds - 0.05))


async def test_runner_catches_up_to_its_rate_after_it_was_away(front: FrontDesk) -> None:
    await front.fail(*range(1, 21))
    await make(front, rate=1.0)
    await front.clock.advance(10.0)
    assert await front.runner.run_once() == 11
    assert await front.runner.run_once() == 0


async def test_loop_begins_at_its_rate_and_ends_when_it_is_asked_to(front: FrontDesk) -> None:
    await front.fail(*range(1, 6))
    replay_id = await make(front, rate=1.0)
    stopping = Stopping()
    loop = asyncio.ensure_future(front.runner.run(stopping))
    await front.clock.advance(2.5)
    assert len(front.begun()) in {2, 3}
    await front.clock.advance(10.0)
    assert (await outcomes(front, replay_id)) == {"running": 5}
    stopping.ask()
    await front.clock.finish(loop)


async def test_refused_plans_say_why_and_the_others_begin(front: FrontDesk, telemetry: RecordingTelemetry) -> None:
    await front.fail(1, 2)
    await overtaken(front)
    replay_id = await make(front)
    done(await front.replays.change(asked(), replay_id, "pause"))
    await front.clock.advance(1.0)
    await front.replay(front.plan("hire-2").id)
    await front.settle("hire-2", "extension", FULL)
    done(await front.replays.change(asked(), replay_id, "resume"))
    await begin_all(front)
    assert front.items_of(replay_id) == [
        ("hire-1", "begun", None),
        ("hire-2", "refused", "replayed"),
        ("change-1", "refused", "overtaken"),
    ]
    assert front.states("change-1") == ["stale"]
    assert telemetry.counted("replayed_plans_total", outcome="begun") == 2, "the one apart, and the first"
    assert telemetry.counted("replayed_plans_total", outcome="overtaken") == 1
    progress = await front.replays.progress(replay_id)
    assert progress is not None
    assert progress.refused == {"replayed": 1, "overtaken": 1}


async def test_plan_that_was_erased_meanwhile_is_refused_as_unknown(front: FrontDesk) -> None:
    await store_failed(front, 2)
    replay_id = await make(front)
    del front.ledger.durable.plans["plan_000001"]
    await begin_all(front)
    assert (await outcomes(front, replay_id)) == {"refused": 2}
    progress = await front.replays.progress(replay_id)
    assert progress is not None
    assert progress.refused == {"unknown": 1, "forgotten": 1}


# --- pausing, resuming, cancelling ------------------------------------------------------------------------------------


async def test_paused_replay_begins_nothing_until_it_is_resumed(front: FrontDesk) -> None:
    await front.fail(1, 2, 3)
    replay_id = await make(front, rate=1.0)
    await front.runner.run_once()
    done(await front.replays.change(asked("bob", "too fast"), replay_id, "pause"))
    await front.clock.advance(60.0)
    assert await front.runner.run_once() == 0
    assert front.begun() == ["hire-1"]
    done(await front.replays.change(asked("bob", "go on"), replay_id, "resume"))
    assert front.replay_of(replay_id).state is ReplayState.RUNNING
    assert front.acts()[1:] == [
        ("replay_pause", "bob", replay_id, "too fast"),
        ("replay_resume", "bob", replay_id, "go on"),
    ]


async def test_pace_starts_anew_when_a_replay_is_resumed(front: FrontDesk) -> None:
    await front.fail(*range(1, 11))
    replay_id = await make(front, rate=1.0)
    await front.runner.run_once()
    done(await front.replays.change(asked(), replay_id, "pause"))
    await front.clock.advance(600.0)
    done(await front.replays.change(asked(), replay_id, "resume"))
    assert await front.runner.run_once() == 1, "what was not begun while it was paused is not caught up with"
    assert await front.runner.run_once() == 0
    await front.clock.advance(2.0)
    assert await front.runner.run_once() == 2


@pytest.mark.parametrize("paused", [False, True])
async def test_cancelled_replay_begins_nothing_more_and_what_was_begun_goes_on(front: FrontDesk, paused: bool) -> None:
    await front.fail(1, 2, 3)
    replay_id = await make(front, rate=1.0)
    await front.runner.run_once()
    if paused:
        done(await front.replays.change(asked(), replay_id, "pause"))
    done(await front.replays.change(asked(), replay_id, "cancel"))
    await front.clock.advance(60.0)
    assert await front.runner.run_once() == 0
    assert (await outcomes(front, replay_id)) == {"running": 1, "not_begun": 2}
    await front.complete("hire-1")
    assert (await outcomes(front, replay_id)) == {"succeeded": 1, "not_begun": 2}
    assert front.replay_of(replay_id).ended_at is not None


@pytest.mark.parametrize(
    ("done_before", "to"),
    [
        ((), "resume"),
        (("pause",), "pause"),
        (("cancel",), "pause"),
        (("cancel",), "resume"),
        (("cancel",), "cancel"),
        (("finish",), "pause"),
        (("finish",), "resume"),
        (("finish",), "cancel"),
    ],
)
async def test_change_that_makes_no_sense_is_a_conflict(
    front: FrontDesk, done_before: tuple[str, ...], to: str
) -> None:
    await front.fail(1)
    replay_id = await make(front)
    for change in done_before:
        if change == "finish":
            await begin_all(front)
            await front.complete("hire-1")
            await front.runner.run_once()
        else:
            done(await front.replays.change(asked(), replay_id, change))  # type: ignore[arg-type]  # one of the three
    before = front.snapshot()
    answer = await front.replays.change(asked(key="k"), replay_id, to)  # type: ignore[arg-type]  # one of the three
    assert declined(answer)[0] == "conflict"
    assert front.snapshot() == before


async def test_replay_that_nobody_knows_is_not_found(front: FrontDesk) -> None:
    assert declined(await front.replays.change(asked(), "replay_x", "pause"))[0] == "not_found"
    assert await front.replays.progress("replay_x") is None


async def test_pausing_under_a_key_is_done_once(front: FrontDesk) -> None:
    await front.fail(1)
    replay_id = await make(front)
    by = asked(key="k1", digest="d1")
    first = await front.replays.change(by, replay_id, "pause")
    assert await front.replays.change(by, replay_id, "pause") == replace_repeated(first)
    assert len(front.acts("replay_pause")) == 1


def replace_repeated(answer: object) -> Done:
    assert isinstance(answer, Done)
    return replace(answer, repeated=True)


# --- once, whoever begins ---------------------------------------------------------------------------------------------


async def test_two_runners_begin_each_plan_once(front: FrontDesk) -> None:
    await front.fail(*range(1, 41))
    replay_id = await make(front)
    for _ in range(3):
        await asyncio.gather(front.runner.run_once(), front.runner.run_once())
    assert {plan.epoch for plan in front.ledger.durable.plans.values()} == {1}
    reopened = Counter(row.command_id for row in front.ledger.durable.history if row.cause == "replayed")
    assert set(reopened.values()) == {1}
    assert len(reopened) == 80
    assert (await outcomes(front, replay_id)) == {"running": 40}


async def test_two_runners_together_keep_the_rate(front: FrontDesk) -> None:
    await front.fail(*range(1, 21))
    await make(front, rate=1.0)
    for _ in range(50):
        await asyncio.gather(front.runner.run_once(), front.runner.run_once())
        await front.clock.advance(0.1)
    assert len(front.begun()) == 5


@pytest.mark.parametrize("finished", [False, True])
async def test_second_replay_of_the_same_begins_nothing_twice_and_says_so(front: FrontDesk, finished: bool) -> None:
    await front.fail(*range(1, 6))
    first = await make(front)
    await front.clock.advance(1.0)
    second = await make(front)
    await begin_all(front)
    if finished:
        for number in range(1, 6):
            await front.complete(f"hire-{number}")
    assert {why for _, _, why in front.items_of(first)} == {None}
    assert {(state, why) for _, state, why in front.items_of(second)} == {("refused", "replayed")}
    reopened = Counter(row.command_id for row in front.ledger.durable.history if row.cause == "replayed")
    assert set(reopened.values()) == {1}


async def test_second_replay_by_id_of_what_runs_says_that_it_runs(front: FrontDesk) -> None:
    ids = await front.fail(1)
    await make(front)
    await begin_all(front)
    await front.clock.advance(1.0)
    second = await make(front, Selection(ids=tuple(ids)))
    await begin_all(front)
    assert front.items_of(second) == [("hire-1", "refused", "running")]


async def test_two_replays_side_by_side_begin_every_plan_once(front: FrontDesk) -> None:
    await front.fail(*range(1, 31))
    answers = await asyncio.gather(*(front.replays.make(asked(who), ALL_FULL) for who in ("ann", "bob")))
    for _ in range(4):
        await asyncio.gather(*(front.runner.run_once() for _ in range(3)))
    both = [item for answer in answers for item in front.items_of(done(answer)["id"])]
    assert Counter(state for _, state, _ in both) == {"begun": 30, "refused": 30}
    assert {plan.epoch for plan in front.ledger.durable.plans.values()} == {1}


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_replay_is_finished_only_when_nothing_of_it_is_under_way(front: FrontDesk) -> None:
    await front.fail(1, 2)
    replay_id = await make(front)
    await begin_all(front)
    await front.complete("hire-1")
    await front.runner.run_once()
    assert front.replay_of(replay_id).state is ReplayState.RUNNING
    await front.complete("hire-2")
    await front.runner.run_once()
    replay = front.replay_of(replay_id)
    assert (replay.state, replay.ended_at) == (ReplayState.FINISHED, front.clock.now())


async def test_counts_are_kept_when_its_plans_are_erased(front: FrontDesk) -> None:
    ids = await front.fail(1, 2, 3)
    await overtaken(front)
    replay_id = await make(front)
    await begin_all(front)
    await front.complete("hire-1")
    await front.complete("hire-2")
    await front.settle("hire-3", "extension", FULL)
    await front.runner.run_once()
    for plan_id in ids:
        del front.ledger.durable.plans[plan_id]
    assert front.replay_of(replay_id).counts == {"succeeded": 2, "failed_again": 1, "refused": 1}


async def test_what_fails_again_is_counted_so_also_after_yet_another_replay(front: FrontDesk) -> None:
    ids = await front.fail(1, 2)
    first = await make(front)
    await begin_all(front)
    await front.settle("hire-1", "extension", FULL)
    await front.complete("hire-2")
    assert (await outcomes(front, first)) == {"failed_again": 1, "succeeded": 1}
    await front.runner.run_once()
    await front.clock.advance(1.0)
    await front.replay(ids[0])
    await front.complete("hire-1")
    assert (await outcomes(front, first)) == {"failed_again": 1, "succeeded": 1}
    assert front.replay_of(first).counts == {ItemOutcome.FAILED_AGAIN: 1, ItemOutcome.SUCCEEDED: 1}


async def test_paused_replay_is_not_finished_behind_its_operators_back(front: FrontDesk) -> None:
    await front.fail(1)
    replay_id = await make(front)
    await begin_all(front)
    await front.complete("hire-1")
    done(await front.replays.change(asked(), replay_id, "pause"))
    await front.runner.run_once()
    assert front.replay_of(replay_id).state is ReplayState.PAUSED


# --- plans that failed as they arrived --------------------------------------------------------------------------------


async def incomplete(front: FrontDesk) -> Selection:
    """A purchase whose account's settings lack what it needs."""
    front.policy = make_intake_policy(make_account(numbers=NumberDefaults()))
    await front.take(make_inbound(PURCHASED, "buy-1"))
    assert front.plan("buy-1").state is PlanState.FAILED
    return Selection(error_class="incomplete")


async def test_unplanned_plan_is_planned_again_by_the_policy_of_today(front: FrontDesk) -> None:
    selection = await incomplete(front)
    assert (await preview(front, selection)).refused == {Why.STILL_FAILING: 1}
    front.policy = make_intake_policy()
    assert (await preview(front, selection)).eligible == 1
    replay_id = await make(front, selection)
    await begin_all(front)
    assert front.items_of(replay_id) == [("buy-1", "begun", None)]
    step = front.step("buy-1", "application")
    assert (step.state, step.lane, step.epoch) == (CommandState.PENDING, Lane.REPLAY, 1)


async def test_event_that_was_erased_can_not_be_planned_again(front: FrontDesk) -> None:
    selection = await incomplete(front)
    front.policy = make_intake_policy()
    front.forget_contents()
    assert (await preview(front, selection)).refused == {Why.FORGOTTEN: 1}
    replay_id = await make(front, selection)
    await begin_all(front)
    assert front.items_of(replay_id) == [("buy-1", "refused", "forgotten")]


# --- crashes ----------------------------------------------------------------------------------------------------------


class Crash:
    """A step of the ledger that ends it at the nth moment around its transactions, while it is `armed`."""

    def __init__(self, front: FrontDesk, at: int) -> None:
        self._front, self.left = front, at
        self.armed = True

    async def __call__(self, moment: str) -> None:
        await asyncio.sleep(0)
        self.left -= self.armed
        if self.left == 0 and self.armed:
            self.armed = False
            await self._front.ledger.close()

    async def survived(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the work gives, done by the next process if this one dies of it."""
        try:
            return await work()
        except UnavailableError:
            self._front.ledger = self._front.ledger.reopen()
            return await work()


async def carry_through(front: FrontDesk, crash: Crash) -> str:
    """Three plans replayed to their end, one a second, with a crash on the way; the replay."""
    by = asked(key="k1", digest="d1")
    made = await crash.survived(lambda: front.replays.make(by, ALL_FULL, rate=1.0, expected=3))
    for _ in range(4):
        await crash.survived(front.begin)
        await front.clock.advance(1.0)
    armed, crash.armed = crash.armed, False
    for number in (1, 2, 3):
        await front.complete(f"hire-{number}")
    crash.armed = armed
    await crash.survived(front.begin)
    return str(done(made)["id"])


async def test_crash_at_any_moment_loses_nothing_and_doubles_nothing(
    clock: VirtualClock, telemetry: RecordingTelemetry
) -> None:
    for at in count(1):
        front = FrontDesk(clock, telemetry)
        await front.fail(1, 2, 3)
        crash = Crash(front, at)
        front.ledger = front.ledger.reopen(step=crash)
        replay = front.replay_of(await carry_through(front, crash))
        assert (replay.state, dict(replay.counts)) == (ReplayState.FINISHED, {"succeeded": 3}), at
        assert (len(front.ledger.durable.replays), len(front.acts("replay"))) == (1, 1)
        reopened = Counter(row.command_id for row in front.ledger.durable.history if row.cause == "replayed")
        assert (set(reopened.values()), len(reopened)) == ({1}, 6)
        assert len(front.told("plan.completed")) == 3
        if crash.armed:
            break
    assert at > 40, "there are more moments than these"


# --- beside live work, through the whole walk -------------------------------------------------------------------------


def runner_of(house: House) -> ReplayRunner:
    return ReplayRunner(ledger=house.ledger, policy=POLICY.planning, clock=house.clock, telemetry=house.telemetry)


def replays_of(house: House) -> Replays:
    return Replays(
        ledger=house.ledger,
        accounts=POLICY.planning.accounts,
        policy=POLICY.planning,
        looks={},
        clock=house.clock,
        telemetry=house.telemetry,
    )


async def test_what_was_mended_is_created_once_and_told_in_its_next_epoch(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, FULL, FULL)
    await house.take(hired(1), hired(2))
    assert house.types().count("plan.failed") == 2
    await replays_of(house).make(asked(), ALL_FULL)
    await house.clock.finish(runner_of(house).run_once())
    await house.work()
    completed = house.published("provisioning.plan.completed.v1")
    assert [event["data"]["epoch"] for event in completed] == [1, 1]
    assert house.calls().count("CreateExtension") == 4
    await house.clock.finish(runner_of(house).run_once())
    (replay,) = house.ledger.durable.replays.values()
    assert replay.counts == {"succeeded": 2}


async def test_process_that_dies_in_the_middle_of_a_replay_is_followed_by_one_that_goes_on(house: House) -> None:
    house.vendors["acme_cn"].script(CREATE, *[FULL] * 4)
    await house.take(*[hired(n) for n in range(1, 5)])
    await replays_of(house).make(asked(), ALL_FULL, rate=1.0)
    for _ in range(2):
        await house.clock.finish(runner_of(house).run_once())
        await house.clock.advance(1.0)
    await house.restart()
    for _ in range(10):
        await house.clock.finish(runner_of(house).run_once())
        await house.work()
        await house.clock.advance(1.0)
    assert len(house.published("provisioning.plan.completed.v1")) == 4
    assert house.calls().count("CreateExtension") == 8
    (replay,) = house.ledger.durable.replays.values()
    assert (replay.state, dict(replay.counts)) == (ReplayState.FINISHED, {"succeeded": 4})
