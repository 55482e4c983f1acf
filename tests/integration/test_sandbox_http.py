"""The sandbox over HTTP: faults on the wire, the journal as the truth, the admin endpoints, the process."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from service.sandbox.clock import SandboxClock
from service.sandbox.configuration import SandboxConfiguration
from service.sandbox.journal import Entry, duplicate_effects, read_journal, utilisation, windows_over_quota
from service.sandbox.server import RunningSandbox, start_sandbox
from service.sandbox.tencent_api import MAX_BODY_BYTES
from tests.unit.sandbox.signed_requests import APP, APP_KEY, APP_SECRET, CONFIGURATION, START, SetClock, tencent_headers

HIRE: dict[str, Any] = {"SdkAppId": APP, "ExtensionId": "1001", "ExtensionName": "Ann"}
DETAIL = {"CallType": 2, "PhoneNumber": "02012345678", "MaxCallCount": 1, "MaxCallPSec": 1}
APPLY: dict[str, Any] = {"SdkAppId": APP, "SipTrunkId": 12, "DetailList": [DETAIL]}
STORED = "008602012345678"
ROUTES = "/apiaccess/rest/cc-management/v1/calledRoute/"


@dataclass(frozen=True)
class Bench:
    """A running sandbox whose clock the test moves, and a caller."""

    sandbox: RunningSandbox
    time: SetClock
    session: aiohttp.ClientSession

    async def tencent(self, action: str, params: dict[str, Any]) -> tuple[int, Any]:
        """Status and, from JSON, the error code (empty: success) of one signed request."""
        body = orjson.dumps(params)
        host = f"127.0.0.1:{self.sandbox.port}"
        headers = tencent_headers(action, body, timestamp=self.time.clock.wall(), host=host)
        async with self.session.post("/", data=BytesIO(body), headers=headers) as reply:
            if reply.content_type != "application/json":
                return reply.status, reply.content_type
            return reply.status, orjson.loads(await reply.read())["Response"].get("Error", {}).get("Code", "")

    async def huawei(self, action: str, params: dict[str, Any], token: str) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.session.post(ROUTES + action, json=params, headers=headers) as reply:
            return reply.status, (await reply.json())["returnCode"]

    async def token(self) -> str:
        keys = {"app_key": APP_KEY, "app_secret": APP_SECRET}
        async with self.session.post("/apigovernance/api/oauth/tokenByAkSk", json=keys) as reply:
            return str((await reply.json())["AccessToken"])

    async def admin(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        async with self.session.request(method, "/_sandbox/" + path, json=document) as reply:
            return reply.status, await reply.json()

    async def fault(self, **rule: Any) -> None:
        assert (await self.admin("PUT", "faults", {"rules": [rule]}))[0] == 200

    @property
    def last(self) -> Entry:
        return self.sandbox.journal.entries[-1]


Opener = Callable[[SandboxConfiguration], Awaitable[Bench]]


@pytest.fixture
async def opened() -> AsyncIterator[Opener]:
    benches: list[Bench] = []

    async def open_bench(configuration: SandboxConfiguration) -> Bench:
        time = SetClock()
        sandbox = await start_sandbox(configuration, clock=time.clock)
        benches.append(Bench(sandbox, time, aiohttp.ClientSession(sandbox.base_url)))
        return benches[-1]

    yield open_bench
    for bench in benches:
        await bench.session.close()
        await bench.sandbox.close()


@pytest.fixture
async def bench(opened: Opener) -> Bench:
    return await opened(CONFIGURATION)


# --- faults on the wire


@pytest.mark.parametrize(("kind", "applied"), [("reply_lost_before", False), ("reply_lost_after", True)])
async def test_lost_reply_closes_the_connection(bench: Bench, kind: str, applied: bool) -> None:
    await bench.fault(kind=kind, action="CreateExtension", count=1)
    with pytest.raises(aiohttp.ClientError):
        await bench.tencent("CreateExtension", HIRE)
    assert (bench.last.effect_applied, bench.last.reply, bench.last.fault) == (applied, "dropped", kind)
    expected = "InvalidParameterValue" if applied else ""
    assert await bench.tencent("CreateExtension", HIRE) == (200, expected)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"kind": "dberror_before"}, (200, "InternalError.DBError")),
        ({"kind": "http_502_before"}, (502, "text/html")),
        ({"kind": "http_before", "status": 504}, (504, "text/html")),
        ({"kind": "throttle"}, (200, "RequestLimitExceeded")),
        ({"kind": "error_before", "code": "OperationDenied.UinDisabled"}, (200, "OperationDenied.UinDisabled")),
        ({"kind": "expired_token"}, (200, "AuthFailure.TokenFailure")),
        ({"kind": "clock_offset", "seconds": 301}, (200, "AuthFailure.SignatureExpire")),
    ],
)
async def test_fault_before_applies_nothing(bench: Bench, rule: dict[str, Any], said: tuple[int, str]) -> None:
    await bench.fault(**rule, action="CreateExtension")
    assert await bench.tencent("CreateExtension", HIRE) == said
    assert not bench.last.effect_applied
    assert bench.sandbox.administration.state()["tencent_ccc"][str(APP)]["extensions"] == {}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"kind": "dberror_after"}, (200, "InternalError.DBError")),
        ({"kind": "http_502_after"}, (502, "text/html")),
        ({"kind": "error_after", "code": "InternalError"}, (200, "InternalError")),
        ({"kind": "latency", "seconds": 3}, (200, "")),
        ({"kind": "late_reply", "seconds": [3, 3]}, (200, "")),
    ],
)
async def test_fault_after_applies_and_hides_it(bench: Bench, rule: dict[str, Any], said: tuple[int, str]) -> None:
    await bench.fault(**rule, action="CreateExtension")
    assert await bench.tencent("CreateExtension", HIRE) == said
    assert (bench.last.effect, bench.last.natural_key) == ("created", f"extension:{APP}/1001")
    assert bench.time.slept == ([3.0] if "seconds" in rule else [])
    assert bench.last.reply == {"latency": "delayed", "late_reply": "late"}.get(rule["kind"], "sent")


async def test_request_whose_caller_gave_up_still_takes_effect() -> None:
    asleep, go_on = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await go_on.wait()

    sandbox = await start_sandbox(CONFIGURATION, clock=SandboxClock(wall=lambda: START, sleep=sleep))
    async with aiohttp.ClientSession(sandbox.base_url) as session:
        bench = Bench(sandbox, SetClock(), session)
        await bench.fault(kind="latency", seconds=60)
        asking = asyncio.create_task(bench.tencent("CreateExtension", HIRE))
        await asyncio.wait_for(asleep.wait(), 5)
        asking.cancel()
        await asyncio.wait({asking})
    go_on.set()
    async with asyncio.timeout(5):
        while not sandbox.journal.entries:  # noqa: ASYNC110  # the journal has no event to wait for
            await asyncio.sleep(0.01)
    assert (sandbox.journal.entries[0].effect, sandbox.journal.entries[0].reply) == ("created", "delayed")
    await sandbox.close()


async def test_truncated_body_ends_halfway(bench: Bench) -> None:
    await bench.fault(kind="truncated_body")
    with pytest.raises(aiohttp.ClientPayloadError):
        await bench.tencent("CreateExtension", HIRE)
    assert (bench.last.effect, bench.last.reply) == ("created", "truncated")


async def test_duplicate_create_lag_and_page_cap_are_switched_while_running(bench: Bench) -> None:
    assert await bench.tencent("CreateExtension", HIRE) == (200, "")
    for mode, said in (("success", ""), ("dberror", "InternalError.DBError"), ("error", "InvalidParameterValue")):
        await bench.fault(kind="duplicate_create", action="CreateExtension", mode=mode)
        assert await bench.tencent("CreateExtension", HIRE) == (200, said)
    await bench.fault(kind="read_lag", action="Describe*", seconds=1)
    assert await bench.tencent("DescribeExtension", {"SdkAppId": APP, "ExtensionId": "1001"}) == (
        200,
        "InternalError.DBError",
    )
    assert bench.last.fault == "read_lag"


async def test_huawei_tokens_expire_by_fault_and_by_the_admin(bench: Bench) -> None:
    token = await bench.token()
    assert await bench.huawei("queryCalledRoute", {}, token) == (200, "0")
    await bench.fault(kind="expired_token", action="queryCalledRoute", count=1)
    assert await bench.huawei("queryCalledRoute", {}, token) == (401, "401")
    assert await bench.huawei("queryCalledRoute", {}, token) == (401, "401")
    fresh = await bench.token()
    assert await bench.admin("POST", "tokens/expire") == (200, {"expired": 1})
    assert await bench.huawei("queryCalledRoute", {}, fresh) == (401, "401")


async def test_faults_are_shown_added_and_cleared(bench: Bench) -> None:
    await bench.fault(kind="throttle", action="CreateExtension", count=1)
    await bench.admin("POST", "faults", {"rules": [{"kind": "latency", "seconds": 1}]})
    await bench.tencent("CreateExtension", HIRE)
    rules = (await bench.admin("GET", "faults"))[1]["rules"]
    assert [(rule["kind"], rule["hits"]) for rule in rules] == [("throttle", 1), ("latency", 1)]
    assert await bench.admin("DELETE", "faults") == (200, {"rules": []})
    assert (await bench.admin("PUT", "faults", {"rules": [{"kind": "fire"}]}))[0] == 400
    assert (await bench.admin("PUT", "faults", {"rules": [], "seed": "x"}))[0] == 400


# --- quota


async def test_quota_holds_by_arrival_and_refuses_before_any_effect(opened: Opener) -> None:
    bench = await opened(replace(CONFIGURATION, quotas={"tencent_ccc": {"CreateExtension": 3}}))
    hires = [{**HIRE, "ExtensionId": f"100{i}"} for i in range(4)]
    codes = [(await bench.tencent("CreateExtension", hire))[1] for hire in hires]
    assert codes == ["", "", "", "RequestLimitExceeded"]
    assert (bench.last.quota, bench.last.effect_applied) == ("refused", False)
    bench.time.passed = 1.0
    assert await bench.tencent("CreateExtension", {**HIRE, "ExtensionId": "1003"}) == (200, "")
    entries = bench.sandbox.journal.entries
    assert len(windows_over_quota(entries, bench.sandbox.quotas.as_dict())) == 1
    assert utilisation(entries, "CreateExtension", 3) == pytest.approx(4 / 3)
    assert duplicate_effects(entries) == []


async def test_huawei_answers_429_over_its_quota(bench: Bench) -> None:
    token = await bench.token()
    said = [await bench.huawei("queryCalledRoute", {}, token) for _ in range(6)]
    assert said == [*[(200, "0")] * 5, (429, "429")]


async def test_quota_is_changed_while_running(bench: Bench) -> None:
    status, quotas = await bench.admin("PUT", "quotas", {"tencent_ccc": {"CreateExtension": 1}})
    assert (status, quotas["tencent_ccc"]["CreateExtension"]) == (200, 1)
    assert (await bench.admin("PUT", "quotas", {"tencent_ccc": {"CreateExtension": 0}}))[0] == 400
    await bench.tencent("CreateExtension", HIRE)
    assert await bench.tencent("CreateExtension", HIRE) == (200, "RequestLimitExceeded")


# --- journal, state, console


async def test_entry_is_there_before_the_answer(bench: Bench) -> None:
    await bench.fault(kind="late_reply", seconds=1, action="CreateExtension")
    seen: list[int] = []
    original = bench.time.slept

    class Witness(list[float]):
        def append(self, seconds: float) -> None:
            seen.append(bench.sandbox.journal.last_seq)
            original.append(seconds)

    bench.time.slept = Witness()
    await bench.tencent("CreateExtension", HIRE)
    assert seen == [1]


async def test_journal_is_read_from_a_point_on(bench: Bench) -> None:
    for extension_id in ("1001", "1002"):
        await bench.tencent("CreateExtension", {**HIRE, "ExtensionId": extension_id})
    _, page = await bench.admin("GET", "journal?after=1")
    (entry,) = page["entries"]
    assert page["last_seq"] == entry["seq"] == 2
    assert Entry.from_dict(entry).natural_key == f"extension:{APP}/1002"
    assert (await bench.admin("GET", "journal?after=x"))[0] == 400


async def test_every_refusal_has_an_entry(bench: Bench) -> None:
    async with bench.session.post("/", data=b"{}") as reply:
        assert reply.status == 200
    assert (bench.last.signature, bench.last.quota) == ("AuthFailure.InvalidAuthorization", "not_counted")
    async with bench.session.get("/nowhere") as reply:
        assert reply.status == 404
    assert (bench.last.vendor, bench.last.action, bench.last.status) == ("unknown", "GET /nowhere", 404)
    async with bench.session.post("/", data=BytesIO(b"x" * (MAX_BODY_BYTES + MAX_BODY_BYTES // 4))) as reply:
        assert reply.status == 413
    assert bench.last.result == "HTTP 413"


async def test_body_over_ten_megabytes_is_refused_in_the_vendors_words(bench: Bench) -> None:
    params = {**HIRE, "ExtensionName": "x" * MAX_BODY_BYTES}
    assert await bench.tencent("CreateExtension", params) == (200, "RequestSizeLimitExceeded")


async def test_cut_off_request_has_an_entry_and_no_effect(bench: Bench) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", bench.sandbox.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        while not bench.sandbox.journal.entries:  # noqa: ASYNC110  # the journal has no event to wait for
            await asyncio.sleep(0.01)
    assert (bench.last.status, bench.last.effect_applied) == (400, False)


async def test_person_approves_and_refuses(bench: Bench) -> None:
    for _ in range(2):
        await bench.tencent("CreateOwnNumberApply", APPLY)
    refused = await bench.admin("POST", "numbers/refuse", {"sdk_app_id": APP, "apply_id": 1})
    assert refused == (200, {"apply_id": 1, "verdict": "refuse"})
    assert (await bench.admin("POST", "numbers/approve", {"sdk_app_id": APP, "apply_id": 1}))[0] == 409
    approved = await bench.admin("POST", "numbers/approve", {"sdk_app_id": APP, "number": STORED})
    assert approved == (200, {"apply_id": 2, "verdict": "approve"})
    assert (bench.last.vendor, bench.last.effect, bench.last.natural_key) == (
        "console",
        "approved",
        f"number:{APP}/{STORED}",
    )
    for document, status in (
        ({"sdk_app_id": APP, "apply_id": 9}, 404),
        ({"sdk_app_id": 1, "apply_id": 1}, 404),
        ({"sdk_app_id": APP}, 400),
        ({"sdk_app_id": APP, "apply_id": 1, "number": STORED}, 400),
    ):
        assert (await bench.admin("POST", "numbers/approve", document))[0] == status
    assert (await bench.admin("POST", "numbers/ignore", {}))[0] == 404


async def test_state_shows_effects_and_secrets_are_apart(bench: Bench) -> None:
    await bench.tencent("CreateExtension", HIRE)
    token = await bench.token()
    await bench.huawei("createCalledRoute", {"accessCode": "9911", "devicetype": 1, "deviceId": 7}, token)
    _, state = await bench.admin("GET", "state")
    assert state["tencent_ccc"][str(APP)]["extensions"]["1001"]["name"] == "Ann"
    assert state["huawei_aicc"][APP_KEY][0]["accessCode"] == "9911"
    _, answer = await bench.admin("GET", "secrets")
    secrets = [secret.encode() for secret in answer["secrets"]]
    assert token.encode() in secrets
    assert len(secrets) == 4
    told = orjson.dumps([state, (await bench.admin("GET", "journal"))[1]])
    assert not any(secret in told for secret in secrets)


async def test_person_can_do_an_operation_at_the_console(bench: Bench) -> None:
    other = {**HIRE, "Relation": "someone.else@x.test"}
    act = {"vendor": "tencent_ccc", "account": "AKIDFAKEFAKEFAKE", "action": "CreateExtension", "params": other}
    assert (await bench.admin("POST", "console", act))[0] == 200
    assert (bench.last.vendor, bench.last.effect) == ("console", "created")
    assert await bench.tencent("CreateExtension", HIRE) == (200, "InvalidParameterValue")
    route = {"accessCode": "9911", "devicetype": 1, "deviceId": 7}
    act = {"vendor": "huawei_aicc", "account": APP_KEY, "action": "createCalledRoute", "params": route}
    assert (await bench.admin("POST", "console", act))[1]["returnCode"] == "0"
    editable = {"app_key": APP_KEY, "access_code": "9911", "editable": 3}
    assert await bench.admin("POST", "routes/editable", editable) == (200, {"editable": 3})
    _, state = await bench.admin("GET", "state")
    assert state["huawei_aicc"][APP_KEY][0]["editable"] == 3
    wanted = {"id": state["huawei_aicc"][APP_KEY][0]["id"], "devicetype": 1, "deviceId": 8}
    assert await bench.huawei("modifyCalledRoute", wanted, await bench.token()) == (200, "1")
    for wrong in ({**act, "account": "nobody"}, {**act, "action": "deleteAll"}):
        assert (await bench.admin("POST", "console", wrong))[0] == 404
    assert (await bench.admin("POST", "console", {**act, "vendor": "other"}))[0] == 400
    assert (await bench.admin("POST", "routes/editable", {**editable, "editable": 4}))[0] == 400
    assert (await bench.admin("POST", "routes/editable", {**editable, "access_code": "1"}))[0] == 404


async def test_strangers_are_kept_out_of_the_admin_endpoints(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.sandbox.administration.is_loopback", lambda request: False)
    assert (await bench.admin("GET", "state"))[0] == 403


async def test_request_still_delayed_at_the_end_is_journalled_as_dropped() -> None:
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.sleep(seconds)

    sandbox = await start_sandbox(CONFIGURATION, clock=SandboxClock(wall=lambda: START, sleep=sleep))
    async with aiohttp.ClientSession(sandbox.base_url) as session:
        bench = Bench(sandbox, SetClock(), session)
        await bench.fault(kind="latency", seconds=60)
        asking = asyncio.create_task(bench.tencent("CreateExtension", HIRE))
        await asyncio.wait_for(asleep.wait(), 5)
        await sandbox.close()
        with pytest.raises(aiohttp.ClientError):
            await asking
    (entry,) = sandbox.journal.entries
    assert (entry.effect_applied, entry.reply, entry.result) == (False, "dropped", "sandbox closed")


# --- the process


async def test_process_says_where_it_is_and_leaves_its_journal_behind(tmp_path: Path) -> None:
    config, journal = tmp_path / "sandbox.json", tmp_path / "journal.jsonl"
    config.write_bytes(orjson.dumps({"tencent": [], "huawei": [{"app_key": APP_KEY, "app_secret": APP_SECRET}]}))
    for run in (1, 2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service.sandbox", "--config", str(config), "--journal", str(journal)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        ready = orjson.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert ready["pid"] == process.pid
        async with aiohttp.ClientSession(ready["base_url"]) as session, session.get("/nowhere") as reply:
            assert reply.status == 404
        process.send_signal(signal.SIGKILL if run == 1 else signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == (-signal.SIGKILL if run == 1 else 0)
    assert [entry.seq for entry in read_journal(journal)] == [1, 2]


async def test_process_refuses_a_broken_configuration(tmp_path: Path) -> None:
    config = tmp_path / "sandbox.json"
    config.write_bytes(b'{"tencnt": []}')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service.sandbox", "--config", str(config)), stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, b"unknown tencnt" in said) == (2, True)
