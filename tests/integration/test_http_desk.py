"""The desk over HTTP: what each route does, refuses and shows to whom, and what is written down of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import jsonschema
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.adapters.metrics import MeteredTelemetry
from service.application.outbox_relay import OutboxRelay
from service.application.replaying import Selection
from service.domain.command import Lane
from service.entrypoints.callers import Tokens, token_hash
from service.entrypoints.http_api import ROUTES, build_app
from service.entrypoints.http_api_description import description
from service.settings_sections import Role, TokenSettings
from tests.builders import CHANGED, HIRED, PURCHASED, make_inbound
from tests.fakes.clock import VirtualClock
from tests.fakes.kafka import FakePublisher
from tests.fakes.process import FakeProcess
from tests.fakes.telemetry import RecordingTelemetry
from tests.front_desk import BAD_KEY, FULL, LOST, FrontDesk, asked, done, hire

Client = TestClient[web.Request, web.Application]
TOKENS: Final[Mapping[str, tuple[Role, str]]] = {
    "eve": (Role.VIEWER, "cord_FAKE-token-of-eve"),
    "ann": (Role.OPERATOR, "cord_FAKE-token-of-ann"),
    "bob": (Role.OPERATOR, "cord_FAKE-token-of-bob"),
}
NAME, EMAIL = "Canary Wang", "canary.wang@mail.example"
AGENT = "agent:workday/E1"
CREATE = "tencent_ccc.CreateExtension"
BROKEN: Mapping[str, Any] = {
    "specversion": "1.0",
    "type": HIRED,
    "id": "hire-9",
    "source": "urn:hr",
    "data": {"agent_id": "E9", "email": EMAIL, "extension": "1009"},
}
MENDED: Mapping[str, Any] = {**BROKEN, "data": {**BROKEN["data"], "name": NAME}}
DESCRIBED: Final = description(ROUTES)


@pytest.fixture
def front() -> FrontDesk:
    return FrontDesk(VirtualClock(), RecordingTelemetry())


@pytest.fixture
async def client(front: FrontDesk) -> AsyncIterator[Client]:
    tokens = Tokens({who: TokenSettings(role=role, sha256=token_hash(token)) for who, (role, token) in TOKENS.items()})
    process = FakeProcess(front.ledger, policy=front.policy, clock=front.clock)
    async with TestClient(TestServer(build_app(process, MeteredTelemetry(), tokens))) as client:
        yield client


async def ask(
    client: Client, method: str, path: str, body: object = None, who: str = "ann", status: int = 200, key: str = ""
) -> Any:
    """The answer's document, which must have the status, and be as the OpenAPI document says."""
    headers = {"Authorization": f"Bearer {TOKENS[who][1]}", **({"Idempotency-Key": key} if key else {})}
    content = None if body is None else orjson.dumps(body)
    headers |= {} if content is None else {"Content-Type": "application/json"}
    async with client.request(method, path, data=content, headers=headers) as response:
        assert response.status == status, await response.text()
        is_data = response.status < 300
        assert response.content_type == ("application/json" if is_data else "application/problem+json")
        document = orjson.loads(await response.read())
    validate(document, method, path.partition("?")[0], status)
    return document


def validate(document: object, method: str, path: str, status: int) -> None:
    """Hold an answer to the published description."""
    parts = path.split("/")
    named = next(
        name
        for name in DESCRIBED["paths"]
        if len(own := name.split("/")) == len(parts) and all(a in {b, "{id}"} for a, b in zip(own, parts, strict=True))
    )
    answer = DESCRIBED["paths"][named][method.lower()]["responses"][str(status)]
    schema = {**next(iter(answer["content"].values()))["schema"], "components": DESCRIBED["components"]}
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(document)


async def get(client: Client, path: str, who: str = "eve", status: int = 200) -> Any:
    return await ask(client, "GET", path, who=who, status=status)


async def post(client: Client, path: str, body: object, status: int = 200, **how: Any) -> Any:
    return await ask(client, "POST", path, body, status=status, **how)


def because(**fields: Any) -> dict[str, Any]:
    return {**fields, "reason": "because"}


