"""Every operation of both rooms against the sandbox, which shares no code with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.application.ports import VendorClient
from service.domain.account import Account
from service.domain.outcome import Answer, Call, ErrorClass, Failure, NotYet, Outcome, Reply, Result, Seen, Succeeded
from service.sandbox.configuration import HuaweiTenant, SandboxConfiguration, TencentAccount
from service.sandbox.faults import FaultKind, FaultRule
from service.sandbox.server import RunningSandbox, start_sandbox
from service.vendors.http_exchange import ExchangeLimits
from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from service.vendors.registry import VENDORS
from service.vendors.tencent_ccc.account import TencentCccAccount
from tests.unit.vendors.doubles import KeptCredentials

KEY, SECRET, TOKEN = "AKIDFAKEFAKEFAKE", "FakeSecretKeyForTestsOnly", "FAKE-sts-token"
INTL_KEY, STS_KEY = "AKIDFAKEINTL", "AKIDFAKESTS"
APP_KEY, APP_SECRET = "FAKE-app-key", "FAKE-app-secret"
APP, INTL_APP = 1400000000, 1500000000
NUMBER = "+862012345678"
LIMITS = ExchangeLimits(connect_seconds=2, read_seconds=5)

CONFIGURATION = SandboxConfiguration(
    tencent=(
        TencentAccount(secret_id=KEY, secret_key=SECRET, sdk_app_ids=(APP,)),
        TencentAccount(secret_id=STS_KEY, secret_key=SECRET, sdk_app_ids=(APP,), token=TOKEN),
        TencentAccount(secret_id=INTL_KEY, secret_key=SECRET, sdk_app_ids=(INTL_APP,), site="intl"),
    ),
    huawei=(HuaweiTenant(app_key=APP_KEY, app_secret=APP_SECRET),),
    quotas={"tencent_ccc": {"default": 1000}, "huawei_aicc": {"default": 1000}},
    approval_seconds=None,
)


class MachineClock:
    """The real clocks, `ahead` seconds off the wall's."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Line:
    """An account's client, driven as the steps drive it: look, decide, send once, judge."""

    account: Account
    client: VendorClient
    sandbox: RunningSandbox
    credentials: KeptCredentials

    async def run(self, operation: str, wanted: Mapping[str, Any], *, ours: bool = False) -> Outcome:
        rule = self.client.operations[operation]
        seen = None
        if rule.present_read is not None:
            look = (await rule.present_read.look(self.account, [wanted], self.send))[0]
            if isinstance(look, Failure):
                return look
            seen = look
        move = rule.decide(wanted, seen, ours=ours)
        if not isinstance(move, Call):
            return move
        reply = await self.send(move)
        return await rule.judge(wanted, reply.body, move) if isinstance(reply, Answer) else reply

    async def send(self, call: Call) -> Reply:
        """As execution does: a token that takes its time is had before."""
        trouble = await self.client.prepare()
        return await self.client.exchange(call) if trouble is None else trouble

    def arrivals(self, action: str) -> int:
        return sum(1 for entry in self.sandbox.journal.after(0) if entry.action == action)

    def effects(self, action: str) -> int:
        return sum(1 for entry in self.sandbox.journal.after(0) if entry.action == action and entry.effect_applied)


@pytest.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    running = await start_sandbox(CONFIGURATION)
    yield running
    await running.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as opened:
        yield opened


