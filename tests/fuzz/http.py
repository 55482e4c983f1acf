"""Parsers of the HTTP API: every byte that a client can send, against the whole application over an open port.

An answer is one of the promised statuses, never a fault of ours; a refusal repeats nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from io import BytesIO
from typing import Any, Final
from urllib.parse import quote

from hypothesis import strategies as st

from service.adapters.metrics import MeteredTelemetry
from service.domain.ledger_state import Changes, Keys
from service.entrypoints.callers import Tokens, token_hash
from service.entrypoints.cli_server import Server, ServerError
from service.entrypoints.http_api import ROUTES, build_app
from service.entrypoints.http_server import listening
from service.entrypoints.moments import read_moment
from service.settings_sections import Role, TokenSettings
from tests.builders import NOW, make_command, make_plan
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess
from tests.fuzz.material import CANARY, Document, documents, mangled, raw, texts
from tests.fuzz.trial import Parser, Told, plain

TOKEN: Final = "cord_FAKE-token-of-the-fuzzer"
FAULTS: Final = frozenset({500, 501, 502})
PATIENCE: Final = 0.02
"""Seconds after which a request that gets no answer counts as unfinished, and the connection is ended."""
REASON: Final = "because it is so"
SELECTION: Final[Document] = {
    "ids": ["plan-000001"],
    "account": "acme_cn",
    "operation": "tencent_ccc.CreateExtension",
    "subject": "agent:realm/1",
    "error_class": "capacity",
    "code": "Limit*",
    "since": "2h",
    "until": "2030-01-01T00:00:00Z",
    "again": True,
}
BODIES: Final[tuple[tuple[str, Document], ...]] = (
    ("/v1/replays", {"selection": SELECTION, "rate": 5.5, "reason": REASON, "expected": 1}),
    ("/v1/replays/preview", {"selection": SELECTION, "rate": 1}),
    ("/v1/holds", {"account": "acme_cn", "operation": None, "subject": "agent:realm/1", "reason": REASON}),
    ("/v1/holds/{id}/release", {"reason": REASON}),
    ("/v1/commands/{id}/settle", {"outcome": "applied", "apply_id": "17", "reason": REASON}),
    ("/v1/quotas", {"account": "acme_cn", "operation": "tencent_ccc.CreateExtension", "rate": 3, "reason": REASON}),
    ("/v1/dead-letters/{id}/discard", {"reason": REASON}),
    (
        "/v1/dead-letters/{id}/resubmit",
        {"event": {"specversion": "1.0", "id": "e", "source": "s", "type": "t", "data": {}}, "reason": REASON},
    ),
    ("/v1/forget", {"subject": "agent:realm/1", "reason": REASON}),
)


def _request(method: str, target: bytes, headers: list[tuple[str, bytes]], body: bytes = b"") -> bytes:
    head = [f"{method} ".encode() + target + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close"]
    head += [name.encode() + b": " + value for name, value in headers]
    if body:
        head += [b"Content-Type: application/json", f"Content-Length: {len(body)}".encode()]
    return b"\r\n".join([*head, b"", b""]) + body


_authorization: Final = ("Authorization", f"Bearer {TOKEN}".encode())
_lines = st.one_of(texts.map(lambda text: text.encode("utf-8", "surrogatepass")), raw).map(
    lambda line: line.replace(b"\r", b"").replace(b"\n", b"")
)
_escaped = texts.map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe="").encode())
_known_ids = st.sampled_from((b"plan-000001", b"plan-000001-0", b"hr.events:0:17", b"%ff", b"%2e%2e", b"%00"))
_ids = st.one_of(*[_known_ids] * 8, _escaped, _lines)


@st.composite
def _queries(draw: st.DrawFn) -> bytes:
    route = draw(st.sampled_from([route for route in ROUTES if route.method == "GET" and route.path.startswith("/v1")]))
    known = [parameter.name for parameter in route.query] or ["nothing"]
    names = st.one_of(st.sampled_from(known), st.sampled_from(known), st.just("unknown"))
    numbers = st.one_of(st.integers(-1, 10**20).map(str), st.sampled_from(("2h", "\u0661", "1e3", "00", "9" * 30)))
    pairs = draw(st.lists(st.tuples(names, st.one_of(_escaped, numbers.map(lambda n: quote(n).encode()))), max_size=4))
    query = b"&".join(name.encode() + b"=" + value for name, value in pairs)
    return _request("GET", route.path.encode().replace(b"{id}", draw(_ids)) + b"?" + query, [_authorization])


_keys = _lines.map(lambda line: ("Idempotency-Key", line))


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    path, document = draw(st.sampled_from(BODIES))
    body = draw(documents(st.just(document)))
    keys = draw(st.one_of(*[st.just([])] * 4, st.lists(_keys, max_size=2)))
    return _request("POST", path.encode().replace(b"{id}", draw(_ids)), [_authorization, *keys], body)


_bearers = st.one_of(
    _lines.map(lambda line: b"Bearer " + line),
    _lines,
    mangled(st.just(b"Bearer " + CANARY.encode())),
    st.just(b"Basic " + CANARY.encode()),
).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
_authorizations = st.lists(_bearers.map(lambda line: ("Authorization", line)), max_size=2).map(
    lambda headers: _request("GET", b"/v1/commands", headers)
)
_any_requests = mangled(
    st.one_of(
        _bodies(),
        _queries(),
        st.just(_request("GET", b"/readyz", [("Cookie", CANARY.encode()), ("Transfer-Encoding", b"chunked")])),
        st.just(_request("PUT", b"http://other.example/livez", [("Expect", b"100-continue")], CANARY.encode())),
        raw,
    ),
    most=3,
)


def _ready() -> MeteredTelemetry:
    telemetry = MeteredTelemetry()
    for part in ("kafka", "ledger"):
        telemetry.health(part, ready=True)
    return telemetry


async def _served(stack: AsyncExitStack) -> int:
    ledger, plan = FakeLedger(), make_plan(1)
    changes = Changes(plans=(plan,), commands=(make_command(plan),))
    await ledger.transact(Keys(), lambda _: changes)
    tokens = Tokens({"fuzzer": TokenSettings(role=Role.OPERATOR, sha256=token_hash(TOKEN))})
    app = build_app(FakeProcess(ledger), _ready(), tokens)
    return await stack.enter_async_context(listening(app, host="127.0.0.1", port=0))


async def _answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        reading = asyncio.ensure_future(reader.read())
        done, _ = await asyncio.wait({reading}, timeout=PATIENCE)
        if not done:
            writer.close()
        async with asyncio.timeout(10):
            return await reading
    except ConnectionError:
        return b""
    finally:
        writer.close()


def _statuses(answers: bytes) -> list[int]:
    """Of each answer on the connection; their bodies are JSON, on one line."""
    lines = [line.split(b" ") for line in answers.split(b"\r\n") if line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))]
    return [int(line[1]) for line in lines]


@contextmanager
def _api() -> Iterator[Callable[[bytes], Told]]:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        port = runner.run(_served(stack))

        def ask(request: bytes) -> Told:
            answers = runner.run(_answer(port, request))
            statuses = _statuses(answers)
            assert not FAULTS & set(statuses), f"a fault of ours: {answers!r}"
            assert TOKEN.encode() not in answers
            return answers.decode("latin-1") if all(status >= 400 for status in statuses) else None

        yield ask
        runner.run(stack.aclose())


def _moment(text: str) -> Told:
    read = read_moment(text, NOW)
    assert read is None or abs(read) < 1e12
    return None


# --- what the command line reads of a server --------------------------------------------------------------------------


class _Socket:
    """As much of a socket as `http.client` reads an answer from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _: str) -> BytesIO:
        return BytesIO(self._content)