async def acts(client: Client, kind: str = "") -> list[tuple[str, str, str]]:
    """What was written down: kind, who and why, the oldest first."""
    found = await get(client, f"/v1/acts{f'?kind={kind}' if kind else ''}", "ann")
    return [(act["kind"], act["actor"], act["reason"]) for act in reversed(found["items"])]


async def letter(front: FrontDesk) -> str:
    return await front.take_record(BROKEN, key=b"E9")


async def in_doubt(front: FrontDesk) -> str:
    await front.take(make_inbound(PURCHASED, "buy-1"))
    await front.settle("buy-1", "application", LOST)
    return front.step("buy-1", "application").id


# --- questions --------------------------------------------------------------------------------------------------------


async def test_failures_come_with_what_to_do(client: Client, front: FrontDesk) -> None:
    await front.fail(1, 2)
    (group,) = (await get(client, "/v1/failures"))["items"]
    assert (group["number"], group["operation"], group["replay_can_help"]) == (2, CREATE, True)
    assert "then replay" in group["advice"]
    assert group["first_at"] < group["last_at"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("code=LimitExceeded*", 1),
        ("code=LimitExceeded", 0),
        (f"code={FULL.code}", 1),
        ("error_class=capacity&account=acme_cn", 1),
        ("operation=planning", 0),
    ],
)
async def test_failures_are_filtered(client: Client, front: FrontDesk, query: str, found: int) -> None:
    await front.fail(1)
    assert len((await get(client, f"/v1/failures?{query}"))["items"]) == found


async def test_explain_says_in_sentences_what_happened(client: Client, front: FrontDesk) -> None:
    await front.fail(1)
    found = await get(client, f"/v1/explain?about={AGENT}")
    summary = "\n".join(found["summary"])
    for words in ("hire-1 from hr.events/0@1", "it failed: capacity LimitExceeded.Extension", "what to do: buy seats"):
        assert words in summary
    (trace,) = found["plans"]
    assert [step["state"] for step in trace["steps"]] == ["failed", "cancelled"]
    assert trace["wait"] is None


async def test_explain_says_what_is_waited_for_and_who_ends_it(client: Client, front: FrontDesk) -> None:
    await front.take(hire(1, effective_at="2027-02-01"))
    found = await get(client, f"/v1/explain?about={AGENT}")
    assert found["plans"][0]["wait"]["cause"] == "effective_date"
    assert "who ends that: nobody" in found["summary"][-1]
    assert "2027-02-01T00:00:00+08:00 Asia/Shanghai" in found["summary"][-1]


async def test_explain_says_why_nothing_was_done(client: Client, front: FrontDesk) -> None:
    await front.take(hire(1, account="nobody"))
    found = await get(client, "/v1/explain?about=hire-1")
    assert "nothing, because" in found["summary"][0]


async def test_explain_names_what_went_ahead(client: Client, front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.complete("hire-1")
    await front.take(make_inbound(CHANGED, "change-1", data={"name": "Old"}))
    await front.settle("change-1", "extension", FULL)
    await front.take(make_inbound(CHANGED, "change-2", data={"name": "New"}))
    await front.complete("change-2")
    found = await get(client, "/v1/explain?about=change-1")
    assert found["plans"][0]["overtaken_by"] == [front.plan("change-2").id]
    assert any("later events went ahead" in sentence for sentence in found["summary"])


@pytest.mark.parametrize("query", ["?about=nobody", "?about=agent:workday/E9", "?about=urn:x:1", ""])
async def test_what_nobody_knows_is_not_found_and_says_what_to_ask_for(client: Client, query: str) -> None:
    problem = await get(client, f"/v1/explain{query}", status=404)
    assert "Ask for a command or plan id" in problem["detail"]


async def test_events_are_paged_the_newest_first(client: Client, front: FrontDesk) -> None:
    await front.take(*[hire(number) for number in range(1, 6)])
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await get(client, f"/v1/events?limit=2{f'&after={after}' if after else ''}")
        found += [item["id"] for item in page["items"]]
        after = page["next"]
    assert found == [f"hire-{number}" for number in range(5, 0, -1)]
    (one,) = (await get(client, f"/v1/events?subject={AGENT}"))["items"]
    assert (one["topic"], one["partition"], one["offset"]) == ("hr.events", 0, 1)


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=2027-01-01T00:00:00", "after=x", "limit=0", "since=", "type=a&type=b"]
)
async def test_questions_that_make_no_sense_are_told_so(client: Client, query: str) -> None:
    await get(client, f"/v1/events?{query}", status=400)