class Lines:
    """Opens lines to the running sandbox."""

    def __init__(self, sandbox: RunningSandbox, session: aiohttp.ClientSession) -> None:
        self._sandbox = sandbox
        self._session = session

    def tencent(self, *, ahead: float = 0.0, **changes: Any) -> Line:
        values = {"name": "acme_cn", "sdk_app_id": APP, "secret_id": KEY, "secret_key": SECRET}
        values |= {"base_url": self._sandbox.base_url} | changes
        return self._open(TencentCccAccount.model_validate(values), ahead)

    def huawei(self, **changes: Any) -> Line:
        values = {"name": "acme_hw", "app_key": APP_KEY, "app_secret": APP_SECRET, "base_url": self._sandbox.base_url}
        return self._open(HuaweiAiccAccount.model_validate(values | changes), 0.0)

    def _open(self, account: Account, ahead: float) -> Line:
        credentials = KeptCredentials()
        client = VENDORS[account.vendor].open(account, self._session, MachineClock(ahead), credentials, limits=LIMITS)
        return Line(account, client, self._sandbox, credentials)


@pytest.fixture
def lines(sandbox: RunningSandbox, session: aiohttp.ClientSession) -> Lines:
    return Lines(sandbox, session)


CREATE = "tencent_ccc.CreateExtension"
DESCRIBE = "tencent_ccc.DescribeExtension"
APPLY = "tencent_ccc.CreateOwnNumberApply"
LIVE = "tencent_ccc.DescribeNumbers"
BIND = "tencent_ccc.BindNumberCallInInterface"
ROUTE = "huawei_aicc.createCalledRoute"

EXTENSION = {"extension": "1001", "name": "李伟 Li Wei", "email": "li@example.com", "skill_group_ids": [2, 1]}
APPLICATION = {
    "number": NUMBER,
    "country": "CN",
    "sip_trunk_id": 12,
    "call_type": "both",
    "max_concurrent_calls": 30,
    "max_calls_per_second": 5,
    "prefix": "123",
}
ROUTING = {"access_code": "9911411", "ext_code": "11", "media_type": 19, "device_type": "ivr", "device_id": 7}


def failed(outcome: Outcome) -> tuple[ErrorClass, str]:
    assert isinstance(outcome, Failure), outcome
    return outcome.error_class, outcome.code


def result(outcome: Outcome) -> Result:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result


async def test_extension_is_created_once_and_then_found_standing(lines: Lines) -> None:
    line = lines.tencent()
    assert result(await line.run(CREATE, EXTENSION)) is Result.DONE
    assert await line.run(CREATE, EXTENSION, ours=True) == Succeeded(
        result=Result.UNCHANGED,
        facts={"extension": "1001", "full_extension": f"1001@{APP}.tccc.qcloud.com"},
    )
    assert result(await line.run(CREATE, EXTENSION, ours=False)) is Result.ADOPTED
    assert line.effects("CreateExtension") == 1


async def test_extension_that_differs_is_modified_where_it_differs(lines: Lines) -> None:
    line = lines.tencent()
    await line.run(CREATE, EXTENSION)
    assert result(await line.run(CREATE, {**EXTENSION, "name": "Wei Li"}, ours=True)) is Result.DONE
    written = [entry.wanted for entry in line.sandbox.journal.after(0) if entry.action == "ModifyExtension"]
    assert written == [{"SdkAppId": APP, "ExtensionId": "1001", "ExtensionName": "Wei Li"}]


async def test_change_of_an_extension_modifies_the_given_fields_only_each_time(lines: Lines) -> None:
    line = lines.tencent()
    await line.run(CREATE, EXTENSION)
    last = {name: EXTENSION[name] for name in ("name", "email", "skill_group_ids")}
    await line.run(CREATE, {**EXTENSION, "name": "Changed by hand"}, ours=True)
    changes: list[dict[str, Any]] = [
        {"skill_group_ids": [3]},
        {"email": "wei@example.com"},
        {"email": "li@example.com"},
        {"email": "wei@example.com"},
    ]
    for change in changes:
        assert result(await line.run(CREATE, {"extension": "1001", **change, "last": last}, ours=True)) is Result.DONE
    assert result(await line.run(CREATE, {"extension": "1001", "last": last}, ours=True)) is Result.UNCHANGED
    written = [entry.wanted for entry in line.sandbox.journal.after(0) if entry.action == "ModifyExtension"][1:]
    key = {"SdkAppId": APP, "ExtensionId": "1001"}
    assert written == [
        {**key, "SkillGroupIds": [3]},
        {**key, "Relation": "wei@example.com"},
        {**key, "Relation": "li@example.com"},
        {**key, "Relation": "wei@example.com"},
    ]


