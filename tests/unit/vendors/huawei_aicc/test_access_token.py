import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from service.domain.outcome import ErrorClass, Failure
from service.vendors.http_exchange import HttpReply
from service.vendors.huawei_aicc.access_token import AccessToken, AccessTokens
from tests.unit.vendors.doubles import (
    FAKE_APP_KEY,
    FAKE_APP_SECRET,
    Posted,
    ScriptedExchange,
    SetClock,
    huawei_account,
    json_reply,
)


def tokens_in_turn(lifetime: Any = "600", field: str = "Expires") -> Callable[[Posted], HttpReply]:
    count = 0

    def answer(_: Posted) -> HttpReply:
        nonlocal count
        count += 1
        return json_reply({"AccessToken": f"FAKE-token-{count}", "ApplyType": "Bearer", field: lifetime})

    return answer


def tokens(exchange: ScriptedExchange, clock: SetClock, **account: Any) -> AccessTokens:
    return AccessTokens(huawei_account(**account), exchange, clock)


def secret(token: AccessToken | Failure) -> str:
    assert isinstance(token, AccessToken)
    return token.secret.get_secret_value()


async def settled(exchange: ScriptedExchange, posts: int) -> None:
    """Give a fetch that runs beside its few turns of the loop."""
    async with asyncio.timeout(5):
        for _ in range(100):
            await asyncio.sleep(0)
    assert len(exchange.posts) == posts


async def test_token_is_asked_with_key_secret_and_lifetime() -> None:
    exchange = ScriptedExchange(tokens_in_turn())
    assert secret(await tokens(exchange, SetClock(), token_seconds=600).current()) == "FAKE-token-1"
    posted = exchange.posts[0]
    assert posted.url == "https://aicc.example.com/apigovernance/api/oauth/tokenByAkSk"
    assert posted.headers["X-Token-Expire"] == "600"
    assert orjson.loads(posted.body) == {"app_key": FAKE_APP_KEY, "app_secret": FAKE_APP_SECRET}


async def test_token_may_come_from_another_host() -> None:
    exchange = ScriptedExchange(tokens_in_turn())
    await tokens(exchange, SetClock(), token_base_url="https://tokens.example.com").current()  # FAKE host
    assert exchange.posts[0].url.startswith("https://tokens.example.com/apigovernance/")


async def test_all_who_wait_share_one_fetch() -> None:
    exchange = ScriptedExchange(tokens_in_turn())
    exchange.hold.clear()
    held = tokens(exchange, SetClock())
    waiting = [asyncio.create_task(held.current()) for _ in range(10)]
    await settled(exchange, posts=1)
    exchange.hold.set()
    assert {secret(token) for token in await asyncio.gather(*waiting)} == {"FAKE-token-1"}


async def test_one_who_gives_up_does_not_end_the_fetch_of_the_others() -> None:
    exchange = ScriptedExchange(tokens_in_turn())
    exchange.hold.clear()
    held = tokens(exchange, SetClock())
    first, second = asyncio.create_task(held.current()), asyncio.create_task(held.current())
    await settled(exchange, posts=1)
    first.cancel()
    await asyncio.wait({first})
    exchange.hold.set()
    assert secret(await second) == "FAKE-token-1"


@pytest.mark.parametrize(
    ("lifetime", "field", "asked", "renew_after", "ends_after"),
    [
        ("600", "Expires", 600, 480, 600),  # 80 % comes before 60 s early
        ("3600", "Expires", 3600, 2880, 3600),
        (200, "expiresIn", 600, 140, 200),  # 60 s early comes before 80 %
        ("100", "Expires", 600, 50, 100),  # never before half
        ("7200", "Expires", 600, 480, 600),  # never longer than asked
        (None, "Expires", 600, 480, 600),  # not given: as asked
    ],
)
async def test_token_is_renewed_early_and_never_used_past_its_end(
    lifetime: Any, field: str, asked: int, renew_after: int, ends_after: int
) -> None:
    exchange, clock = ScriptedExchange(tokens_in_turn(lifetime, field)), SetClock(1000.0)
    held = tokens(exchange, clock, token_seconds=asked)
    token = await held.current()
    assert isinstance(token, AccessToken)
    assert (token.renew_at, token.ends_at) == (1000.0 + renew_after, 1000.0 + ends_after)
    clock.at = token.ends_at
    assert secret(await held.current()) == "FAKE-token-2"


async def test_standing_token_serves_while_its_successor_is_fetched() -> None:
    exchange, clock = ScriptedExchange(tokens_in_turn()), SetClock(0.0)
    held = tokens(exchange, clock, token_seconds=600)
    await held.current()
    clock.at = 479.0
    assert secret(await held.current()) == "FAKE-token-1"
    assert len(exchange.posts) == 1
    exchange.hold.clear()
    clock.at = 480.0
    assert [secret(await held.current()) for _ in range(3)] == ["FAKE-token-1"] * 3
    await settled(exchange, posts=2)
    exchange.hold.set()
    await settled(exchange, posts=2)
    assert secret(await held.current()) == "FAKE-token-2"