async def test_forecast_takes_more_hires_and_holds(client: Client, front: FrontDesk) -> None:
    await front.take(hire(1), hire(2))
    found = await get(client, "/v1/forecast?hires=100&account=acme_cn")
    assert found["hires"] == 100
    creates = next(queue for queue in found["queues"] if queue["operation"] == CREATE)
    assert creates["backlog"] == {Lane.LIVE: 102}
    assert found["empty_in_seconds"] == pytest.approx(102 / 20 * 1.015, abs=0.001)
    await post(client, "/v1/holds", because(account="acme_cn"))
    held = await get(client, "/v1/forecast")
    assert [(queue["held"], queue["backlog"]) for queue in held["queues"]] == [(2, {}), (2, {})]
    await get(client, "/v1/forecast?account=nobody", status=404)


# --- holds ------------------------------------------------------------------------------------------------------------


async def test_hold_and_release(client: Client) -> None:
    held = await post(client, "/v1/holds", because(account="acme_cn", operation=CREATE))
    assert (held["kind"], held["actor"], held["released_at"]) == ("hold", "ann", None)
    assert [one["id"] for one in (await get(client, "/v1/holds"))["items"]] == [held["id"]]
    released = await post(client, f"/v1/holds/{held['id']}/release", because(), who="bob")
    assert released["released_at"] is not None
    assert (await get(client, "/v1/holds"))["items"] == []
    assert [one["id"] for one in (await get(client, "/v1/holds?state=released"))["items"]] == [held["id"]]
    assert await acts(client) == [("hold", "ann", "because"), ("release", "bob", "because")]


@pytest.mark.parametrize(
    "body", [because(), {"account": "acme_cn"}, because(account=""), {"account": "a", "reason": "x"}]
)
async def test_hold_without_scope_or_reason_can_not_be_processed(client: Client, body: dict[str, Any]) -> None:
    await post(client, "/v1/holds", body, 422)
    assert await acts(client) == []


async def test_hold_that_is_released_or_unknown(client: Client) -> None:
    held = await post(client, "/v1/holds", because(subject=AGENT))
    await post(client, f"/v1/holds/{held['id']}/release", because())
    problem = await post(client, f"/v1/holds/{held['id']}/release", because(), 409)
    assert problem["detail"] == "it was released before"
    await post(client, "/v1/holds/hold_x/release", because(), 404)
    await post(client, f"/v1/holds/{held['id']}/release", {}, 422)


async def test_quarantine_is_listed_and_released(client: Client, front: FrontDesk) -> None:
    await front.take(hire(1))
    await front.settle("hire-1", "extension", BAD_KEY)
    (sick,) = (await get(client, "/v1/holds"))["items"]
    assert (sick["kind"], sick["account"], sick["actor"]) == ("quarantine", "acme_cn", "cordboard")
    await post(client, f"/v1/holds/{sick['id']}/release", because())
    assert len(front.told("account.recovered")) == 1


# --- doubts -----------------------------------------------------------------------------------------------------------


async def test_doubt_is_settled_with_what_the_vendor_gave(client: Client, front: FrontDesk) -> None:
    command_id = await in_doubt(front)
    body = because(outcome="applied", apply_id="4711")
    story = await post(client, f"/v1/commands/{command_id}/settle", body)
    assert (story["id"], story["state"], story["facts"]["apply_id"]) == (command_id, "succeeded", "4711")
    assert story["history"][-1]["actor"] == "ann"
    assert await acts(client) == [("settle", "ann", "because")]


