"""What happens to every request, in order: door, quota, faults, operation, journal, reply."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping

from aiohttp import web

from service.sandbox.arrival import Arrival
from service.sandbox.clock import SandboxClock
from service.sandbox.exchange import Answer, Arrived, Call, Vendor
from service.sandbox.faults import Draw, FaultBoard, FaultKind
from service.sandbox.gateway_error import gateway_error
from service.sandbox.journal import Entry, Journal, QuotaVerdict, Reply
from service.sandbox.quota_window import QuotaBook

NO_FAULT = Draw()
_LOST = {FaultKind.REPLY_LOST_BEFORE, FaultKind.REPLY_LOST_AFTER}


class Reception:
    """Serves requests of both vendors. Between carrying one out and writing its entry nothing else can happen."""

    def __init__(self, *, quotas: QuotaBook, faults: FaultBoard, journal: Journal, clock: SandboxClock) -> None:
        self._quotas = quotas
        self._faults = faults
        self._journal = journal
        self._clock = clock

    async def serve(
        self, request: web.Request, vendor_name: str, vendor: Vendor, arrival: Arrival
    ) -> web.StreamResponse:
        """Handle one request whose head was read at ``arrival``."""
        arrived = await self._read(request, arrival)
        call = vendor.open(arrived, clock_offset=self._faults.clock_offset(vendor_name, vendor.name_action(arrived)))
        draw, quota, answer = NO_FAULT, self._quota_verdict(call, arrival), call.refusal
        if quota == "refused":
            answer = vendor.throttled(call)
        elif answer is None:
            draw = self._faults.draw(call.vendor, call.action or "", call.natural_key)
            await self._wait(draw.latency, arrived, call, draw)
            answer = _carry_out(vendor, call, draw)
        assert answer is not None  # noqa: S101  # one of the three branches gave it
        reply = _reply(draw)
        self._note(arrived, call, draw, quota=quota, answer=answer, reply=reply)
        if draw.late_reply:
            await self._clock.sleep(draw.late_reply)
        return await _transmit(request, answer, reply)

    def note_unserved(self, arrived: Arrived, status: int) -> Answer:
        """A request that reaches neither vendor: unknown path (404, 405), body too large (413) or cut off (400)."""
        answer = gateway_error(status)
        call = Call(vendor="unknown", request_id="", action=f"{arrived.method} {arrived.path}"[:200])
        self._note(arrived, call, NO_FAULT, quota="not_counted", answer=answer, reply="sent")
        return answer

    async def _read(self, request: web.Request, arrival: Arrival) -> Arrived:
        wall = self._clock.wall()
        return arrived_from(request, body=await request.read(), arrival=arrival, wall=wall)

    def _quota_verdict(self, call: Call, arrival: Arrival) -> QuotaVerdict:
        if call.signature != "ok" or call.account is None or call.action is None:
            return "not_counted"
        admitted = self._quotas.admit(call.vendor, call.account, call.action, arrival=arrival)
        return "accepted" if admitted else "refused"

    async def _wait(self, seconds: float, arrived: Arrived, call: Call, draw: Draw) -> None:
        if not seconds:
            return
        try:
            await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            gone = Answer(status=0, body=b"", result="sandbox closed")
            self._note(arrived, call, draw, quota="accepted", answer=gone, reply="dropped")
            raise

    def _note(
        self, arrived: Arrived, call: Call, draw: Draw, *, quota: QuotaVerdict, answer: Answer, reply: Reply
    ) -> None:
        effect = answer.effect
        self._journal.append(
            Entry(
                arrival=arrived.arrival.at,
                unseen=arrived.arrival.unseen,
                wall=arrived.wall,
                vendor=call.vendor,
                account=call.account,
                site=call.site,
                app=call.app,
                action=call.action,
                natural_key=call.natural_key,
                body_digest=hashlib.sha256(arrived.body).hexdigest(),
                signature=call.signature,
                quota=quota,
                fault=draw.label,
                effect_applied=effect is not None,
                effect=effect.kind if effect is not None else None,
                changed=effect is not None and effect.changed,
                wanted=call.wanted,
                reply=reply,
                status=answer.status,
                result=answer.result,
                request_id=call.request_id,
            )
        )


def arrived_from(request: web.Request, *, body: bytes, arrival: Arrival, wall: float) -> Arrived:
    """The request without its server."""
    headers: Mapping[str, str] = {name.lower(): value for name, value in request.headers.items()}
    return Arrived(method=request.method, path=request.path, headers=headers, body=body, arrival=arrival, wall=wall)


def _carry_out(vendor: Vendor, call: Call, draw: Draw) -> Answer:
    """The operation between the faults that strike before and after it."""
    if draw.before is not None:
        return _spoiled(vendor, call, draw)
    answer = vendor.perform(call, draw)
    if draw.after is None or draw.after.kind in {FaultKind.REPLY_LOST_AFTER, FaultKind.TRUNCATED_BODY}:
        return answer
    spoiled = _spoiled(vendor, call, draw)
    return Answer(
        status=spoiled.status,
        body=spoiled.body,
        result=spoiled.result,
        effect=answer.effect,
        content_type=spoiled.content_type,
    )


def _spoiled(vendor: Vendor, call: Call, draw: Draw) -> Answer:
    assert draw.outcome is not None  # noqa: S101  # only called when one struck
    if draw.outcome.kind is FaultKind.REPLY_LOST_BEFORE:
        return Answer(status=0, body=b"", result="nothing done")
    return vendor.spoiled(call, draw.outcome)


def _reply(draw: Draw) -> Reply:
    if draw.outcome is not None and draw.outcome.kind in _LOST:
        return "dropped"
    if draw.outcome is not None and draw.outcome.kind is FaultKind.TRUNCATED_BODY:
        return "truncated"
    if draw.late_reply:
        return "late"
    return "delayed" if draw.latency else "sent"


async def _transmit(request: web.Request, answer: Answer, reply: Reply) -> web.StreamResponse:
    if reply == "dropped":
        return _hang_up(request)
    if reply == "truncated":
        return await _send_half(request, answer)
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send_half(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
