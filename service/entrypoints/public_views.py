"""Plans and commands as the HTTP API shows them: no names, no e-mail addresses, no secrets, times as RFC 3339."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, overload
from urllib.parse import urlsplit

from service.application.ports import CommandStory
from service.domain.advice import failure_detail
from service.domain.command import Attempt, Command, HistoryRow, Plan
from service.domain.outcome import Json
from service.entrypoints import api_models as api

SHOWN_WANTED: Final = frozenset(
    {
        "access_code",
        "call_type",
        "country",
        "device_id",
        "device_type",
        "ext_code",
        "extension",
        "max_calls_per_second",
        "max_concurrent_calls",
        "media_type",
        "number",
        "prefix",
        "sip_trunk_id",
        "skill_group_ids",
    }
)
"""Fields of wanted states that say nothing about a person; a new one is hidden until it is listed here."""

PERSONAL: Final = frozenset({"name", "email"})


@overload
def moment(seconds: float) -> str: ...
@overload
def moment(seconds: None) -> None: ...
@overload
def moment(seconds: float | None) -> str | None: ...
def moment(seconds: float | None) -> str | None:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def command_view(command: Command) -> api.Command:
    """One command."""
    return api.Command(
        id=command.id,
        plan_id=command.plan_id,
        epoch=command.epoch,
        step=command.step,
        step_no=command.step_no,
        account=command.account,
        operation=command.operation,
        subject=command.subject,
        resource=command.resource,
        state=command.state,
        cause=command.cause,
        lane=command.lane,
        created_at=moment(command.created_at),
        effective_at=moment(command.effective_at),
        due_at=moment(command.due_at),
        first_at=moment(command.first_at),
        last_at=moment(command.last_at),
        ended_at=moment(command.ended_at),
        attempts=command.attempts,
        retries=command.retries,
        queue_seconds=command.queue_seconds,
        quota_seconds=command.quota_seconds,
        vendor_seconds=command.vendor_seconds,
        result=command.result,
        wanted=wanted_view(command.wanted),
        facts={name: fact for name, fact in command.facts.items() if name not in PERSONAL},
        failure=None if command.failure is None else failure_detail(command.failure),
    )


def wanted_view(wanted: Mapping[str, Json]) -> dict[str, Any]:
    """What a command wants, without what is about a person; of a callback URL only where it leads."""
    view = {name: value for name, value in wanted.items() if name in SHOWN_WANTED and value is not None}
    url = wanted.get("callback_url")
    if isinstance(url, str):
        view["callback_host"] = _host(url)
    return view


def _host(url: str) -> str | None:
    """A URL's host; its path and query may carry a key."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def plan_view(plan: Plan) -> api.Plan:
    """One plan, with the event that it came from."""
    return api.Plan(
        id=plan.id,
        epoch=plan.epoch,
        state=plan.state,
        subject=plan.subject,
        account=plan.account,
        created_at=moment(plan.created_at),
        effective_at=moment(plan.effective_at),
        ended_at=moment(plan.ended_at),
        event=api.Event(
            source=plan.event_source,
            id=plan.event_id,
            type=plan.event_type,
            topic=plan.topic,
            partition=plan.partition,
            offset=plan.offset,
        ),
        correlation_id=plan.correlation_id,
        failure=None if plan.failure is None else failure_detail(plan.failure),
    )


def story_view(story: CommandStory) -> api.CommandStory:
    """A command with its plan, every request sent for it, and every change of its state."""
    return api.CommandStory(
        **vars(command_view(story.command)),
        plan=plan_view(story.plan),
        attempts_made=[attempt_view(attempt) for attempt in story.attempts],
        history=[history_view(row) for row in story.history],
    )


def plan_story_view(plan: Plan, commands: Sequence[Command]) -> api.PlanStory:
    """A plan with its commands in their order."""
    in_order = sorted(commands, key=lambda command: command.step_no)
    return api.PlanStory(**vars(plan_view(plan)), commands=[command_view(command) for command in in_order])


def attempt_view(attempt: Attempt) -> api.Attempt:
    """One request."""
    return api.Attempt(
        epoch=attempt.epoch,
        number=attempt.number,
        call=attempt.call,
        slot_at=moment(attempt.slot_at),
        marked_at=moment(attempt.marked_at),
        ended_at=moment(attempt.ended_at),
        outcome=attempt.outcome,
        code=attempt.code,
        request_id=attempt.request_id,
    )


def history_view(row: HistoryRow) -> api.Change:
    """One change of a command's state."""
    return api.Change(
        epoch=row.epoch,
        at=moment(row.at),
        before=row.before,
        after=row.after,
        cause=row.cause,
        actor=row.actor,
    )