async def test_doubt_that_was_not_applied_is_sent_again(client: Client, front: FrontDesk) -> None:
    command_id = await in_doubt(front)
    story = await post(client, f"/v1/commands/{command_id}/settle", because(outcome="not_applied"))
    assert story["state"] == "pending"
    problem = await post(client, f"/v1/commands/{command_id}/settle", because(outcome="not_applied"), 409)
    assert problem["detail"] == "it is not in doubt: it is pending"


@pytest.mark.parametrize(
    "body",
    [
        {"outcome": "applied"},
        because(outcome="perhaps"),
        because(),
        because(outcome="applied", apply_id="x"),
        because(outcome="not_applied", apply_id="77"),
    ],
)
async def test_word_that_is_none_can_not_be_processed(client: Client, front: FrontDesk, body: dict[str, Any]) -> None:
    command_id = await in_doubt(front)
    await post(client, f"/v1/commands/{command_id}/settle", body, 422)
    assert front.states("buy-1")[0] == "in_doubt"


async def test_command_that_nobody_knows_is_not_settled(client: Client) -> None:
    await post(client, "/v1/commands/cmd_x/settle", because(outcome="applied"), 404)


# --- quotas -----------------------------------------------------------------------------------------------------------


async def test_quota_is_changed_and_goes_back(client: Client) -> None:
    changed = await post(client, "/v1/quotas", because(account="acme_cn", operation=CREATE, rate=5))
    assert (changed["configured"], changed["changed_to"], changed["actor"]) == (20.0, 5.0, "ann")
    listed = (await get(client, "/v1/quotas"))["items"]
    assert changed in listed
    assert {quota["changed_to"] for quota in listed if quota != changed} == {None}
    back = await post(client, "/v1/quotas", because(account="acme_cn", operation=CREATE, rate=None))
    assert back["changed_to"] is None
    assert await acts(client) == [("quota", "ann", "because")] * 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (because(account="nobody", operation=CREATE, rate=5), 404),
        (because(account="acme_cn", operation="tencent_ccc.Nothing", rate=5), 404),
        (because(account="acme_cn", operation="huawei_aicc.createCalledRoute", rate=5), 404),
        (because(account="acme_cn", operation=CREATE, rate=0), 422),
        (because(account="acme_cn", operation=CREATE, rate=-1), 422),
        (because(account="acme_cn", operation=CREATE, rate=1e9), 422),
        (because(account="acme_cn", operation=CREATE), 422),
        ({"account": "acme_cn", "operation": CREATE, "rate": 5}, 422),
    ],
)
async def test_quota_that_can_not_be_changed(client: Client, body: dict[str, Any], status: int) -> None:
    await post(client, "/v1/quotas", body, status)
    assert await acts(client) == []


# --- dead letters -----------------------------------------------------------------------------------------------------


async def test_dead_letter_is_read_mended_and_taken_in(client: Client, front: FrontDesk) -> None:
    letter_id = await letter(front)
    (listed,) = (await get(client, "/v1/dead-letters?state=open"))["items"]
    assert (listed["id"], listed["reason"], listed["field"]) == (letter_id, "invalid_field", "data.name")
    content = await get(client, f"/v1/dead-letters/{letter_id}", "ann")
    assert orjson.loads(content["value"]) == BROKEN
    made = await post(client, f"/v1/dead-letters/{letter_id}/resubmit", because(event=MENDED))
    plan = await get(client, f"/v1/plans/{made['plan_id']}")
    assert (plan["event"]["offset"], plan["state"]) == (17, "open")
    assert (await get(client, "/v1/dead-letters?state=open"))["items"] == []
    assert await acts(client) == [("reveal", "ann", "read a dead letter"), ("resubmitted", "ann", "because")]


async def test_dead_letter_is_set_aside(client: Client, front: FrontDesk) -> None:
    letter_id = await letter(front)
    closed = await post(client, f"/v1/dead-letters/{letter_id}/discard", because())
    assert (closed["state"], closed["closed_at"] is None) == ("discarded", False)
    for verb, body in (("discard", because()), ("resubmit", because(event=MENDED))):
        problem = await post(client, f"/v1/dead-letters/{letter_id}/{verb}", body, 409)
        assert problem["detail"] == "it was discarded before"