async def test_absent_extension_without_a_name_is_created_from_what_was_applied_or_not_at_all(lines: Lines) -> None:
    line = lines.tencent()
    change = {"extension": "1001", "skill_group_ids": [3]}
    assert failed(await line.run(CREATE, change)) == (ErrorClass.INCOMPLETE, "missing:name")
    assert line.arrivals("CreateExtension") == 0
    last = {"name": "Li Wei", "email": "li@example.com", "skill_group_ids": [1]}
    assert result(await line.run(CREATE, {**change, "last": last})) is Result.DONE
    whole = {**change, "name": "Li Wei", "email": "li@example.com"}
    assert result(await line.run(CREATE, whole)) is Result.ADOPTED


async def test_extension_of_another_agent_is_left_alone(lines: Lines) -> None:
    line = lines.tencent()
    await line.run(CREATE, EXTENSION)
    outcome = await line.run(CREATE, {**EXTENSION, "email": "zhang@example.com"})
    assert failed(outcome) == (ErrorClass.CONFLICT, "ExtensionTaken")


async def test_many_extensions_are_read_at_once_over_capped_pages(lines: Lines) -> None:
    line = lines.tencent()
    every = [{**EXTENSION, "extension": str(1001 + i)} for i in range(6)]
    for one in every[:5]:
        await line.run(CREATE, one)
    line.sandbox.faults.add(FaultRule(kind=FaultKind.PAGE_CAP, size=2))
    before = line.arrivals("DescribeExtensions")
    read = line.client.operations[CREATE].present_read
    assert read is not None
    looks = await read.look(line.account, every, line.client.exchange)
    assert [getattr(look, "state", None) is not None for look in looks] == [True] * 5 + [False]
    assert line.arrivals("DescribeExtensions") - before == 3


async def test_registration_is_fetched_and_its_password_delivered(lines: Lines) -> None:
    line = lines.tencent()
    await line.run(CREATE, EXTENSION)
    outcome = await line.run(DESCRIBE, {"extension": "1001"})
    assert isinstance(outcome, Succeeded)
    assert outcome.facts == {
        "extension": "1001",
        "full_extension": f"1001@{APP}.tccc.qcloud.com",
        "domain": f"{APP}.tccc.qcloud.com",
        "outbound_proxy": "sip.tccc.qcloud.com:5061",
        "transport": "tls",
        "credential": "delivered",
    }
    [(_, account, extension, password)] = line.credentials.given
    assert (account, extension) == ("acme_cn", "1001")
    assert password in line.sandbox.administration.secrets()
    assert password not in repr(outcome)


async def test_number_is_applied_for_approved_and_bound(lines: Lines) -> None:
    line = lines.tencent()
    live = {"number": NUMBER, "country": "CN"}
    assert await line.run(LIVE, live) == NotYet()
    applied = await line.run(APPLY, APPLICATION)
    assert isinstance(applied, Succeeded)
    assert await line.run(LIVE, live) == NotYet()
    assert line.sandbox.administration.decide("approve", APP, number="02012345678") == int(applied.facts["apply_id"])
    assert result(await line.run(LIVE, live)) is Result.DONE
    assert result(await line.run(APPLY, APPLICATION)) is Result.ADOPTED
    bound = await line.run(BIND, {**live, "callback_url": "https://callback.example.com/in"})
    assert bound == Succeeded(result=Result.DONE, facts={"number": NUMBER, "bound": True})
    assert (line.effects("CreateOwnNumberApply"), line.effects("BindNumberCallInInterface")) == (1, 1)


