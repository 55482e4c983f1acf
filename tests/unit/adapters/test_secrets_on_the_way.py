"""Secrets that are fetched on the way, tokens and passwords: hidden before anybody could write them down."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import aiohttp
import pytest
import structlog

from service.adapters import logs
from service.adapters.credentials_hidden import HiddenCredentials
from service.adapters.logs import configure_logging, register_secret
from service.adapters.redaction import MOST_PASSING, Redactor
from service.domain.outcome import Call, Failure
from service.vendors.http_exchange import HttpReply
from service.vendors.huawei_aicc.access_token import AccessTokens
from service.vendors.huawei_aicc.client import HuaweiAiccClient
from service.vendors.huawei_aicc.vendor import REPLIES
from service.vendors.registry import VENDORS
from tests.unit.vendors.doubles import (
    KeptCredentials,
    Posted,
    ScriptedExchange,
    SetClock,
    huawei_account,
    json_reply,
    tencent_account,
)

TOKEN = "FAKE-token-0123456789abcdef"
PASSWORD = "FAKE-sip-password-42"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the process would have written; logging is put back as it was."""
    root = logging.getLogger()
    before, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    monkeypatch.setattr(logs, "REDACTOR", Redactor())
    monkeypatch.setattr("sys.excepthook", lambda *_: None)
    stream = io.StringIO()
    configure_logging(stream)
    yield stream
    root.handlers[:], logging.raiseExceptions = before, raises
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def hide(secret: str) -> None:
    register_secret(secret, passing=True)


class CarelessExchange(ScriptedExchange):
    """Puts the headers of a request into the text of its error, as some clients do."""

    def __init__(self) -> None:
        super().__init__(self._reply)

    def _reply(self, posted: Posted) -> HttpReply | Failure:
        if "Authorization" in posted.headers:
            raise aiohttp.ClientError(f"can't send {dict(posted.headers)!r}")
        return json_reply({"AccessToken": TOKEN, "Expires": "600"})


async def test_token_in_the_text_of_an_exception_reaches_no_line(log: io.StringIO) -> None:
    client = HuaweiAiccClient(
        huawei_account(), CarelessExchange(), clock=SetClock(), operations={}, replies=REPLIES, on_secret=hide
    )
    call = Call(operation="huawei_aicc.queryCalledRoute", account="acme_hw", body={})
    with pytest.raises(aiohttp.ClientError, match=TOKEN) as raised:
        await client.exchange(call)
    error = raised.value
    structlog.stdlib.get_logger("cordboard").error("a call failed", reason=str(error), exc_info=error)
    logging.getLogger("some.library").error("a call failed", exc_info=error)
    assert log.getvalue().count("a call failed") == 2
    assert TOKEN not in log.getvalue()
    assert "***" in log.getvalue()


async def test_token_in_use_is_hidden_however_many_passwords_came_since(log: io.StringIO) -> None:
    tokens = AccessTokens(huawei_account(), CarelessExchange(), SetClock(), hide)
    await tokens.current()
    for number in range(2 * MOST_PASSING):
        hide(f"FAKE-password-{number:05d}")
    await tokens.current()
    logging.getLogger("some.library").error("refused: %s", TOKEN)
    assert TOKEN not in log.getvalue()


async def test_password_is_hidden_before_it_is_sealed(log: io.StringIO) -> None:
    class Careless(KeptCredentials):
        async def seal(self, *, subject: str, account: str, extension: str, password: str) -> str:
            logging.getLogger("some.library").error("sealing %r", password)
            return await super().seal(subject=subject, account=account, extension=extension, password=password)

    behind = Careless()
    hidden = HiddenCredentials(behind, hide)
    sealed = await hidden.seal(subject="agent:a/1", account="acme_cn", extension="1001", password=PASSWORD)
    assert sealed == behind.sealed
    assert behind.given == [("agent:a/1", "acme_cn", "1001", PASSWORD)]
    assert "sealing" in log.getvalue()
    assert PASSWORD not in log.getvalue()


async def test_every_room_takes_the_hook() -> None:
    async with aiohttp.ClientSession() as session:
        for name, account in (("tencent_ccc", tencent_account()), ("huawei_aicc", huawei_account())):
            client = VENDORS[name].open(account, session, SetClock(), KeptCredentials(), on_secret=hide)
            await client.close()
