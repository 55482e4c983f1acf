"""CreateOwnNumberApply: put an own number up for the vendor's review, once."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from contracts.fields import Id64
from service.application.ports import PresentRead
from service.domain.outcome import Call, Json, Move, Outcome, Result, Seen, Succeeded, WhenUnclear
from service.domain.wanted import NumberApplicationWanted
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.numbers import to_national
from service.vendors.tencent_ccc.numbers_read import is_live, stopped
from service.vendors.tencent_ccc.wire import TencentReply, TencentRequest

NAME = "tencent_ccc.CreateOwnNumberApply"
CALL_TYPES: Mapping[str, int] = {"inbound": 0, "outbound": 1, "both": 2}
"""As the form counts them; the vendor's purchase listing counts the same from 1."""


class OwnNumberDetail(TencentRequest):
    """One number of the form: its national shape, and its limits (calls at once, new calls a second)."""

    call_type: int
    phone_number: str
    max_call_count: int
    max_call_p_sec: int


class CreateOwnNumberApplyRequest(TencentRequest):
    """tencentcloud.com/document/product/1229/68002 and cloud.tencent.com/document/api/679/111404, read 2026-08.

    The last three fields exist on the China site only; the account's settings refuse them elsewhere.
    """

    sdk_app_id: int
    sip_trunk_id: int
    detail_list: tuple[OwnNumberDetail, ...]
    prefix: str | None = None
    mobile_ndd_prefix: str | None = None
    local_number_trim_ac: bool | None = Field(default=None, alias="LocalNumberTrimAC")
    callee_format_passthrough: bool | None = None
    caller_format_passthrough: bool | None = None
    international_number_prefix: str | None = None


class CreateOwnNumberApplyReply(TencentReply):
    """The approval form's number."""

    apply_id: Id64


class CreateOwnNumberApply:
    """Fulfils `VendorOperation`. No API reads a form back, so this is never sent again by itself."""

    name = NAME
    writes = True
    when_unclear = WhenUnclear.WATCH

    def __init__(self, account: TencentCccAccount, present_read: PresentRead) -> None:
        """`present_read` is the account's reader of numbers."""
        self._account = account
        self.present_read: PresentRead | None = present_read

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:  # noqa: ARG002 - the instance's numbers are all ours
        """Already live: adopted. There but stopped: see `stopped`. Absent: apply."""
        want = NumberApplicationWanted.model_validate(wanted)
        if seen is None:
            raise ValueError(f"{NAME} is decided on a read of the present only")
        if seen.state is None:
            return self._apply(want)
        if is_live(seen.state):
            return Succeeded(result=Result.ADOPTED, facts={"number": want.number, "live": True})
        return stopped(seen.state)

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:  # noqa: ARG002 - one call only
        """The form is in; its number goes on as text, so that no consumer rounds it."""
        reply = CreateOwnNumberApplyReply.model_validate(answer)
        number = NumberApplicationWanted.model_validate(wanted).number
        return Succeeded(result=Result.DONE, facts={"number": number, "apply_id": str(reply.apply_id)})

    def _apply(self, want: NumberApplicationWanted) -> Call:
        detail = OwnNumberDetail(
            call_type=CALL_TYPES[want.call_type],
            phone_number=to_national(want.number),
            max_call_count=want.max_concurrent_calls,
            max_call_p_sec=want.max_calls_per_second,
        )
        request = CreateOwnNumberApplyRequest(
            sdk_app_id=self._account.sdk_app_id,
            sip_trunk_id=want.sip_trunk_id,
            detail_list=(detail,),
            prefix=want.prefix,
            **self._account.own_number_form.model_dump(),
        )
        return Call(operation=NAME, account=self._account.name, body=request.body(), creates=True)
