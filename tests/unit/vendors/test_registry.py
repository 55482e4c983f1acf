import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from service.application.ports import VendorClient, VendorOperation
from service.domain.account import Account
from service.vendors.registry import VENDORS
from tests.unit.vendors.doubles import KeptCredentials, SetClock, huawei_account, tencent_account

ACCOUNTS: dict[str, Account] = {"tencent_ccc": tencent_account(), "huawei_aicc": huawei_account()}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened
    await asyncio.sleep(0)


def test_every_vendor_is_listed_under_its_own_name() -> None:
    assert {name: vendor.name for name, vendor in VENDORS.items()} == {name: name for name in ACCOUNTS}


@pytest.mark.parametrize("name", VENDORS)
async def test_opened_client_has_a_row_for_every_operation(name: str, session: aiohttp.ClientSession) -> None:
    vendor = VENDORS[name]
    client: VendorClient = vendor.open(ACCOUNTS[name], session, SetClock(), KeptCredentials())
    assert tuple(client.operations) == vendor.operations
    for row_name, operation in client.operations.items():
        row: VendorOperation = operation
        assert row.name == row_name
        assert row_name.startswith(f"{name}.")
        look = None if row.present_read is None else row.present_read.operation
        assert look is None or look in vendor.calls
        assert vendor.looks.get(row_name) == look
    assert set(vendor.operations) <= set(vendor.calls)
    await client.close()


@pytest.mark.parametrize("name", VENDORS)
async def test_account_of_another_vendor_is_not_opened(name: str, session: aiohttp.ClientSession) -> None:
    other = next(account for vendor, account in ACCOUNTS.items() if vendor != name)
    with pytest.raises(TypeError):
        VENDORS[name].open(other, session, SetClock(), KeptCredentials())
