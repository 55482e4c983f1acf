"""Doubles that the rooms' unit tests share: a clock that is set, an exchange and a sender that follow a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from service.domain.outcome import Answer, Call, Failure, Reply
from service.vendors.http_exchange import HttpExchange, HttpReply
from service.vendors.huawei_aicc.account import HuaweiAiccAccount
from service.vendors.tencent_ccc.account import TencentCccAccount

FAKE_SECRET_ID = "AKIDFAKEFAKEFAKE"
FAKE_SECRET_KEY = "FakeSecretKeyForTestsOnly"
FAKE_APP_KEY = "FAKE-app-key"
FAKE_APP_SECRET = "FAKE-app-secret"


def tencent_account(**changes: Any) -> TencentCccAccount:
    values = {
        "name": "acme_cn",
        "sdk_app_id": 1400000000,
        "secret_id": FAKE_SECRET_ID,
        "secret_key": FAKE_SECRET_KEY,
    }
    return TencentCccAccount.model_validate(values | changes)


def huawei_account(**changes: Any) -> HuaweiAiccAccount:
    values = {
        "name": "acme_hw",
        "base_url": "https://aicc.example.com",
        "app_key": FAKE_APP_KEY,
        "app_secret": FAKE_APP_SECRET,
    }
    return HuaweiAiccAccount.model_validate(values | changes)


class SetClock:
    """Stands still until told otherwise."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.at = now

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += max(0.0, seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Posted:
    url: str
    headers: Mapping[str, str]
    body: bytes


class ScriptedExchange(HttpExchange):
    """Answers each POST with what `answer` makes of it, after `hold` is released."""

    def __init__(self, answer: Callable[[Posted], HttpReply | Failure]) -> None:
        self._answer = answer
        self.posts: list[Posted] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, on_write: Callable[[], None] | None = None
    ) -> HttpReply | Failure:
        posted = Posted(url, headers, body)
        self.posts.append(posted)
        await self.hold.wait()
        return self._answer(posted)


def json_reply(value: Any, status: int = 200, content_type: str = "application/json") -> HttpReply:
    return HttpReply(status=status, content_type=content_type, body=orjson.dumps(value))


@dataclass
class ScriptedSend:
    """A `Send` that answers each call with the next of its script and keeps the calls."""

    script: Sequence[Mapping[str, Any] | Failure]
    calls: list[Call] = field(default_factory=list)

    async def __call__(self, call: Call) -> Reply:
        step = self.script[len(self.calls)]
        self.calls.append(call)
        return step if isinstance(step, Failure) else Answer(body=step, request_id="req-1")


@dataclass
class KeptCredentials:
    """A credentials port that remembers what it was given."""

    sealed: str = "a.b.c.d.e"
    given: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def seal(self, *, subject: str, account: str, extension: str, password: str) -> str:
        self.given.append((subject, account, extension, password))
        return self.sealed