async def test_what_is_still_wrong_says_where(client: Client, front: FrontDesk) -> None:
    letter_id = await letter(front)
    problem = await post(client, f"/v1/dead-letters/{letter_id}/resubmit", because(event=BROKEN), 422)
    assert "data.name" in problem["detail"]
    assert EMAIL not in str(problem)
    assert await acts(client) == []


@pytest.mark.parametrize("body", [because(), because(event=[]), because(event="x"), {"event": {}}])
async def test_what_is_no_event_can_not_be_processed(client: Client, front: FrontDesk, body: dict[str, Any]) -> None:
    letter_id = await letter(front)
    await post(client, f"/v1/dead-letters/{letter_id}/resubmit", body, 422)


async def test_dead_letter_that_nobody_knows(client: Client) -> None:
    for letter_id in ("hr.events:0:99", "x"):
        await get(client, f"/v1/dead-letters/{letter_id}", "ann", 404)
        await post(client, f"/v1/dead-letters/{letter_id}/discard", because(), 404)
        await post(client, f"/v1/dead-letters/{letter_id}/resubmit", because(event=MENDED), 404)
    assert await acts(client) == [], "nobody looked at anything"


async def test_event_known_with_other_content_is_refused(client: Client, front: FrontDesk) -> None:
    letter_id = await letter(front)
    await front.take(hire(9, name="Somebody Else"))
    problem = await post(client, f"/v1/dead-letters/{letter_id}/resubmit", because(event=MENDED), 409)
    assert "seen before" in problem["detail"]


async def test_dead_letter_that_is_no_text_is_told_without_it(client: Client, front: FrontDesk) -> None:
    letter_id = await front.take_record(b"\x00\xff\xfe", key=b"\xff")
    content = await get(client, f"/v1/dead-letters/{letter_id}", "ann")
    assert (content["key"], content["value"], content["size"]) == (None, None, 3)


# --- forgetting -------------------------------------------------------------------------------------------------------


async def finished(front: FrontDesk) -> None:
    await front.take(hire(1, name=NAME, email=EMAIL))
    await front.complete("hire-1")
    relay = OutboxRelay(ledger=front.ledger, publisher=FakePublisher(), clock=front.clock, telemetry=front.telemetry)
    await relay.run_once()


async def test_forgetting_says_what_was_erased_and_what_is_out_of_reach(client: Client, front: FrontDesk) -> None:
    await finished(front)
    found = await post(client, "/v1/forget", because(subject=AGENT))
    assert found["erased"]["events"] == 1
    assert any("Kafka" in words for words in found["out_of_reach"])
    assert any("vendor" in words for words in found["out_of_reach"])
    shown = await get(client, f"/v1/explain?about={AGENT}&personal=show", "ann")
    assert "Canary" not in str(shown)
    assert await acts(client, "forget") == [("forget", "ann", "because")]


async def test_forgetting_is_refused_while_work_is_unfinished_and_of_nobody(client: Client, front: FrontDesk) -> None:
    await front.take(hire(1))
    await post(client, "/v1/forget", because(subject=AGENT), 409)
    await post(client, "/v1/forget", because(subject="agent:workday/E9"), 404)
    await post(client, "/v1/forget", {"subject": AGENT}, 422)
    assert await acts(client) == []


# --- replays ----------------------------------------------------------------------------------------------------------