async def test_long_listing_of_numbers_is_read_over_its_pages(lines: Lines) -> None:
    line = lines.tencent(numbers_page_size=2)
    for i in range(5):
        await line.run(APPLY, {**APPLICATION, "number": f"+86201234560{i}"})
        line.sandbox.administration.decide("approve", APP, number=f"0201234560{i}")
    before = line.arrivals("DescribeNumbers")
    assert result(await line.run(LIVE, {"number": "+862012345604", "country": "CN"})) is Result.DONE
    assert line.arrivals("DescribeNumbers") - before == 3


async def test_temporary_key_works_with_its_token_and_not_without(lines: Lines) -> None:
    assert result(await lines.tencent(secret_id=STS_KEY, token=TOKEN).run(CREATE, EXTENSION)) is Result.DONE
    refused = await lines.tencent(secret_id=STS_KEY).run(DESCRIBE, {"extension": "1001"})
    assert failed(refused) == (ErrorClass.RETRYABLE, "AuthFailure.TokenFailure")


async def test_international_site_works_alike(lines: Lines) -> None:
    line = lines.tencent(site="intl", secret_id=INTL_KEY, sdk_app_id=INTL_APP)
    assert result(await line.run(CREATE, EXTENSION)) is Result.DONE
    assert result(await line.run(APPLY, APPLICATION)) is Result.DONE


async def test_fields_of_the_china_site_are_taken_there(lines: Lines) -> None:
    line = lines.tencent(own_number_form={"caller_format_passthrough": True, "local_number_trim_ac": True})
    assert result(await line.run(APPLY, APPLICATION)) is Result.DONE


@pytest.mark.parametrize("ahead", [-400.0, 400.0])
async def test_wrong_host_clock_is_told_apart_from_a_wrong_key(lines: Lines, ahead: float) -> None:
    outcome = await lines.tencent(ahead=ahead).run(BIND, {"number": NUMBER, "country": "CN", "callback_url": "x"})
    assert failed(outcome) == (ErrorClass.RETRYABLE, "AuthFailure.SignatureExpire")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"secret_key": "FAKE-other"}, (ErrorClass.CREDENTIALS, "AuthFailure.SignatureFailure")),
        ({"secret_id": "AKIDFAKENOBODY"}, (ErrorClass.CREDENTIALS, "AuthFailure.SecretIdNotFound")),
        ({"sdk_app_id": 7}, (ErrorClass.PERMANENT, "InvalidParameterValue.InstanceNotExist")),
    ],
)
async def test_wrong_account_settings_are_classified(
    lines: Lines, changes: dict[str, Any], expected: tuple[ErrorClass, str]
) -> None:
    assert failed(await lines.tencent(**changes).run(CREATE, EXTENSION)) == expected


@pytest.mark.parametrize(
    ("rule", "expected", "effects"),
    [
        (FaultRule(kind=FaultKind.THROTTLE), (ErrorClass.THROTTLED, "RequestLimitExceeded"), 0),
        (FaultRule(kind=FaultKind.DBERROR_BEFORE), (ErrorClass.AMBIGUOUS, "InternalError.DBError"), 0),
        (FaultRule(kind=FaultKind.DBERROR_AFTER), (ErrorClass.AMBIGUOUS, "InternalError.DBError"), 1),
        (FaultRule(kind=FaultKind.HTTP_BEFORE), (ErrorClass.AMBIGUOUS, "HTTP502"), 0),
        (FaultRule(kind=FaultKind.HTTP_AFTER, status=504), (ErrorClass.AMBIGUOUS, "HTTP504"), 1),
        (FaultRule(kind=FaultKind.HTTP_AFTER, status=200), (ErrorClass.AMBIGUOUS, "NotJson"), 1),
        (FaultRule(kind=FaultKind.REPLY_LOST_BEFORE), (ErrorClass.AMBIGUOUS, "Disconnected"), 0),
        (FaultRule(kind=FaultKind.REPLY_LOST_AFTER), (ErrorClass.AMBIGUOUS, "Disconnected"), 1),
        (FaultRule(kind=FaultKind.TRUNCATED_BODY), (ErrorClass.AMBIGUOUS, "Truncated"), 1),
    ],
    ids=lambda value: value.kind.value if isinstance(value, FaultRule) else None,
)
async def test_fault_of_a_write_is_classified_and_never_repeated_below(
    lines: Lines, rule: FaultRule, expected: tuple[ErrorClass, str], effects: int
) -> None:
    line = lines.tencent()
    line.sandbox.faults.add(replace(rule, action="CreateExtension"))
    assert failed(await line.run(CREATE, EXTENSION)) == expected
    assert (line.arrivals("CreateExtension"), line.effects("CreateExtension")) == (1, effects)


