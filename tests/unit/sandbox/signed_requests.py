"""Requests for the sandbox's vendors, signed and ready, without a network."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from service.sandbox.arrival import Arrival
from service.sandbox.clock import SandboxClock
from service.sandbox.configuration import HuaweiTenant, SandboxConfiguration, TencentAccount
from service.sandbox.exchange import Answer, Arrived, Call
from service.sandbox.faults import Draw
from service.sandbox.huawei_api import ROUTE_PATH, TOKEN_PATH, HuaweiApi
from service.sandbox.tencent_api import TencentApi
from service.sandbox.tencent_signature import Authorization, signature_of

SECRET_ID = "AKIDFAKEFAKEFAKE"
SECRET_KEY = "FakeSecretKeyForTestsOnly"  # FAKE
APP = 1400000000
APP_KEY = "FAKE-app-key"
APP_SECRET = "FAKE-app-secret"
START = 1_700_000_000.0

ACCOUNT = TencentAccount(secret_id=SECRET_ID, secret_key=SECRET_KEY, sdk_app_ids=(APP,))
TENANT = HuaweiTenant(app_key=APP_KEY, app_secret=APP_SECRET)
CONFIGURATION = SandboxConfiguration(tencent=(ACCOUNT,), huawei=(TENANT,), approval_seconds=None)


class SetClock:
    """Time that only the test moves; monotonic starts at 1000."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.slept: list[float] = []

    @property
    def clock(self) -> SandboxClock:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.passed += seconds

        return SandboxClock(monotonic=lambda: 1000.0 + self.passed, wall=lambda: START + self.passed, sleep=sleep)


def tencent_headers(
    action: str, body: bytes, *, timestamp: float = START, host: str = "127.0.0.1", secret_key: str = SECRET_KEY
) -> dict[str, str]:
    """The headers of a correctly signed request, by lower-case name; three headers signed."""
    headers = {
        "content-type": "application/json",
        "host": host,
        "x-tc-action": action,
        "x-tc-version": "2020-02-10",
        "x-tc-timestamp": str(int(timestamp)),
    }
    signed = ("content-type", "host", "x-tc-action")
    date = datetime.fromtimestamp(int(timestamp), UTC).strftime("%Y-%m-%d")
    parts = Authorization(secret_id=SECRET_ID, date=date, service="ccc", signed_headers=signed, signature="")
    signature = signature_of(parts, secret_key=secret_key, timestamp=int(timestamp), headers=headers, body=body)
    credential = f"{SECRET_ID}/{date}/ccc/tc3_request"
    headers["authorization"] = (
        f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(signed)}, Signature={signature}"
    )
    return headers


class TencentBench:
    """Tencent's door without a server."""

    def __init__(self, configuration: SandboxConfiguration = CONFIGURATION) -> None:
        self.time = SetClock()
        self.api = TencentApi(configuration, self.time.clock)

    def open(self, action: str, body: bytes, headers: Mapping[str, str], *, clock_offset: float = 0.0) -> Call:
        """Send bytes with exactly these headers to the door."""
        wall = START + self.time.passed
        arrived = Arrived(method="POST", path="/", headers=headers, body=body, arrival=Arrival(0.0), wall=wall)
        assert self.api.name_action(arrived) == headers.get("x-tc-action", "")
        return self.api.open(arrived, clock_offset=clock_offset)

    def answer(self, action: str, draw: Draw | None = None, **params: Any) -> Answer:
        """Send a well signed request and carry it out."""
        body = orjson.dumps(params)
        call = self.open(action, body, tencent_headers(action, body, timestamp=START + self.time.passed))
        return call.refusal or self.api.perform(call, draw or Draw())

    def result(self, action: str, draw: Draw | None = None, **params: Any) -> str:
        """``ok`` or the error code."""
        return self.answer(action, draw, **params).result

    def fields(self, action: str, draw: Draw | None = None, **params: Any) -> dict[str, Any]:
        """The fields of a successful response, without RequestId."""
        response = orjson.loads(self.answer(action, draw, **params).body)["Response"]
        assert "Error" not in response, response
        assert response.pop("RequestId")
        return dict(response)


class HuaweiBench:
    """Huawei's door without a server."""

    def __init__(self, configuration: SandboxConfiguration = CONFIGURATION) -> None:
        self.time = SetClock()
        self.api = HuaweiApi(configuration, self.time.clock)

    def open(self, path: str, body: Any, headers: Mapping[str, str]) -> Call:
        """Send a JSON body with these headers and a content type."""
        arrived = Arrived(
            method="POST",
            path=path,
            headers={"content-type": "application/json", **headers},
            body=body if isinstance(body, bytes) else orjson.dumps(body),
            arrival=Arrival(0.0),
            wall=START,
        )
        return self.api.open(arrived, clock_offset=0.0)

    def token_answer(self, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a token."""
        call = self.open(TOKEN_PATH, body, headers or {})
        return call.refusal or self.api.perform(call, Draw())

    def token(self, seconds: int = 600) -> str:
        """A good token."""
        answer = self.token_answer({"app_key": APP_KEY, "app_secret": APP_SECRET}, {"x-token-expire": str(seconds)})
        return str(orjson.loads(answer.body)["AccessToken"])

    def answer(self, action: str, body: Any, *, token: str | None = None, draw: Draw | None = None) -> Answer:
        """Send a request with a token (a fresh one unless given)."""
        call = self.open(ROUTE_PATH + action, body, {"authorization": f"Bearer {token or self.token()}"})
        return call.refusal or self.api.perform(call, draw or Draw())

    def routes(self, body: Any, draw: Draw | None = None) -> tuple[int, list[dict[str, Any]]]:
        """Query: total and the page."""
        data = orjson.loads(self.answer("queryCalledRoute", body, draw=draw).body)["data"]
        return int(data["total"]), list(data["calledRouteList"])


def with_site(site: str) -> SandboxConfiguration:
    """The usual configuration with the account on another site."""
    return replace(CONFIGURATION, tencent=(replace(ACCOUNT, site="intl" if site == "intl" else "cn"),))