async def test_replay_from_preview_to_its_end(client: Client, front: FrontDesk) -> None:
    ids = await front.fail(1, 2)
    selection = {"code": "LimitExceeded*"}
    preview = await post(client, "/v1/replay-preview", {"selection": selection}, who="eve")
    assert (preview["size"], preview["eligible"], preview["refused"]) == (2, 2, {})
    assert preview["calls"][CREATE] == 2
    made = await post(client, "/v1/replays", because(selection=selection, expected=2), 202)
    assert (made["state"], made["size"], made["outcomes"]) == ("running", 2, {"pending": 2})
    assert [one["id"] for one in (await get(client, "/v1/replays?state=unfinished"))["items"]] == [made["id"]]
    await front.begin()
    await front.complete("hire-1")
    await front.settle("hire-2", "extension", FULL)
    await front.begin()
    ended = await get(client, f"/v1/replays/{made['id']}")
    assert (ended["state"], ended["outcomes"]) == ("finished", {"succeeded": 1, "failed_again": 1})
    rows = (await get(client, f"/v1/replays/{made['id']}/items"))["items"]
    assert [(row["plan_id"], row["outcome"]) for row in rows] == [(ids[0], "succeeded"), (ids[1], "failed_again")]
    assert (await get(client, "/v1/replays?state=unfinished"))["items"] == []
    (listed,) = (await get(client, "/v1/replays"))["items"]
    assert listed["outcomes"] == ended["outcomes"]
    assert await acts(client) == [("replay", "ann", "because")]


async def test_items_are_paged_and_say_why_one_was_refused(client: Client, front: FrontDesk) -> None:
    await front.fail(1, 2, 3)
    first = await front.replays.make(asked(), Selection(code=FULL.code))
    front.clock.stall(1.0)
    second = (await post(client, "/v1/replays", because(selection={"account": "acme_cn"}), 202))["id"]
    await front.begin()
    page = await get(client, f"/v1/replays/{second}/items?limit=2")
    rest = await get(client, f"/v1/replays/{second}/items?limit=2&after={page['next']}")
    rows = [*page["items"], *rest["items"]]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert {(row["outcome"], row["why"], row["sentence"]) for row in rows} == {
        ("refused", "replayed", "it was started again since it was chosen")
    }
    assert rest["next"] is None
    assert (await get(client, f"/v1/replays/{second}"))["refused"] == {"replayed": 3}
    assert done(first)["id"] != second


async def test_replay_is_paused_resumed_and_cancelled(client: Client, front: FrontDesk) -> None:
    await front.fail(1)
    made = await post(client, "/v1/replays", because(selection={"account": "acme_cn"}, rate=1), 202)
    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert (await post(client, f"/v1/replays/{made['id']}/{verb}", because()))["state"] == state
    problem = await post(client, f"/v1/replays/{made['id']}/resume", because(), 409)
    assert problem["detail"] == "a replay that is cancelled can't be asked to resume"
    assert [kind for kind, _, _ in await acts(client)] == ["replay", "replay_pause", "replay_resume", "replay_cancel"]


async def test_replay_that_nobody_knows(client: Client) -> None:
    await get(client, "/v1/replays/replay_x", status=404)
    await get(client, "/v1/replays/replay_x/items", status=404)
    for verb in ("pause", "resume", "cancel"):
        await post(client, f"/v1/replays/replay_x/{verb}", because(), 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (because(selection={}), 422),
        (because(selection={"again": True}), 422),
        (because(selection={"ids": ["x"] * 1001}), 422),
        (because(selection={"error_class": "bad luck"}), 422),
        (because(selection={"state": "failed"}), 422),
        (because(selection={"account": "acme_cn"}, rate=0), 422),
        (because(selection={"account": "acme_cn"}, expected=-1), 422),
        ({"selection": {"account": "acme_cn"}}, 422),
        (because(selection={"since": "yesterday"}), 400),
        (because(selection={"account": "acme_cn"}, expected=7), 409),
        (because(selection={"account": "acme_sg"}), 404),
        (because(selection={"ids": ["plan_x"]}), 404),
    ],
)
async def test_replay_that_can_not_be_made(client: Client, front: FrontDesk, body: dict[str, Any], status: int) -> None:
    await front.fail(1)
    await post(client, "/v1/replays", body, status)
    assert front.ledger.durable.replays == {}
    assert await acts(client) == []


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_same_request_under_the_same_key_is_done_once(client: Client, front: FrontDesk) -> None:
    first = await post(client, "/v1/holds", because(account="acme_cn"), key="k1")
    front.clock.stall(10.0)
    assert await post(client, "/v1/holds", because(account="acme_cn"), key="k1") == first
    assert len(front.holds()) == 1
    assert len(await acts(client)) == 1


