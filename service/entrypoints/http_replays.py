"""Replays: preview, make, watch, pause, resume, cancel."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Literal

from aiohttp import web

from service.application.asking import Declined
from service.application.replaying import Selection
from service.entrypoints import api_models, desk_views
from service.entrypoints import desk_models as models
from service.entrypoints.http_desk import ACT_PROBLEMS, STATUSES, asked_by, done
from service.entrypoints.http_questions import DEFAULT_LIMIT, NEWEST_FIRST, cursor, limit, moment_of
from service.entrypoints.parameters import Parameter, path_id
from service.entrypoints.problems import ProblemError
from service.entrypoints.request_bodies import body
from service.entrypoints.routing import Api, Route, given
from service.settings_sections import Role

MAX_IDS_BYTES: Final = 128 * 1024
NO_REPLAY: Final = "no replay has this id"


async def preview(api: Api, request: web.Request) -> models.Preview:
    """What a replay would do now; changes nothing."""
    wanted = await body(request, models.PreviewRequest)
    found = await api.process.office.replays.preview(_selection(api, wanted.selection), rate=wanted.rate)
    if isinstance(found, Declined):
        raise ProblemError(STATUSES[found.trouble], found.message)
    return desk_views.preview_view(found)


async def make(api: Api, request: web.Request) -> models.Replay:
    """Begin a replay."""
    wanted = await body(request, models.ReplayRequest)
    asked = asked_by(request, wanted, wanted.reason)
    answer = await api.process.office.replays.make(
        asked, _selection(api, wanted.selection), rate=wanted.rate, expected=wanted.expected
    )
    return await _shown(api, str(done(answer).about["id"]))


async def replays(api: Api, request: web.Request) -> api_models.Page[models.Replay]:
    """Replays, newest first."""
    unfinished = given(request).get("state", [""])[0] == "unfinished"
    found = await api.process.office.ledger.replays(unfinished=unfinished, limit=DEFAULT_LIMIT)
    return api_models.Page[models.Replay](items=[desk_views.replay_view(one) for one in found], next=None)


async def replay(api: Api, request: web.Request) -> models.Replay:
    """One replay with how its plans stand."""
    return await _shown(api, path_id(request))


async def items(api: Api, request: web.Request) -> api_models.Page[models.ReplayItem]:
    """One page of a replay's plans, in their order."""
    ledger = api.process.office.ledger
    found = await ledger.replay(path_id(request))
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, NO_REPLAY)
    asked = given(request)
    most = limit(asked)
    standings = await ledger.replay_items(found.id, after=cursor(asked) or 0, limit=most + 1)
    views = [desk_views.replay_item_view(standing, found) for standing in standings]
    shown, following = desk_views.page_of(views, [standing.item.number for standing in standings], most)
    return api_models.Page[models.ReplayItem](items=shown, next=following)


async def pause(api: Api, request: web.Request) -> models.Replay:
    """Begin nothing more until it is resumed."""
    return await _change(api, request, "pause")


async def resume(api: Api, request: web.Request) -> models.Replay:
    """Go on."""
    return await _change(api, request, "resume")


async def cancel(api: Api, request: web.Request) -> models.Replay:
    """Begin nothing more, for good."""
    return await _change(api, request, "cancel")


async def _change(api: Api, request: web.Request, to: Literal["pause", "resume", "cancel"]) -> models.Replay:
    wanted = await body(request, models.ReasonRequest)
    answer = await api.process.office.replays.change(asked_by(request, wanted, wanted.reason), path_id(request), to)
    return await _shown(api, str(done(answer).about["id"]))


async def _shown(api: Api, replay_id: str) -> models.Replay:
    progress = await api.process.office.replays.progress(replay_id)
    if progress is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, NO_REPLAY)
    return desk_views.replay_view(progress.replay, progress)


def _selection(api: Api, wanted: models.Selection) -> Selection:
    return Selection(
        ids=tuple(wanted.ids or ()),
        account=wanted.account,
        operation=wanted.operation,
        subject=wanted.subject,
        error_class=None if wanted.error_class is None else wanted.error_class.value,
        code=wanted.code,
        since=None if wanted.since is None else moment_of(api, "since", wanted.since),
        until=None if wanted.until is None else moment_of(api, "until", wanted.until),
        again=wanted.again,
    )


ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/replay-preview",
        handler=preview,
        role=Role.VIEWER,
        summary="What a replay would do now; changes nothing",
        request=models.PreviewRequest,
        response=models.Preview,
        max_body_bytes=MAX_IDS_BYTES,
    ),
    Route(
        method="POST",
        path="/v1/replays",
        handler=make,
        role=Role.OPERATOR,
        summary="Replay failed plans: freeze the selection, and begin it",
        request=models.ReplayRequest,
        response=models.Replay,
        status=HTTPStatus.ACCEPTED,
        takes_key=True,
        max_body_bytes=MAX_IDS_BYTES,
        problems=ACT_PROBLEMS,
    ),
    Route(
        method="GET",
        path="/v1/replays",
        handler=replays,
        role=Role.VIEWER,
        summary="The last replays, newest first",
        response=api_models.Page[models.Replay],
        query=(Parameter(name="state", choices=("unfinished", "all")),),
    ),
    Route(
        method="GET",
        path="/v1/replays/{id}",
        handler=replay,
        role=Role.VIEWER,
        summary="One replay, and how its plans stand",
        response=models.Replay,
        problems=(HTTPStatus.NOT_FOUND,),
    ),
    Route(
        method="GET",
        path="/v1/replays/{id}/items",
        handler=items,
        role=Role.VIEWER,
        summary="The plans of a replay, in their order",
        response=api_models.Page[models.ReplayItem],
        query=NEWEST_FIRST,
        problems=(HTTPStatus.NOT_FOUND,),
    ),
    *(
        Route(
            method="POST",
            path=f"/v1/replays/{{id}}/{verb}",
            handler=handler,
            role=Role.OPERATOR,
            summary=summary,
            request=models.ReasonRequest,
            response=models.Replay,
            takes_key=True,
            problems=ACT_PROBLEMS,
        )
        for verb, handler, summary in (
            ("pause", pause, "Begin nothing more of a replay until it is resumed"),
            ("resume", resume, "Go on with a replay"),
            ("cancel", cancel, "Begin nothing more of a replay, for good"),
        )
    ),
)
