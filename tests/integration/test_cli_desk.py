"""The desk's commands against a server on a real socket: what they print where, how they end, and what they ask for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from structlog.testing import capture_logs
from typer.main import get_command
from typer.testing import CliRunner, Result

from service.adapters.metrics import MeteredTelemetry
from service.domain.command import PlanState
from service.domain.outcome import Outcome
from service.entrypoints.callers import Tokens, token_hash
from service.entrypoints.cli import app
from service.entrypoints.http_api import build_app
from service.settings_sections import Role, TokenSettings
from tests.builders import CHANGED, HIRED, PURCHASED, make_inbound
from tests.fakes.clock import VirtualClock
from tests.fakes.process import FakeProcess
from tests.fakes.telemetry import RecordingTelemetry
from tests.front_desk import DONE, FULL, LOST, FrontDesk, hire

AGENT: Final = "agent:workday/E1"
CREATE: Final = "tencent_ccc.CreateExtension"
NOWHERE: Final = "http://127.0.0.1:1"
WHY: Final = ("--reason", "because")
BROKEN: Final = {
    "specversion": "1.0",
    "type": HIRED,
    "id": "hire-9",
    "source": "urn:hr",
    "data": {"agent_id": "E9", "extension": "1009"},
}
MENDED: Final = {**BROKEN, "data": {"agent_id": "E9", "name": "Li Na", "extension": "1009"}}

Lose = Callable[[web.Request], bool]


class Place:
    """A running server and all that was asked of it. Replays end as soon as they are made, each plan as `ends` says.

    The first `lost` replies to posts never arrive, the first `cut` ones break off in their middle.
    """

    def __init__(self) -> None:
        self.front = FrontDesk(VirtualClock(), RecordingTelemetry())
        self.url = ""
        self.asked: list[tuple[str, str, str]] = []
        self.ends: dict[str, Outcome] = {}
        self.stays_open = False
        self.lost = self.cut = 0

    def app(self, tokens: Tokens) -> web.Application:
        app = build_app(
            FakeProcess(self.front.ledger, policy=self.front.policy, clock=self.front.clock), MeteredTelemetry(), tokens
        )
        app.middlewares.append(self._around())
        return app

    def _around(self) -> Any:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.asked.append((request.method, request.path, request.headers.get("Idempotency-Key", "")))
            response = await handler(request)
            if (request.method, request.path) == ("POST", "/v1/replays") and not self.stays_open:
                await self._carry_through()
            return await self._delivered(request, response) if request.method == "POST" else response

        return around

    async def _carry_through(self) -> None:
        while await self.front.begin():
            self.front.clock.stall(1.0)
        for event_id in self.front.begun():
            await self.front.settle(event_id, "extension", self.ends.get(event_id, DONE))
            if self.front.plan(event_id).state is PlanState.OPEN:
                await self.front.complete(event_id)
        await self.front.begin()

    async def _delivered(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if self.lost or self.cut:
            if not self.lost:
                response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
                await response.prepare(request)
                await response.write(b'{"id": "')
            self.lost, self.cut = (self.lost - 1, self.cut) if self.lost else (0, self.cut - 1)
            assert request.transport is not None
            request.transport.close()
        return response

    def posts(self) -> list[str]:
        """The paths that were posted to."""
        return [path for method, path, _ in self.asked if method == "POST"]

    async def run(self, *arguments: str, text: str | None = None, **environ: str) -> Result:
        """One command against the server."""
        return await asyncio.to_thread(
            CliRunner().invoke, app, [*arguments, "--url", self.url], env=environ, input=text
        )


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    with capture_logs():  # the server's own lines: in one process they would go where the command's data go
        async with TestServer(place.app(Tokens({}))) as server:
            place.url = str(server.make_url("")).rstrip("/")
            yield place


async def run(*arguments: str, **environ: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environ)


def data(result: Result) -> Any:
    """What stdout holds: one JSON document and nothing else."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


async def held(place: Place) -> str:
    return str(data(await place.run("hold", "--account", "acme_cn", *WHY, "-o", "json"))["id"])


