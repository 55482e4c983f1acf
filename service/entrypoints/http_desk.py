"""What operators do: hold and release, settle a doubt, change a quota, mend dead letters, forget a person."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel

from service.application.asking import Answer, Asked, Declined, Done, Trouble
from service.domain.dead_letter import place_of
from service.domain.desk import QuotaRate
from service.domain.holding import Scope
from service.domain.settling_by_hand import Applied, NotApplied
from service.entrypoints import api_models, desk_views
from service.entrypoints import desk_models as models
from service.entrypoints.callers import caller
from service.entrypoints.parameters import Parameter, idempotency_key, path_id
from service.entrypoints.problems import ProblemError
from service.entrypoints.public_views import moment, story_view
from service.entrypoints.request_bodies import body
from service.entrypoints.routing import Api, Route, RouteHandler, given
from service.settings_sections import Role

T = TypeVar("T")

STATUSES: Final = {
    Trouble.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Trouble.CONFLICT: HTTPStatus.CONFLICT,
    Trouble.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
}
ACT_PROBLEMS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
MAX_EVENT_BYTES: Final = 1_048_576 + 16_384
OUT_OF_REACH: Final = (
    "Kafka: the source topics and dead-letter topics keep their records until their own retention is over",
    "the vendor: names and addresses stand at the extension until it is deleted or renamed there",
    "logs and backups that were taken before",
)


def asked_by(request: web.Request, document: BaseModel, reason: str) -> Asked:
    """Who asks for what, and why; the same request under the same key is done once."""
    digest = hashlib.sha256(orjson.dumps([request.method, request.path, document.model_dump(mode="json")]))
    return Asked(actor=caller(request).name, reason=reason, key=idempotency_key(request), digest=digest.hexdigest())


def done(answer: Answer) -> Done:
    """What was done. Raises ProblemError for what was declined."""
    if isinstance(answer, Declined):
        raise ProblemError(STATUSES[answer.trouble], answer.message)
    return answer


GONE: Final = "it was done, and is gone by now"


def about(answer: Answer, read: Callable[[str], T | None]) -> T:
    """What `read` finds of what the act was about."""
    found = read(str(done(answer).about["id"]))
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, GONE)
    return found


async def holds(api: Api, request: web.Request) -> models.Holds:
    """Holds and quarantines that stand, or have been released."""
    standing = given(request).get("state", ["standing"])[0] == "standing"
    found = await api.process.office.ledger.holds(standing=standing)
    return models.Holds(items=[desk_views.hold_view(hold) for hold in found])


async def hold(api: Api, request: web.Request) -> models.Hold:
    """Stop work."""
    wanted = await body(request, models.HoldRequest)
    scope = Scope(account=wanted.account, operation=wanted.operation, subject=wanted.subject, resource=wanted.resource)
    answer = await api.process.office.desk.hold(asked_by(request, wanted, wanted.reason), scope)
    return await _hold(api, done(answer))


async def release(api: Api, request: web.Request) -> models.Hold:
    """Let work go on."""
    wanted = await body(request, models.ReasonRequest)
    answer = await api.process.office.desk.release(asked_by(request, wanted, wanted.reason), path_id(request))
    return await _hold(api, done(answer))


async def _hold(api: Api, answer: Done) -> models.Hold:
    ledger = api.process.office.ledger
    found = [*await ledger.holds(standing=True), *await ledger.holds(standing=False)]
    return about(answer, lambda one: next((desk_views.hold_view(h) for h in found if h.id == one), None))


async def settle(api: Api, request: web.Request) -> api_models.CommandStory:
    """Settle a command in doubt by a person's word."""
    wanted = await body(request, models.SettleRequest)
    if wanted.outcome == "not_applied" and wanted.apply_id is not None:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "what was not applied has no apply_id")
    word = Applied(apply_id=wanted.apply_id) if wanted.outcome == "applied" else NotApplied()
    office = api.process.office
    answer = done(await office.desk.settle(asked_by(request, wanted, wanted.reason), path_id(request), word))
    story = await office.ledger.story(str(answer.about["id"]))
    if story is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, GONE)
    return story_view(story)


async def quotas(api: Api, _: web.Request) -> models.Quotas:
    """Every quota, as configured and as changed."""
    office = api.process.office
    changed = {(rate.quota_group, rate.operation): rate for rate in await office.ledger.rates()}
    groups: dict[tuple[str, str], list[str]] = {}
    for name, account in office.accounts.items():
        for call in office.calls[account.vendor]:
            groups.setdefault((account.group(), call), []).append(name)
    views = [_quota(api, key, names, changed.get(key)) for key, names in sorted(groups.items())]
    return models.Quotas(items=views)


