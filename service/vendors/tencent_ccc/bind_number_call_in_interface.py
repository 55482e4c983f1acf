"""BindNumberCallInInterface: set the URL that the vendor asks when a call comes in on a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from service.application.ports import PresentRead
from service.domain.outcome import Call, Json, Move, Outcome, Result, Seen, Succeeded, WhenUnclear
from service.domain.wanted import CallInWanted
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.numbers import to_stored
from service.vendors.tencent_ccc.wire import TencentRequest

NAME = "tencent_ccc.BindNumberCallInInterface"


class CallInInterface(TencentRequest):
    """Whom to ask."""

    url: str = Field(alias="URL")


class BindNumberCallInInterfaceRequest(TencentRequest):
    """tencentcloud.com/document/product/1229/73138, read 2026-08.

    The default of `number_type` is not documented, so it is always sent: `number` is a line's number.
    """

    sdk_app_id: int
    number: str
    call_in_interface: CallInInterface
    number_type: Literal["inner", "number"] = "number"


class BindNumberCallInInterface:
    """Fulfils `VendorOperation`. Sets a value, so it may be sent again; no API reads it back."""

    name = NAME
    writes = True
    when_unclear = WhenUnclear.APPLY_AGAIN
    present_read: PresentRead | None = None

    def __init__(self, account: TencentCccAccount) -> None:
        """Keep whose instance the number is in."""
        self._account = account

    def decide(self, wanted: Mapping[str, Json], seen: Seen | None, *, ours: bool) -> Move:  # noqa: ARG002 - nothing to see
        """Set it."""
        want = CallInWanted.model_validate(wanted)
        request = BindNumberCallInInterfaceRequest(
            sdk_app_id=self._account.sdk_app_id,
            number=to_stored(want.number),
            call_in_interface=CallInInterface(url=want.callback_url),
        )
        return Call(operation=NAME, account=self._account.name, body=request.body())

    async def judge(self, wanted: Mapping[str, Json], answer: Mapping[str, Json], call: Call) -> Outcome:  # noqa: ARG002 - the answer is empty
        """A positive answer has no field: the value is set."""
        number = CallInWanted.model_validate(wanted).number
        return Succeeded(result=Result.DONE, facts={"number": number, "bound": True})
