"""DescribeExtensions: which extensions stand at the vendor now, up to 20 ids a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from service.application.ports import Send
from service.domain.account import Account
from service.domain.outcome import Call, Failure, Json, Look, Seen
from service.domain.wanted import ExtensionWanted
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.listing import INCOMPLETE, Page, read_listing
from service.vendors.tencent_ccc.wire import TencentReply, TencentRequest
from service.vendors.wire_models import MaybeLabel

NAME = "tencent_ccc.DescribeExtensions"
MAX_IDS = 20
"""Ids asked in one call: a cautious bound, for neither a limit of ids nor a maximum page size is documented
(tencentcloud.com/document/product/1229/59750, read 2026-08)."""


class DescribeExtensionsRequest(TencentRequest):
    """`page_number` counts from 0."""

    sdk_app_id: int
    page_number: int
    page_size: int
    extension_ids: tuple[str, ...]


class ExtensionInfo(TencentReply):
    """One row. `skill_group_id` is one string of ids joined by commas; `relation` is mostly an e-mail."""

    extension_id: str
    full_extension_id: MaybeLabel = None
    extension_name: str | None = None
    skill_group_id: str | None = None
    relation: str | None = None


class DescribeExtensionsReply(TencentReply):
    """`total` counts all rows that match, over all pages."""

    total: int
    extension_list: tuple[ExtensionInfo, ...] | None = None


class ExtensionsRead:
    """Fulfils `PresentRead`; what it has seen has the fields of `seen_extension`."""

    operation = NAME
    batch = MAX_IDS

    async def look(self, account: Account, wanted: Sequence[Mapping[str, Json]], send: Send) -> Sequence[Look]:
        """Read the ids whole; where that fails, what was seen is there and the rest is unknown."""
        ids = tuple(ExtensionWanted.model_validate(one).extension for one in wanted)
        asked = tuple(dict.fromkeys(ids))
        found: dict[str, Look] = {}
        for start in range(0, len(asked), MAX_IDS):
            found |= await _read(TencentCccAccount.of(account), asked[start : start + MAX_IDS], send)
        return [found[one] for one in ids]


async def _read(account: TencentCccAccount, ids: tuple[str, ...], send: Send) -> dict[str, Look]:
    async def fetch(number: int) -> Page[ExtensionInfo] | Failure:
        request = DescribeExtensionsRequest(
            sdk_app_id=account.sdk_app_id, page_number=number, page_size=MAX_IDS, extension_ids=ids
        )
        reply = await send(Call(operation=NAME, account=account.name, body=request.body()))
        if isinstance(reply, Failure):
            return reply
        page = DescribeExtensionsReply.model_validate(reply.body)
        return Page(page.total, [(row.extension_id, row) for row in page.extension_list or ()])

    listing = await read_listing(fetch, max_pages=len(ids))
    trouble = listing.trouble or (None if listing.rows.keys() <= set(ids) else INCOMPLETE)
    return {one: _look(listing.rows.get(one), trouble) for one in ids}


def _look(row: ExtensionInfo | None, trouble: Failure | None) -> Look:
    if row is None:
        return trouble or Seen(None)
    return Seen(seen_extension(row))


def seen_extension(row: ExtensionInfo) -> Mapping[str, Json]:
    """A row in the room's own words; skill groups as a sorted list of texts."""
    groups = {part.strip() for part in (row.skill_group_id or "").split(",")} - {""}
    return {
        "extension": row.extension_id,
        "full_extension": row.full_extension_id,
        "name": row.extension_name or "",
        "email": row.relation or "",
        "skill_group_ids": sorted(groups),
    }
