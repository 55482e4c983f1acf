"""Parsers of what vendors answer: every operation's replies, access tokens, and HTTP as it comes off the wire."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import aiohttp
import orjson
from hypothesis import strategies as st
from pydantic import SecretStr

from service.adapters.credentials_none import NoCredentials
from service.adapters.kafka_tokens import ClientCredentials, FetchedTokens, NoTokenError
from service.application.ports import VendorClient, VendorOperation
from service.domain.command import Command, CommandState, Plan
from service.domain.draft import Draft
from service.domain.ledger_state import Known
from service.domain.outcome import Answer, Call, ErrorClass, Failure, Outcome, Result, Seen, Succeeded
from service.domain.settling import Settling, SettlingPolicy, settle
from service.vendors.descriptor import Vendor
from service.vendors.http_exchange import ExchangeLimits, HttpReply, telling_before_writing
from service.vendors.huawei_aicc import client as huawei
from service.vendors.huawei_aicc.vendor import REPLIES as HUAWEI_REPLIES
from service.vendors.huawei_aicc.vendor import VENDOR as HUAWEI
from service.vendors.tencent_ccc import client as tencent
from service.vendors.tencent_ccc.vendor import REPLIES as TENCENT_REPLIES
from service.vendors.tencent_ccc.vendor import VENDOR as TENCENT
from tests.builders import CREATE, NOW, make_command, make_plan
from tests.fuzz.material import CANARY, Document, bent, documents, mangled, spelled, texts
from tests.fuzz.trial import Parser, Told
from tests.unit.vendors.doubles import SetClock, huawei_account, tencent_account

NUMBER: Final = "+862150001234"
PASSWORD: Final = "FAKE!password!of!a!phone"
JUDGED_AS: Final = {
    "tencent_ccc.ModifyExtension": "tencent_ccc.CreateExtension",
    "huawei_aicc.modifyCalledRoute": "huawei_aicc.createCalledRoute",
}
ROW: Final[Document] = {
    "ExtensionId": "1001",
    "FullExtensionId": "1001@example",
    "ExtensionName": CANARY,
    "SkillGroupId": "7, 8",
    "Relation": f"{CANARY}@example.com",
}
TENCENT_ANSWERS: Final[Mapping[str, Document]] = {
    "tencent_ccc.CreateExtension": {},
    "tencent_ccc.ModifyExtension": {},
    "tencent_ccc.DescribeExtensions": {"Total": 1, "ExtensionList": [ROW]},
    "tencent_ccc.DescribeExtension": {
        "ExtensionId": "1001",
        "ExtensionDomain": "pbx.example.com",
        "Password": PASSWORD,
        "OutboundProxy": "sip.example.com:5060",
        "Transport": "UDP",
    },
    "tencent_ccc.CreateOwnNumberApply": {"ApplyId": 4711},
    "tencent_ccc.DescribeNumbers": {"TotalCount": 1, "Numbers": [{"Number": "0086021 50001234", "State": 1}]},
    "tencent_ccc.BindNumberCallInInterface": {},
}
ROUTE: Final[Document] = {
    "id": 1234567890123456789,
    "accessCode": "4001",
    "extCode": "1",
    "devicetype": 1,
    "deviceId": 17,
    "mediaTypeId": 5,
    "editable": 0,
}
HUAWEI_ANSWERS: Final[Mapping[str, Document]] = {
    "huawei_aicc.createCalledRoute": {},
    "huawei_aicc.modifyCalledRoute": {},
    "huawei_aicc.queryCalledRoute": {"data": {"total": 1, "calledRouteList": [ROUTE]}},
}
WANTED: Final[Mapping[str, Document]] = {
    "tencent_ccc.CreateExtension": {"extension": "1001", "name": "Li Na", "email": "li.na@example.com"},
    "tencent_ccc.DescribeExtension": {"extension": "1001"},
    "tencent_ccc.CreateOwnNumberApply": {
        "number": NUMBER,
        "country": "CN",
        "sip_trunk_id": 11,
        "call_type": "both",
        "max_concurrent_calls": 10,
        "max_calls_per_second": 2,
    },
    "tencent_ccc.DescribeNumbers": {"number": NUMBER, "country": "CN"},
    "tencent_ccc.BindNumberCallInInterface": {
        "number": NUMBER,
        "country": "CN",
        "callback_url": "https://pbx.example.com/in",
    },
    "huawei_aicc.createCalledRoute": {
        "access_code": "4001",
        "ext_code": "1",
        "media_type": 5,
        "device_type": "skill_queue",
        "device_id": 17,
    },
}
"""What a command of each operation wants."""

_ERRORS: Final = tuple(
    {"Code": code, "Message": f"refused: {CANARY}"}
    for code in ("LimitExceeded.Extension", "AuthFailure.SignatureFailure", "InternalError", CANARY, "a." * 90)
)


def _tencent_bodies(operation: str) -> st.SearchStrategy[bytes]:
    answer = TENCENT_ANSWERS[operation]
    good = {"Response": {**answer, "RequestId": "req-1"}}
    refusals = [{"Response": {"Error": error, "RequestId": CANARY}} for error in _ERRORS]
    return documents(st.sampled_from([good, good, good, *refusals]))


def _huawei_bodies(operation: str) -> st.SearchStrategy[bytes]:
    good = {"returnCode": "0", "returnDesc": CANARY, **HUAWEI_ANSWERS[operation]}
    return documents(st.sampled_from([good, good, {**good, "returnCode": 0}, {**good, "returnCode": CANARY}]))


class _Vendor:
    """One account's operations, fed with replies instead of a network."""

    def __init__(self, vendor: Vendor, read: Callable[[HttpReply, str], Any]) -> None:
        self._read = read
        self.account = tencent_account() if vendor is TENCENT else huawei_account()
        self.client: VendorClient = vendor.open(self.account, None, SetClock(), NoCredentials())  # type: ignore[arg-type]

    async def judge(self, operation: str, reply: HttpReply) -> Told:
        """Read a reply to a call, and judge it as every operation would that makes the call."""
        found = self._read(reply, operation)
        if isinstance(found, Failure):
            return repr(found)
        told = [await self._judged(one, found, operation) for one in self.client.operations.values()]
        return "".join(told)

    async def _judged(self, one: VendorOperation, found: Answer, operation: str) -> str:
        wanted, shown = WANTED[one.name], ""
        if one.present_read is not None and one.present_read.operation == operation:

            async def send(_: Call) -> Answer:
                return found

            for look in await one.present_read.look(self.account, [wanted], send):
                moves = (
                    [one.decide(wanted, look, ours=ours) for ours in (True, False)] if isinstance(look, Seen) else []
                )
                shown += repr([move for move in (look, *moves) if isinstance(move, Failure)])
        if one.name == JUDGED_AS.get(operation, operation):
            outcome = await one.judge(wanted, found.body, Call(operation=operation, account="a", body={}))
            others = {name: value for name, value in found.body.items() if name != "Password"}
            assert PASSWORD not in repr(outcome) or PASSWORD in repr(others), "a password got out"
            shown += _settled(one, outcome)
        return shown