async def test_route_is_created_once_modified_when_ours_and_never_taken(lines: Lines) -> None:
    line = lines.huawei()
    assert result(await line.run(ROUTE, ROUTING)) is Result.DONE
    assert result(await line.run(ROUTE, ROUTING, ours=True)) is Result.UNCHANGED
    assert result(await line.run(ROUTE, ROUTING)) is Result.ADOPTED
    assert failed(await line.run(ROUTE, {**ROUTING, "device_id": 8})) == (ErrorClass.CONFLICT, "RouteTaken")
    assert result(await line.run(ROUTE, {**ROUTING, "device_id": 8}, ours=True)) is Result.DONE
    assert result(await line.run(ROUTE, {**ROUTING, "device_id": 8})) is Result.ADOPTED
    assert (line.effects("createCalledRoute"), line.effects("modifyCalledRoute")) == (1, 1)
    assert line.arrivals("tokenByAkSk") == 1


async def test_route_beside_fuzzy_neighbours_is_absent_until_created(lines: Lines) -> None:
    line = lines.huawei()
    for ext_code in ("111", "211", "11*"):
        assert result(await line.run(ROUTE, {**ROUTING, "ext_code": ext_code})) is Result.DONE
    line.sandbox.faults.add(FaultRule(kind=FaultKind.PAGE_CAP, size=2))
    assert result(await line.run(ROUTE, ROUTING)) is Result.DONE
    assert result(await line.run(ROUTE, {**ROUTING, "ext_code": None})) is Result.DONE
    assert result(await line.run(ROUTE, {**ROUTING, "ext_code": None}, ours=True)) is Result.UNCHANGED


async def test_route_that_is_locked_is_a_conflict(lines: Lines) -> None:
    line = lines.huawei()
    await line.run(ROUTE, ROUTING)
    line.sandbox.administration.set_editable(APP_KEY, "9911411", "11", editable=3)
    outcome = await line.run(ROUTE, {**ROUTING, "device_id": 8}, ours=True)
    assert failed(outcome) == (ErrorClass.CONFLICT, "RouteNotEditable")


async def test_token_that_ended_mid_flight_is_renewed_for_the_next_try(lines: Lines) -> None:
    line = lines.huawei()
    assert result(await line.run(ROUTE, ROUTING)) is Result.DONE
    assert line.sandbox.administration.expire_tokens() == 1
    refused = await line.run(ROUTE, ROUTING, ours=True)
    assert failed(refused) == (ErrorClass.RETRYABLE, "HTTP401")
    assert isinstance(refused, Failure)
    assert (refused.retries, refused.afterwards) == (1, ErrorClass.CREDENTIALS)
    assert result(await line.run(ROUTE, ROUTING, ours=True)) is Result.UNCHANGED
    assert line.arrivals("tokenByAkSk") == 2


async def test_requests_at_the_same_time_share_one_token(lines: Lines) -> None:
    line = lines.huawei()
    routes = [{**ROUTING, "ext_code": str(i)} for i in range(8)]
    outcomes = await asyncio.gather(*(line.run(ROUTE, one) for one in routes))
    assert {result(outcome) for outcome in outcomes} == {Result.DONE}
    assert line.arrivals("tokenByAkSk") == 1


