"""What is failing, why one thing is as it is, and when the backlog is empty; events, dead letters and acts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from contracts.outbound import ErrorClass
from service.application.asking import Asked
from service.application.inquiry import ActQuery, EventQuery, LetterQuery
from service.domain.announcements import dead_letter_id
from service.domain.dead_letter import LetterState, place_of
from service.domain.explaining import Explanation
from service.entrypoints import api_models, desk_views
from service.entrypoints import desk_models as models
from service.entrypoints.callers import caller
from service.entrypoints.moments import FORM, read_moment
from service.entrypoints.parameters import Parameter, path_id
from service.entrypoints.problems import ProblemError
from service.entrypoints.routing import Api, Route, given
from service.settings_sections import Role

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
MOST_HIRES: Final = 1_000_000
SPAN: Final = (
    Parameter(name="since", about="RFC 3339, or an age as 2h", moment=True),
    Parameter(name="until", about="RFC 3339, or an age as 2h", moment=True),
)
PAGING: Final = (
    Parameter(name="after", about="the `next` of the page before"),
    Parameter(name="limit", span=(1, MAX_LIMIT), default=DEFAULT_LIMIT),
)
NEWEST_FIRST: Final = (
    Parameter(name="after", about="the `next` of the page before", cursor=True),
    Parameter(name="limit", span=(1, MAX_LIMIT), default=DEFAULT_LIMIT),
)
PERSONAL: Final = Parameter(
    name="personal", about="operators: show names and addresses; written down", choices=("show",)
)


async def failures(api: Api, request: web.Request) -> models.FailureGroups:
    """What is failing, since when, how many."""
    asked = {name: values[0] for name, values in given(request).items()}
    groups = await api.process.office.inspection.failures()
    shown = [group for group in groups if all(_matches(getattr(group, name), name, asked[name]) for name in asked)]
    return models.FailureGroups(items=[desk_views.failure_group_view(group) for group in shown])


def _matches(value: str, name: str, wanted: str) -> bool:
    """A code may be given by its beginning, as in listings and replays."""
    return value.startswith(wanted[:-1]) if name == "code" and wanted.endswith("*") else value == wanted


async def events(api: Api, request: web.Request) -> api_models.Page[models.StoredEvent]:
    """One page of events, newest first."""
    asked = given(request)
    names = ("id", "source", "subject", "type")
    query = EventQuery(**_texts(asked, names), **times(api, asked), before=cursor(asked), limit=limit(asked) + 1)
    found = await api.process.office.ledger.events(query)
    views = [desk_views.event_view(event) for event in found]
    items, following = desk_views.page_of(views, [event.arrival for event in found], limit(asked))
    return api_models.Page[models.StoredEvent](items=items, next=following)


async def explain(api: Api, request: web.Request) -> models.Explanation:
    """Everything known about a name."""
    asked = given(request)
    personal = "personal" in asked
    if personal and not caller(request).may(Role.OPERATOR):
        raise ProblemError(HTTPStatus.FORBIDDEN, "names and addresses are shown to operators only")
    about = asked["about"][0] if "about" in asked else ""
    office = api.process.office
    found: Explanation | None = await office.inspection.explain(about) if about else None
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, NOTHING_KNOWN)
    if personal:
        await office.desk.reveal(Asked(actor=caller(request).name, reason="personal=show"), about[:200])
    zones = {name: account.time_zone for name, account in office.accounts.items()}
    return desk_views.explanation_view(found, zones, personal=personal)


NOTHING_KNOWN: Final = (
    "the ledger knows nothing of this name: it never arrived, is of a type that is not ours, became a dead letter, or "
    "was erased when its time was over. Ask for a command or plan id, an event id, a subject (agent:realm/id) or a "
    "resource (extension:account/id)"
)


async def forecast(api: Api, request: web.Request) -> models.Forecast:
    """When the backlog is empty."""
    asked = given(request)
    office = api.process.office
    hires = int(asked["hires"][0]) if "hires" in asked else 0
    account = asked["account"][0] if "account" in asked else None
    if account is not None and account not in office.accounts:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no such account is configured")
    found = await office.inspection.forecast(hires=hires, account=account)
    return desk_views.forecast_view(found, office.clock.now())


async def dead_letters(api: Api, request: web.Request) -> api_models.Page[models.DeadLetter]:
    """One page of dead letters, newest first."""
    asked = given(request)
    query = LetterQuery(
        **_texts(asked, ("topic", "reason", "state")), **times(api, asked), before=cursor(asked), limit=limit(asked) + 1
    )
    found = await api.process.office.ledger.dead_letters(query)
    views = [desk_views.letter_view(letter) for letter in found]
    items, following = desk_views.page_of(views, [letter.seq for letter in found], limit(asked))
    return api_models.Page[models.DeadLetter](items=items, next=following)


async def dead_letter(api: Api, request: web.Request) -> models.DeadLetterContent:
    """One dead letter with its record as it came; that it was looked at is written down."""
    place = place_of(path_id(request))
    office = api.process.office
    letter = None if place is None else await office.desk.letter(place)
    if place is None or letter is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no dead letter has this id")
    await office.desk.reveal(Asked(actor=caller(request).name, reason="read a dead letter"), letter.id)
    key, value = await office.ledger.letter_bytes(dead_letter_id(*place)) or (None, None)
    return desk_views.letter_content_view(letter, key, value)


async def acts(api: Api, request: web.Request) -> api_models.Page[models.Act]:
    """One page of acts, newest first."""
    asked = given(request)
    query = ActQuery(
        **_texts(asked, ("actor", "kind", "object")), **times(api, asked), before=cursor(asked), limit=limit(asked) + 1
    )
    found = await api.process.office.ledger.acts(query)
    views = [desk_views.act_view(act) for act in found]
    items, following = desk_views.page_of(views, [act.seq for act in found], limit(asked))
    return api_models.Page[models.Act](items=items, next=following)


def times(api: Api, asked: dict[str, list[str]]) -> dict[str, Any]:
    """`since` and `until` in seconds since the epoch. Raises ProblemError (400)."""
    return {name: moment_of(api, name, asked[name][0]) for name in ("since", "until") if name in asked}


def moment_of(api: Api, name: str, text: str) -> float:
    """A time that a caller gave. Raises ProblemError (400)."""
    read = read_moment(text, api.process.office.clock.now())
    if read is None:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{name} {FORM}")
    return read


def _texts(asked: dict[str, list[str]], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: asked[name][0] for name in names if name in asked}


def cursor(asked: dict[str, list[str]]) -> int | None:
    """Where a page begins."""
    return int(asked["after"][0]) if "after" in asked else None


def limit(asked: dict[str, list[str]]) -> int:
    """How long a page is."""
    return int(asked["limit"][0]) if "limit" in asked else DEFAULT_LIMIT


ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/failures",
        handler=failures,
        role=Role.VIEWER,
        summary="What is failing, since when, how many",
        response=models.FailureGroups,
        query=(
            Parameter(name="account"),
            Parameter(name="operation"),
            Parameter(name="error_class", choices=tuple(ErrorClass)),
            Parameter(name="code", about="may end in *"),
        ),
    ),
    Route(
        method="GET",
        path="/v1/events",
        handler=events,
        role=Role.VIEWER,
        summary="Events that the ledger still has, newest first",
        response=api_models.Page[models.StoredEvent],
        query=(*(Parameter(name=name) for name in ("id", "source", "subject", "type")), *SPAN, *NEWEST_FIRST),
    ),
    Route(
        method="GET",
        path="/v1/explain",
        handler=explain,
        role=Role.VIEWER,
        summary="Why a command, plan, event, subject or resource is as it is",
        response=models.Explanation,
        query=(
            Parameter(name="about", about="an id, or a name as agent:workday/4711 or extension:acme_cn/1001"),
            PERSONAL,
        ),
        problems=(HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN),
    ),
    Route(
        method="GET",
        path="/v1/forecast",
        handler=forecast,
        role=Role.VIEWER,
        summary="When each lane is empty, given the backlog, quotas, holds and so many more hires",
        response=models.Forecast,
        query=(
            Parameter(name="hires", span=(0, MOST_HIRES), default=0),
            Parameter(name="account", about="whose hires; default: the first that can"),
        ),
        problems=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path="/v1/dead-letters",
        handler=dead_letters,
        role=Role.VIEWER,
        summary="Records that could not become an event, newest first",
        response=api_models.Page[models.DeadLetter],
        query=(
            Parameter(name="topic"),
            Parameter(name="reason"),
            Parameter(name="state", choices=tuple(LetterState)),
            *SPAN,
            *NEWEST_FIRST,
        ),
    ),
    Route(
        method="GET",
        path="/v1/dead-letters/{id}",
        handler=dead_letter,
        role=Role.OPERATOR,
        summary="One dead letter with its record as it came; that it was looked at is written down",
        response=models.DeadLetterContent,
        problems=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path="/v1/acts",
        handler=acts,
        role=Role.OPERATOR,
        summary="What operators did, newest first",
        response=api_models.Page[models.Act],
        query=(*(Parameter(name=name) for name in ("actor", "kind", "object")), *SPAN, *NEWEST_FIRST),
    ),
)