STEPS: Final = {
    "tencent_ccc.CreateExtension": "extension",
    "tencent_ccc.DescribeExtension": "registration",
    "tencent_ccc.CreateOwnNumberApply": "application",
    "tencent_ccc.DescribeNumbers": "approval",
    "tencent_ccc.BindNumberCallInInterface": "call_in",
    "huawei_aicc.createCalledRoute": "route",
}


def _settled(one: VendorOperation, outcome: Outcome) -> str:
    """Settle what was judged, up to the end of its plan: what follows from it can be stored and told."""
    plan = make_plan()
    step, name, before = STEPS[one.name], one.name, list[Command]()
    if step == "registration":
        before = [_command(plan, 0, "extension", CREATE, state=CommandState.SUCCEEDED, ended_at=NOW)]
    if step == "application" and isinstance(outcome, Succeeded):
        before = [_command(plan, 0, step, name, state=CommandState.SUCCEEDED, ended_at=NOW, facts=outcome.facts)]
        step, name, outcome = "approval", "tencent_ccc.DescribeNumbers", Succeeded(result=Result.DONE, facts={})
    sent = _command(plan, len(before), step, name, state=CommandState.IN_FLIGHT, first_at=NOW)
    draft = Draft(Known(plans={plan.id: plan}, commands=(*before, sent)), NOW + 1)
    settling = Settling(
        command=sent,
        outcome=outcome,
        writes=one.writes,
        sent=True,
        created=False,
        chance=0.5,
        policy=SettlingPolicy(),
        when_unclear=one.when_unclear,
        claimed_at=NOW,
    )
    settle(draft, settling)
    changes = draft.changes()
    for command in changes.commands:
        orjson.dumps(command.facts)
    told = b"".join(message.value or b"" for message in changes.outbox)
    assert PASSWORD.encode() not in told
    return repr(outcome) if isinstance(outcome, Failure) else ""