def _quota(api: Api, key: tuple[str, str], names: list[str], changed: QuotaRate | None) -> models.Quota:
    group, operation = key
    return models.Quota(
        quota_group=group,
        accounts=sorted(names),
        operation=operation,
        configured=api.process.office.accounts[min(names)].rate(operation),
        changed_to=None if changed is None else changed.rate,
        changed_at=None if changed is None else moment(changed.changed_at),
        actor=None if changed is None else changed.actor,
        reason=None if changed is None else changed.reason,
    )


async def change_quota(api: Api, request: web.Request) -> models.Quota:
    """Let an operation go at another rate, from the next seconds on."""
    wanted = await body(request, models.QuotaRequest)
    office = api.process.office
    account = office.accounts.get(wanted.account)
    if account is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no such account is configured")
    if wanted.operation not in office.calls[account.vendor]:
        detail = f"the vendor has no such operation; there are: {', '.join(office.calls[account.vendor])}"
        raise ProblemError(HTTPStatus.NOT_FOUND, detail)
    asked = asked_by(request, wanted, wanted.reason)
    done(await office.desk.change_quota(asked, wanted.account, wanted.operation, wanted.rate))
    shown = await quotas(api, request)
    key = (account.group(), wanted.operation)
    return next(quota for quota in shown.items if (quota.quota_group, quota.operation) == key)


async def discard(api: Api, request: web.Request) -> models.DeadLetter:
    """Set a dead letter aside."""
    wanted = await body(request, models.ReasonRequest)
    office = api.process.office
    done(await office.desk.discard(asked_by(request, wanted, wanted.reason), path_id(request)))
    place = place_of(path_id(request))
    letter = None if place is None else await office.desk.letter(place)
    if letter is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, GONE)
    return desk_views.letter_view(letter)


async def resubmit(api: Api, request: web.Request) -> models.Resubmitted:
    """Take in what a dead letter's record should have been."""
    wanted = await body(request, models.ResubmitRequest)
    asked = asked_by(request, wanted, wanted.reason)
    event = orjson.dumps(wanted.event)
    answer = done(await api.process.office.desk.resubmit(asked, path_id(request), event))
    return models.Resubmitted(id=answer.about["id"], plan_id=answer.about["plan_id"])


async def forget(api: Api, request: web.Request) -> models.Forgotten:
    """Erase what is known of the person behind a subject."""
    wanted = await body(request, models.ForgetRequest)
    answer = done(await api.process.office.desk.forget(asked_by(request, wanted, wanted.reason), wanted.subject))
    return models.Forgotten(subject=wanted.subject, erased=answer.about["erased"], out_of_reach=list(OUT_OF_REACH))


def _act(path: str, handler: RouteHandler, summary: str, asks: type[BaseModel], answers: type[BaseModel]) -> Route:
    """An operator's act; it is done once for each key."""
    return Route(
        method="POST",
        path=path,
        handler=handler,
        role=Role.OPERATOR,
        summary=summary,
        request=asks,
        response=answers,
        takes_key=True,
        max_body_bytes=MAX_EVENT_BYTES if asks is models.ResubmitRequest else 16 * 1024,
        problems=ACT_PROBLEMS,
    )


ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/holds",
        handler=holds,
        role=Role.VIEWER,
        summary="Holds and quarantines, newest first",
        response=models.Holds,
        query=(Parameter(name="state", choices=("standing", "released")),),
    ),
    _act("/v1/holds", hold, "Stop an account, operation, subject or resource", models.HoldRequest, models.Hold),
    _act(
        "/v1/holds/{id}/release",
        release,
        "Let go what a hold, or a quarantine, stops",
        models.ReasonRequest,
        models.Hold,
    ),
    _act(
        "/v1/commands/{id}/settle",
        settle,
        "Say whether the vendor did what is in doubt",
        models.SettleRequest,
        api_models.CommandStory,
    ),
    Route(
        method="GET",
        path="/v1/quotas",
        handler=quotas,
        role=Role.VIEWER,
        summary="Every quota, as configured and as changed",
        response=models.Quotas,
    ),
    _act("/v1/quotas", change_quota, "Change a quota live", models.QuotaRequest, models.Quota),
    _act(
        "/v1/dead-letters/{id}/discard",
        discard,
        "Set a dead letter aside",
        models.ReasonRequest,
        models.DeadLetter,
    ),
    _act(
        "/v1/dead-letters/{id}/resubmit",
        resubmit,
        "Take in what a dead letter's record should have been",
        models.ResubmitRequest,
        models.Resubmitted,
    ),
    _act(
        "/v1/forget",
        forget,
        "Erase what is known of the person behind a subject",
        models.ForgetRequest,
        models.Forgotten,
    ),
)