async def test_key_is_one_requests_alone(client: Client) -> None:
    await post(client, "/v1/holds", because(account="acme_cn"), key="k1")
    for path, body in (
        ("/v1/holds", because(account="acme_sg")),
        ("/v1/holds", {"account": "acme_cn", "reason": "another"}),
        ("/v1/quotas", because(account="acme_cn", operation=CREATE, rate=5)),
    ):
        problem = await post(client, path, body, 409, key="k1")
        assert problem["detail"] == "this Idempotency-Key was used for something else"
    assert len(await acts(client)) == 1


async def test_each_caller_has_keys_of_their_own(client: Client, front: FrontDesk) -> None:
    await post(client, "/v1/holds", because(account="acme_cn"), key="k1")
    await post(client, "/v1/holds", because(account="acme_sg"), key="k1", who="bob")
    assert len(front.holds()) == 2


async def test_key_of_what_was_declined_may_be_used_again(client: Client, front: FrontDesk) -> None:
    await post(client, "/v1/forget", because(subject=AGENT), 404, key="k1")
    await finished(front)
    await post(client, "/v1/forget", because(subject=AGENT), key="k1")


async def test_replay_whose_reply_was_lost_is_the_same_when_it_is_asked_for_again(
    client: Client, front: FrontDesk
) -> None:
    await front.fail(1, 2)
    body = because(selection={"code": FULL.code}, expected=2)
    first = await post(client, "/v1/replays", body, 202, key="k1")
    await front.begin()
    again = await post(client, "/v1/replays", body, 202, key="k1")
    assert (again["id"], again["outcomes"]) == (first["id"], {"running": 2})
    assert len(front.ledger.durable.replays) == 1


async def test_every_act_takes_a_key(client: Client) -> None:
    operators = {route.path for route in ROUTES if route.method == "POST" and route.role is Role.OPERATOR}
    assert {route.path for route in ROUTES if route.takes_key} == operators


# --- who is shown what ------------------------------------------------------------------------------------------------


async def personal_work(front: FrontDesk) -> dict[str, str]:
    """Work full of a person's name and address in every state; an id for each route that needs one."""
    person: dict[str, Any] = {"name": NAME, "email": EMAIL}
    await front.take(hire(1, **person))
    await front.complete("hire-1")
    await front.take(make_inbound(CHANGED, "change-1", data={"email": EMAIL, "department": "d"}))
    await front.complete("change-1")
    await front.fail(2, **person)
    await front.take(hire(3, **person), hire(4, **person, account="nobody"))
    await front.settle("hire-3", "extension", LOST)
    url = "https://canary:FAKE-canary@pbx.example.com/canary?key=canary"
    await front.take(make_inbound(PURCHASED, "buy-1", data={"callback_url": url}))
    letter_id = await letter(front)
    replay_id = await front.replay(front.plan("hire-2").id)
    return {
        "commands": front.step("hire-1", "extension").id,
        "plans": front.plan("hire-1").id,
        "dead-letters": letter_id,
        "replays": replay_id,
    }


def paths(ids: Mapping[str, str], front: FrontDesk) -> list[str]:
    """Every route that answers data, with ids that are there; explained, everything there is."""
    named = [route.path for route in ROUTES if route.method == "GET" and route.path.startswith("/v1")]
    found = [path.replace("{id}", ids.get(path.split("/")[2], "")) for path in named if path != "/v1/explain"]
    kept = front.ledger.durable
    about = {event_id for _, event_id in kept.events} | {e.subject for e in kept.events.values()}
    about |= kept.plans.keys() | kept.commands.keys() | {c.resource for c in kept.commands.values()}
    return [*found, *(f"/v1/explain?about={one.replace('+', '%2B')}" for one in sorted(about))]


async def test_a_viewer_sees_no_name_no_address_and_no_url_anywhere(client: Client, front: FrontDesk) -> None:
    ids = await personal_work(front)
    operators = {"/v1/acts", f"/v1/dead-letters/{ids['dead-letters']}"}
    asked_for = paths(ids, front)
    assert len(asked_for) > 40
    for path in asked_for:
        shown = await get(client, path, status=403 if path in operators else 200)
        assert "canary" not in str(shown).lower(), path


