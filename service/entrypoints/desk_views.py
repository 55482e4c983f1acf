"""How the HTTP API shows what operators ask about; what is about a person is masked unless it was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from contracts.outbound import ErrorClass
from service.application.inquiry import ItemStanding
from service.application.inspection import FailureGroup, Forecast, Queue
from service.application.replaying import Preview, Progress
from service.domain.advice import advise
from service.domain.binding import Binding
from service.domain.command import Command, Plan, PlanState
from service.domain.dead_letter import DeadLetter
from service.domain.explaining import CommandStory, Explanation, PlanTrace, Wait
from service.domain.ledger_state import Act, Hold, StoredEvent
from service.domain.outcome import Failure, Json
from service.domain.replay import Replay, outcome_of
from service.domain.replaying import SENTENCES, Why
from service.entrypoints import desk_models as models
from service.entrypoints.public_views import (
    PERSONAL,
    SHOWN_WANTED,
    attempt_view,
    command_view,
    history_view,
    moment,
    plan_view,
    wanted_view,
)

MASK: Final = "***"
SHOWN_EVENT: Final = SHOWN_WANTED | {
    "account", "agent_id", "apply_id", "department", "effective_at", "location", "revision", "route", "worker_type",
}  # fmt: skip
"""Fields of events that say nothing about a person; any other is masked until it is listed here."""


def failure_group_view(group: FailureGroup) -> models.FailureGroup:
    """One group, with what to do about it."""
    error_class = ErrorClass(group.error_class)
    advice = advise(Failure(error_class=error_class, code=group.code, message=""))
    return models.FailureGroup(
        account=group.account,
        operation=group.operation,
        error_class=error_class,
        code=group.code,
        number=group.number,
        first_at=moment(group.first_at),
        last_at=moment(group.last_at),
        replay_can_help=advice.replay_can_help,
        advice=advice.text,
    )


def event_view(event: StoredEvent, *, personal: bool = False) -> models.StoredEvent:
    """One event; `personal` shows what is about a person."""
    return models.StoredEvent(
        source=event.source,
        id=event.id,
        type=event.type,
        subject=event.subject,
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        received_at=moment(event.received_at),
        arrival=event.arrival,
        data=masked(event.data, personal=personal),
    )


def masked(data: Mapping[str, Json], *, personal: bool = False) -> dict[str, Any]:
    """The data with everything masked that could say something about a person, unless it was asked for.

    Of a URL only where it leads, whoever asks: its path and query may carry a key.
    """
    known = {name: value for name, value in data.items() if name != "callback_url"}
    shown = {name: value if personal or name in SHOWN_EVENT else MASK for name, value in known.items()}
    return shown | {name: host for name, host in wanted_view(data).items() if name == "callback_host"}


def explanation_view(found: Explanation, zones: Mapping[str, str], *, personal: bool) -> models.Explanation:
    """A whole explanation; `zones` are the accounts' time zones."""
    return models.Explanation(
        about=found.about,
        at=moment(found.at),
        found=True,
        summary=[sentence for trace in found.plans[:3] for sentence in _summary(trace, zones)] or _no_plan(found),
        plans=[_trace_view(trace, personal=personal) for trace in found.plans],
        more=found.more,
        events=[event_view(event, personal=personal) for event in found.events],
        bindings=[_binding_view(binding, personal=personal) for binding in found.bindings],
    )


def _no_plan(found: Explanation) -> list[str]:
    facts = [
        f"{event.type} {event.id} is a fact: it makes no command, it ends a wait of {event.subject}"
        for event in found.events
    ]
    return facts or [f"{binding.subject} has {binding.resource}: {binding.state.value}" for binding in found.bindings]


