"""DescribeNumbers: which numbers of the instance stand at the vendor now, and in which state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from service.application.ports import Send
from service.domain.account import Account
from service.domain.outcome import Call, ErrorClass, Failure, Json, Look, Seen
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.listing import Listing, Page, read_listing
from service.vendors.tencent_ccc.numbers import to_e164
from service.vendors.tencent_ccc.wire import TencentReply, TencentRequest

NAME = "tencent_ccc.DescribeNumbers"
LIVE = 1
MAX_PAGES = 1000
STATE_WORDS = {
    2: "suspended for arrears",
    4: "disabled by an administrator",
    5: "disabled for a violation",
}
"""tencentcloud.com/document/product/1229/59775, read 2026-08; 3 is not used by the vendor."""


class DescribeNumbersRequest(TencentRequest):
    """`page_number` counts from 0."""

    sdk_app_id: int
    page_number: int
    page_size: int


class NumberInfo(TencentReply):
    """One row; `number` comes as `0086` and the national shape."""

    number: str
    state: Annotated[int, Field(ge=0, le=9999)] | None = None


class DescribeNumbersReply(TencentReply):
    """`total_count` counts all numbers of the instance, over all pages."""

    total_count: int
    numbers: tuple[NumberInfo, ...] | None = None


class NumbersRead:
    """Fulfils `PresentRead`: the vendor can't be asked for one number, so one listing serves all that ask.

    What it has seen is `{"number": E.164, "state": int}`.
    """

    operation = NAME
    batch = 1000

    async def look(self, account: Account, wanted: Sequence[Mapping[str, Json]], send: Send) -> Sequence[Look]:
        """Read the listing whole; where that fails, what was seen is there and the rest is unknown."""
        own = TencentCccAccount.of(account)
        listing = await _read(own, send)
        by_number = {to_e164(row.number, own.country): row for row in listing.rows.values()}
        return [_look(str(one["number"]), by_number, listing) for one in wanted]


async def _read(account: TencentCccAccount, send: Send) -> Listing[NumberInfo]:
    async def fetch(number: int) -> Page[NumberInfo] | Failure:
        request = DescribeNumbersRequest(
            sdk_app_id=account.sdk_app_id, page_number=number, page_size=account.numbers_page_size
        )
        reply = await send(Call(operation=NAME, account=account.name, body=request.body()))
        if isinstance(reply, Failure):
            return reply
        page = DescribeNumbersReply.model_validate(reply.body)
        return Page(page.total_count, [(row.number, row) for row in page.numbers or ()])

    return await read_listing(fetch, max_pages=MAX_PAGES)


def _look(number: str, by_number: Mapping[str | None, NumberInfo], listing: Listing[NumberInfo]) -> Look:
    row = by_number.get(number)
    if row is None:
        return listing.trouble or Seen(None)
    return Seen({"number": number, "state": row.state})


def is_live(state: Mapping[str, Json]) -> bool:
    """State 1, or none given at all: the vendor lists a number once its form is approved."""
    return state["state"] in {LIVE, None}


def stopped(state: Mapping[str, Json]) -> Failure:
    """A number that the account has but that carries no calls: nothing we send changes that, a person must.

    Neither adopted (it is not live) nor a conflict (it is nobody else's), and not worth waiting for without end:
    the plan fails, says why, and its replay finds the number live once the vendor has lifted the stop.
    """
    code = state["state"]
    return Failure(
        error_class=ErrorClass.PERMANENT,
        code=f"NumberState{code}",
        message=f"the account has the number, but it is {STATE_WORDS.get(code, 'in a state we do not know')}",
        field="number",
    )
