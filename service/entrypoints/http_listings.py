"""What the ledger tells about commands and plans: `/v1/commands` and `/v1/plans`."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, TypeVar

from aiohttp import web

from contracts.outbound import ErrorClass
from service.application.ports import CommandQuery
from service.domain.command import Command, CommandState, Plan, PlanState
from service.domain.value import replace
from service.entrypoints import api_models as models
from service.entrypoints.http_questions import PAGING, SPAN, limit, times
from service.entrypoints.parameters import Parameter, path_id
from service.entrypoints.problems import ProblemError
from service.entrypoints.public_views import command_view, plan_story_view, plan_view, story_view
from service.entrypoints.routing import Api, given

MOST_STEPS: Final = 200

Row = TypeVar("Row", Command, Plan)

FAILED: Final = (
    Parameter(name="error_class", choices=tuple(ErrorClass)),
    Parameter(name="code", about="the vendor's; may end in *"),
    *SPAN,
)
COMMAND_FILTERS: Final = (
    Parameter(name="state", about="may repeat", repeats=True, choices=tuple(CommandState)),
    *(Parameter(name=name) for name in ("operation", "account", "subject", "resource", "plan")),
    *FAILED,
    *PAGING,
)
PLAN_FILTERS: Final = (
    Parameter(name="state", about="may repeat", repeats=True, choices=tuple(PlanState)),
    *(Parameter(name=name) for name in ("operation", "account", "subject")),
    *FAILED,
    *PAGING,
)


async def commands(api: Api, request: web.Request) -> models.Page[models.Command]:
    """One page of commands, by id."""
    query = _query(api, request)
    rows = await api.process.office.ledger.commands(_one_more(query))
    shown, following = _cut(rows, query.limit)
    return models.Page[models.Command](items=[command_view(row) for row in shown], next=following)


async def plans(api: Api, request: web.Request) -> models.Page[models.Plan]:
    """One page of plans, by id."""
    query = _query(api, request)
    rows = await api.process.office.ledger.plans(_one_more(query))
    shown, following = _cut(rows, query.limit)
    return models.Page[models.Plan](items=[plan_view(row) for row in shown], next=following)


async def command(api: Api, request: web.Request) -> models.CommandStory:
    """One command with its plan, attempts and history."""
    story = await api.process.office.ledger.story(path_id(request))
    if story is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no command has this id")
    return story_view(story)


async def plan(api: Api, request: web.Request) -> models.PlanStory:
    """One plan with its commands in their order."""
    plan_id = path_id(request)
    found = await api.process.office.ledger.plans(CommandQuery(plan_id=plan_id, limit=1))
    if not found:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no plan has this id")
    steps = await api.process.office.ledger.commands(CommandQuery(plan_id=plan_id, limit=MOST_STEPS))
    return plan_story_view(found[0], steps)


def _query(api: Api, request: web.Request) -> CommandQuery:
    asked = given(request)
    apart = {"state", "limit", "plan", "since", "until"}
    once: dict[str, Any] = {name: values[0] for name, values in asked.items() if name not in apart}
    return CommandQuery(
        **once,
        **times(api, asked),
        states=tuple(dict.fromkeys(asked.get("state", []))),
        plan_id=asked["plan"][0] if "plan" in asked else None,
        limit=limit(asked),
    )


def _one_more(query: CommandQuery) -> CommandQuery:
    """One row more than asked for tells whether there is a page behind."""
    return replace(query, limit=query.limit + 1)


def _cut(rows: Iterable[Row], limit: int) -> tuple[list[Row], str | None]:
    """The rows of a page, and where the next begins."""
    found = list(rows)
    shown = found[:limit]
    return shown, shown[-1].id if len(found) > limit else None