async def test_wrong_app_secret_is_a_matter_of_credentials(lines: Lines) -> None:
    outcome = await lines.huawei(app_secret="FAKE-other").run(ROUTE, ROUTING)
    error_class, code = failed(outcome)
    assert error_class is ErrorClass.CREDENTIALS
    assert code.startswith("TokenHTTP")


@pytest.mark.parametrize(
    ("rule", "expected", "effects"),
    [
        (FaultRule(kind=FaultKind.THROTTLE), (ErrorClass.THROTTLED, "HTTP429"), 0),
        (FaultRule(kind=FaultKind.DBERROR_AFTER), (ErrorClass.AMBIGUOUS, "HTTP500"), 1),
        (FaultRule(kind=FaultKind.HTTP_BEFORE, status=503), (ErrorClass.AMBIGUOUS, "HTTP503"), 0),
        (FaultRule(kind=FaultKind.REPLY_LOST_AFTER), (ErrorClass.AMBIGUOUS, "Disconnected"), 1),
    ],
    ids=lambda value: value.kind.value if isinstance(value, FaultRule) else None,
)
async def test_fault_of_a_route_write_is_classified(
    lines: Lines, rule: FaultRule, expected: tuple[ErrorClass, str], effects: int
) -> None:
    line = lines.huawei()
    line.sandbox.faults.add(replace(rule, action="createCalledRoute"))
    assert failed(await line.run(ROUTE, ROUTING)) == expected
    assert (line.arrivals("createCalledRoute"), line.effects("createCalledRoute")) == (1, effects)


async def test_duplicate_answer_of_a_create_is_unclear(lines: Lines) -> None:
    line = lines.huawei()
    move = line.client.operations[ROUTE].decide(ROUTING, Seen(None), ours=False)
    assert isinstance(move, Call)
    assert isinstance(await line.send(move), Answer)
    again = await line.send(move)
    assert isinstance(again, Failure)
    assert (again.error_class, again.code) == (ErrorClass.AMBIGUOUS, "returnCode:1")


async def test_vendor_that_is_not_there_is_retryable(lines: Lines, sandbox: RunningSandbox) -> None:
    tencent, huawei = lines.tencent(), lines.huawei()
    await sandbox.close()
    assert failed(await tencent.run(CREATE, EXTENSION)) == (ErrorClass.RETRYABLE, "ConnectRefused")
    assert failed(await huawei.run(ROUTE, ROUTING)) == (ErrorClass.RETRYABLE, "TokenConnectRefused")


async def test_secrets_may_come_from_files(lines: Lines, tmp_path: Path) -> None:
    for name, value in (("key", SECRET), ("token", TOKEN), ("app", APP_SECRET)):
        (tmp_path / name).write_text(f"{value}\n")
    tencent = lines.tencent(
        secret_id=STS_KEY,
        secret_key="",
        secret_key_file=str(tmp_path / "key"),
        token_file=str(tmp_path / "token"),
    )
    assert result(await tencent.run(CREATE, EXTENSION)) is Result.DONE
    huawei = lines.huawei(app_secret="", app_secret_file=str(tmp_path / "app"))
    assert result(await huawei.run(ROUTE, ROUTING)) is Result.DONE


def test_secret_file_that_is_empty_or_doubled_is_refused_without_an_echo(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "full").write_text(SECRET)
    values = {"name": "acme_cn", "sdk_app_id": APP, "secret_id": KEY}
    with pytest.raises(ValueError, match="must hold 1 to"):
        TencentCccAccount.model_validate({**values, "secret_key_file": str(tmp_path / "empty")})
    with pytest.raises(ValueError, match="not both") as caught:
        TencentCccAccount.model_validate({**values, "secret_key": "x", "secret_key_file": str(tmp_path / "full")})
    assert SECRET not in str(caught.value)