def _command(plan: Plan, number: int, step: str, operation: str, **fields: Any) -> Command:
    return make_command(plan, number, step=step, operation=operation, wanted=WANTED[operation], attempts=1, **fields)


@contextmanager
def _reading(vendor: Vendor, read: Callable[[HttpReply, str], Any], operation: str) -> Iterator[Callable[..., Told]]:
    with asyncio.Runner() as runner:
        account = _Vendor(vendor, read)
        yield lambda given: runner.run(account.judge(operation, _reply(*given)))


def _reply(status: int, body: bytes) -> HttpReply:
    return HttpReply(status=status, content_type="application/json", body=body)


def _tencent_verdict(reply: HttpReply, operation: str) -> Any:
    return tencent.read_verdict(reply, TENCENT_REPLIES[operation])


def _huawei_verdict(reply: HttpReply, operation: str) -> Any:
    return huawei.read_verdict(reply, HUAWEI_REPLIES[operation])


_statuses = st.sampled_from((*[200] * 40, 204, 301, 400, 401, 403, 404, 418, 429, 500, 502, 599, 999))


def _replies(operation: str) -> Parser[Any]:
    vendor, read, bodies = (
        (TENCENT, _tencent_verdict, _tencent_bodies)
        if operation.startswith("tencent")
        else (HUAWEI, _huawei_verdict, _huawei_bodies)
    )
    return Parser(
        name=f"reply to {operation.partition('.')[2]}",
        material=st.tuples(_statuses, bodies(operation)),
        opened=lambda: _reading(vendor, read, operation),
    )


# --- over a real connection -------------------------------------------------------------------------------------------

TOKEN: Final[Document] = {"AccessToken": "FAKE-token", "Expires": "3600", "RefreshToken": CANARY}
QUERY: Final = Call(operation="huawei_aicc.queryCalledRoute", account="acme_hw", body={"accessCode": "4001"})
LOOK: Final = Call(operation="tencent_ccc.DescribeExtensions", account="acme_cn", body={"ExtensionIds": ["1001"]})
LIMITS: Final = ExchangeLimits(connect_seconds=2.0, read_seconds=2.0, max_reply_bytes=64 * 1024)


def _http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + body


_HEADERS: Final = (
    f"Set-Cookie: a={CANARY}; Path=\x01",
    f"Location: http://{CANARY}/",
    "Content-Encoding: gzip",
    "Content-Encoding: nonsense",
    "Content-Type: application/json; charset=\x80",
    "Transfer-Encoding: chunked",
    "Content-Length: 1",
    "Content-Length: -5",
    f"X-{'a' * 9_000}: {CANARY}",
    "Connection: upgrade",
)
_whole = st.builds(
    _http,
    bent(st.just({"Response": {"RequestId": "r", "Total": 0}, "returnCode": "0", "data": {"total": 0}})).map(
        lambda document: spelled(document).encode("utf-8", "surrogatepass")
    ),
    st.sampled_from(("200 OK", "200 OK", "100 Continue", "204 No Content", "301 Moved", "500 Oops", f"200 {CANARY}")),
    *(st.sampled_from(("X-Nothing: here", *_HEADERS)) for _ in range(2)),
)
_on_the_wire = st.one_of(_whole, mangled(_whole), mangled(st.just(_http(b"{}"))), st.binary(max_size=100))