def _summary(trace: PlanTrace, zones: Mapping[str, str]) -> list[str]:
    plan = trace.plan
    sentences = [f"{plan.event_type} {plan.event_id} from {_place(plan)}: {decided(trace)}"]
    failed = next((s.command for s in trace.steps if s.command.failure and s.command.state == "failed"), None)
    failure = plan.failure if failed is None else failed.failure
    if plan.state is PlanState.FAILED and failure is not None:
        asked = "" if failure.request_id is None else f", RequestId {failure.request_id}"
        sentences.append(f"it failed: {failure.error_class} {failure.code}{asked}: {failure.message}")
        sentences.append(f"what to do: {advise(failure).text}")
    if trace.overtaken_by:
        sentences.append(f"later events went ahead: {', '.join(trace.overtaken_by)}; a replay of it ends stale")
    if trace.wait is not None:
        sentences.append(_waits(trace.wait, zones.get(plan.account or "", "UTC")))
    return sentences


def _waits(wait: Wait, zone: str) -> str:
    until = ""
    if wait.expected_at is not None:
        local = datetime.fromtimestamp(wait.expected_at, ZoneInfo(zone)).isoformat(timespec="seconds")
        until = f", expected to end by {moment(wait.expected_at)} ({local} {zone})"
    return f"it waits for {wait.sentence}; who ends that: {wait.who_acts}{until}"


def _place(plan: Plan) -> str:
    return f"{plan.topic}/{plan.partition}@{plan.offset}"


def decided(trace: PlanTrace) -> str:
    """What was decided about an event, and why nothing, if nothing was."""
    plan = trace.plan
    if not trace.steps:
        why = "its commands were erased" if plan.failure is None else f"{plan.failure.code}: {plan.failure.message}"
        return f"nothing, because {why}"
    steps = ", ".join(f"{s.command.step} {_stands(s.command)}" for s in trace.steps)
    again = f" (replayed {plan.epoch} times)" if plan.epoch > 1 else " (replayed once)" if plan.epoch else ""
    return f"plan {plan.id} {plan.state.value}{again}: {steps}"


def _stands(command: Command) -> str:
    if command.result is not None:
        return command.result
    return command.state.value if command.cause is None else f"{command.state.value} ({command.cause.value})"


def _trace_view(trace: PlanTrace, *, personal: bool) -> models.Trace:
    return models.Trace(
        plan=plan_view(trace.plan),
        decided=decided(trace),
        event=None if trace.event is None else event_view(trace.event, personal=personal),
        steps=[_step_view(story, personal=personal) for story in trace.steps],
        wait=None if trace.wait is None else _wait_view(trace.wait),
        overtaken_by=list(trace.overtaken_by),
        told=[models.Told(id=one, type=kind, published_at=moment(at)) for kind, one, at in trace.told],
    )


def _step_view(story: CommandStory, *, personal: bool) -> models.Step:
    shown = vars(command_view(story.command))
    known = {name: value if personal else MASK for name, value in story.command.wanted.items() if name in PERSONAL}
    shown |= {"wanted": shown["wanted"] | {name: value for name, value in known.items() if value is not None}}
    return models.Step(
        **shown,
        attempts_made=[attempt_view(attempt) for attempt in story.attempts],
        history=[history_view(row) for row in story.history],
    )


def _wait_view(wait: Wait) -> models.Wait:
    return models.Wait(
        cause=wait.cause,
        sentence=wait.sentence,
        who_acts=wait.who_acts,
        expected_at=moment(wait.expected_at),
        behind=list(wait.behind),
        hold=wait.hold,
    )


def _binding_view(binding: Binding, *, personal: bool) -> models.Binding:
    applied = None if binding.applied is None else masked(binding.applied, personal=personal)
    return models.Binding(
        subject=binding.subject,
        resource=binding.resource,
        generation=binding.generation,
        state=binding.state.value,
        ours=binding.ours,
        applied=applied,
        updated_at=moment(binding.updated_at),
    )


def forecast_view(forecast: Forecast, now: float) -> models.Forecast:
    """When the backlog is empty."""
    return models.Forecast(
        at=moment(now),
        hires=forecast.hires,
        empty_at=moment(now + forecast.empty_in),
        empty_in_seconds=round(forecast.empty_in, 3),
        queues=[_queue_view(queue) for queue in forecast.queues],
    )