async def letter(place: Place) -> str:
    return await place.front.take_record(BROKEN, key=b"E9")


async def in_doubt(place: Place) -> str:
    await place.front.take(make_inbound(PURCHASED, "buy-1"))
    await place.front.settle("buy-1", "application", LOST)
    return place.front.step("buy-1", "application").id


# --- finding and explaining -------------------------------------------------------------------------------------------


async def test_failures_are_a_table_with_advice_or_json(place: Place) -> None:
    await place.front.fail(1, 2)
    table = await place.run("failures", "--code", "LimitExceeded*")
    assert (table.exit_code, table.stderr) == (0, "")
    for words in (CREATE, FULL.code, "capacity", "buy seats or licences"):
        assert words in table.stdout
    (group,) = data(await place.run("failures", "-o", "json"))
    assert group["number"] == 2


async def test_nothing_that_fails_is_said_beside_the_data(place: Place) -> None:
    result = await place.run("failures")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing has failed\n")
    assert data(await place.run("failures", "-o", "json")) == []


async def test_explain_begins_with_the_answer_and_shows_every_step(place: Place) -> None:
    await place.front.fail(1)
    result = await place.run("explain", AGENT)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{HIRED} hire-1 from hr.events/0@1: plan {place.front.plan('hire-1').id} failed")
    for words in (place.front.step("hire-1", "extension").id, "in_flight", "extension:acme_cn/1001", "came from"):
        assert words in result.stdout
    found = data(await place.run("explain", "hire-1", "-o", "json"))
    assert found["plans"][0]["plan"]["id"] == place.front.plan("hire-1").id


async def test_explain_masks_names_unless_an_operator_asks(place: Place) -> None:
    await place.front.take(hire(1, name="Canary Wang"))
    assert "Canary" not in (await place.run("explain", AGENT, "-o", "json")).stdout
    assert "Canary" in (await place.run("explain", AGENT, "--personal", "-o", "json")).stdout
    assert place.front.acts("reveal") == [("reveal", "local", AGENT, "personal=show")]


async def test_events_are_listed_and_it_is_said_how_to_go_on(place: Place) -> None:
    await place.front.take(hire(1), make_inbound(CHANGED, "change-1", data={"name": "New"}))
    first = await place.run("events", "--subject", AGENT, "--limit", "1")
    assert "change-1" in first.stdout
    assert first.stderr == "there are more: --after 2\n"
    second = await place.run("events", "--subject", AGENT, "--limit", "1", "--after", "2")
    assert ("hire-1" in second.stdout, second.stderr) == (True, "")


async def test_forecast_is_a_table_and_says_the_end_beside_it(place: Place) -> None:
    await place.front.take(hire(1))
    result = await place.run("forecast", "--hires", "199", "--account", "acme_cn")
    assert "live 200" in result.stdout
    assert result.stderr.startswith("empty in 10 s, at ")
    assert data(await place.run("forecast", "-o", "json"))["hires"] == 0


# --- acts -------------------------------------------------------------------------------------------------------------


async def test_hold_holds_release_and_acts(place: Place) -> None:
    hold_id = await held(place)
    assert hold_id in (await place.run("holds")).stdout
    assert (await place.run("release", hold_id, *WHY)).exit_code == 0
    assert (await place.run("holds")).stderr == "nothing is held\n"
    assert hold_id in (await place.run("holds", "--released")).stdout
    acts = await place.run("acts", "--since", "2h", "--kind", "hold")
    assert "account:acme_cn" in acts.stdout
    assert [act["kind"] for act in data(await place.run("acts", "-o", "json"))["items"]] == ["release", "hold"]


async def test_quota_is_changed_listed_and_set_back(place: Place) -> None:
    changed = data(await place.run("quota", "acme_cn", CREATE, "--rate", "5", *WHY, "-o", "json"))
    assert changed["changed_to"] == 5.0
    assert CREATE in (await place.run("quota")).stdout
    back = data(await place.run("quota", "acme_cn", CREATE, "--configured", *WHY, "-o", "json"))
    assert back["changed_to"] is None


