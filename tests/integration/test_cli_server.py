"""`list` and `show` against a server on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner, Result

from service.adapters.metrics import MeteredTelemetry
from service.domain.command import Attempt, CommandState, HistoryRow
from service.domain.ledger_state import Changes, Keys
from service.domain.outcome import ErrorClass, Failure
from service.entrypoints.callers import Tokens, token_hash
from service.entrypoints.cli import app
from service.entrypoints.http_api import build_app
from service.settings_sections import Role, TokenSettings
from tests.builders import CREATE, NOW, make_command, make_plan
from tests.fakes.ledger import FakeLedger
from tests.fakes.process import FakeProcess

PLAN = make_plan()
FAILED = make_command(
    PLAN,
    state=CommandState.FAILED,
    failure=Failure(error_class=ErrorClass.CONFLICT, code="taken", message="somebody [else]'s \x1b[31m"),
    attempts=1,
)
PENDING = make_command(make_plan(2))


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """Where a server with two commands answers."""
    ledger = FakeLedger()
    row = HistoryRow(
        command_id=FAILED.id,
        epoch=0,
        at=NOW,
        before=CommandState.IN_FLIGHT,
        after=CommandState.FAILED,
        cause="conflict:taken",
        actor="cordboard",
    )
    attempt = Attempt(
        command_id=FAILED.id, epoch=0, number=1, call=CREATE, slot_at=NOW, marked_at=NOW, request_id="req-1"
    )
    changes = Changes(plans=(PLAN, make_plan(2)), commands=(FAILED, PENDING), history=(row,), attempts=(attempt,))
    await ledger.transact(Keys(), lambda _: changes)
    async with TestServer(build_app(FakeProcess(ledger), MeteredTelemetry(), Tokens({}))) as server:
        yield str(server.make_url("")).rstrip("/")


async def run(*arguments: str, **environ: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environ)


async def test_list_shows_a_table_without_escapes_and_whole_ids(url: str) -> None:
    result = await run("list", "--url", url)
    assert result.exit_code == 0
    assert FAILED.id in result.stdout
    assert "conflict taken: somebody [else]'s" in result.stdout
    assert "\x1b" not in result.stdout


async def test_list_as_json_is_the_servers_page(url: str) -> None:
    result = await run(
        "list", "--url", url, "--state", "failed", "--state", "in_doubt", "--account", "acme_cn", "-o", "json"
    )
    assert [item["id"] for item in json.loads(result.stdout)["items"]] == [FAILED.id]


async def test_list_says_how_to_go_on(url: str) -> None:
    first = await run("list", "--url", url, "--limit", "1")
    assert f"--after {FAILED.id}" in first.stderr
    second = await run("list", "--url", url, "--limit", "1", "--after", FAILED.id)
    assert PENDING.id in second.stdout
    assert "--after" not in second.stderr


async def test_list_of_nothing_says_so_beside_the_data(url: str) -> None:
    result = await run("list", "--url", url, "--account", "nobody")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no commands match\n")


async def test_plans_are_listed_too(url: str) -> None:
    result = await run("list", "--plans", "--url", url)
    assert PLAN.id in result.stdout


async def test_a_filter_the_server_refuses_is_wrong_usage(url: str) -> None:
    result = await run("list", "--url", url, "--state", "lost")
    assert result.exit_code == 2
    assert "state must be one of" in result.stderr


async def test_show_tells_a_commands_attempts_and_history(url: str) -> None:
    result = await run("show", FAILED.id, "--url", url)
    assert result.exit_code == 0
    for text in ("req-1", "conflict:taken", "in_flight", "extension:acme_cn/1001"):
        assert text in result.stdout


async def test_show_tells_a_plans_commands(url: str) -> None:
    result = await run("show", PLAN.id, "--url", url, "--output", "json")
    assert [command["id"] for command in json.loads(result.stdout)["commands"]] == [FAILED.id]
    assert FAILED.id in (await run("show", PLAN.id, "--url", url)).stdout


@pytest.mark.parametrize("identity", ["nothing", "../../livez", "a b", "ä", "x?y=z"])
async def test_what_is_not_there_ends_with_3(url: str, identity: str) -> None:
    result = await run("show", identity, "--url", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no command and no plan" in result.stderr


async def test_no_server_ends_with_6() -> None:
    result = await run("list", "--url", "http://127.0.0.1:1")
    assert result.exit_code == 6
    assert "cordboard run" in result.stderr


async def test_something_else_that_answers_ends_with_1() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    other = web.Application()
    other.router.add_get("/{tail:.*}", page)
    async with TestServer(other) as server:
        result = await run("list", "--url", str(server.make_url("")))
    assert result.exit_code == 1
    assert "is no Cordboard" in result.stderr


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"detail": ["no"], "errors": "none"}, "HTTP 422"),
        (
            {"detail": "wrong", "errors": [{"field": 1}, "x", {"field": "", "message": "is too long"}]},
            "wrong; body: is too",
        ),
    ],
)
async def test_a_problem_in_another_form_is_told_as_far_as_it_can_be(document: dict[str, Any], told: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response(document, status=422)

    other = web.Application()
    other.router.add_get("/{tail:.*}", refuse)
    async with TestServer(other) as server:
        result = await run("list", "--url", str(server.make_url("")))
    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("wrong", ["127.0.0.1:8080", "ftp://x", "http://x:notaport", "http://"])
async def test_an_url_that_is_none_is_wrong_usage(wrong: str) -> None:
    assert (await run("list", "--url", wrong)).exit_code == 2


async def test_the_servers_address_comes_from_the_settings(url: str, tmp_path: Path) -> None:
    result = await run("list", CORDBOARD_HTTP__PORT=url.rpartition(":")[2])
    assert FAILED.id in result.stdout


# --- tokens ---------------------------------------------------------------------------------------------------------

TOKEN = "cord_FAKE-token-of-a-viewer"


@pytest.fixture
async def guarded() -> AsyncIterator[str]:
    """Where a server answers that asks for a token."""
    tokens = Tokens({"eve": TokenSettings(role=Role.VIEWER, sha256=token_hash(TOKEN))})
    async with TestServer(build_app(FakeProcess(FakeLedger()), MeteredTelemetry(), tokens)) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.mark.parametrize("command", [["list"], ["list", "--plans"], ["show", "x"]])
async def test_without_the_right_token_a_command_is_refused_with_5(guarded: str, command: list[str]) -> None:
    result = await run(*command, "--url", guarded)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "a token is needed" in result.stderr
    wrong = await run(*command, "--url", guarded, CORDBOARD_TOKEN="cord_FAKE-other")
    assert (wrong.exit_code, wrong.stderr) == (5, "no such token is known\n")


async def test_a_token_comes_from_the_environment_or_a_file(guarded: str, tmp_path: Path) -> None:
    assert (await run("list", "--url", guarded, CORDBOARD_TOKEN=TOKEN)).exit_code == 0
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    assert (await run("list", "--url", guarded, "--token-file", str(file))).exit_code == 0
    named = await run("list", "--url", guarded, "--token-file", str(file), CORDBOARD_TOKEN="cord_FAKE-other")
    assert named.exit_code == 0


async def test_the_tokens_variable_is_no_setting(guarded: str) -> None:
    result = await run("list", CORDBOARD_HTTP__PORT=guarded.rpartition(":")[2], CORDBOARD_TOKEN=TOKEN)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("mode", [0o644, 0o604])
async def test_a_token_file_that_everybody_can_read_is_refused(guarded: str, tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    result = await run("list", "--url", guarded, "--token-file", str(file))
    assert result.exit_code == 2
    assert "read by everybody" in result.stderr


async def test_a_token_file_that_is_not_there_or_holds_none_is_wrong_usage(guarded: str, tmp_path: Path) -> None:
    empty, lines = tmp_path / "empty", tmp_path / "lines"
    empty.touch(0o600)
    lines.touch(0o600)
    lines.write_text("FAKE\r\nX-Header: y")
    for file in (tmp_path / "none", empty, lines):
        result = await run("list", "--url", guarded, "--token-file", str(file))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "FAKE" not in result.stderr


@pytest.mark.parametrize("url", ["http://cordboard.example:8080", "http://10.1.2.3", "http://localhost.example"])
async def test_a_token_never_goes_over_plain_http_to_another_host(url: str) -> None:
    result = await run("list", "--url", url, CORDBOARD_TOKEN=TOKEN)
    assert result.exit_code == 2
    assert "over plain http" in result.stderr
    assert TOKEN not in result.output


async def test_a_server_that_listens_everywhere_is_asked_on_this_host(guarded: str) -> None:
    everywhere = {
        "CORDBOARD_HTTP__HOST": "0.0.0.0",  # noqa: S104 - not listened on
        "CORDBOARD_HTTP__PORT": guarded.rpartition(":")[2],
        "CORDBOARD_HTTP__TOKENS__EVE__ROLE": "viewer",
        "CORDBOARD_HTTP__TOKENS__EVE__SHA256": token_hash(TOKEN),
    }
    assert (await run("list", **everywhere, CORDBOARD_TOKEN=TOKEN)).exit_code == 0
