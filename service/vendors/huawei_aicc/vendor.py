"""The room's door: AICC's account model, its operations and calls one row each, and how a line is opened."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from service.application.ports import Clock, Credentials, VendorClient, VendorOperation
from service.domain.account import Account
from service.vendors.descriptor import DEFAULT_LIMITS, OnSecret, Vendor, ignore_secret
from service.vendors.http_exchange import ExchangeLimits, HttpExchange
from service.vendors.huawei_aicc import create_called_route, routes_read
from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from service.vendors.huawei_aicc.client import HuaweiAiccClient
from service.vendors.huawei_aicc.wire import HuaweiReply, NothingReply

OPERATIONS: tuple[str, ...] = (create_called_route.NAME,)
"""What a command may be."""

REPLIES: Mapping[str, type[HuaweiReply]] = {
    create_called_route.NAME: NothingReply,
    create_called_route.MODIFY: NothingReply,
    routes_read.NAME: routes_read.QueryCalledRouteReply,
}
"""Every call the room sends under a quota, with the model of its answer."""


def open_client(
    account: Account,
    session: aiohttp.ClientSession,
    clock: Clock,
    credentials: Credentials,  # noqa: ARG001 - no operation of this vendor fetches a password
    *,
    limits: ExchangeLimits = DEFAULT_LIMITS,
    on_secret: OnSecret = ignore_secret,
) -> VendorClient:
    """Make the account's client; see `OpenVendor`."""
    own = HuaweiAiccAccount.of(account)
    return HuaweiAiccClient(
        own,
        HttpExchange(session, limits, own.ca_file),
        clock=clock,
        operations=_operations(own),
        replies=REPLIES,
        on_secret=on_secret,
    )


def _operations(account: HuaweiAiccAccount) -> Mapping[str, VendorOperation]:
    """One row per entry of OPERATIONS."""
    rows: tuple[VendorOperation, ...] = (create_called_route.CreateCalledRoute(account, routes_read.RoutesRead()),)
    return {row.name: row for row in rows}


VENDOR = Vendor(
    name="huawei_aicc",
    account_model=HuaweiAiccAccount,
    operations=OPERATIONS,
    calls=tuple(REPLIES),
    looks={create_called_route.NAME: routes_read.NAME},
    open=open_client,
)