async def test_doubt_is_settled(place: Place) -> None:
    command_id = await in_doubt(place)
    result = await place.run("settle", command_id, "--applied", "--apply-id", "77", *WHY)
    assert result.exit_code == 0, result.output
    assert "succeeded" in result.stdout
    assert place.front.step("buy-1", "application").facts["apply_id"] == "77"


async def test_dead_letter_is_listed_shown_mended_and_sent_again(place: Place, tmp_path: Path) -> None:
    letter_id = await letter(place)
    assert letter_id in (await place.run("dead-letters", "list", "--state", "open", "--why", "invalid_field")).stdout
    assert json.loads(data(await place.run("dead-letters", "show", letter_id, "-o", "json"))["value"]) == BROKEN
    assert "data.name" in (await place.run("dead-letters", "show", letter_id)).stdout
    file = tmp_path / "mended.json"
    file.write_text(json.dumps(MENDED))
    made = data(await place.run("dead-letters", "resubmit", letter_id, str(file), *WHY, "-o", "json"))
    assert made["plan_id"] == place.front.plan("hire-9").id


async def test_mended_event_may_come_from_stdin_and_a_letter_be_set_aside(place: Place) -> None:
    first, second = await letter(place), await place.front.take_record(BROKEN, offset=18)
    sent = await place.run("dead-letters", "resubmit", first, "-", *WHY, text=json.dumps(MENDED))
    assert sent.exit_code == 0, sent.output
    assert "discarded" in (await place.run("dead-letters", "discard", second, *WHY)).stdout


async def test_person_is_forgotten_and_it_is_said_what_is_out_of_reach(place: Place) -> None:
    await place.front.take(hire(1))
    await place.front.complete("hire-1")
    result = await place.run("forget", AGENT, "--yes", *WHY)
    assert result.exit_code == 0
    assert "Kafka" in result.stdout


# --- replays ----------------------------------------------------------------------------------------------------------

REPLAY: Final = ("replay", "--code", "LimitExceeded*")


async def test_replay_previews_begins_and_watches_to_the_end(place: Place) -> None:
    await place.front.fail(1, 2)
    result = await place.run(*REPLAY, *WHY, "--rate", "5", "--yes")
    assert result.exit_code == 0, result.output
    for words in ("would run", f"2 {CREATE}", "s at best", "finished", "2 succeeded"):
        assert words in result.stdout
    (replay,) = place.front.ledger.durable.replays.values()
    assert (replay.rate, replay.reason) == (5.0, "because")
    assert result.stderr == f"{replay.id} begins 2 plans\n"


async def test_replay_as_json_is_the_end_alone(place: Place) -> None:
    await place.front.fail(1)
    found = data(await place.run(*REPLAY, *WHY, "--yes", "-o", "json"))
    assert (found["state"], found["outcomes"]) == ("finished", {"succeeded": 1})


async def test_replay_of_which_some_fail_again_ends_with_4(place: Place) -> None:
    await place.front.fail(1, 2)
    place.ends["hire-2"] = FULL
    result = await place.run(*REPLAY, *WHY, "--yes")
    assert result.exit_code == 4
    assert "1 succeeded, 1 failed_again" in result.stdout


async def test_replay_of_which_all_fail_again_ends_with_1(place: Place) -> None:
    await place.front.fail(1, 2)
    place.ends |= {"hire-1": FULL, "hire-2": FULL}
    assert (await place.run(*REPLAY, *WHY, "--yes")).exit_code == 1


async def test_what_is_refused_is_told_and_no_failure(place: Place) -> None:
    (plan_id,) = await place.front.fail(1)
    await place.front.take(hire(2))
    result = await place.run("replay", plan_id, place.front.plan("hire-2").id, *WHY, "--yes")
    assert result.exit_code == 0, result.output
    assert "1 running" in result.stdout


async def test_replay_that_nobody_waits_for_ends_at_once(place: Place) -> None:
    await place.front.fail(1)
    place.stays_open = True
    result = await place.run(*REPLAY, *WHY, "--yes", "--no-wait", "-o", "json")
    assert data(result)["outcomes"] == {"pending": 1}