def _queue_view(queue: Queue) -> models.Queue:
    return models.Queue(
        quota_group=queue.quota_group,
        accounts=list(queue.accounts),
        operation=queue.operation,
        quota=queue.quota,
        rate=round(queue.rate, 3),
        backlog=dict(queue.backlog),
        empty_in_seconds={lane: round(seconds, 3) for lane, seconds in queue.empty_in.items()},
        held=queue.held,
        not_due=queue.not_due,
    )


def preview_view(preview: Preview) -> models.Preview:
    """What a replay would do."""
    return models.Preview(
        size=preview.size,
        eligible=preview.eligible,
        refused=dict(preview.refused),
        parked=preview.parked,
        calls=dict(preview.calls),
        seconds_at_best=round(preview.seconds_at_best, 3),
        seconds_at_worst=round(preview.seconds_at_worst, 3),
        samples=[
            models.Sample(id=one.id, subject=one.subject, eligible=one.eligible, why=one.why, sentence=one.sentence)
            for one in preview.samples
        ],
    )


def replay_view(replay: Replay, progress: Progress | None = None) -> models.Replay:
    """One replay; without its progress, as it was when it ended."""
    outcomes: Mapping[Any, int] = replay.counts if progress is None else progress.outcomes
    return models.Replay(
        id=replay.id,
        state=replay.state,
        actor=replay.actor,
        reason=replay.reason,
        selection=dict(replay.selection),
        rate=replay.rate,
        size=replay.size,
        created_at=moment(replay.created_at),
        changed_at=moment(replay.changed_at),
        ended_at=moment(replay.ended_at),
        outcomes=dict(outcomes),
        refused={} if progress is None else dict(progress.refused),
    )


def replay_item_view(standing: ItemStanding, replay: Replay) -> models.ReplayItem:
    """One plan of a replay."""
    item = standing.item
    return models.ReplayItem(
        number=item.number,
        plan_id=item.plan_id,
        subject=None if standing.plan is None else standing.plan.subject,
        outcome=outcome_of(item, standing.plan, replay),
        epoch=item.epoch,
        why=item.why,
        sentence=None if item.why is None else SENTENCES[Why(item.why)],
        at=moment(item.at),
    )


def hold_view(hold: Hold) -> models.Hold:
    """One hold or quarantine."""
    return models.Hold(
        id=hold.id,
        kind=hold.kind,
        account=hold.account,
        operation=hold.operation,
        subject=hold.subject,
        resource=hold.resource,
        reason=hold.reason,
        actor=hold.actor,
        created_at=moment(hold.created_at),
        released_at=moment(hold.released_at),
    )


def letter_view(letter: DeadLetter) -> models.DeadLetter:
    """One dead letter."""
    return models.DeadLetter(
        id=letter.id,
        topic=letter.topic,
        partition=letter.partition,
        offset=letter.offset,
        reason=letter.reason,
        field=letter.field,
        message=letter.message,
        size=letter.size,
        sha256=letter.digest,
        seen_at=moment(letter.seen_at),
        state=letter.state,
        closed_at=moment(letter.closed_at),
    )


def letter_content_view(letter: DeadLetter, key: bytes | None, value: bytes | None) -> models.DeadLetterContent:
    """One dead letter with its record, as far as it is text."""
    return models.DeadLetterContent(**vars(letter_view(letter)), key=_text(key), value=_text(value))


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None


def act_view(act: Act) -> models.Act:
    """One act."""
    return models.Act(
        seq=act.seq,
        at=moment(act.at),
        actor=act.actor,
        kind=act.kind,
        object=act.object,
        reason=act.reason,
        detail=dict(act.detail),
    )


def page_of(items: Sequence[Any], cursors: Sequence[int], limit: int) -> tuple[list[Any], str | None]:
    """The rows of a page of which one more was asked for, and where the next begins."""
    return list(items[:limit]), str(cursors[limit - 1]) if len(items) > limit else None