class _Impostor:
    """A vendor's host that answers every request with the bytes it was given, and hangs up."""

    def __init__(self) -> None:
        self.answers: Sequence[bytes] = ()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            await reader.readexactly(length)
            writer.write(self.answers[0] if b"tokenByAkSk" in head else self.answers[-1])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()


@contextmanager
def _wire(exchange: Callable[[str, aiohttp.ClientSession], Awaitable[Any]]) -> Iterator[Callable[..., Told]]:
    with asyncio.Runner() as runner:
        impostor = _Impostor()
        url = runner.run(impostor.open())

        async def once(answers: Sequence[bytes]) -> Told:
            impostor.answers = answers
            async with asyncio.timeout(10), _session() as session:
                found = await exchange(url, session)
            assert found is None or isinstance(found, Answer | Failure)
            return repr(found) if isinstance(found, Failure) else None

        yield lambda answers: runner.run(once(answers))
        runner.run(impostor.close())


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(trace_configs=[telling_before_writing()], cookie_jar=aiohttp.DummyCookieJar())


async def _ask_tencent(url: str, session: aiohttp.ClientSession) -> Any:
    client = TENCENT.open(tencent_account(base_url=url), session, SetClock(), NoCredentials(), limits=LIMITS)
    return await client.exchange(LOOK)


async def _ask_huawei(url: str, session: aiohttp.ClientSession) -> Any:
    account = huawei_account(base_url=url)
    client = HUAWEI.open(account, session, SetClock(), NoCredentials(), limits=LIMITS)
    try:
        return await client.prepare() or await client.exchange(QUERY)
    finally:
        await client.close()


async def _ask_for_a_brokers_token(url: str, _: aiohttp.ClientSession) -> Failure | None:
    credentials = ClientCredentials(url=url, client_id="cordboard", client_secret=SecretStr(CANARY))
    told: list[str] = []
    try:
        token = await FetchedTokens(credentials, told.append).token()
    except NoTokenError as trouble:
        return Failure(error_class=ErrorClass.RETRYABLE, code="none", message=repr(trouble))
    assert told == [token]
    assert token.isprintable()
    return None


@contextmanager
def _brokers_wire() -> Iterator[Callable[..., Told]]:
    context = ssl.create_default_context()  # once: reading the system's authorities takes longer than all the rest
    with patch.object(ssl, "create_default_context", lambda **_: context), _wire(_ask_for_a_brokers_token) as read:
        yield read


BROKERS_TOKEN: Final[Document] = {"access_token": "FAKE-token", "expires_in": 3600, "token_type": "bearer"}
_brokers_tokens = st.one_of(
    documents(st.just(BROKERS_TOKEN)).map(_http),
    texts.map(lambda text: _http(spelled({"access_token": text, "expires_in": 60}).encode())),
    _on_the_wire,
)
_tokens = st.one_of(
    documents(st.just(TOKEN)).map(_http),
    texts.map(lambda text: _http(spelled({"AccessToken": text, "Expires": 60}).encode())),
    documents(st.just(TOKEN)).map(lambda body: _http(body, "403 Forbidden")),
    _on_the_wire,
)
_good = _http(orjson.dumps({"returnCode": "0", "data": {"total": 0}}))

PARSERS: Final[tuple[Parser[Any], ...]] = (
    *(_replies(operation) for operation in (*TENCENT_REPLIES, *HUAWEI_REPLIES)),
    Parser(
        name="access token, on the wire",
        material=st.tuples(_tokens, st.just(_good)),
        opened=lambda: _wire(_ask_huawei),
    ),
    Parser(
        name="token for a broker, on the wire",
        material=st.tuples(_brokers_tokens),
        opened=_brokers_wire,
    ),
    Parser(name="HTTP of a vendor", material=st.tuples(_on_the_wire), opened=lambda: _wire(_ask_tencent)),
)
