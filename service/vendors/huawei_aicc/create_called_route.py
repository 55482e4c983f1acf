"""createCalledRoute: make an access code (and extension code) lead to a skill queue or an IVR flow."""

from __future__ import annotations

from collections.abc import Mapping

from service.application.ports import PresentRead
from service.domain.outcome import Call, ErrorClass, Failure, Json, Move, Outcome, Result, Seen, Succeeded, WhenUnclear
from service.domain.wanted import CalledRouteWanted
from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from service.vendors.huawei_aicc.routes_read import DEVICE_TYPES, is_as_wanted
from service.vendors.huawei_aicc.wire import HuaweiRequest

NAME = "huawei_aicc.createCalledRoute"
MODIFY = "huawei_aicc.modifyCalledRoute"
EDITABLE = frozenset({0, None})
"""1: may only be deleted, 2: may not be deleted, 3: neither
(support.huaweicloud.com/intl/en-us/api-cec/cec_07_1033.html, read 2025-11)."""


class CreateCalledRouteRequest(HuaweiRequest):
    """support.huaweicloud.com/intl/en-us/api-cec/cec_07_1030.html, read 2025-11; `devicetype` is all lower case."""

    access_code: str
    ext_code: str | None = None
    media_type_id: int
    devicetype: int
    device_id: int


class ModifyCalledRouteRequest(HuaweiRequest):
    """cec_07_1032.html, read 2025-11: `id` is the text of the query; codes and media type can't be changed."""

    id: str
    devicetype: int
    device_id: int


DEFAULT_MEDIA_TYPE = 5
"""The vendor's own, voice and video (cec_07_1030.html, read 2025-11)."""


class CreateCalledRoute:
    """Fulfils `VendorOperation`. Access code and extension code are the key, so the present can be read."""

    name = NAME
    writes = True
    when_unclear = WhenUnclear.READ_BACK

    def __init__(self, account: HuaweiAiccAccount, present_read: PresentRead) -> None:
        """`present_read` is the account's reader of routes."""
        self._account = account
        self.present_read: PresentRead | None = present_read

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:
        """Absent: create. Equal: leave. Different: change it if it is ours and can be changed, else conflict."""
        want = CalledRouteWanted.model_validate(wanted)
        if seen is None:
            raise ValueError(f"{NAME} is decided on a read of the present only")
        if seen.state is None:
            return self._create(want)
        if is_as_wanted(want, seen.state):
            return _succeeded(want, Result.UNCHANGED if ours else Result.ADOPTED)
        obstacle = _obstacle(want, seen.state, ours=ours)
        return self._modify(want, seen.state["id"]) if obstacle is None else obstacle

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:  # noqa: ARG002 - the answer is empty
        """Neither call answers with a field: a positive answer is all there is to know."""
        return _succeeded(CalledRouteWanted.model_validate(wanted), Result.DONE)

    def _create(self, want: CalledRouteWanted) -> Call:
        request = CreateCalledRouteRequest(
            access_code=want.access_code,
            ext_code=want.ext_code or None,
            media_type_id=DEFAULT_MEDIA_TYPE if want.media_type is None else want.media_type,
            devicetype=DEVICE_TYPES[want.device_type],
            device_id=want.device_id,
        )
        return Call(operation=NAME, account=self._account.name, body=request.body(), creates=True)

    def _modify(self, want: CalledRouteWanted, route_id: str) -> Call:
        request = ModifyCalledRouteRequest(
            id=route_id, devicetype=DEVICE_TYPES[want.device_type], device_id=want.device_id
        )
        return Call(operation=MODIFY, account=self._account.name, body=request.body())


def _obstacle(want: CalledRouteWanted, state: Mapping[str, Json], *, ours: bool) -> Failure | None:
    """Why a route that stands otherwise is not to be changed by us, if so."""
    if not ours:
        return _conflict("RouteTaken", "the codes already lead elsewhere, by somebody else's hand")
    if want.media_type not in {None, state["media_type"]}:
        return _conflict("MediaTypeFixed", "the route stands with another media type, which can't be changed")
    if state["editable"] not in EDITABLE:
        return _conflict("RouteNotEditable", "the vendor does not let this route be changed")
    return None


def _conflict(code: str, message: str) -> Failure:
    return Failure(error_class=ErrorClass.CONFLICT, code=code, message=message, field="access_code")


def _succeeded(want: CalledRouteWanted, result: Result) -> Succeeded:
    facts = {
        "access_code": want.access_code,
        "ext_code": want.ext_code,
        "media_type": want.media_type,
        "route": {want.device_type: want.device_id},
    }
    return Succeeded(result=result, facts={name: fact for name, fact in facts.items() if fact is not None})