async def test_replay_that_is_not_agreed_to_begins_nothing_and_ends_with_5(place: Place) -> None:
    await place.front.fail(1)
    result = await place.run(*REPLAY, *WHY)
    assert result.exit_code == 5
    assert "nothing was begun" in result.stderr
    assert place.front.ledger.durable.replays == {}


@pytest.mark.parametrize(("said", "code", "made"), [("y\n", 0, 1), ("n\n", 5, 0)])
async def test_replay_asks_on_a_terminal(
    place: Place, monkeypatch: pytest.MonkeyPatch, said: str, code: int, made: int
) -> None:
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    await place.front.fail(1)
    result = await place.run(*REPLAY, *WHY, text=said)
    assert result.exit_code == code, result.output
    assert "Replay 1 of 1 plans?" in result.stderr
    assert "Replay 1 of 1 plans?" not in result.stdout
    assert len(place.front.ledger.durable.replays) == made


async def test_replays_are_listed_shown_paused_resumed_and_cancelled(place: Place) -> None:
    await place.front.fail(1)
    place.stays_open = True
    replay_id = data(await place.run(*REPLAY, *WHY, "--yes", "--no-wait", "-o", "json"))["id"]
    for verb, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        result = await place.run("replays", verb, replay_id, *WHY)
        assert (result.exit_code, state in result.stdout) == (0, True)
    assert replay_id in (await place.run("replays", "list")).stdout
    assert (await place.run("replays", "list", "--unfinished")).stderr == "there is no replay\n"
    shown = data(await place.run("replays", "show", replay_id, "--items", "-o", "json"))
    assert [item["outcome"] for item in shown["items"]] == ["not_begun"]
    assert "not_begun" in (await place.run("replays", "show", replay_id, "--items")).stdout
    assert (await place.run("replays", "show", replay_id, "--wait")).exit_code == 0


async def test_items_of_a_replay_are_all_shown_and_not_a_page_of_them(place: Place) -> None:
    await place.front.fail(*range(1, 203))
    place.stays_open = True
    replay_id = data(await place.run(*REPLAY, *WHY, "--yes", "--no-wait", "-o", "json"))["id"]
    assert len(data(await place.run("replays", "show", replay_id, "--items", "-o", "json"))["items"]) == 202


# --- a dry run --------------------------------------------------------------------------------------------------------

ACTS: Final[Mapping[str, tuple[str, ...]]] = {
    "hold": ("hold", "--account", "acme_cn"),
    "release": ("release", "hold_x"),
    "settle": ("settle", "cmd_x", "--not-applied"),
    "quota": ("quota", "acme_cn", CREATE, "--rate", "5"),
    "resubmit": ("dead-letters", "resubmit", "hr.events:0:17", "MENDED"),
    "discard": ("dead-letters", "discard", "hr.events:0:17"),
    "forget": ("forget", AGENT, "--yes"),
    "pause": ("replays", "pause", "replay_x"),
    "resume": ("replays", "resume", "replay_x"),
    "cancel": ("replays", "cancel", "replay_x"),
}


@pytest.fixture
def mended(tmp_path: Path) -> str:
    """A file with a mended event."""
    (tmp_path / "mended.json").write_text(json.dumps(MENDED))
    return str(tmp_path / "mended.json")


def arguments(name: str, mended: str) -> list[str]:
    return [mended if one == "MENDED" else one for one in ACTS[name]]


@pytest.mark.parametrize("name", ACTS)
async def test_dry_run_of_an_act_sends_nothing_and_shows_what_it_would(place: Place, mended: str, name: str) -> None:
    result = await place.run(*arguments(name, mended), *WHY, "--dry-run")
    assert place.asked == []
    shown = data(result)
    assert shown["post"].startswith("/v1/")
    assert shown["body"]["reason"] == "because"
    assert result.stderr == "a dry run: nothing was sent\n"


