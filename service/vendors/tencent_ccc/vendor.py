"""The room's door: TCCC's account model, its operations and calls one row each, and how a line is opened."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from service.application.ports import Clock, Credentials, VendorClient, VendorOperation
from service.domain.account import Account
from service.vendors.descriptor import DEFAULT_LIMITS, OnSecret, Vendor, ignore_secret
from service.vendors.http_exchange import ExchangeLimits, HttpExchange
from service.vendors.tencent_ccc import (
    await_number_live,
    bind_number_call_in_interface,
    create_extension,
    create_own_number_apply,
    describe_extension,
    extensions_read,
    numbers_read,
)
from service.vendors.tencent_ccc.account import TencentCccAccount
from service.vendors.tencent_ccc.client import TencentCccClient
from service.vendors.tencent_ccc.wire import NothingReply, TencentReply

OPERATIONS: tuple[str, ...] = (
    create_extension.NAME,
    describe_extension.NAME,
    create_own_number_apply.NAME,
    numbers_read.NAME,
    bind_number_call_in_interface.NAME,
)
"""What a command may be."""

REPLIES: Mapping[str, type[TencentReply]] = {
    create_extension.NAME: NothingReply,
    create_extension.MODIFY: NothingReply,
    extensions_read.NAME: extensions_read.DescribeExtensionsReply,
    describe_extension.NAME: describe_extension.DescribeExtensionReply,
    create_own_number_apply.NAME: create_own_number_apply.CreateOwnNumberApplyReply,
    numbers_read.NAME: numbers_read.DescribeNumbersReply,
    bind_number_call_in_interface.NAME: NothingReply,
}
"""Every call the room sends, with the model of its answer."""

LOOKS: Mapping[str, str] = {
    create_extension.NAME: extensions_read.NAME,
    create_own_number_apply.NAME: numbers_read.NAME,
    numbers_read.NAME: numbers_read.NAME,
}
"""Which call shows the present before an operation's own."""


def open_client(
    account: Account,
    session: aiohttp.ClientSession,
    clock: Clock,
    credentials: Credentials,
    *,
    limits: ExchangeLimits = DEFAULT_LIMITS,
    on_secret: OnSecret = ignore_secret,  # noqa: ARG001 - requests are signed, no token is fetched
) -> VendorClient:
    """Make the account's client; see `OpenVendor`."""
    own = TencentCccAccount.of(account)
    return TencentCccClient(
        own,
        HttpExchange(session, limits, own.ca_file),
        clock=clock,
        operations=_operations(own, credentials),
        replies=REPLIES,
    )


def _operations(account: TencentCccAccount, credentials: Credentials) -> Mapping[str, VendorOperation]:
    """One row per entry of OPERATIONS; what reads the same listing shares its reader."""
    numbers = numbers_read.NumbersRead()
    rows: tuple[VendorOperation, ...] = (
        create_extension.CreateExtension(account, extensions_read.ExtensionsRead()),
        describe_extension.DescribeExtension(account, credentials),
        create_own_number_apply.CreateOwnNumberApply(account, numbers),
        await_number_live.AwaitNumberLive(numbers),
        bind_number_call_in_interface.BindNumberCallInInterface(account),
    )
    return {row.name: row for row in rows}


VENDOR = Vendor(
    name="tencent_ccc",
    account_model=TencentCccAccount,
    operations=OPERATIONS,
    calls=tuple(REPLIES),
    looks=LOOKS,
    open=open_client,
)