async def test_failed_early_renewal_leaves_the_standing_token() -> None:
    answers = iter([json_reply({"AccessToken": "FAKE-token-1", "Expires": "600"}), json_reply({}, status=502)])
    exchange, clock = ScriptedExchange(lambda _: next(answers)), SetClock(0.0)
    held = tokens(exchange, clock, token_seconds=600)
    await held.current()
    clock.at = 500.0
    await held.current()
    await settled(exchange, posts=2)
    assert held._token is not None
    assert held._token.ends_at == 600.0


async def test_dropped_token_is_fetched_anew_but_only_once() -> None:
    exchange = ScriptedExchange(tokens_in_turn())
    held = tokens(exchange, SetClock())
    refused = await held.current()
    assert isinstance(refused, AccessToken)
    held.drop(refused)
    assert secret(await held.current()) == "FAKE-token-2"
    held.drop(refused)  # another request's late refusal of the old token
    assert secret(await held.current()) == "FAKE-token-2"


def failing(code: str) -> Failure:
    return Failure(error_class=ErrorClass.AMBIGUOUS, code=code, message="x")


@pytest.mark.parametrize(
    ("reply", "error_class", "code"),
    [
        (failing("ReadTimeout"), ErrorClass.RETRYABLE, "TokenReadTimeout"),
        (json_reply({}, status=400), ErrorClass.CREDENTIALS, "TokenHTTP400"),
        (json_reply({}, status=401), ErrorClass.CREDENTIALS, "TokenHTTP401"),
        (json_reply({}, status=403), ErrorClass.CREDENTIALS, "TokenHTTP403"),
        (json_reply({}, status=404), ErrorClass.CREDENTIALS, "TokenHTTP404"),
        (json_reply({}, status=429), ErrorClass.THROTTLED, "TokenHTTP429"),
        (json_reply({}, status=302), ErrorClass.RETRYABLE, "TokenHTTP302"),
        (json_reply({}, status=500), ErrorClass.RETRYABLE, "TokenHTTP500"),
        (json_reply({}, status=503), ErrorClass.RETRYABLE, "TokenHTTP503"),
        (json_reply({"returnCode": "9"}), ErrorClass.RETRYABLE, "TokenUnreadable"),
        (json_reply({"AccessToken": ""}), ErrorClass.RETRYABLE, "TokenUnreadable"),
        (json_reply({"AccessToken": "FAKE", "Expires": "soon"}), ErrorClass.RETRYABLE, "TokenUnreadable"),
        (HttpReply(status=200, content_type="text/html", body=b"<html>"), ErrorClass.RETRYABLE, "TokenUnreadable"),
    ],
)
async def test_failed_fetch_is_never_ambiguous_for_the_request_that_waits(
    reply: HttpReply | Failure, error_class: ErrorClass, code: str
) -> None:
    failure = await tokens(ScriptedExchange(lambda _: reply), SetClock()).current()
    assert isinstance(failure, Failure)
    assert (failure.error_class, failure.code) == (error_class, code)


async def test_answers_without_a_token_end_as_a_matter_of_credentials() -> None:
    failure = await tokens(ScriptedExchange(lambda _: json_reply({})), SetClock()).current()
    assert isinstance(failure, Failure)
    assert (failure.retries, failure.afterwards) == (2, ErrorClass.CREDENTIALS)


async def test_closing_ends_a_fetch_under_way() -> None:
    exchange = ScriptedExchange(tokens_in_turn())
    exchange.hold.clear()
    held = tokens(exchange, SetClock())
    waiting = asyncio.create_task(held.current())
    await settled(exchange, posts=1)
    await held.close()
    await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_repr_shows_no_secret() -> None:
    held = tokens(ScriptedExchange(tokens_in_turn()), SetClock())
    token = await held.current()
    shown = repr(held) + repr(token)
    assert not [value for value in ("FAKE-token-1", FAKE_APP_KEY, FAKE_APP_SECRET) if value in shown]


@pytest.mark.parametrize(
    "token", ["", "FAKE token", "FAKE\r\nX-Injected: 1", "FAKE\x00", "FÄKE", "F" * 4097, None, ["FAKE"]]
)
async def test_what_would_not_fit_into_a_header_is_no_token(token: object) -> None:
    exchange = ScriptedExchange(lambda _: json_reply({"AccessToken": token, "Expires": "600"}))
    failure = await tokens(exchange, SetClock()).current()
    assert isinstance(failure, Failure)
    assert failure.code == "TokenUnreadable"


async def test_a_lifetime_beyond_all_bounds_is_the_one_that_was_asked_for() -> None:
    exchange = ScriptedExchange(tokens_in_turn("9" * 400))
    token = await tokens(exchange, SetClock(now=0.0), token_seconds=600).current()
    assert isinstance(token, AccessToken)
    assert token.ends_at == 600


async def test_a_token_that_has_ended_already_is_none() -> None:
    failure = await tokens(ScriptedExchange(tokens_in_turn("0")), SetClock()).current()
    assert isinstance(failure, Failure)
    assert failure.code == "TokenUnreadable"