async def test_an_operator_sees_none_either_without_asking(client: Client, front: FrontDesk) -> None:
    ids = await personal_work(front)
    for path in paths(ids, front):
        if not path.startswith("/v1/dead-letters/"):
            assert "canary" not in str(await get(client, path, "ann")).lower(), path
    assert "reveal" not in {kind for kind, _, _ in await acts(client)}


async def test_an_operator_who_asks_is_shown_names_and_addresses_and_that_is_written_down(
    client: Client, front: FrontDesk
) -> None:
    await personal_work(front)
    shown = await get(client, f"/v1/explain?about={AGENT}&personal=show", "ann")
    assert shown["plans"][-1]["event"]["data"]["name"] == NAME
    assert shown["plans"][-1]["steps"][0]["wanted"]["email"] == EMAIL
    assert shown["bindings"][0]["applied"]["name"] == NAME
    assert await acts(client, "reveal") == [("reveal", "ann", "personal=show")]
    (act,) = (await get(client, "/v1/acts?kind=reveal", "ann"))["items"]
    assert act["object"] == AGENT


async def test_the_path_of_a_callback_url_is_shown_to_nobody(client: Client, front: FrontDesk) -> None:
    await personal_work(front)
    shown = await get(client, "/v1/explain?about=buy-1&personal=show", "ann")
    assert "canary" not in str(shown).lower()
    assert shown["events"][0]["data"]["callback_host"] == "pbx.example.com"


async def test_names_are_not_shown_to_a_viewer_who_asks(client: Client, front: FrontDesk) -> None:
    await personal_work(front)
    await get(client, f"/v1/explain?about={AGENT}&personal=show", status=403)
    assert "reveal" not in {kind for kind, _, _ in await acts(client)}


async def test_asking_for_names_of_what_nobody_knows_is_no_looking(client: Client) -> None:
    await get(client, "/v1/explain?about=nobody&personal=show", "ann", 404)
    assert await acts(client) == []


async def test_a_dead_letters_record_is_shown_to_operators_and_that_is_written_down(
    client: Client, front: FrontDesk
) -> None:
    letter_id = await letter(front)
    await get(client, f"/v1/dead-letters/{letter_id}", status=403)
    assert EMAIL in str(await get(client, f"/v1/dead-letters/{letter_id}", "bob"))
    (act,) = (await get(client, "/v1/acts", "ann"))["items"]
    assert (act["kind"], act["actor"], act["object"]) == ("reveal", "bob", letter_id)


async def test_no_act_holds_anything_of_a_person(client: Client, front: FrontDesk) -> None:
    ids = await personal_work(front)
    await get(client, f"/v1/explain?about={AGENT}&personal=show", "ann")
    await post(client, f"/v1/dead-letters/{ids['dead-letters']}/resubmit", because(event=MENDED))
    await post(client, f"/v1/commands/{front.step('hire-3', 'extension').id}/settle", because(outcome="applied"))
    await post(client, "/v1/holds", because(subject=AGENT))
    await front.complete("hire-9")
    await post(client, "/v1/forget", because(subject="agent:workday/E9"))
    found = await get(client, "/v1/acts?limit=200", "ann")
    assert len(found["items"]) >= 6
    assert "canary" not in str(found).lower()
    assert "canary" not in str(front.ledger.durable.answers).lower()


async def test_acts_are_found_by_who_what_and_to_whom(client: Client, front: FrontDesk) -> None:
    await post(client, "/v1/holds", because(account="acme_cn"))
    await post(client, "/v1/holds", because(account="acme_sg"), who="bob")
    for query, number in (("actor=bob", 1), ("kind=hold", 2), ("object=account:acme_cn", 1), ("kind=replay", 0)):
        assert len((await get(client, f"/v1/acts?{query}", "ann"))["items"]) == number, query
    page = await get(client, "/v1/acts?limit=1", "ann")
    rest = await get(client, f"/v1/acts?limit=1&after={page['next']}", "ann")
    assert [act["actor"] for act in [*page["items"], *rest["items"]]] == ["bob", "ann"]