async def test_dry_run_of_a_replay_previews_and_begins_nothing(place: Place) -> None:
    await place.front.fail(1)
    table = await place.run(*REPLAY, "--dry-run")
    assert (table.exit_code, table.stderr) == (0, "")
    assert "would run" in table.stdout
    assert data(await place.run(*REPLAY, "--dry-run", "-o", "json"))["eligible"] == 1
    assert set(place.posts()) == {"/v1/replay-preview"}
    assert place.front.ledger.durable.replays == {}


# --- how they end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ACTS, "replay"])
async def test_act_without_a_reason_is_wrong_usage(place: Place, mended: str, name: str) -> None:
    result = await place.run(*(REPLAY if name == "replay" else arguments(name, mended)))
    assert (result.exit_code, result.stdout, place.asked) == (2, "", [])


@pytest.mark.parametrize(
    "wrong",
    [
        ("hold", *WHY),
        ("quota", "acme_cn", *WHY),
        ("quota", "acme_cn", CREATE, *WHY),
        ("quota", "acme_cn", CREATE, "--rate", "5", "--configured", *WHY),
        ("settle", "cmd_x", *WHY),
        ("dead-letters", "resubmit", "hr.events:0:17", "/nowhere/event.json", *WHY),
        ("forecast", "--hires", "-1"),
        ("failures", "--error-class", "bad luck"),
        ("events", "--since", "yesterday"),
        ("replay", *WHY, "--yes"),
        ("replay", "--code", "x", "--rate", "0", *WHY, "--yes"),
        ("hold", "--account", "acme_cn", "--reason", "x"),
    ],
)
async def test_wrong_usage_ends_with_2_and_says_what_is_wrong(place: Place, wrong: tuple[str, ...]) -> None:
    result = await place.run(*wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
async def test_file_that_holds_no_event_is_wrong_usage(place: Place, tmp_path: Path, content: str) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(content.encode("latin-1"))
    result = await place.run("dead-letters", "resubmit", "hr.events:0:17", str(file), *WHY)
    assert (result.exit_code, place.asked) == (2, [])


@pytest.mark.parametrize("name", [*ACTS, "explain", "replays", "dead-letters", "replay", "plan"])
async def test_what_is_not_there_ends_with_3(place: Place, mended: str, name: str) -> None:
    others = {
        "explain": ["explain", "nobody"],
        "replays": ["replays", "show", "replay_x", "--wait"],
        "dead-letters": ["dead-letters", "show", "hr.events:0:17"],
        "replay": [*REPLAY, *WHY, "--yes"],
        "plan": ["replay", "plan_x", *WHY, "--yes"],
        "hold": ["release", "../holds", *WHY],
        "quota": ["quota", "nobody", CREATE, "--rate", "5", *WHY],
    }
    result = await place.run(*(others.get(name) or [*arguments(name, mended), *WHY]))
    assert result.exit_code == 3, result.output
    assert result.stderr
    assert place.front.acts() == []


async def test_conflict_ends_with_5(place: Place) -> None:
    hold_id = await held(place)
    await place.run("release", hold_id, *WHY)
    result = await place.run("release", hold_id, *WHY)
    assert (result.exit_code, result.stdout, result.stderr) == (5, "", "it was released before\n")
    await place.front.take(hire(1))
    assert (await place.run("forget", AGENT, "--yes", *WHY)).exit_code == 5


async def test_forgetting_without_a_word_ends_with_5(place: Place) -> None:
    await place.front.take(hire(1))
    result = await place.run("forget", AGENT, *WHY)
    assert (result.exit_code, result.stdout, result.stderr) == (5, "", "nothing was erased\n")
    assert place.asked == []


async def test_viewer_may_look_and_is_refused_acts_with_5(place: Place, mended: str) -> None:
    token = "cord_FAKE-token-of-eve"
    tokens = Tokens({"eve": TokenSettings(role=Role.VIEWER, sha256=token_hash(token))})
    async with TestServer(place.app(tokens)) as server:
        place.url = str(server.make_url("")).rstrip("/")
        await place.front.fail(1)
        for look in (["failures"], ["explain", AGENT], ["holds"], ["quota"], ["forecast"], [*REPLAY, "--dry-run"]):
            assert (await place.run(*look, CORDBOARD_TOKEN=token)).exit_code == 0, look
        for name in ACTS:
            result = await place.run(*arguments(name, mended), *WHY, CORDBOARD_TOKEN=token)
            assert (result.exit_code, result.stdout) == (5, ""), name
            assert result.stderr == "this needs the role operator\n"
        for look in (["acts"], ["explain", AGENT, "--personal"], ["dead-letters", "show", "hr.events:0:1"]):
            assert (await place.run(*look, CORDBOARD_TOKEN=token)).exit_code == 5, look


@pytest.mark.parametrize("name", [*ACTS, "failures", "explain", "replay"])
async def test_no_server_ends_with_6(mended: str, name: str) -> None:
    others = {"failures": ["failures"], "explain": ["explain", AGENT], "replay": [*REPLAY, *WHY]}
    result = await run(*(others.get(name) or [*arguments(name, mended), *WHY]), "--url", NOWHERE)
    assert (result.exit_code, result.stdout) == (6, "")
    assert "is `cordboard run` up?" in result.stderr


# --- replies that get lost --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "cut"])
@pytest.mark.parametrize("times", [1, 2])
async def test_act_whose_reply_is_lost_is_asked_for_again_under_its_key_and_done_once(
    place: Place, how: str, times: int
) -> None:
    setattr(place, how, times)
    hold_id = await held(place)
    assert [hold.id for hold in place.front.holds()] == [hold_id]
    assert len(place.front.acts("hold")) == 1
    keys = [key for _, _, key in place.asked]
    assert (len(keys), len(set(keys)), "" in keys) == (times + 1, 1, False)


async def test_replay_whose_reply_is_lost_is_found_again_though_it_has_ended(place: Place) -> None:
    await place.front.fail(1, 2)
    preview_and_replay = 2
    place.lost = preview_and_replay
    result = await place.run(*REPLAY, *WHY, "--yes")
    assert result.exit_code == 0, result.output
    assert "2 succeeded" in result.stdout
    assert len(place.front.ledger.durable.replays) == 1
    assert len(place.front.acts("replay")) == 1


async def test_replies_that_are_lost_each_time_end_with_6(place: Place) -> None:
    place.lost = 3
    result = await place.run("hold", "--account", "acme_cn", *WHY)
    assert (result.exit_code, result.stdout) == (6, "")
    assert len(place.front.holds()) == 1, "it was done, and nobody was told"


async def test_two_runs_of_a_command_are_two_acts(place: Place) -> None:
    for _ in range(2):
        await place.run("quota", "acme_cn", CREATE, "--rate", "5", *WHY)
    assert len(place.front.acts("quota")) == 2


# --- help and completion ----------------------------------------------------------------------------------------------


def commands() -> list[tuple[str, ...]]:
    """Every command of the desk, by its words."""
    root: Any = get_command(app)
    names = [
        "failures",
        "explain",
        "replay",
        "holds",
        "hold",
        "release",
        "settle",
        "quota",
        "forecast",
        "events",
        "forget",
        "acts",
    ]
    groups = [(group, name) for group in ("replays", "dead-letters") for name in root.commands[group].commands]
    return [*((name,) for name in names), *groups]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
async def test_help_of_every_command_has_an_example_of_it(command: tuple[str, ...]) -> None:
    result = await run(*command, "--help", COLUMNS="200", NO_COLOR="1")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"Example: cordboard {' '.join(command)}" in result.stdout


async def test_help_of_the_whole_tells_the_exit_codes() -> None:
    result = await run("--help", COLUMNS="200", NO_COLOR="1")
    for words in ("3 not found", "4 partly failed", "5 refused", "6 unreachable", "replay", "explain", "dead-letters"):
        assert words in result.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("cordboard repl", "replays"), ("cordboard replays pa", "pause"), ("cordboard replay --dry", "--dry-run")],
)
async def test_completion_offers_what_fits(typed: str, offered: str) -> None:
    words = {"_CORDBOARD_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    result = await asyncio.to_thread(CliRunner().invoke, app, [], env=words, prog_name="cordboard")
    assert offered in result.stdout.split()