class _Answered(HTTPConnection):
    """A connection on which the answer is there already."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("127.0.0.1")
        self._answer = answer

    def request(self, *_: object, **__: object) -> None:
        """Send nothing."""

    def getresponse(self) -> HTTPResponse:
        """Read what is there."""
        response = HTTPResponse(_Socket(self._answer))  # type: ignore[arg-type]  # it needs no more of one
        response.begin()
        return response


def _document(answer: bytes) -> Told:
    server = Server("http://127.0.0.1:1", CANARY)
    server._open = lambda *_, **__: _Answered(answer)  # type: ignore[assignment]
    with suppress(ServerError):  # in the server's own words
        assert isinstance(server.get("/v1/commands"), dict)
    return None


PROBLEM: Final[Document] = {
    "type": "about:blank",
    "title": "Unprocessable",
    "status": 422,
    "detail": "wrong",
    "errors": [{"field": "reason", "message": "is missing"}, {"field": "", "message": "is too long"}],
}
PAGE: Final[Document] = {"items": [{"id": "cmd_1"}], "next": None}


def _written(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} Something\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


_answers = st.builds(
    _written,
    st.sampled_from((200, 202, 204, 301, 401, 404, 409, 422, 422, 422, 500, 503, 999)),
    documents(st.sampled_from((PROBLEM, PROBLEM, PAGE))),
)
_moments = st.one_of(
    texts,
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.from_regex("\\A[0-9\u0661]{1,8}[smhd]\\Z"),
    st.from_regex(
        r"\A[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}(:?[0-9]{2}){0,2}([.,][0-9]{1,9})?([+-][0-9]{2}:?[0-9]{2}|Z)\Z"
    ),
)

PARSERS: Final[tuple[Parser[Any], ...]] = (
    Parser(name="API, query and cursor", material=_queries(), opened=_api),
    Parser(name="API, body and key", material=_bodies(), opened=_api),
    Parser(name="API, authorization", material=_authorizations, opened=_api),
    Parser(name="API, any bytes", material=_any_requests, opened=_api),
    Parser(name="moment or age", material=_moments, opened=plain(_moment)),
    Parser(
        name="answer read by the CLI",
        material=st.one_of(_answers, mangled(_answers), raw),
        opened=plain(_document),
    ),
)
